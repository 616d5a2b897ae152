// SPDX-License-Identifier: Apache-2.0
// What the differential tests cannot ask the host: capabilities, budget, lifetimes, and commands
// that skep lacks. The kernel's own answers are compared in tests/differential.
#include "syscall/commands.hpp"

#include "cpu/clock.hpp"
#include "cpu/random.hpp"
#include "cpu/slot.hpp"
#include "map/map.hpp"
#include "net/device.hpp"
#include "prog/program.hpp"
#include "prog/socket_filter.hpp"
#include "rcu/rcu.hpp"
#include "support/expect.hpp"
#include "syscall/caller.hpp"
#include "uapi/bpf.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace skep {
namespace {

class Silence final : public TraceSink {
  void write(std::string_view, std::uint32_t, std::uint64_t, std::string_view) override {}
};

class Commands : public ::testing::Test {
 protected:
  Commands()
      : slots_(2, clock_, 1),
        maps_{slots_, budget_, random_},
        programs_{.slots = slots_, .budget = budget_, .types = program_types_, .trace = trace_},
        syscalls_(map_types_, program_types_, slots_, maps_, programs_, budget_),
        net_namespace_(make_object<NetNamespace>(slots_)),
        caller_(syscalls_.descriptors(), net_namespace_) {
    add_memory_map_types(map_types_);
    add_program_map_types(map_types_);
    program_types_.add(socket_filter_);
  }
  ~Commands() override {
    syscalls_.release_objects();
    net_namespace_ = nullptr;
    rcu::barrier();
  }

