// SPDX-License-Identifier: Apache-2.0
#include "map/array_map.hpp"

#include "map/map_fixture.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace skep::testing {
namespace {

using namespace uapi;

class ArrayMapTest : public MapFixture {
 protected:
  static MapSpec spec(std::uint32_t max_entries, std::uint32_t value_bytes = 8,
                      std::uint32_t flags = 0) {
    return {.type = BPF_MAP_TYPE_ARRAY,
            .key_bytes = 4,
            .value_bytes = value_bytes,
            .max_entries = max_entries,
            .flags = flags};
  }
};

/// A mapping as a client makes it.
struct Mapping {
  Mapping(int fd, std::size_t size, int protection)
      : bytes(size), address(::mmap(nullptr, size, protection, MAP_SHARED, fd, 0)), error(errno) {}
  ~Mapping() {
    if (ok()) ::munmap(address, bytes);
  }
  bool ok() const { return address != MAP_FAILED; }
  std::uint32_t* words() const { return static_cast<std::uint32_t*>(address); }
  std::size_t bytes;
  void* address;
  int error;
};

// The kernel's own test_maps "arraymap".
TEST_F(ArrayMapTest, KernelTestArraymap) {
  const Ref<Map> map = *create(spec(2));
  NumberMap numbers(*map, slots, caller);
  EXPECT_OK(numbers.put(1, 1234));
  EXPECT_ERRNO(numbers.put(1, 1234, BPF_NOEXIST), EEXIST);
  EXPECT_VALUE(numbers.get(1), 1234);
  EXPECT_VALUE(numbers.get(0), 0);
  EXPECT_ERRNO(numbers.put(2, 0, BPF_EXIST), E2BIG);
  EXPECT_ERRNO(numbers.get(2), ENOENT);
  EXPECT_VALUE(numbers.next(std::nullopt), 0);
  EXPECT_VALUE(numbers.next(2), 0);
  EXPECT_VALUE(numbers.next(0), 1);
  EXPECT_ERRNO(numbers.next(1), ENOENT);
  EXPECT_ERRNO(numbers.remove(1), EINVAL);
}

TEST_F(ArrayMapTest, CreationErrorsInOrder) {
  EXPECT_ERRNO(create({.type = BPF_MAP_TYPE_ARRAY,
                       .key_bytes = 8,
                       .value_bytes = 0x80000000,
                       .max_entries = 1}),
               EINVAL);
  EXPECT_ERRNO(create(spec(1, 0x80000000)), E2BIG);
  EXPECT_ERRNO(create(spec(1, 0x7fffffff)), ENOMEM);  // legal, but over the budget of this test
  EXPECT_ERRNO(create(spec(0xffffffff)), ENOMEM);
  EXPECT_ERRNO(create(spec(0xffffffff, 0x7fffffff, BPF_F_MMAPABLE)), ENOMEM);
}

// A value's own bytes are written, not its padding; a command reads exactly value_bytes.
TEST_F(ArrayMapTest, StrideIsRoundedUpToEight) {
  const Ref<Map> map = *create(spec(4, 12));
  NumberMap numbers(*map, slots, caller);
  const rcu::ReadGuard rcu;
  EXPECT_EQ(numbers.find(1) - numbers.find(0), 16);
  ASSERT_OK(numbers.put(0, 0xabababab));
  EXPECT_EQ(racy_load<std::uint32_t>(numbers.find(0) + 12), 0u);
  EXPECT_EQ(map->command_value_bytes(), 12u);
}

TEST_F(ArrayMapTest, MemoryFiguresOfLinux) {
  EXPECT_EQ((*create(spec(1)))->memory_bytes(), 320u);
  EXPECT_EQ((*create(spec(100, 12)))->memory_bytes(), 312u + 100 * 16);
  EXPECT_EQ((*create(spec(1000, 8, BPF_F_MMAPABLE)))->memory_bytes(), 4096u + 8192);
}

// A client that maps a lock could hold it for ever. maps.md 1.4: a map with a record has no mmap.
TEST_F(ArrayMapTest, MemoryWithALockIsNotShared) {
  MapSpec locked = spec(1, 8, BPF_F_MMAPABLE);
  add_lock(locked, 4);
  const Ref<Map> map = *create(std::move(locked));
  EXPECT_ERRNO(map->memory_fd(), ENOTSUPP);
  EXPECT_EQ(map->memory_bytes(), 4096u + 4096);  // as Linux accounts for it
}

TEST_F(ArrayMapTest, TheBudgetIsChargedInWholePages) {
  const std::uint64_t before = budget.used_bytes();
  {
    const Ref<Map> map = *create(spec(1000, 8));
    EXPECT_EQ(budget.used_bytes() - before, 8192u);
  }
  rcu::barrier();
  EXPECT_EQ(budget.used_bytes(), before);
}

// A large array exists at once, and only what was used takes memory.
TEST_F(ArrayMapTest, UntouchedElementsTakeNoMemory) {
  const auto resident_bytes = [] {
    long pages = 0, total = 0;
    FILE* const file = std::fopen("/proc/self/statm", "re");
    EXPECT_EQ(std::fscanf(file, "%ld %ld", &total, &pages), 2);
    std::fclose(file);
    return pages * 4096;
  };
  const long before = resident_bytes();
  const Ref<Map> map = *create(spec(100 << 20));  // 800 MB
  NumberMap numbers(*map, slots, caller);
  ASSERT_OK(numbers.put((100 << 20) - 1, 5));
  EXPECT_VALUE(numbers.get((100 << 20) - 1), 5);
  EXPECT_LT(resident_bytes() - before, 64 << 20);
}

TEST_F(ArrayMapTest, DirectValueOfGlobalData) {
  const Ref<Map> data = *create(spec(1, 20));
  NumberMap numbers(*data, slots, caller);
  EXPECT_VALUE(data->direct_value(0), numbers.find(0));
  EXPECT_VALUE(data->direct_value(19), numbers.find(0));
  EXPECT_ERRNO(data->direct_value(20), EINVAL);
  const Ref<Map> two = *create(spec(2, 20));
  EXPECT_ERRNO(two->direct_value(0), ENOTSUPP);
}

// maps.md 1.4 step 7: no key type for a section only.
TEST_F(ArrayMapTest, SectionsNeedNoKeyType) {
  BtfBuilder builder;
  const std::uint32_t word = builder.integer("int", 4);
  const std::uint32_t section = builder.data_section(".data", 4, builder.variable("counter", word));
  const Ref<Btf> btf = builder.build(budget);
  const auto attempt = [&](std::uint32_t value_type, std::uint32_t max_entries) {
    MapSpec typed = spec(max_entries, 4, BPF_F_MMAPABLE);
    typed.btf = btf;
    typed.btf_value_type_id = value_type;
    return create(std::move(typed));
  };
  EXPECT_OK(attempt(section, 1));
  EXPECT_ERRNO(attempt(section, 2), EINVAL);
  EXPECT_ERRNO(attempt(word, 1), EINVAL);
}

TEST_F(ArrayMapTest, MmapableMemoryIsShared) {
  const Ref<Map> map = *create(spec(1000, 12, BPF_F_MMAPABLE));
  NumberMap numbers(*map, slots, caller);
  const int fd = *map->memory_fd();
  struct stat status{};
  ASSERT_EQ(::fstat(fd, &status), 0);
  EXPECT_EQ(status.st_size, 16384);  // 16000 in whole pages
  std::array<char, 64> link{};
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  ASSERT_GT(::readlink(path.c_str(), link.data(), link.size() - 1), 0);
  EXPECT_NE(std::string(link.data()).find("memfd:bpf-map"), std::string::npos);
  EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);

