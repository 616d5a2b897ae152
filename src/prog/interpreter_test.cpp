// SPDX-License-Identifier: Apache-2.0
// What the checked interpreter lets programs do and where it stops them. Single instructions:
// isa_conformance_test.cpp.
#include "prog/host_bpf_test_support.hpp"
#include "prog/program_test_support.hpp"
#include "sync/racy.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace skep::testing {
namespace {

using namespace uapi;

class Interpreter : public ProgramTest {};

/// Looks up key 0 of map 3; r0 is the value.
constexpr std::string_view lookup = R"(
  *(u32 *)(r10 - 4) = 0
  r2 = r10
  r2 += -4
  r1 = map 3
  call 1
)";

std::string text(std::string_view a, std::string_view b) { return std::string(a) + std::string(b); }

TEST_F(Interpreter, ValueThatWasLookedUpMayBeTouched) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 16, 1);
  EXPECT_EQ(value_of(text(lookup, "*(u64 *)(r0 + 8) = 5; r0 = *(u64 *)(r0 + 8); exit")), 5U);
}

TEST_F(Interpreter, MissingValueIsNull) {
  make_map(3, BPF_MAP_TYPE_HASH, 4, 16, 1);
  const Fault fault = fault_of(text(lookup, "r0 = *(u64 *)(r0 + 0); exit"));
  EXPECT_EQ(fault.kind, FaultKind::invalid_read);
  EXPECT_EQ(fault.pc, 6U);
  EXPECT_EQ(fault.reg, 0U);
  EXPECT_EQ(fault.describe(), "pc 6: read of 8 bytes through r0: null may not be read");
}

TEST_F(Interpreter, ValueEndsWhereValueBytesEnd) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 12, 4);  // 4 bytes of padding lie behind each value
  EXPECT_EQ(value_of(text(lookup, "*(u32 *)(r0 + 8) = 1; r0 = 0; exit")), 0U);
  const Fault fault = fault_of(text(lookup, "*(u64 *)(r0 + 8) = 1; exit"));
  EXPECT_EQ(fault.kind, FaultKind::invalid_write);
  EXPECT_EQ(fault.where, "map value+8 (map3, 12 bytes)");
  EXPECT_EQ(fault_of(text(lookup, "*(u8 *)(r0 - 1) = 1; exit")).where,
            "map value-1 (map3, 12 bytes)");
}

TEST_F(Interpreter, NeighbourValueNeedsItsOwnLookup) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 4);
  EXPECT_EQ(fault_of(text(lookup, "*(u8 *)(r0 + 8) = 1; exit")).kind, FaultKind::invalid_write);
}

TEST_F(Interpreter, ValueOfAnEarlierRunIsOutOfReach) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 1);
  Result<Ref<Program>> first = load(text(lookup, "exit"));
  ASSERT_OK(first);
  const std::uint64_t address = run(**first).value;
  ASSERT_NE(address, 0U);
  char program[64];
  std::snprintf(program, sizeof program, "r1 = %llu ll; r0 = *(u8 *)(r1 + 0); exit",
                static_cast<unsigned long long>(address));
  EXPECT_EQ(fault_of(program).kind, FaultKind::invalid_read);
}

TEST_F(Interpreter, HundredThousandValuesInOneRun) {
  constexpr std::uint32_t count = 100'000;
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, count);
  environment_.instruction_budget = 4'000'000;
  // Adds 1 to each value; then the very first one is still within reach.
  EXPECT_EQ(value_of(R"(
    r6 = 0
    r8 = 0
  again:
    *(u32 *)(r10 - 4) = r6
    r2 = r10
    r2 += -4
    r1 = map 3
    call 1
    if r8 != 0 goto have
    r8 = r0
  have:
    r1 = *(u64 *)(r0 + 0)
    r1 += 1
    *(u64 *)(r0 + 0) = r1
    r6 += 1
    if r6 < 100000 goto again
    r0 = *(u64 *)(r8 + 0)
    exit
  )"),
            1U);
}

TEST_F(Interpreter, GrantsStopAtTheByteBudget) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 100'000);
  const Result<Charge> rest =
      budget_.charge(budget_.limit_bytes() - budget_.used_bytes() - 64 * 1024);
  ASSERT_OK(rest);
  environment_.instruction_budget = 4'000'000;
  const Fault fault = fault_of(R"(
    r6 = 0
  again:
    *(u32 *)(r10 - 4) = r6
    r2 = r10
    r2 += -4
    r1 = map 3
    call 1
    r6 += 1
    if r6 < 100000 goto again
    exit
  )");
  EXPECT_EQ(fault.kind, FaultKind::out_of_memory);
}

