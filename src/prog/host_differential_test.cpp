// SPDX-License-Identifier: Apache-2.0
// Random programs of arithmetic, branches and stack accesses give the same value here and in the
// host kernel.
#include "cpu/random.hpp"
#include "prog/disassembler.hpp"
#include "prog/host_bpf_test_support.hpp"
#include "prog/instruction.hpp"
#include "prog/program_test_support.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace skep::testing {
namespace {

using namespace uapi;

/// Makes programs that both sides accept: registers are initialised, branches go forward only.
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed, 1) {}

  std::vector<bpf_insn> program() {
    out_.clear();
    for (unsigned reg = 0; reg <= 9; ++reg) {
      const std::uint64_t value = interesting();
      emit(BPF_LD | BPF_DW | BPF_IMM, reg, 0, 0, static_cast<std::int32_t>(value));
      emit(0, 0, 0, 0, static_cast<std::int32_t>(value >> 32));
    }
    for (int slot = 1; slot <= 4; ++slot)
      emit(BPF_STX | BPF_MEM | BPF_DW, 10, below(10), -8 * slot, 0);
    const unsigned count = 8 + below(40);
    for (unsigned left = count; left > 0; --left) instruction(left);
    // Fold all registers into 32 bits of r0, which is what a test run returns.
    for (unsigned reg = 1; reg <= 9; ++reg) {
      emit(BPF_ALU64 | BPF_XOR | BPF_X, 0, reg, 0, 0);
      emit(BPF_ALU64 | BPF_MUL | BPF_K, 0, 0, 0, 0x01000193);
    }
    emit(BPF_ALU64 | BPF_MOV | BPF_X, 1, 0, 0, 0);
    emit(BPF_ALU64 | BPF_RSH | BPF_K, 1, 0, 0, 32);
    emit(BPF_ALU64 | BPF_XOR | BPF_X, 0, 1, 0, 0);
    emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    return out_;
  }

 private:
  std::uint32_t below(std::uint32_t n) { return random_.next_u32() % n; }

  void emit(unsigned code, unsigned dst, unsigned src, int off, std::int32_t imm) {
    bpf_insn insn{};
    insn.code = static_cast<std::uint8_t>(code);
    insn.dst_reg = dst & 15U;
    insn.src_reg = src & 15U;
    insn.off = static_cast<std::int16_t>(off);
    insn.imm = imm;
    out_.push_back(insn);
  }

  std::uint64_t interesting() {
    static constexpr std::uint64_t edges[] = {0,          1,           2,          ~0ULL,
                                              1ULL << 63, ~0ULL >> 1,  1ULL << 31, 0x7fffffff,
                                              0xffffffff, 0x100000000, 63,         32};
    return below(3) == 0 ? edges[below(12)] : random_.next_u64() >> below(64);
  }

  std::int32_t immediate() { return static_cast<std::int32_t>(interesting()); }

  void instruction(unsigned left) {
    const unsigned dst = below(10), src = below(10);
    const bool wide = below(2) == 0, from_register = below(2) == 0;
    const unsigned klass = wide ? BPF_ALU64 : BPF_ALU;
    static constexpr unsigned sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
    switch (below(10)) {
      case 0:
        if (left > 4) {
          static constexpr unsigned conditions[] = {BPF_JEQ, BPF_JGT,  BPF_JGE,  BPF_JSET,
                                                    BPF_JNE, BPF_JSGT, BPF_JSGE, BPF_JLT,
                                                    BPF_JLE, BPF_JSLT, BPF_JSLE};
          // Over at most three of the instructions to come.
          emit((wide ? BPF_JMP : BPF_JMP32) | conditions[below(11)] |
                   (from_register ? BPF_X : BPF_K),
               dst, from_register ? src : 0, static_cast<int>(1 + below(3)),
               from_register ? 0 : immediate());
          return;
        }
        [[fallthrough]];
      case 1:
        emit(klass | BPF_NEG, dst, 0, 0, 0);
        return;
      case 2: {
        static constexpr int bits[] = {16, 32, 64};
        const unsigned code =
            below(3) == 0 ? unsigned{BPF_ALU64} : BPF_ALU | (below(2) == 0 ? BPF_TO_BE : BPF_TO_LE);
        emit(code | BPF_END, dst, 0, 0, bits[below(3)]);
        return;
      }
      case 3: {
        static constexpr int bits[] = {8, 16, 32};
        emit(klass | BPF_MOV | BPF_X, dst, src, bits[below(wide ? 3 : 2)], 0);
        return;
      }
      case 4: {
        // A store inside a slot, or a load of a whole or sign-extended part.
        const unsigned n = below(4), bytes = 1U << n;
        const int off = -32 + static_cast<int>(below(32 / bytes) * bytes);
        switch (below(4)) {
          case 0:
            emit(BPF_STX | BPF_MEM | sizes[n], 10, src, off, 0);
            return;
          case 1:
            emit(BPF_ST | BPF_MEM | sizes[n], 10, 0, off, immediate());
            return;
          case 2:
            emit(BPF_LDX | BPF_MEM | sizes[n], dst, 10, off, 0);
            return;
          default:
            emit(BPF_LDX | (n < 3 ? BPF_MEMSX : BPF_MEM) | sizes[n], dst, 10, off, 0);
            return;
        }
      }
      case 5: {
        static constexpr int operations[] = {BPF_ADD,
                                             BPF_OR,
                                             BPF_AND,
                                             BPF_XOR,
                                             BPF_ADD | BPF_FETCH,
                                             BPF_OR | BPF_FETCH,
                                             BPF_AND | BPF_FETCH,
                                             BPF_XOR | BPF_FETCH,
                                             BPF_XCHG,
                                             BPF_CMPXCHG};
        const int off = -32 + static_cast<int>(wide ? below(4) * 8 : below(8) * 4);
        emit(BPF_STX | BPF_ATOMIC | (wide ? BPF_DW : BPF_W), 10, src, off, operations[below(10)]);
        return;
      }
      default:
        break;
    }
    static constexpr unsigned operations[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV,
                                              BPF_OR,  BPF_AND, BPF_LSH, BPF_RSH,
                                              BPF_MOD, BPF_XOR, BPF_MOV, BPF_ARSH};
    const unsigned operation = operations[below(12)];
    const bool shifts = operation == BPF_LSH || operation == BPF_RSH || operation == BPF_ARSH;
    const bool divides = operation == BPF_DIV || operation == BPF_MOD;
    std::int32_t imm = from_register ? 0 : immediate();
    if (!from_register && shifts) imm = static_cast<std::int32_t>(below(wide ? 64 : 32));
    if (!from_register && divides && imm == 0) imm = -1;
    emit(klass | operation | (from_register ? BPF_X : BPF_K), dst, from_register ? src : 0,
         divides ? static_cast<int>(below(2)) : 0, imm);
  }

  Random random_;
  std::vector<bpf_insn> out_;
};

