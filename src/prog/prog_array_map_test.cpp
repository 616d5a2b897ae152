// SPDX-License-Identifier: Apache-2.0
// PROG_ARRAY and tail calls (maps.md 4.4, program-load.md 7.2).
#include "prog/prog_array_map.hpp"

#include "prog/program_test_support.hpp"

#include <gtest/gtest.h>

namespace skep::testing {
namespace {

using namespace uapi;

/// Descriptors of programs, nothing else.
class TestCaller final : public Caller {
 public:
  bool capable(Capability) const override { return true; }
  Result<Ref<Object>> object(int fd, ObjectKind kind, Access*) override {
    const auto found = objects.find(fd);
    if (found == objects.end()) return Errno{EBADF};
    if (found->second->kind() != kind) return Errno{EINVAL};
    return found->second;
  }
  NetNamespace& net_namespace() override { std::abort(); }
  Result<void> read(std::uint64_t, std::span<std::byte>) override { return Errno{EFAULT}; }
  Result<void> write(std::uint64_t, std::span<const std::byte>) override { return Errno{EFAULT}; }
  std::uint32_t uid() const override { return 0; }

  std::map<int, Ref<Object>> objects;
};

class ProgArray : public ProgramTest {
 protected:
  ProgArray() { make_map(3, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4); }
  ~ProgArray() override {
    caller_.objects.clear();
    UserRef last(resolver_.maps[3]);  // its end empties the map, so that no cycle remains
  }
  Map& map() { return *resolver_.maps[3]; }
  const std::byte* bytes(const std::uint32_t& number) {
    return reinterpret_cast<const std::byte*>(&number);
  }
  Result<void> put(std::uint32_t index, int fd, std::uint64_t flags = 0) {
    const SlotGuard slot = slots_.enter_control();
    MapCommand command{*slot, caller_};
    return map().command_update(command, bytes(index), bytes(static_cast<std::uint32_t>(fd)),
                                flags);
  }
  Result<void> erase(std::uint32_t index) {
    const SlotGuard slot = slots_.enter_control();
    MapCommand command{*slot, caller_};
    return map().command_erase(command, bytes(index));
  }
  Result<std::uint32_t> get(std::uint32_t index) {
    const SlotGuard slot = slots_.enter_control();
    MapCommand command{*slot, caller_};
    std::uint32_t id = 0;
    TRY(map().command_lookup(command, bytes(index), reinterpret_cast<std::byte*>(&id), 0));
    return id;
  }
  Result<std::uint32_t> next(const std::uint32_t* key) {
    const SlotGuard slot = slots_.enter_control();
    MapCommand command{*slot, caller_};
    std::uint32_t following = 0;
    TRY(map().next_key(command, reinterpret_cast<const std::byte*>(key),
                       reinterpret_cast<std::byte*>(&following)));
    return following;
  }
  /// Loads and gives the program the descriptor `fd`.
  Program& add(int fd, std::string_view text) { return add(fd, spec_of(text)); }
  Program& add(int fd, ProgramSpec spec) { return publish(fd, load(std::move(spec))); }
  Program& publish(int fd, Result<Ref<Program>> program) {
    EXPECT_OK(program) << log_text_;
    Program& added = **program;
    EXPECT_OK(ids_.publish(added));
    caller_.objects[fd] = std::move(*program);
    return added;
  }