TEST_F(Interpreter, MapsKeepTheirRights) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_RDONLY_PROG);
  EXPECT_EQ(value_of(text(lookup, "r0 = *(u64 *)(r0 + 0); exit")), 0U);
  const Fault write = fault_of(text(lookup, "*(u64 *)(r0 + 0) = 1; exit"));
  EXPECT_EQ(write.kind, FaultKind::invalid_write);
  EXPECT_EQ(write.where, "map value+0 (map3, 8 bytes, read-only)");
  EXPECT_EQ(fault_of(R"(
    *(u64 *)(r10 - 8) = 0
    *(u32 *)(r10 - 12) = 0
    r1 = map 3
    r2 = r10
    r2 += -12
    r3 = r10
    r3 += -8
    r4 = 0
    call 2
    exit
  )")
                .kind,
            FaultKind::helper_argument);
}

TEST_F(Interpreter, WriteOnlyValuesMayBeFoundAndWritten) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_WRONLY_PROG);
  EXPECT_EQ(value_of(text(lookup, "*(u64 *)(r0 + 0) = 1; r0 = 5; exit")), 5U);
  const Fault read = fault_of(text(lookup, "r0 = *(u64 *)(r0 + 0); exit"));
  EXPECT_EQ(read.kind, FaultKind::invalid_read);
  EXPECT_EQ(read.where, "map value+0 (map3, 8 bytes, write-only)");
  // An atomic operation reads as well, whether or not it hands out what it read.
  for (const std::string_view atomic :
       {"r1 = atomic_fetch_add((u64 *)(r0 + 0), r1)", "lock *(u64 *)(r0 + 0) += r1"}) {
    const std::string program = text(lookup, "r1 = 1;") + std::string(atomic);
    EXPECT_EQ(fault_of(program + "; r0 = 0; exit").kind, FaultKind::invalid_read) << atomic;
  }
  EXPECT_EQ(value_of(text(lookup, "r1 = 1; store_release((u64 *)(r0 + 0), r1); r0 = 0; exit")), 0U);
}

TEST_F(Interpreter, DirectValuesAreWithinReachWithoutLookup) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 16, 1);
  EXPECT_EQ(
      value_of("r1 = map 3 +8; *(u64 *)(r1 + 0) = 6; r2 = map 3 +0; r0 = *(u64 *)(r2 + 8); exit"),
      6U);
  EXPECT_EQ(fault_of("r1 = map 3 +8; *(u64 *)(r1 + 8) = 6; exit").where,
            "map value+16 (map3, 16 bytes)");
}

TEST_F(Interpreter, MapPointerIsNoMemory) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 16, 1);
  const Fault fault = fault_of("r1 = map 3; r0 = *(u64 *)(r1 + 0); exit");
  EXPECT_EQ(fault.where, "map pointer (map3)");
}

TEST_F(Interpreter, HelperArgumentsAreChecked) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 16, 1);
  make_map(4, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1);
  struct {
    std::string_view program;
    std::uint8_t reg;
    std::string_view where;
  } const cases[] = {
      {"r1 = 5; r2 = r10; r2 += -4; call 1; exit", 1, "not a map of this program: null+5"},
      {"r1 = map 3; r1 += 8; r2 = r10; r2 += -4; call 1; exit", 1,
       "not a map of this program: map pointer (map3)"},
      {"r1 = map 4; r2 = r10; r2 += -4; call 1; exit", 1,
       "map of a type that this helper does not take: map pointer (map4)"},
      {"r1 = map 3; r2 = 0; call 1; exit", 2, "key is not readable: 4 bytes at null"},
      {"r1 = map 3; r2 = r10; r2 += -3; call 1; exit", 2,
       "key is not readable: 4 bytes at stack-3"},
      {"r6 = r1; r2 = *(u32 *)(r1 + 4); r2 += -3; r1 = map 3; call 1; exit", 2,
       "key is not readable: 4 bytes at packet+61 (end at 64)"},
      {"*(u32 *)(r10 - 4) = 0; r1 = map 3; r2 = r10; r2 += -4; r3 = r10; r3 += -15; r4 = 0; call "
       "2; exit",
       3, "value is not readable: 16 bytes at stack-15"},
      {"r1 = r10; r1 += -8; r2 = 9; call 51; exit", 1, "not writable: 9 bytes at stack-8"},
      {"r1 = r10; r1 += -8; r2 = 0; call 51; exit", 2, "zero-sized access: null"},
      {"r1 = r10; r1 += -8; r2 = -1; call 51; exit", 1,
       "not writable: 18446744073709551615 bytes at stack-8"},
      {"r1 = r10; r1 += -8; r2 = 1; r2 <<= 63; call 51; exit", 1,
       "not writable: 9223372036854775808 bytes at stack-8"},
      {"r1 = r10; r1 += -2; call 54; exit", 1, "not readable and writable: 4 bytes at stack-2"},
      {"r1 = 7; call 44; exit", 1, "not the context: null+7"},
      {"r1 += 4; r2 = 0; call 44; exit", 1, "not the context: context+4"},
      {"r1 = 1; r2 = 5; r3 = 0; r4 = 0; call 181; exit", 2,
       "not a callback of this program: null+5"},
      {"r1 = r10; r1 += -8; call 93; exit", 1, "not a bpf_spin_lock inside a map value: stack-8"},
      {"r2 = map 3; r3 = 0; call 12; r0 = 0; exit", 2,
       "map of a type that this helper does not take: map pointer (map3)"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.program);
    const Fault fault = fault_of(c.program);
    EXPECT_EQ(fault.kind, FaultKind::helper_argument);
    EXPECT_EQ(fault.reg, c.reg);
    EXPECT_EQ(fault.where, c.where);
  }
}