class HostDifferential : public ProgramTest {};

TEST_F(HostDifferential, RandomProgramsGiveTheSameValue) {
  if (const auto reason = host_refusal()) GTEST_SKIP() << *reason;
  constexpr int programs = 2000;
  int compared = 0;
  for (int n = 0; n < programs; ++n) {
    ProgramSpec spec{.type = &type_,
                     .name = "random",
                     .license = "GPL",
                     .instructions = Generator(static_cast<std::uint64_t>(n)).program()};
    const std::vector<bpf_insn> instructions = spec.instructions;
    const auto listing = [&] {
      std::string text;
      for (std::size_t pc = 0; pc < instructions.size(); ++pc)
        text +=
            std::to_string(pc) + ": " + disassemble(std::span(instructions).subspan(pc), "") + "\n";
      return text;
    };
    std::string log;
    const int fd = host_load(instructions, BPF_PROG_TYPE_XDP, nullptr);
    // A few are refused: the verifier finds their branches too many.
    if (fd < 0) continue;
    const auto expected = host_run(fd);
    ::close(fd);
    ASSERT_TRUE(expected);
    Result<Ref<Program>> program = load(std::move(spec));
    ASSERT_OK(program) << log_text_ << listing();
    const Outcome outcome = run(**program);
    ASSERT_FALSE(outcome.faulted) << (*program)->last_fault()->describe() << "\n" << listing();
    ASSERT_EQ(static_cast<std::uint32_t>(outcome.value), *expected) << "seed " << n << "\n"
                                                                    << listing();
    ++compared;
  }
  EXPECT_GT(compared, programs * 9 / 10);
}

