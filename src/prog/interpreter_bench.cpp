// SPDX-License-Identifier: Apache-2.0
// Speed of the checked interpreter.
#include "prog/assembler_test_support.hpp"
#include "prog/program.hpp"
#include "prog/run.hpp"
#include "rcu/rcu.hpp"

#include <benchmark/benchmark.h>

namespace skep::testing {
namespace {

class NoTrace final : public TraceSink {
  void write(std::string_view, std::uint32_t, std::uint64_t, std::string_view) override {}
};
class NoMaps final : public MapResolver {
  Result<Ref<Map>> map_by_fd(int) override { return Errno{EBADF}; }
  Result<Ref<Map>> map_by_index(std::uint32_t) override { return Errno{EPROTO}; }
};
class BenchType final : public ProgramType {
 public:
  BenchType() : ProgramType(uapi::BPF_PROG_TYPE_XDP, "xdp") {}
  std::uint32_t context_bytes() const override { return 24; }
  const Helper* helper(std::uint32_t id) const override { return base_helper(id); }
};
class BenchContext final : public Context {
 public:
  std::optional<std::uint64_t> load(std::uint32_t offset, std::uint32_t) const override {
    return reinterpret_cast<std::uint64_t>(packet_.data()) + (offset == 0 ? 0 : packet_.size());
  }
  bool store(std::uint32_t, std::uint32_t, std::uint64_t) override { return false; }
  Window packet() const override { return {packet_.data(), packet_.data() + packet_.size()}; }

 private:
  mutable std::array<std::byte, 64> packet_{};
};

/// One item is one instruction of `text`, which executes `instructions` of them per run.
void run_program(benchmark::State& state, std::string_view text, std::int64_t instructions) {
  VirtualClock clock;
  CpuSlots slots(1, clock, 1);
  Budget budget(1 << 20);
  ProgramTypes types;
  BenchType type;
  types.add(type);
  NoTrace trace;
  NoMaps maps;
  ProgramEnvironment environment{.slots = slots, .budget = budget, .types = types, .trace = trace};
  Log log;
  Result<Ref<Program>> program = Program::load(
      {.type = &type, .instructions = assemble(text).instructions}, maps, environment, log);
  ASSERT(program);
  BenchContext context;
  {
    const SlotGuard slot = slots.enter(0);
    const rcu::ReadGuard guard;
    for (auto _ : state) {
      const Outcome outcome = (*program)->run(*slot, context);
      ASSERT(!outcome.faulted);
      benchmark::DoNotOptimize(outcome);
    }
  }
  state.SetItemsProcessed(state.iterations() * instructions);
  *program = {};
  rcu::barrier();
}

/// The smallest program: what entering and leaving costs.
void interpreter_entry(benchmark::State& state) { run_program(state, "r0 = 2; exit", 2); }
BENCHMARK(interpreter_entry);

/// A loop of arithmetic without memory, as a hash function has.
void interpreter_arithmetic(benchmark::State& state) {
  run_program(state, R"(
    r0 = 1
    r1 = 1000
  again:
    r0 *= 31
    r0 ^= r1
    r0 += 7
    r1 -= 1
    if r1 != 0 goto again
    exit
  )",
              5003);
}
BENCHMARK(interpreter_arithmetic);

/// Sums the packet byte by byte with a spill to the stack, as a checksum loop has.
void interpreter_memory(benchmark::State& state) {
  run_program(state, R"(
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r0 = 0
  again:
    r4 = *(u8 *)(r2 + 0)
    r0 += r4
    *(u64 *)(r10 - 8) = r0
    r2 += 1
    if r2 != r3 goto again
    exit
  )",
              3 + 64 * 5 + 1);
}
BENCHMARK(interpreter_memory);

}  // namespace
}  // namespace skep::testing