TEST_F(Interpreter, MapThatOnlyAnotherProgramNamesIsRefused) {
  Map& other = make_map(4, BPF_MAP_TYPE_ARRAY, 4, 8, 1);
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 1);
  char program[128];
  std::snprintf(program, sizeof program, "r1 = %llu ll; r2 = r10; r2 += -4; call 1; exit",
                static_cast<unsigned long long>(reinterpret_cast<std::uint64_t>(&other)));
  EXPECT_EQ(fault_of(program).kind, FaultKind::helper_argument);
}

TEST_F(Interpreter, PacketWindowIsReadAgainAfterAChange) {
  EXPECT_EQ(value_of(R"(
    r6 = r1
    r2 = 60
    call 44
    r1 = *(u32 *)(r6 + 0)
    r0 = *(u32 *)(r1 + 0)
    exit
  )"),
            0U);
  const Fault fault = fault_of(R"(
    r6 = r1
    r7 = *(u32 *)(r1 + 0)
    r2 = 60
    call 44
    r0 = *(u32 *)(r7 + 0)
    exit
  )");
  EXPECT_EQ(fault.kind, FaultKind::invalid_read);
  EXPECT_EQ(fault.where, "packet-60 (end at 4)");
}

TEST_F(Interpreter, StackIsZeroAtEntryOfEachFrame) {
  EXPECT_EQ(value_of(R"(
    call @write
    call @read
    exit
  write:
    *(u64 *)(r10 - 512) = -1
    r0 = 0
    exit
  read:
    r0 = *(u64 *)(r10 - 512)
    exit
  )"),
            0U);
}

TEST_F(Interpreter, BudgetEndsARunExactly) {
  environment_.instruction_budget = 4;
  EXPECT_EQ(value_of("r0 = 1; r0 += 1; r0 += 1; exit"), 3U);
  const Fault fault = fault_of("r0 = 1; r0 += 1; r0 += 1; r0 += 1; exit");
  EXPECT_EQ(fault.kind, FaultKind::instruction_budget);
  EXPECT_EQ(fault.pc, 4U);
}

TEST_F(Interpreter, MayGotoLeavesItsLoopBeforeTheBudgetEnds) {
  EXPECT_EQ(value_of("r0 = 0\nagain:\nmay_goto out\ngoto again\nout:\nr0 = 7\nexit"), 7U);
}

TEST_F(Interpreter, RunsThatFailAreCountedAndRemembered) {
  Result<Ref<Program>> program = load("r0 = *(u8 *)(r10 + 0); exit");
  ASSERT_OK(program);
  EXPECT_FALSE((*program)->last_fault());
  run(**program);
  run(**program);
  EXPECT_EQ((*program)->statistics().faults, 2U);
  EXPECT_EQ((*program)->statistics().runs, 0U) << "statistics are not enabled";
  EXPECT_EQ((*program)->last_fault()->describe(),
            "pc 0: read of 1 bytes through r10: stack+0 may not be read");
}

