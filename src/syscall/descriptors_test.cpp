// SPDX-License-Identifier: Apache-2.0
#include "syscall/descriptors.hpp"

#include "btf/btf.hpp"
#include "cpu/random.hpp"
#include "cpu/slot.hpp"
#include "map/map.hpp"
#include "rcu/rcu.hpp"
#include "support/expect.hpp"
#include "uapi/bpf.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <deque>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace skep {
namespace {

/// An object that says when its last user left.
class Thing final : public Object {
 public:
  static constexpr ObjectKind object_kind = ObjectKind::prog;
  explicit Thing(bool& in_use) : Object(object_kind), in_use_(in_use) { in_use_ = true; }

 private:
  void on_last_user() override { in_use_ = false; }
  bool& in_use_;
};

/// Waits when it dies: what the members after it let go of is destroyed while those before it live.
struct GracePeriod {
  ~GracePeriod() { rcu::barrier(); }
};

class Descriptors : public ::testing::Test {
 protected:
  Descriptors() : slots_(1, clock_, 1) { add_memory_map_types(types_); }

  Ref<Map> mmapable_array() {
    MapSpec spec;
    spec.type = uapi::BPF_MAP_TYPE_ARRAY;
    spec.key_bytes = 4;
    spec.value_bytes = 8;
    spec.max_entries = 1;
    spec.flags = uapi::BPF_F_MMAPABLE;
    const MapEnvironment environment{slots_, budget_, random_};
    const MapType& type = *types_.find(spec.type);
    return type.make(type, std::move(spec), environment).take();
  }

  /// Says whether an object is in use; outlives the descriptors that a test leaves open.
  bool& flag() { return flags_.emplace_back(false); }

  std::deque<bool> flags_;
  VirtualClock clock_;
  CpuSlots slots_;
  Budget budget_{1 << 20};
  Random random_{1, 1};
  MapTypes types_;
  GracePeriod grace_period_;
  DescriptorTable table_;
};

std::string link_text(int fd) {
  return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)).string();
}

TEST_F(Descriptors, LastCopyReleasesTheUser) {
  bool& in_use = flag();
  OwnedFd fd = table_.open(make_object<Thing>(in_use), {}).take();
  OwnedFd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 100));
  ASSERT_GE(copy.get(), 100);

  fd = OwnedFd();
  table_.reap();
  EXPECT_TRUE(in_use);
  EXPECT_OK(table_.find(copy.get(), ObjectKind::prog, nullptr));

  copy = OwnedFd();
  EXPECT_TRUE(in_use) << "noticed by reap(), not before";
  table_.reap();
  EXPECT_FALSE(in_use);
  EXPECT_EQ(table_.size(), 0u);
}

TEST_F(Descriptors, AreFoundByIdentityAndNotByNumber) {
  bool& one_in_use = flag();
  bool& two_in_use = flag();
  const OwnedFd one = table_.open(make_object<Thing>(one_in_use), {}).take();
  const OwnedFd two = table_.open(make_object<Thing>(two_in_use), {}).take();
  Object* const second = table_.find(two.get(), ObjectKind::prog, nullptr).take().get();

  ASSERT_EQ(::dup3(two.get(), one.get(), O_CLOEXEC), one.get());

  EXPECT_EQ(table_.find(one.get(), ObjectKind::prog, nullptr).take().get(), second);
  table_.reap();
  EXPECT_FALSE(one_in_use);
  EXPECT_TRUE(two_in_use);
}

