// SPDX-License-Identifier: Apache-2.0
#include "prog/instruction.hpp"

#include <array>
#include <optional>

namespace skep {
namespace {

using namespace uapi;

Op plus(Op base, unsigned n) { return static_cast<Op>(static_cast<unsigned>(base) + n); }

// Position inside a group of four: 64_k, 64_x, 32_k, 32_x.
unsigned form(std::uint8_t code) {
  const std::uint8_t klass = code & 7;
  const bool narrow = klass == BPF_ALU || klass == BPF_JMP32;
  return (narrow ? 2U : 0U) + ((code & BPF_X) != 0 ? 1U : 0U);
}

// Position inside a group of sizes: b, h, w, dw.
unsigned size_index(std::uint8_t code) {
  switch (code & 0x18) {
    case BPF_B:
      return 0;
    case BPF_H:
      return 1;
    case BPF_W:
      return 2;
    default:
      return 3;
  }
}

Op decode_move(bpf_insn insn) {
  const bool wide = (insn.code & 7) == BPF_ALU64;
  const bool from_register = (insn.code & BPF_X) != 0;
  if (insn.off == 0) return plus(Op::mov64_k, form(insn.code));
  if (!from_register) return Op::trap;
  switch (insn.off) {
    case 8:
      return wide ? Op::movsx8_64 : Op::movsx8_32;
    case 16:
      return wide ? Op::movsx16_64 : Op::movsx16_32;
    case 32:
      return wide ? Op::movsx32_64 : Op::trap;
    default:
      return Op::trap;
  }
}

Op decode_byte_order(bpf_insn insn) {
  const bool unconditional = (insn.code & 7) == BPF_ALU64;
  const bool to_big = (insn.code & BPF_TO_BE) != 0;
  if (unconditional && to_big) return Op::trap;
  const bool swap = unconditional || to_big;
  switch (insn.imm) {
    case 16:
      return swap ? Op::swap16 : Op::truncate16;
    case 32:
      return swap ? Op::swap32 : Op::truncate32;
    case 64:
      return swap ? Op::swap64 : Op::keep64;
    default:
      return Op::trap;
  }
}

Op decode_alu(bpf_insn insn) {
  const unsigned n = form(insn.code);
  const bool is_signed = insn.off == 1;
  switch (insn.code & 0xf0) {
    case BPF_ADD:
      return plus(Op::add64_k, n);
    case BPF_SUB:
      return plus(Op::sub64_k, n);
    case BPF_MUL:
      return plus(Op::mul64_k, n);
    case BPF_DIV:
      return plus(is_signed ? Op::sdiv64_k : Op::div64_k, n);
    case BPF_OR:
      return plus(Op::bit_or64_k, n);
    case BPF_AND:
      return plus(Op::bit_and64_k, n);
    case BPF_LSH:
      return plus(Op::lsh64_k, n);
    case BPF_RSH:
      return plus(Op::rsh64_k, n);
    case BPF_NEG:
      return n >= 2 ? Op::neg32 : Op::neg64;
    case BPF_MOD:
      return plus(is_signed ? Op::smod64_k : Op::mod64_k, n);
    case BPF_XOR:
      return plus(Op::bit_xor64_k, n);
    case BPF_MOV:
      return decode_move(insn);
    case BPF_ARSH:
      return plus(Op::arsh64_k, n);
    case BPF_END:
      return decode_byte_order(insn);
    default:
      return Op::trap;
  }
}

Op decode_jump(bpf_insn insn) {
  const unsigned n = form(insn.code);
  const bool wide = (insn.code & 7) == BPF_JMP;
  switch (insn.code & 0xf0) {
    case BPF_JA:
      return Op::ja;
    case BPF_JEQ:
      return plus(Op::jeq64_k, n);
    case BPF_JGT:
      return plus(Op::jgt64_k, n);
    case BPF_JGE:
      return plus(Op::jge64_k, n);
    case BPF_JSET:
      return plus(Op::jset64_k, n);
    case BPF_JNE:
      return plus(Op::jne64_k, n);
    case BPF_JSGT:
      return plus(Op::jsgt64_k, n);
    case BPF_JSGE:
      return plus(Op::jsge64_k, n);
    case BPF_CALL:
      if (!wide) return Op::trap;
      return insn.src_reg == BPF_PSEUDO_CALL ? Op::call_subprogram : Op::call_helper;
    case BPF_EXIT:
      return wide ? Op::exit : Op::trap;
    case BPF_JLT:
      return plus(Op::jlt64_k, n);
    case BPF_JLE:
      return plus(Op::jle64_k, n);
    case BPF_JSLT:
      return plus(Op::jslt64_k, n);
    case BPF_JSLE:
      return plus(Op::jsle64_k, n);
    case BPF_JCOND:
      return wide && n == 0 ? Op::may_goto : Op::trap;
    default:
      return Op::trap;
  }
}

Op decode_atomic(bpf_insn insn) {
  if (insn.imm == BPF_LOAD_ACQ) return plus(Op::load_acquire_b, size_index(insn.code));
  if (insn.imm == BPF_STORE_REL) return plus(Op::store_release_b, size_index(insn.code));
  if (size_index(insn.code) < 2) return Op::trap;
  const unsigned n = size_index(insn.code) - 2;
  switch (insn.imm) {
    case BPF_ADD:
      return plus(Op::atomic_add_w, n);
    case BPF_OR:
      return plus(Op::atomic_or_w, n);
    case BPF_AND:
      return plus(Op::atomic_and_w, n);
    case BPF_XOR:
      return plus(Op::atomic_xor_w, n);
    case BPF_ADD | BPF_FETCH:
      return plus(Op::atomic_fetch_add_w, n);
    case BPF_OR | BPF_FETCH:
      return plus(Op::atomic_fetch_or_w, n);
    case BPF_AND | BPF_FETCH:
      return plus(Op::atomic_fetch_and_w, n);
    case BPF_XOR | BPF_FETCH:
      return plus(Op::atomic_fetch_xor_w, n);
    case BPF_XCHG:
      return plus(Op::atomic_xchg_w, n);
    case BPF_CMPXCHG:
      return plus(Op::atomic_cmpxchg_w, n);
    default:
      return Op::trap;
  }
}

Op decode_load_store(bpf_insn insn) {
  const unsigned n = size_index(insn.code);
  const std::uint8_t mode = insn.code & 0xe0;
  switch (insn.code & 7) {
    case BPF_LD:
      if (mode == BPF_IMM) return n == 3 ? Op::load_imm64 : Op::trap;
      if (n == 3) return Op::trap;
      if (mode == BPF_ABS) return plus(Op::packet_abs_b, n);
      return mode == BPF_IND ? plus(Op::packet_ind_b, n) : Op::trap;
    case BPF_LDX:
      if (mode == BPF_MEM) return plus(Op::load_b, n);
      return mode == BPF_MEMSX && n < 3 ? plus(Op::load_sb, n) : Op::trap;
    case BPF_ST:
      return mode == BPF_MEM ? plus(Op::store_k_b, n) : Op::trap;
    default:
      if (mode == BPF_MEM) return plus(Op::store_x_b, n);
      return mode == BPF_ATOMIC ? decode_atomic(insn) : Op::trap;
  }
}

}  // namespace

Instruction decode(bpf_insn insn, std::uint32_t pc) {
  Instruction decoded{.dst = insn.dst_reg,
                      .src = insn.src_reg,
                      .off = insn.off,
                      .imm = static_cast<std::uint64_t>(std::int64_t{insn.imm})};
  if (insn.dst_reg >= MAX_BPF_REG || insn.src_reg >= MAX_BPF_REG) return decoded;
  switch (insn.code & 7) {
    case BPF_ALU:
    case BPF_ALU64:
      decoded.op = decode_alu(insn);
      break;
    case BPF_JMP:
    case BPF_JMP32:
      decoded.op = decode_jump(insn);
      if (has_jump_target(insn)) decoded.off = static_cast<std::int32_t>(jump_target(insn, pc));
      if (decoded.op == Op::call_subprogram)
        decoded.off = static_cast<std::int32_t>(std::int64_t{pc} + 1 + insn.imm);
      break;
    default:
      decoded.op = decode_load_store(insn);
      break;
  }
  return decoded;
}

bool is_known_opcode(std::uint8_t code) {
  const std::uint8_t operation = code & 0xf0;
  const std::uint8_t mode = code & 0xe0;
  const bool dw = (code & 0x18) == BPF_DW;
  switch (code & 7) {
    case BPF_ALU:
    case BPF_ALU64:
      if (operation == BPF_NEG) return (code & BPF_X) == 0;
      if (operation == BPF_END) return (code & 7) == BPF_ALU || (code & BPF_TO_BE) == 0;
      return operation <= BPF_END;
    case BPF_JMP:
      if (operation == BPF_JA || operation == BPF_CALL || operation == BPF_EXIT ||
          operation == BPF_JCOND)
        return (code & BPF_X) == 0;
      return operation <= BPF_JCOND;
    case BPF_JMP32:
      if (operation == BPF_JA) return (code & BPF_X) == 0;
      return operation != BPF_CALL && operation != BPF_EXIT && operation < BPF_JCOND;
    case BPF_LD:
      if (mode == BPF_IMM) return dw;
      return (mode == BPF_ABS || mode == BPF_IND) && !dw;
    case BPF_LDX:
      return mode == BPF_MEM || (mode == BPF_MEMSX && !dw);
    case BPF_ST:
      return mode == BPF_MEM;
    default:
      return mode == BPF_MEM || mode == BPF_ATOMIC;
  }
}

}  // namespace skep