TEST_F(Interpreter, StatisticsCountOnlyWhileEnabled) {
  Result<Ref<Program>> program = load("r0 = 0; exit");
  ASSERT_OK(program);
  run(**program);
  environment_.stats_users = 1;
  run(**program);
  run(**program);
  environment_.stats_users = 0;
  run(**program);
  EXPECT_EQ((*program)->statistics().runs, 2U);
}

// ---- packet loads ----

TEST_F(Interpreter, PacketLoadsAreInHostOrder) {
  type_.packet_loads = true;
  Result<Ref<Program>> program = load("r6 = r1; r0 = *(u16 *)skb[12]; exit");
  ASSERT_OK(program) << log_text_;
  TestContext context;
  context.data()[12] = std::byte{0x08};
  context.data()[13] = std::byte{0x06};
  EXPECT_EQ(run(**program, context).value, 0x0806U);
  Result<Ref<Program>> indirect = load("r6 = r1; r7 = 10; r0 = *(u32 *)skb[r7 + 2]; exit");
  ASSERT_OK(indirect);
  EXPECT_EQ(run(**indirect, context).value, 0x08060000U);
}

TEST_F(Interpreter, PacketLoadOutsideEndsTheProgramWithZero) {
  type_.packet_loads = true;
  for (const std::string_view program :
       {"r6 = r1; r0 = 9; r0 = *(u32 *)skb[61]; r0 = 9; exit",
        "r6 = r1; r0 = *(u8 *)skb[-1]; r0 = 9; exit",
        "r6 = r1; r7 = 0x7fffffff; r0 = *(u8 *)skb[r7 + 5]; r0 = 9; exit"}) {
    EXPECT_EQ(value_of(program), 0U) << program;
  }
  EXPECT_EQ(fault_of("r6 = 1; r0 = *(u8 *)skb[0]; exit").kind, FaultKind::context_read);
}

// ---- calls ----

TEST_F(Interpreter, CallbacksOfLoop) {
  Result<Ref<Program>> program = load_with_functions(R"(
    *(u64 *)(r10 - 8) = 0
    r1 = 10
    r2 = func body
    r3 = r10
    r3 += -8
    r4 = 0
    call 181
    r1 = *(u64 *)(r10 - 8)
    r0 <<= 8
    r0 |= r1
    exit
  body:
    r3 = *(u64 *)(r2 + 0)
    r3 += r1
    *(u64 *)(r2 + 0) = r3
    r0 = 0
    if r1 != 6 goto +1
    r0 = 1
    exit
  )",
                                                     2);
  ASSERT_OK(program) << log_text_;
  EXPECT_EQ(run(**program).value, (7U << 8) + 21);  // stopped after index 6; 0 + … + 6
}

TEST_F(Interpreter, CallbackMustReturnZeroOrOne) {
  Result<Ref<Program>> program = load_with_functions(
      "r1 = 1; r2 = func body; r3 = 0; r4 = 0; call 181; r0 = 0; exit; body: r0 = 2; exit", 2);
  ASSERT_OK(program);
  const Fault fault = fault_of(**program);
  EXPECT_EQ(fault.kind, FaultKind::callback_return);
  EXPECT_EQ(fault.pc, 5U);
}

TEST_F(Interpreter, CallbacksThatNestTooDeepAreStopped) {
  Result<Ref<Program>> program = load_with_functions(R"(
    r1 = 1
    r2 = func a
    r3 = 0
    r4 = 0
    call 181
    r0 = 5
    exit
  a:
    r1 = 1
    r2 = func b
    r3 = 0
    r4 = 0
    call 181
    r0 = 0
    exit
  b:
    r0 = 0
    exit
  )",
                                                     3);
  ASSERT_OK(program) << log_text_;
  EXPECT_EQ(run(**program).value, 5U);
  // A callback that gets itself as its context runs itself: the graph of the text has no such edge.
  Result<Ref<Program>> recursive = load_with_functions(R"(
    r1 = 1
    r2 = func a
    r3 = r2
    r4 = 0
    call 181
    r0 = 0
    exit
  a:
    r1 = 1
    r3 = r2
    r4 = 0
    call 181
    r0 = 0
    exit
  )",
                                                       2);
  ASSERT_OK(recursive) << log_text_;
  EXPECT_EQ(fault_of(**recursive).kind, FaultKind::call_depth);
}

TEST_F(Interpreter, BudgetCountsCallbacks) {
  Result<Ref<Program>> program = load_with_functions(R"(
    r1 = 8388608
    r2 = func body
    r3 = 0
    r4 = 0
    call 181
    r0 = 0
    exit
  body:
    r0 = 0
    exit
  )",
                                                     2);
  ASSERT_OK(program);
  const Fault fault = fault_of(**program);
  EXPECT_EQ(fault.kind, FaultKind::instruction_budget);
}