TEST_F(Descriptors, ClosedOnesAreEbadfAndOthersEinval) {
  bool& in_use = flag();
  const OwnedFd fd = table_.open(make_object<Thing>(in_use), {}).take();
  const OwnedFd ordinary(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_ERRNO(table_.find(-1, ObjectKind::prog, nullptr), EBADF);
  EXPECT_ERRNO(table_.find(987, ObjectKind::prog, nullptr), EBADF);
  EXPECT_ERRNO(table_.find(ordinary.get(), ObjectKind::prog, nullptr), EINVAL);
  EXPECT_ERRNO(table_.find(fd.get(), ObjectKind::map, nullptr), EINVAL);
}

TEST_F(Descriptors, AreCloseOnExecAndNamedAfterWhatTheyAre) {
  bool& in_use = flag();
  const OwnedFd prog = table_.open(make_object<Thing>(in_use), {}).take();
  const OwnedFd map = table_.open(mmapable_array(), {}).take();
  EXPECT_EQ(::fcntl(prog.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(::fcntl(map.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_NE(link_text(prog.get()).find("bpf-prog"), std::string::npos);
  EXPECT_NE(link_text(map.get()).find("bpf-map"), std::string::npos);
}

TEST_F(Descriptors, WritingIntoOneNeverHangs) {
  bool& in_use = flag();
  OwnedFd fd = table_.open(make_object<Thing>(in_use), {}).take();
  std::vector<char> junk(1 << 20);
  while (::write(fd.get(), junk.data(), junk.size()) > 0) continue;
  EXPECT_EQ(errno, EAGAIN);
  fd = OwnedFd();
  table_.reap();
  EXPECT_FALSE(in_use);
}

TEST_F(Descriptors, SurviveInAChildAndInASocket) {
  bool& in_use = flag();
  OwnedFd fd = table_.open(make_object<Thing>(in_use), {}).take();
  std::array<int, 2> gate;
  ASSERT_EQ(::pipe(gate.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte;
    ::close(gate[1]);
    ::_exit(static_cast<int>(::read(gate[0], &byte, 1)));  // until the parent closes its end
  }
  fd = OwnedFd();
  table_.reap();
  EXPECT_TRUE(in_use) << "the child holds a copy";
  ::close(gate[1]);
  ::waitpid(child, nullptr, 0);
  ::close(gate[0]);
  table_.reap();
  EXPECT_FALSE(in_use);

  fd = table_.open(make_object<Thing>(in_use), {}).take();
  std::array<int, 2> sockets;
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()), 0);
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int sent = fd.get();
  std::memcpy(CMSG_DATA(header), &sent, sizeof sent);
  ASSERT_EQ(::sendmsg(sockets[0], &message, 0), 1);
  fd = OwnedFd();
  table_.reap();
  EXPECT_TRUE(in_use) << "in flight";

  control = {};
  message.msg_controllen = control.size();
  ASSERT_EQ(::recvmsg(sockets[1], &message, MSG_CMSG_CLOEXEC), 1);
  int received = -1;
  std::memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof received);
  EXPECT_OK(table_.find(received, ObjectKind::prog, nullptr));
  ::close(received);
  ::close(sockets[0]);
  ::close(sockets[1]);
  table_.reap();
  EXPECT_FALSE(in_use);
}

TEST_F(Descriptors, AChildThatUsesTheTableLeavesTheParentsAlone) {
  bool& in_use = flag();
  OwnedFd fd = table_.open(make_object<Thing>(in_use), {}).take();
  const pid_t child = ::fork();
  if (child == 0) {
    bool childs_own = false;
    OwnedFd own = table_.open(make_object<Thing>(childs_own), {}).take();
    own = OwnedFd();
    table_.reap();
    ::_exit(!childs_own && in_use ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  table_.reap();
  EXPECT_TRUE(in_use);
  fd = OwnedFd();
  table_.reap();
  EXPECT_FALSE(in_use);
}

TEST_F(Descriptors, MemoryIsMappedThroughTheDescriptorAndKeptByTheMapping) {
  Ref<Map> map = mmapable_array();
  Map& array = *map;
  OwnedFd fd = table_.open(map, {}).take();
  void* const page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(page, MAP_FAILED);
  *static_cast<std::uint64_t*>(page) = 0x1234;
  {
    const SlotGuard slot = slots_.enter(0);
    const rcu::ReadGuard reading;
    const std::uint32_t key = 0;
    const std::byte* value = array.lookup(*slot, reinterpret_cast<const std::byte*>(&key));
    EXPECT_EQ(*reinterpret_cast<const std::uint64_t*>(value), 0x1234u);
  }

  fd = OwnedFd();
  table_.reap();
  EXPECT_TRUE(array.has_users()) << "the mapping is a user";
  ::munmap(page, 4096);
  table_.reap();
  EXPECT_FALSE(array.has_users());
}

TEST_F(Descriptors, CopiesOfMemoryHaveModesOfTheirOwn) {
  Ref<Map> map = mmapable_array();
  const OwnedFd both = table_.open(map, {}).take();
  const OwnedFd reads = table_.open(map, {.read = true, .write = false}).take();
  const OwnedFd writes = table_.open(map, {.read = false, .write = true}).take();
  Access access;
  ASSERT_OK(table_.find(both.get(), ObjectKind::map, &access));
  EXPECT_TRUE(access.read && access.write);
  ASSERT_OK(table_.find(reads.get(), ObjectKind::map, &access));
  EXPECT_TRUE(access.read && !access.write);
  ASSERT_OK(table_.find(writes.get(), ObjectKind::map, &access));
  EXPECT_TRUE(!access.read && access.write);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, reads.get(), 0), MAP_FAILED);
  EXPECT_EQ(errno, EACCES);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, writes.get(), 0), MAP_FAILED);
  EXPECT_EQ(errno, EACCES);
}

TEST_F(Descriptors, EveryModeOfAFifoIsRemembered) {
  bool& in_use = flag();
  const OwnedFd reads =
      table_.open(make_object<Thing>(in_use), {.read = true, .write = false}).take();
  Access access;
  ASSERT_OK(table_.find(reads.get(), ObjectKind::prog, &access));
  EXPECT_TRUE(access.read && !access.write);
}

// Emfile surfaces as such, whichever of the files needed is the one too many, and leaves nothing
// behind.
TEST_F(Descriptors, TooManyOpenFilesIsEmfile) {
  bool& in_use = flag();
  OwnedFd warm_up = table_.open(make_object<Thing>(in_use), {}).take();
  Ref<Map> map = mmapable_array();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const OwnedFd probe(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const auto first_free = static_cast<rlim_t>(probe.get()) + 1;
  for (rlim_t room = 0; room < 2; ++room) {
    const rlimit low{first_free + room, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
    bool& refused_in_use = flag();
    EXPECT_ERRNO(table_.open(make_object<Thing>(refused_in_use), {}), EMFILE);
    if (room == 0) EXPECT_ERRNO(table_.open(map, {}), EMFILE);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  }
  EXPECT_EQ(table_.size(), 1u);
  table_.reap();
  EXPECT_TRUE(in_use);
}

TEST_F(Descriptors, ManyThreadsOpenCloseAndReap) {
  std::vector<std::jthread> threads;
  std::array<bool, 4> wrong{};
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      const Ref<Map> map = mmapable_array();
      for (int round = 0; round < 50; ++round) {
        bool in_use = false;
        Ref<Thing> thing = make_object<Thing>(in_use);
        OwnedFd fd = table_.open(thing, {}).take();
        OwnedFd memory = table_.open(map, {}).take();
        wrong[t] |= table_.find(fd.get(), ObjectKind::prog, nullptr).take().get() != thing.get();
        wrong[t] |= table_.find(memory.get(), ObjectKind::map, nullptr).take().get() != map.get();
        fd = OwnedFd();
        memory = OwnedFd();
        // Another thread's reap() may have taken it out already and be about to drop it.
        while (thing->has_users()) table_.reap();
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, (std::array<bool, 4>{}));
  table_.reap();
  EXPECT_EQ(table_.size(), 0u);
}

}  // namespace
}  // namespace skep