  template <class Attr>
  Result<std::uint64_t> call(std::uint32_t number, Attr& attr) {
    return syscalls_.bpf(caller_, number, reinterpret_cast<std::uint64_t>(&attr), sizeof attr);
  }
  Result<OwnedFd> make_map(std::uint32_t type, std::uint32_t value_bytes = 8,
                           std::uint32_t flags = 0, std::uint32_t max_entries = 4) {
    uapi::map_create_attr attr{};
    attr.map_type = type;
    attr.key_size = 4;
    attr.value_size = value_bytes;
    attr.max_entries = max_entries;
    attr.map_flags = flags;
    return OwnedFd(static_cast<int>(TRY(call(uapi::BPF_MAP_CREATE, attr))));
  }
  Result<OwnedFd> load() {
    static const std::array<uapi::bpf_insn, 2> instructions{
        {{.code = 0xb7, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
         {.code = 0x95, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}}};
    uapi::prog_load_attr attr{};
    attr.prog_type = uapi::BPF_PROG_TYPE_SOCKET_FILTER;
    attr.insn_cnt = instructions.size();
    attr.insns = reinterpret_cast<std::uint64_t>(instructions.data());
    attr.license = reinterpret_cast<std::uint64_t>("GPL");
    return OwnedFd(static_cast<int>(TRY(call(uapi::BPF_PROG_LOAD, attr))));
  }
  Result<std::uint64_t> element(std::uint32_t command, const OwnedFd& map, std::uint32_t key,
                                void* value) {
    uapi::map_elem_attr attr{static_cast<std::uint32_t>(map.get()), 0,
                             reinterpret_cast<std::uint64_t>(&key),
                             reinterpret_cast<std::uint64_t>(value), 0};
    return call(command, attr);
  }
  Result<std::uint64_t> next_id(std::uint32_t command, std::uint32_t after = 0) {
    uapi::get_id_attr attr{after, 0, 0};
    TRY(call(command, attr));
    return attr.next_id;
  }
  Result<std::uint64_t> path_command(std::uint32_t command, const std::string& path,
                                     const OwnedFd& fd) {
    uapi::obj_attr attr{reinterpret_cast<std::uint64_t>(path.c_str()),
                        static_cast<std::uint32_t>(fd.is_open() ? fd.get() : 0), 0, 0};
    return syscalls_.bpf(caller_, command, reinterpret_cast<std::uint64_t>(&attr), 20);
  }

  VirtualClock clock_;
  CpuSlots slots_;
  Budget budget_{16 << 20};
  Random random_{1, 0};
  Silence trace_;
  MapTypes map_types_;
  ProgramTypes program_types_;
  MapEnvironment maps_;
  ProgramEnvironment programs_;
  SocketFilterType socket_filter_;
  Syscalls syscalls_;
  Ref<NetNamespace> net_namespace_;
  LocalCaller caller_;
};

TEST_F(Commands, CommandsThatAreMissingAreUnknown) {
  std::array<std::uint64_t, 21> attr{};
  for (const std::uint32_t number :
       {uapi::BPF_PROG_ATTACH, uapi::BPF_PROG_DETACH, uapi::BPF_PROG_QUERY,
        uapi::BPF_RAW_TRACEPOINT_OPEN, uapi::BPF_TASK_FD_QUERY, uapi::BPF_LINK_CREATE,
        uapi::BPF_LINK_UPDATE, uapi::BPF_ITER_CREATE, uapi::BPF_LINK_DETACH,
        uapi::BPF_TOKEN_CREATE})
    EXPECT_ERRNO(call(number, attr), EINVAL) << number;
  EXPECT_ERRNO(next_id(uapi::BPF_LINK_GET_NEXT_ID), ENOENT);
}

TEST_F(Commands, ResultsTurnNegativeAtTheEdge) {
  EXPECT_EQ(skep_result(7), 7);
  EXPECT_EQ(skep_result(Errno{EINVAL}), -EINVAL);
  EXPECT_EQ(skep_result(Errno{ENOTSUPP}), -524);
}

TEST_F(Commands, CapabilitiesDecideAfterAttributes) {
  const OwnedFd map = make_map(uapi::BPF_MAP_TYPE_HASH).take();
  caller_.set_capabilities({});
  EXPECT_ERRNO(make_map(uapi::BPF_MAP_TYPE_HASH), EPERM);
  EXPECT_ERRNO(make_map(uapi::BPF_MAP_TYPE_HASH, 0), EINVAL);
  EXPECT_ERRNO(make_map(uapi::BPF_MAP_TYPE_HASH, 0, uapi::BPF_F_ZERO_SEED), EPERM);
  EXPECT_ERRNO(load(), EPERM);
  EXPECT_ERRNO(next_id(uapi::BPF_MAP_GET_NEXT_ID), EPERM);
  EXPECT_ERRNO(next_id(uapi::BPF_MAP_GET_NEXT_ID, 0x7fffffff), EINVAL);
  uapi::get_id_attr open{1, 0, 0};
  EXPECT_ERRNO(call(uapi::BPF_MAP_GET_FD_BY_ID, open), EPERM);
  uapi::enable_stats_attr stats{1};
  EXPECT_ERRNO(call(uapi::BPF_ENABLE_STATS, stats), EPERM);
  uapi::btf_load_attr btf{};
  EXPECT_ERRNO(call(uapi::BPF_BTF_LOAD, btf), EPERM);

  // Who holds a descriptor may use it.
  std::uint64_t value = 1;
  EXPECT_OK(element(uapi::BPF_MAP_UPDATE_ELEM, map, 1, &value));
  caller_.set_capabilities({Capability::bpf});
  EXPECT_OK(make_map(uapi::BPF_MAP_TYPE_HASH));
  EXPECT_OK(load());
}

TEST_F(Commands, TheBudgetRefusesWithEnomem) {
  EXPECT_ERRNO(make_map(uapi::BPF_MAP_TYPE_ARRAY, 8, 0, 1 << 24), ENOMEM);
  std::vector<char> log(1);
  uapi::btf_load_attr btf{};
  btf.btf_size = 16 << 20;
  const std::uint64_t used = budget_.used_bytes();
  EXPECT_ERRNO(call(uapi::BPF_BTF_LOAD, btf), EFAULT);
  const Charge most = budget_.charge(budget_.limit_bytes() - used - 100).take();
  EXPECT_ERRNO(call(uapi::BPF_BTF_LOAD, btf), ENOMEM);
  uapi::prog_load_attr load{};
  load.prog_type = uapi::BPF_PROG_TYPE_SOCKET_FILTER;
  load.insn_cnt = 1000;
  EXPECT_ERRNO(call(uapi::BPF_PROG_LOAD, load), ENOMEM);
  EXPECT_EQ(budget_.used_bytes(), budget_.limit_bytes() - 100) << "nothing stays charged";
}

// A bad name is found only once the map has its memory.
TEST_F(Commands, RunningOutOfMemoryIsNoticedBeforeABadName) {
  uapi::map_create_attr attr{};
  attr.map_type = uapi::BPF_MAP_TYPE_ARRAY;
  attr.key_size = 4;
  attr.value_size = 8;
  attr.max_entries = 1 << 24;
  attr.map_name[0] = '!';
  EXPECT_ERRNO(call(uapi::BPF_MAP_CREATE, attr), ENOMEM);
  attr.max_entries = 1;
  EXPECT_ERRNO(call(uapi::BPF_MAP_CREATE, attr), EINVAL);
}

TEST_F(Commands, AnObjectGoesWithItsLastDescriptor) {
  OwnedFd map = make_map(uapi::BPF_MAP_TYPE_ARRAY).take();
  OwnedFd prog = load().take();
  EXPECT_EQ(next_id(uapi::BPF_MAP_GET_NEXT_ID).take(), 1u);
  EXPECT_EQ(next_id(uapi::BPF_PROG_GET_NEXT_ID).take(), 1u);
  map = OwnedFd();
  EXPECT_ERRNO(next_id(uapi::BPF_MAP_GET_NEXT_ID), ENOENT);
  prog = OwnedFd();
  EXPECT_ERRNO(next_id(uapi::BPF_PROG_GET_NEXT_ID), ENOENT);
  uapi::get_id_attr open{1, 0, 0};
  EXPECT_ERRNO(call(uapi::BPF_MAP_GET_FD_BY_ID, open), ENOENT);
}

TEST_F(Commands, ABoundMapStaysWithItsProgram) {
  OwnedFd prog = load().take();
  OwnedFd map = make_map(uapi::BPF_MAP_TYPE_ARRAY).take();
  uapi::prog_bind_map_attr bind{static_cast<std::uint32_t>(prog.get()),
                                static_cast<std::uint32_t>(map.get()), 0};
  ASSERT_OK(call(uapi::BPF_PROG_BIND_MAP, bind));
  map = OwnedFd();
  EXPECT_OK(next_id(uapi::BPF_MAP_GET_NEXT_ID));
  prog = OwnedFd();
  syscalls_.reap();
  rcu::barrier();  // a program lets go of its maps when it is destroyed
  EXPECT_ERRNO(next_id(uapi::BPF_MAP_GET_NEXT_ID), ENOENT);
}

TEST_F(Commands, APinKeepsAnObjectAndGivesAFreshDescriptor) {
  OwnedFd map = make_map(uapi::BPF_MAP_TYPE_ARRAY, 8, uapi::BPF_F_RDONLY).take();
  ASSERT_OK(path_command(uapi::BPF_OBJ_PIN, "/sys/fs/bpf/m", map));
  map = OwnedFd();
  EXPECT_EQ(next_id(uapi::BPF_MAP_GET_NEXT_ID).take(), 1u);
  const OwnedFd again(
      static_cast<int>(path_command(uapi::BPF_OBJ_GET, "/sys/fs/bpf/m", OwnedFd()).take()));
  std::uint64_t value = 7;
  EXPECT_OK(element(uapi::BPF_MAP_UPDATE_ELEM, again, 0, &value)) << "readable and writable";
}

// The last user of a PROG_ARRAY leaves: its slots empty although a program still holds it.
TEST_F(Commands, AProgArrayWithoutUsersIsEmptied) {
  OwnedFd array = make_map(uapi::BPF_MAP_TYPE_PROG_ARRAY, 4).take();
  const OwnedFd holder = load().take();
  OwnedFd target = load().take();
  uapi::prog_bind_map_attr bind{static_cast<std::uint32_t>(holder.get()),
                                static_cast<std::uint32_t>(array.get()), 0};
  ASSERT_OK(call(uapi::BPF_PROG_BIND_MAP, bind));
  int fd = target.get();
  ASSERT_OK(element(uapi::BPF_MAP_UPDATE_ELEM, array, 0, &fd));
  target = OwnedFd();
  EXPECT_EQ(next_id(uapi::BPF_PROG_GET_NEXT_ID, 1).take(), 2u) << "the slot holds it";

  array = OwnedFd();
  syscalls_.reap();
  rcu::barrier();
  EXPECT_ERRNO(next_id(uapi::BPF_PROG_GET_NEXT_ID, 1), ENOENT);
}

TEST_F(Commands, StatisticsCountWhileADescriptorIsOpen) {
  uapi::enable_stats_attr attr{0};
  OwnedFd stats(static_cast<int>(call(uapi::BPF_ENABLE_STATS, attr).take()));
  EXPECT_EQ(programs_.stats_users.load(), 1u);
  uapi::bpf_map_info info{};
  uapi::info_by_fd_attr get{static_cast<std::uint32_t>(stats.get()), sizeof info,
                            reinterpret_cast<std::uint64_t>(&info)};
  EXPECT_ERRNO(call(uapi::BPF_OBJ_GET_INFO_BY_FD, get), EINVAL);
  stats = OwnedFd();
  syscalls_.reap();
  EXPECT_EQ(programs_.stats_users.load(), 0u);
}

TEST_F(Commands, AMmapableArrayIsSharedAndFreezingSealsIt) {
  const OwnedFd map = make_map(uapi::BPF_MAP_TYPE_ARRAY, 8, uapi::BPF_F_MMAPABLE).take();
  void* const page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map.get(), 0);
  ASSERT_NE(page, MAP_FAILED);
  auto* const values = static_cast<volatile std::uint64_t*>(page);
  values[1] = 5;
  std::uint64_t value = 0;
  ASSERT_OK(element(uapi::BPF_MAP_LOOKUP_ELEM, map, 1, &value));
  EXPECT_EQ(value, 5u);
  value = 6;
  ASSERT_OK(element(uapi::BPF_MAP_UPDATE_ELEM, map, 2, &value));
  EXPECT_EQ(values[2], 6u);
  EXPECT_EQ(::ftruncate(map.get(), 0), -1);
  ::munmap(page, 4096);