TEST_F(Interpreter, ForEachShowsKeysOnlyToTheCallback) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 3);
  // Sums keys into the context and keeps the last key's address; afterwards that address is out of
  // reach.
  constexpr std::string_view program = R"(
    *(u64 *)(r10 - 8) = 0
    *(u64 *)(r10 - 16) = 0
    r1 = map 3
    r2 = func body
    r3 = r10
    r3 += -16
    r4 = 0
    call 164
    r1 = *(u64 *)(r10 - 8)
    %
    r0 <<= 8
    r0 |= r1
    exit
  body:
    *(u64 *)(r4 + 0) = r2
    r5 = *(u32 *)(r2 + 0)
    *(u64 *)(r3 + 0) = r5
    r1 = *(u64 *)(r4 + 8)
    r1 += r5
    *(u64 *)(r4 + 8) = r1
    r0 = 0
    exit
  )";
  const auto with = [&](std::string_view line) {
    std::string whole(program);
    return whole.replace(whole.find('%'), 1, line);
  };
  Result<Ref<Program>> sums = load_with_functions(with(""), 2);
  ASSERT_OK(sums) << log_text_;
  EXPECT_EQ(run(**sums).value, (3U << 8) + 3) << (*sums)->last_fault().value_or(Fault{}).describe();
  Result<Ref<Program>> late =
      load_with_functions(with("r2 = *(u64 *)(r10 - 16); r1 = *(u32 *)(r2 + 0)"), 2);
  ASSERT_OK(late);
  EXPECT_EQ(fault_of(**late).kind, FaultKind::invalid_read);
  std::string writing = with("");
  writing.replace(writing.find("r5 = *(u32 *)(r2 + 0)"), 21, "*(u32 *)(r2 + 0) = 1 ");
  Result<Ref<Program>> writes = load_with_functions(writing, 2);
  ASSERT_OK(writes);
  EXPECT_EQ(fault_of(**writes).kind, FaultKind::invalid_write);
}

// ---- locks ----

Record lock_record() {
  // BTF of: struct value { struct bpf_spin_lock lock; int number; }
  static const std::string strings("\0bpf_spin_lock\0val\0lock\0number\0int\0value\0", 42);
  const std::uint32_t types[] = {
      33, 1U << 24,
      4,  1U << 24 | 32,  // 1: int
      1,  4U << 24 | 1,
      4,  15,
      1,  0,  // 2: struct bpf_spin_lock { int val; }
      37, 4U << 24 | 2,
      8,  19,
      2,  0,
      24, 1,
      32,  // 3: struct value
  };
  const std::uint32_t header[] = {
      0x0001eb9f, 24, 0, sizeof types, sizeof types, static_cast<std::uint32_t>(strings.size())};
  std::vector<std::byte> blob(sizeof header + sizeof types + strings.size());
  std::memcpy(blob.data(), header, sizeof header);
  std::memcpy(blob.data() + sizeof header, types, sizeof types);
  std::memcpy(blob.data() + sizeof header + sizeof types, strings.data(), strings.size());
  Budget budget(1 << 20);
  Log log;
  Result<Ref<Btf>> btf = Btf::parse(blob, budget, log);
  EXPECT_OK(btf) << log.text();
  Record record = Record::of_value(**btf, 3);
  EXPECT_TRUE(record.has(FieldKind::spin_lock));
  *btf = {};
  rcu::barrier();
  return record;
}