  const Mapping mapping(fd, 16384, PROT_READ | PROT_WRITE);
  ASSERT_TRUE(mapping.ok());
  ASSERT_OK(numbers.put(3, 30));
  EXPECT_EQ(mapping.words()[3 * 4], 30u);
  for (int i = 0; i < 3; ++i) mapping.words()[999 * 4 + i] = 77;
  EXPECT_VALUE(numbers.get(999), 77);
  // Nobody can take pages away.
  EXPECT_EQ(::ftruncate(fd, 4096), -1);
  EXPECT_EQ(::ftruncate(fd, 32768), -1);
}

// Straight at the memory: the sanitizers' own checks of virtual calls need descriptors too.
TEST(MapMemory, SharedMemoryNeedsADescriptor) {
  Budget budget(1 << 20);
  const int lowest = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(lowest, 0);
  ::close(lowest);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit none = limit;
  none.rlim_cur = static_cast<rlim_t>(lowest);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto refused = MapMemory::shared(budget, 4096);
  const auto anonymous = MapMemory::anonymous(budget, 4096);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_ERRNO(refused, EMFILE);
  EXPECT_OK(anonymous);
  EXPECT_EQ(budget.used_bytes(), 4096u);  // the refused one was given back
}

// clients.md section 11.
TEST_F(ArrayMapTest, FrozenMemoryCannotBeMappedWritable) {
  const Ref<Map> map = *create(spec(1, 4, BPF_F_MMAPABLE));
  NumberMap numbers(*map, slots, caller);
  const int fd = *map->memory_fd();
  const Mapping early(fd, 4096, PROT_READ | PROT_WRITE);
  ASSERT_TRUE(early.ok());
  ASSERT_OK(map->freeze());
  const Mapping late(fd, 4096, PROT_READ | PROT_WRITE);
  EXPECT_FALSE(late.ok());
  EXPECT_EQ(late.error, EPERM);
  const Mapping readable(fd, 4096, PROT_READ);
  ASSERT_TRUE(readable.ok());
  EXPECT_EQ(::mprotect(readable.address, 4096, PROT_READ | PROT_WRITE), -1);
  EXPECT_OK(numbers.program_put(0, 9));  // programs still write
  EXPECT_EQ(readable.words()[0], 9u);
}