  uapi::map_elem_attr freeze{};
  freeze.map_fd = static_cast<std::uint32_t>(map.get());
  ASSERT_OK(
      syscalls_.bpf(caller_, uapi::BPF_MAP_FREEZE, reinterpret_cast<std::uint64_t>(&freeze), 4));
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map.get(), 0), MAP_FAILED);
  EXPECT_EQ(errno, EPERM);
  void* const read_only = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, map.get(), 0);
  ASSERT_NE(read_only, MAP_FAILED);
  EXPECT_EQ(static_cast<volatile std::uint64_t*>(read_only)[2], 6u);
  ::munmap(read_only, 4096);
  EXPECT_ERRNO(element(uapi::BPF_MAP_UPDATE_ELEM, map, 2, &value), EPERM);
}

// Without what a command lacks a program's words are hidden; its identity is not.
TEST_F(Commands, ProgramInfoHidesInstructionsFromWhoMayNotLoad) {
  const OwnedFd prog = load().take();
  std::array<uapi::bpf_insn, 4> instructions{};
  const auto ask = [&] {
    uapi::bpf_prog_info info{};
    info.xlated_prog_len = sizeof instructions;
    info.xlated_prog_insns = reinterpret_cast<std::uint64_t>(instructions.data());
    uapi::info_by_fd_attr get{static_cast<std::uint32_t>(prog.get()), sizeof info,
                              reinterpret_cast<std::uint64_t>(&info)};
    EXPECT_OK(call(uapi::BPF_OBJ_GET_INFO_BY_FD, get));
    return info;
  };
  caller_.set_capabilities({});
  EXPECT_EQ(ask().xlated_prog_len, 0u);
  EXPECT_EQ(instructions[0].code, 0);
  EXPECT_EQ(ask().id, 1u);
  caller_.set_capabilities({Capability::bpf});
  EXPECT_EQ(ask().xlated_prog_len, 16u);
  EXPECT_EQ(instructions[0].code, 0xb7);
}

TEST_F(Commands, ManyThreadsCreateUseAndCloseMaps) {
  std::vector<std::jthread> threads;
  std::array<int, 4> failures{};
  for (std::size_t t = 0; t < failures.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 30; ++round) {
        const std::uint32_t type = t % 2 == 0 ? uapi::BPF_MAP_TYPE_ARRAY : uapi::BPF_MAP_TYPE_HASH;
        const auto map = make_map(type);
        std::uint64_t value = t;
        if (!map || !element(uapi::BPF_MAP_UPDATE_ELEM, *map, 1, &value) ||
            !element(uapi::BPF_MAP_LOOKUP_ELEM, *map, 1, &value) || value != t)
          ++failures[t];
        (void)next_id(uapi::BPF_MAP_GET_NEXT_ID);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(failures, (std::array<int, 4>{}));
  EXPECT_ERRNO(next_id(uapi::BPF_MAP_GET_NEXT_ID), ENOENT);
}

}  // namespace
}  // namespace skep