  IdTable ids_;
  TestCaller caller_;
};

constexpr std::string_view tail_call_0 = "r2 = map 3; r3 = 0; call 12; ";
std::string text(std::string_view a, std::string_view b) { return std::string(a) + std::string(b); }

TEST_F(ProgArray, ValuesAreDescriptorsInAndIdsOut) {
  const Program& program = add(10, "r0 = 1; exit");
  EXPECT_ERRNO(get(0), ENOENT);
  EXPECT_OK(put(0, 10));
  EXPECT_EQ(*get(0), program.id());
  EXPECT_ERRNO(get(4), ENOENT);
  EXPECT_ERRNO(put(0, 10, BPF_NOEXIST), EINVAL);
  EXPECT_ERRNO(put(0, 10, BPF_EXIST), EINVAL);
  EXPECT_ERRNO(put(4, 10, BPF_EXIST), EINVAL);  // flags are looked at first
  EXPECT_ERRNO(put(4, 77), E2BIG);              // then the index
  EXPECT_ERRNO(put(0, 77), EBADF);
  caller_.objects[11] = resolver_.maps[3];
  EXPECT_ERRNO(put(0, 11), EINVAL);
  caller_.objects.erase(11);
  EXPECT_OK(erase(0));
  EXPECT_ERRNO(erase(0), ENOENT);
  EXPECT_ERRNO(erase(4), E2BIG);
}

TEST_F(ProgArray, KeysAreAllIndexes) {
  EXPECT_EQ(*next(nullptr), 0U);
  const std::uint32_t first = 0, last = 3, beyond = 9;
  EXPECT_EQ(*next(&first), 1U);
  EXPECT_ERRNO(next(&last), ENOENT);
  EXPECT_EQ(*next(&beyond), 0U);
}

TEST_F(ProgArray, TailCallReplacesTheProgram) {
  Program& caller = add(10, text(tail_call_0, "r0 = 3; exit"));
  EXPECT_EQ(run(caller).value, 3U) << "an empty slot falls through";
  add(11, "r2 = *(u32 *)(r1 + 0); r0 = *(u64 *)(r10 - 8); r0 += 42; exit");
  ASSERT_OK(put(0, 11));
  EXPECT_EQ(run(caller).value, 42U);
  ASSERT_OK(erase(0));
  EXPECT_EQ(run(caller).value, 3U) << "an erase takes effect at once";
}

TEST_F(ProgArray, IndexIsTakenAs32Bits) {
  add(11, "r0 = 42; exit");
  ASSERT_OK(put(1, 11));
  EXPECT_EQ(run(add(10, "r2 = map 3; r3 = 0x700000001 ll; call 12; r0 = 3; exit")).value, 42U);
  EXPECT_EQ(run(add(12, "r2 = map 3; r3 = -1; call 12; r0 = 3; exit")).value, 3U);
}

TEST_F(ProgArray, ThirtyThreeTailCalls) {
  Program& program = add(10, R"(
    r2 = *(u32 *)(r1 + 16)
    r2 += 1
    *(u32 *)(r1 + 16) = r2
    r6 = r1
    r2 = map 3
    r3 = 0
    call 12
    r0 = *(u32 *)(r6 + 16)
    exit
  )");
  ASSERT_OK(put(0, 10));
  EXPECT_EQ(run(program).value, 34U);
}

TEST_F(ProgArray, SubprogramReturnsFromItsTailCall) {
  add(11, "call @g; r0 += 40; exit; g: r0 = 2; exit");
  ASSERT_OK(put(0, 11));
  Program& program = publish(10, load_with_functions(R"(
    r6 = 100
    call @f
    r0 += r6
    exit
  f:
    r2 = map 3
    r3 = 0
    call 12
    r0 = 3
    exit
  )",
                                                     2));
  const Outcome outcome = run(program);
  EXPECT_FALSE(outcome.faulted) << program.last_fault()->describe();
  EXPECT_EQ(outcome.value, 142U);
}

TEST_F(ProgArray, EachTailCalledProgramHasAllItsFrames) {
  // Each program calls down seven frames and tail-calls itself from there, so frames pile up.
  std::string deep;
  for (int n = 0; n < 7; ++n) deep += "call pc+1; exit\n";
  Program& program = publish(10, load_with_functions(deep + R"(
    r2 = *(u32 *)(r1 + 16)
    r2 += 1
    *(u32 *)(r1 + 16) = r2
    r2 = map 3
    r3 = 0
    call 12
    r0 = 5
    exit
  )",
                                                     8));
  ASSERT_OK(put(0, 10));
  TestContext context;
  const Outcome outcome = ProgramTest::run(program, context);
  EXPECT_FALSE(outcome.faulted) << program.last_fault()->describe();
  EXPECT_EQ(outcome.value, 5U);
  EXPECT_EQ(context.mark, 34U);
}

// The same through callbacks, whose frames lie on the stack of the thread as well.
TEST_F(ProgArray, CallbacksNestInEachTailCalledProgram) {
  std::string deep = "r2 = r1\n";
  for (int n = 0; n < 7; ++n) {
    const std::string next = "f" + std::to_string(n);
    deep +=
        "r3 = r2; r1 = 1; r2 = func " + next + "; r4 = 0; call 181; r0 = 0; exit\n" + next + ":";
  }
  Program& program = publish(10, load_with_functions(deep + R"(
    r1 = *(u32 *)(r2 + 16)
    r1 += 1
    *(u32 *)(r2 + 16) = r1
    r1 = r2
    r2 = map 3
    r3 = 0
    call 12
    r0 = 0
    exit
  )",
                                                     8));
  ASSERT_OK(put(0, 10));
  TestContext context;
  const Outcome outcome = ProgramTest::run(program, context);
  EXPECT_FALSE(outcome.faulted) << program.last_fault()->describe();
  EXPECT_EQ(context.mark, 34U);
}