// "map_lock" of the kernel's tests: what is written under the lock is read whole.
TEST_F(ArrayMapTest, LockedCopiesAreWhole) {
  MapSpec locked = spec(1, 68);
  add_lock(locked, 0);
  const Ref<Map> map = *create(std::move(locked));
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (std::uint32_t cpu = 0; cpu < cpus; ++cpu) {
    writers.emplace_back([&, cpu] {
      NumberMap numbers(*map, slots, caller, cpu);
      for (std::uint32_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
        if (i % 2 == 0) {
          EXPECT_OK(numbers.put(0, i, BPF_F_LOCK));
          continue;
        }
        std::byte* const value = numbers.find(0);  // as a program does with bpf_spin_lock
        spin_lock(value);
        for (int word = 1; word <= 16; ++word) racy_store(value + word * 4, i);
        spin_unlock(value);
      }
    });
  }
  const SlotGuard control = slots.enter_control();
  MapCommand command{*control, caller};
  const std::uint32_t key = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  while (std::chrono::steady_clock::now() < end && !HasFailure()) {
    std::array<std::uint32_t, 17> out;
    EXPECT_OK(map->command_lookup(command, reinterpret_cast<const std::byte*>(&key),
                                  reinterpret_cast<std::byte*>(out.data()), BPF_F_LOCK));
    EXPECT_EQ(out[0], 0u);
    for (int word = 2; word <= 16; ++word) EXPECT_EQ(out[word], out[1]);
  }
  stop.store(true, std::memory_order_relaxed);
  for (std::thread& writer : writers) writer.join();
}

}  // namespace
}  // namespace skep::testing
