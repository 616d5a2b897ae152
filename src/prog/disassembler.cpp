// SPDX-License-Identifier: Apache-2.0
#include "prog/disassembler.hpp"

#include "prog/instruction.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdint>

namespace skep {
namespace {

using namespace uapi;

std::string_view type_name(std::uint8_t code) {
  const bool is_signed = (code & 7) == BPF_LDX && (code & 0xe0) == BPF_MEMSX;
  switch (code & 0x18) {
    case BPF_B:
      return is_signed ? "s8" : "u8";
    case BPF_H:
      return is_signed ? "s16" : "u16";
    case BPF_W:
      return is_signed ? "s32" : "u32";
    default:
      return "u64";
  }
}

std::string alu_text(bpf_insn insn) {
  const char prefix = (insn.code & 7) == BPF_ALU ? 'w' : 'r';
  const std::string dst = fmt::format("{}{}", prefix, +insn.dst_reg);
  const std::uint8_t operation = insn.code & 0xf0;
  if (operation == BPF_NEG) return fmt::format("{0} = -{0}", dst);
  if (operation == BPF_END) {
    const std::string_view order = (insn.code & 7) == BPF_ALU64   ? "bswap"
                                   : (insn.code & BPF_TO_BE) != 0 ? "be"
                                                                  : "le";
    return fmt::format("r{0} = {1}{2} r{0}", +insn.dst_reg, order, insn.imm);
  }
  const bool from_register = (insn.code & BPF_X) != 0;
  const std::string src =
      from_register ? fmt::format("{}{}", prefix, +insn.src_reg) : fmt::format("{}", insn.imm);
  if (operation == BPF_MOV) {
    if (from_register && insn.off != 0) return fmt::format("{} = (s{}){}", dst, insn.off, src);
    return fmt::format("{} = {}", dst, src);
  }
  static constexpr std::array<std::string_view, 13> operators = {
      "+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "", "%=", "^=", "", "s>>="};
  const bool is_signed = insn.off == 1 && (operation == BPF_DIV || operation == BPF_MOD);
  return fmt::format("{} {}{} {}", dst, is_signed ? "s" : "", operators[operation >> 4], src);
}

std::string jump_text(bpf_insn insn, std::string_view helper_name) {
  const std::uint8_t operation = insn.code & 0xf0;
  const bool narrow = (insn.code & 7) == BPF_JMP32;
  if (operation == BPF_CALL) {
    if (insn.src_reg == BPF_PSEUDO_CALL) return fmt::format("call pc{:+d}", insn.imm);
    if (insn.src_reg == BPF_PSEUDO_KFUNC_CALL) return fmt::format("call kfunc#{}", insn.imm);
    return fmt::format("call {}#{}", helper_name, insn.imm);
  }
  if (operation == BPF_EXIT) return "exit";
  if (operation == BPF_JA && narrow) return fmt::format("gotol pc{:+d}", insn.imm);
  if (operation == BPF_JA) return fmt::format("goto pc{:+d}", insn.off);
  if (operation == BPF_JCOND) return fmt::format("may_goto pc{:+d}", insn.off);
  static constexpr std::array<std::string_view, 14> comparisons = {
      "", "==", ">", ">=", "&", "!=", "s>", "s>=", "", "", "<", "<=", "s<", "s<="};
  const char prefix = narrow ? 'w' : 'r';
  const std::string src = (insn.code & BPF_X) != 0 ? fmt::format("{}{}", prefix, +insn.src_reg)
                                                   : fmt::format("{:#x}", insn.imm);
  return fmt::format("if {}{} {} {} goto pc{:+d}", prefix, +insn.dst_reg,
                     comparisons[operation >> 4], src, insn.off);
}

std::string atomic_text(bpf_insn insn) {
  const bool wide = (insn.code & 0x18) == BPF_DW;
  const char prefix = wide ? 'r' : 'w';
  const std::string place =
      fmt::format("({} *)(r{} {:+d})", type_name(insn.code), +insn.dst_reg, insn.off);
  const std::string source = fmt::format("{}{}", prefix, +insn.src_reg);
  switch (insn.imm) {
    case BPF_ADD:
      return fmt::format("lock *{} += {}", place, source);
    case BPF_OR:
      return fmt::format("lock *{} |= {}", place, source);
    case BPF_AND:
      return fmt::format("lock *{} &= {}", place, source);
    case BPF_XOR:
      return fmt::format("lock *{} ^= {}", place, source);
    case BPF_LOAD_ACQ:
      return fmt::format("{}{} = load_acquire(({} *)(r{} {:+d}))", prefix, +insn.dst_reg,
                         type_name(insn.code), +insn.src_reg, insn.off);
    case BPF_STORE_REL:
      return fmt::format("store_release({}, {})", place, source);
    default:
      break;
  }
  std::string_view operation;
  switch (insn.imm) {
    case BPF_ADD | BPF_FETCH:
      operation = "fetch_add";
      break;
    case BPF_OR | BPF_FETCH:
      operation = "fetch_or";
      break;
    case BPF_AND | BPF_FETCH:
      operation = "fetch_and";
      break;
    case BPF_XOR | BPF_FETCH:
      operation = "fetch_xor";
      break;
    case BPF_XCHG:
      operation = "xchg";
      break;
    case BPF_CMPXCHG:
      return fmt::format("{0}0 = atomic{1}_cmpxchg({2}, {0}0, {3})", prefix, wide ? "64" : "",
                         place, source);
    default:
      return fmt::format("BUG_{:02x}", insn.code);
  }
  return fmt::format("{0} = atomic{1}_{2}({3}, {0})", source, wide ? "64" : "", operation, place);
}

std::string memory_text(std::span<const bpf_insn> instructions) {
  const bpf_insn insn = instructions[0];
  const std::string_view type = type_name(insn.code);
  switch (insn.code & 7) {
    case BPF_LD:
      if (is_wide_load(insn)) {
        const std::uint64_t high =
            instructions.size() > 1 ? static_cast<std::uint32_t>(instructions[1].imm) : 0;
        return fmt::format("r{} = {:#x}", +insn.dst_reg,
                           high << 32 | static_cast<std::uint32_t>(insn.imm));
      }
      if ((insn.code & 0xe0) == BPF_ABS) return fmt::format("r0 = *({} *)skb[{}]", type, insn.imm);
      return fmt::format("r0 = *({} *)skb[r{} {:+d}]", type, +insn.src_reg, insn.imm);
    case BPF_LDX:
      return fmt::format("r{} = *({} *)(r{} {:+d})", +insn.dst_reg, type, +insn.src_reg, insn.off);
    case BPF_ST:
      return fmt::format("*({} *)(r{} {:+d}) = {}", type, +insn.dst_reg, insn.off, insn.imm);
    default:
      if ((insn.code & 0xe0) == BPF_ATOMIC) return atomic_text(insn);
      return fmt::format("*({} *)(r{} {:+d}) = r{}", type, +insn.dst_reg, insn.off, +insn.src_reg);
  }
}

}  // namespace

std::string disassemble(std::span<const bpf_insn> instructions, std::string_view helper_name) {
  const bpf_insn insn = instructions[0];
  std::string text;
  if (!is_known_opcode(insn.code)) {
    text = fmt::format("BUG_{:02x}", insn.code);
  } else if (is_jump_class(insn.code)) {
    text = jump_text(insn, helper_name);
  } else if ((insn.code & 7) == BPF_ALU || (insn.code & 7) == BPF_ALU64) {
    text = alu_text(insn);
  } else {
    text = memory_text(instructions);
  }
  return fmt::format("({:02x}) {}", insn.code, text);
}

}  // namespace skep
