// SPDX-License-Identifier: Apache-2.0
// What the disassembler prints, the assembler reads back: the two were written apart.
#include "prog/disassembler.hpp"

#include "prog/assembler_test_support.hpp"
#include "prog/instruction.hpp"

#include <gtest/gtest.h>

#include <cstring>

namespace skep::testing {
namespace {

using uapi::bpf_insn;

TEST(Disassembler, WritesAsLogsDo) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"r0 = 1", "(b7) r0 = 1"},
      {"w0 = 1", "(b4) w0 = 1"},
      {"r1 += r2", "(0f) r1 += r2"},
      {"r1 s>>= 3", "(c7) r1 s>>= 3"},
      {"r2 = -r2", "(87) r2 = -r2"},
      {"r0 = be16 r0", "(dc) r0 = be16 r0"},
      {"r0 = bswap32 r0", "(d7) r0 = bswap32 r0"},
      {"r1 = (s8)r2", "(bf) r1 = (s8)r2"},
      {"r1 s/= r2", "(3f) r1 s/= r2"},
      {"*(u32 *)(r10 - 4) = r1", "(63) *(u32 *)(r10 -4) = r1"},
      {"*(u8 *)(r1 + 2) = 7", "(72) *(u8 *)(r1 +2) = 7"},
      {"r1 = *(s16 *)(r2 + 2)", "(89) r1 = *(s16 *)(r2 +2)"},
      {"lock *(u64 *)(r1 + 0) += r2", "(db) lock *(u64 *)(r1 +0) += r2"},
      {"r1 = atomic64_fetch_add((u64 *)(r2 + 0), r1)",
       "(db) r1 = atomic64_fetch_add((u64 *)(r2 +0), r1)"},
      {"r1 = 0x123 ll", "(18) r1 = 0x123"},
      {"if r1 > r2 goto +5", "(2d) if r1 > r2 goto pc+5"},
      {"if w1 s< 3 goto -2", "(c6) if w1 s< 0x3 goto pc-2"},
      {"goto +3", "(05) goto pc+3"},
      {"gotol +3", "(06) gotol pc+3"},
      {"may_goto +1", "(e5) may_goto pc+1"},
      {"call 1", "(85) call bpf_map_lookup_elem#1"},
      {"call pc+6", "(85) call pc+6"},
      {"call kfunc#9", "(85) call kfunc#9"},
      {"exit", "(95) exit"},
      {"r0 = *(u16 *)skb[12]", "(28) r0 = *(u16 *)skb[12]"},
      {".raw 0xff 0 0 0 0", "(ff) BUG_ff"},
  };
  for (const auto& [source, expected] : cases) {
    const Assembled assembled = assemble(source);
    ASSERT_EQ(assembled.error, "");
    EXPECT_EQ(disassemble(assembled.instructions, "bpf_map_lookup_elem"), expected);
  }
}

TEST(Disassembler, EveryOpcodeReadsBack) {
  for (unsigned code = 0; code < 256; ++code) {
    if (!is_known_opcode(static_cast<std::uint8_t>(code)) || code == 0x18) continue;
    bpf_insn insn{};
    insn.code = static_cast<std::uint8_t>(code);
    const unsigned klass = code & 7, operation = code & 0xf0;
    const bool jumps = klass == 5 || klass == 6;
    const bool alu = klass == 4 || klass == 7;
    const bool from_register = (code & 8) != 0;
    const bool bare =
        jumps && (operation == 0 || operation == 0x80 || operation == 0x90 || operation == 0xe0);
    if (!bare && klass != 0) insn.dst_reg = 3;
    if ((from_register && (alu || (jumps && !bare)) && operation != 0xd0) || klass == 1 ||
        klass == 3)
      insn.src_reg = 4;
    if (klass == 0 && (code & 0xe0) == 0x40) insn.src_reg = 4;
    if ((jumps && operation != 0x80 && operation != 0x90 && code != 0x06) || klass == 1 ||
        klass == 2 || klass == 3)
      insn.off = -3;
    if (klass == 2 || klass == 0 ||
        (!from_register && (alu || jumps) && !bare && operation != 0x80))
      insn.imm = 9;
    if (code == 0x85 || code == 0x06) insn.imm = 5;
    if (alu && operation == 0xd0) insn.imm = 32;
    if ((code & 0xe7) == 0xc3)
      insn.imm = (code & 0x18) == 0 || (code & 0x18) == 0x18 ? 0x41 : 0x110;
    const std::string text = disassemble({&insn, 1}, "unknown");
    const Assembled back = assemble(std::string_view(text).substr(5));
    ASSERT_EQ(back.error, "") << text;
    ASSERT_EQ(back.instructions.size(), 1U) << text;
    EXPECT_EQ(std::memcmp(back.instructions.data(), &insn, sizeof insn), 0)
        << text << " reads back as " << disassemble(back.instructions, "unknown");
  }
}

}  // namespace
}  // namespace skep::testing