TEST_F(Interpreter, LockProtectsAValue) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0, lock_record());
  Result<Ref<Program>> program = load(text(lookup, R"(
    r6 = r0
    r7 = 1000
  again:
    r1 = r6
    call 93
    r1 = *(u32 *)(r6 + 4)
    r1 += 1
    *(u32 *)(r6 + 4) = r1
    r1 = r6
    call 94
    r7 -= 1
    if r7 != 0 goto again
    r0 = *(u32 *)(r6 + 4)
    exit
  )"));
  ASSERT_OK(program) << log_text_;
  const auto work = [&](std::uint32_t cpu) {
    const SlotGuard slot = slots_.enter(cpu);
    const rcu::ReadGuard guard;
    TestContext context;
    EXPECT_FALSE((*program)->run(*slot, context).faulted);
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  EXPECT_EQ(value_of(text(lookup, "r0 = *(u32 *)(r0 + 4); exit")), 2000U);
}

TEST_F(Interpreter, LockRules) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0, lock_record());
  const auto fault = [&](std::string_view rest) { return fault_of(text(lookup, rest)); };
  EXPECT_EQ(fault("r6 = r0; r1 = r6; call 93; r1 = r6; call 93; exit").where,
            "helper called while a lock is held");
  EXPECT_EQ(fault("r1 = r0; call 93; call 5; exit").kind, FaultKind::lock);
  EXPECT_EQ(fault("r1 = r0; call 94; exit").where, "no lock is held");
  EXPECT_EQ(fault("r1 = r0; call 93; r0 = 0; exit").where, "the program ended with a lock held");
  EXPECT_EQ(fault("r1 = r0; r1 += 4; call 93; exit").kind, FaultKind::helper_argument);
  // Locks left behind by those runs were given back.
  EXPECT_EQ(value_of(text(lookup, "r6 = r0; r1 = r6; call 93; r1 = r6; call 94; r0 = 1; exit")),
            1U);
}

TEST_F(Interpreter, CallbackMustNotKeepALock) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0, lock_record());
  // The walk that called it goes on and may need locks of its own; unlocking later is too late.
  Result<Ref<Program>> program = load_with_functions(R"(
    *(u32 *)(r10 - 4) = 0
    r2 = r10
    r2 += -4
    r1 = map 3
    call 1
    r6 = r0
    r1 = 1
    r2 = func body
    r3 = r6
    r4 = 0
    call 181
    r1 = r6
    call 94
    r0 = 0
    exit
  body:
    r1 = r2
    call 93
    r0 = 0
    exit
  )",
                                                     2);
  ASSERT_OK(program) << log_text_;
  const Fault fault = fault_of(**program);
  EXPECT_EQ(fault.kind, FaultKind::lock);
  EXPECT_EQ(fault.pc, 12U);
  EXPECT_EQ(fault.where, "the callback ended with a lock held");
}

TEST_F(Interpreter, LockIsNoMemory) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0, lock_record());
  EXPECT_EQ(fault_of(text(lookup, "*(u32 *)(r0 + 0) = 1; exit")).where,
            "map value+0 (map3, 8 bytes, special field)");
  EXPECT_EQ(fault_of(text(lookup, "r0 = *(u64 *)(r0 + 0); exit")).kind, FaultKind::invalid_read);
  EXPECT_EQ(fault_of(text(lookup, "r1 = r0; r2 = 8; call 51; exit")).kind,
            FaultKind::helper_argument);
}

// ---- values that change while programs look at them ----

TEST_F(Interpreter, AtomicAddsOfTwoSlotsAddUp) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 1);
  Result<Ref<Program>> program = load(text(lookup, R"(
    r7 = 10000
    r1 = 1
  again:
    lock *(u64 *)(r0 + 0) += r1
    r7 -= 1
    if r7 != 0 goto again
    r0 = 0
    exit
  )"));
  ASSERT_OK(program);
  const auto work = [&](std::uint32_t cpu) {
    const SlotGuard slot = slots_.enter(cpu);
    const rcu::ReadGuard guard;
    TestContext context;
    EXPECT_FALSE((*program)->run(*slot, context).faulted);
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  EXPECT_EQ(value_of(text(lookup, "r0 = *(u64 *)(r0 + 0); exit")), 20000U);
}

TEST_F(Interpreter, KeysInsideValuesMayChangeMeanwhile) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 1);
  make_map(4, BPF_MAP_TYPE_HASH, 4, 8, 16);
  Result<Ref<Program>> program = load(text(lookup, R"(
    r6 = r0
    r7 = 1000
  again:
    r1 = *(u32 *)(r6 + 0)
    r1 += 1
    r1 &= 7
    *(u32 *)(r6 + 0) = r1
    r1 = map 4
    r2 = r6
    r3 = r6
    r4 = 0
    call 2
    r1 = map 4
    r2 = r6
    call 1
    r7 -= 1
    if r7 != 0 goto again
    r0 = 0
    exit
  )"));
  ASSERT_OK(program) << log_text_;
  const auto work = [&](std::uint32_t cpu) {
    const SlotGuard slot = slots_.enter(cpu);
    const rcu::ReadGuard guard;
    TestContext context;
    EXPECT_FALSE((*program)->run(*slot, context).faulted);
  };
  std::thread other(work, 1);
  work(0);
  other.join();
}

}  // namespace
}  // namespace skep::testing