/// A valid program with a few fields changed: gets further than noise.
std::vector<bpf_insn> mutated_program(Random& random) {
  std::vector<bpf_insn> program = Generator(random.next_u64()).program();
  for (std::uint32_t change = 0; change < 1 + random.next_u32() % 4; ++change) {
    bpf_insn& insn = program[random.next_u32() % program.size()];
    switch (random.next_u32() % 5) {
      case 0:
        insn.code = static_cast<std::uint8_t>(random.next_u32());
        break;
      case 1:
        insn.dst_reg = random.next_u32() % 11;
        break;
      case 2:
        insn.src_reg = random.next_u32() % 11;
        break;
      case 3:
        insn.off = static_cast<std::int16_t>(random.next_u32() % 64 - 32);
        break;
      default:
        insn.imm = static_cast<std::int32_t>(random.next_u32() % 256);
        break;
    }
  }
  // The context's address must not become part of the result either.
  program.insert(program.begin(), {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 1});
  return program;
}

/// Whether the frame's address may become part of the result; it differs between the two sides.
bool computes_with_addresses(std::span<const bpf_insn> program) {
  return std::ranges::any_of(program, [](bpf_insn insn) {
    const unsigned klass = insn.code & 7U;
    const bool memory = klass == BPF_LDX || klass == BPF_ST || klass == BPF_STX;
    return memory ? klass == BPF_STX && insn.src_reg == 10
                  : insn.src_reg == 10 || insn.dst_reg == 10;
  });
}

TEST_F(HostDifferential, MutatedProgramsDoNoHarm) {
  Random random(7, 3);
  environment_.instruction_budget = 2000;
  int loaded = 0;
  for (int n = 0; n < 5'000; ++n) {
    Result<Ref<Program>> program =
        load({.type = &type_, .license = "GPL", .instructions = mutated_program(random)});
    if (!program) continue;
    ++loaded;
    run(**program);
  }
  EXPECT_GT(loaded, 500);
}

TEST_F(HostDifferential, WhatTheHostAcceptsGivesTheSameValue) {
  if (const auto reason = host_refusal()) GTEST_SKIP() << *reason;
  Random random(11, 3);
  int accepted = 0, refused = 0;
  for (int n = 0; n < 2000; ++n) {
    const std::vector<bpf_insn> instructions = mutated_program(random);
    if (computes_with_addresses(instructions)) continue;
    const int fd = host_load(instructions);
    if (fd < 0) continue;
    const auto expected = host_run(fd);
    ::close(fd);
    std::string text;
    for (std::size_t pc = 0; pc < instructions.size(); ++pc)
      text +=
          std::to_string(pc) + ": " + disassemble(std::span(instructions).subspan(pc), "") + "\n";
    Result<Ref<Program>> program =
        load({.type = &type_, .license = "GPL", .instructions = instructions});
    if (!program) {
      // The host follows constants through the stack and along each path, so it knows more code to
      // be dead.
      ++refused;
      continue;
    }
    const Outcome outcome = run(**program);
    ASSERT_FALSE(outcome.faulted) << (*program)->last_fault()->describe() << "\n" << text;
    ASSERT_EQ(static_cast<std::uint32_t>(outcome.value), expected) << text;
    ++accepted;
  }
  EXPECT_GT(accepted, 200);
  EXPECT_LT(refused * 50, accepted) << refused;
}

}  // namespace
}  // namespace skep::testing