TEST_F(ProgArray, FaultNamesTheProgramItHappenedIn) {
  const Program& callee = add(11, "r0 = *(u8 *)(r10 + 0); exit");
  ASSERT_OK(put(0, 11));
  Program& caller = add(10, text(tail_call_0, "r0 = 0; exit"));
  EXPECT_TRUE(run(caller).faulted);
  EXPECT_EQ(caller.last_fault()->prog_id, callee.id());
  EXPECT_EQ(caller.statistics().faults, 1U);
  EXPECT_EQ(callee.statistics().faults, 0U);
}

TEST_F(ProgArray, FirstProgramDecidesWhoMayUseTheMap) {
  add(10, text(tail_call_0, "r0 = 0; exit"));
  EXPECT_EQ(static_cast<ProgramMap&>(map()).owner()->type, std::uint32_t{BPF_PROG_TYPE_XDP});
  const auto other = [&](auto change) {
    ProgramSpec spec = spec_of("r0 = 0; exit");
    change(spec);
    return spec;
  };
  add(11, other([](ProgramSpec& spec) { spec.expected_attach_type = BPF_XDP; }));
  EXPECT_ERRNO(put(0, 11), EINVAL);
  add(12, other([](ProgramSpec& spec) { spec.flags = BPF_F_XDP_HAS_FRAGS; }));
  EXPECT_ERRNO(put(0, 12), EINVAL);
  add(13, other([&](ProgramSpec& spec) { spec.type = &socket_filter_; }));
  EXPECT_ERRNO(put(0, 13), EINVAL);
  add(14, "r0 = 0; exit");
  EXPECT_OK(put(0, 14));
  // A program that only names the map is held to it as well, at the end of its load.
  ProgramSpec spec = spec_of(text(tail_call_0, "r0 = 0; exit"));
  spec.expected_attach_type = BPF_XDP;
  EXPECT_ERRNO(load(std::move(spec)), EINVAL);
}

TEST_F(ProgArray, LastUserEmptiesIt) {
  Program& program = add(10, text(tail_call_0, "r0 = 3; exit"));
  add(11, "r0 = 42; exit");
  {
    UserRef user(resolver_.maps[3]);
    ASSERT_OK(put(0, 11));
    EXPECT_EQ(run(program).value, 42U);
  }
  EXPECT_EQ(run(program).value, 3U);
}

TEST_F(ProgArray, ProgramsReachItOnlyByTailCalls) {
  EXPECT_EQ(fault_of("*(u32 *)(r10 - 4) = 0; r1 = map 3; r2 = r10; r2 += -4; call 1; exit").kind,
            FaultKind::helper_argument);
}

TEST_F(ProgArray, CreationRules) {
  const MapType& type = *map_types_.find(BPF_MAP_TYPE_PROG_ARRAY);
  const auto check = [&](MapSpec spec) {
    spec.type = BPF_MAP_TYPE_PROG_ARRAY;
    return type.check(spec, caller_);
  };
  EXPECT_OK(check({.key_bytes = 4, .value_bytes = 4, .max_entries = 1}));
  EXPECT_ERRNO(check({.key_bytes = 8, .value_bytes = 4, .max_entries = 1}), EINVAL);
  EXPECT_ERRNO(check({.key_bytes = 4, .value_bytes = 8, .max_entries = 1}), EINVAL);
  EXPECT_ERRNO(check({.key_bytes = 4, .value_bytes = 4, .max_entries = 0}), EINVAL);
  EXPECT_ERRNO(
      check({.key_bytes = 4, .value_bytes = 4, .max_entries = 1, .flags = BPF_F_RDONLY_PROG}),
      EINVAL);
  EXPECT_ERRNO(check({.key_bytes = 4, .value_bytes = 4, .max_entries = 1, .flags = BPF_F_MMAPABLE}),
               EINVAL);
  EXPECT_ERRNO(type.make(type, {.type = 3, .key_bytes = 4, .value_bytes = 4, .max_entries = ~0U},
                         {slots_, budget_, random_}),
               ENOMEM);
  EXPECT_EQ(map().memory_bytes(), 312U + 4 * 8);
  EXPECT_ERRNO(type.check_btf({}), EINVAL);
}

}  // namespace
}  // namespace skep::testing
