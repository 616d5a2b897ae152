// SPDX-License-Identifier: Apache-2.0
// Instructions as the interpreter runs them: each decoded once at load time into one operation with
// ready operands. Positions are those of the program as it was loaded: a 16-byte load keeps two
// places.
#pragma once

#include "uapi/bpf.hpp"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace skep {

// clang-format off: it does not settle on one layout of these lists.
// Each exists as 64 and 32 bits wide, with an immediate (k) and a register (x) as second operand, in this order.
#define SKEP_ALU_OPERATIONS(X)                                                        \
  X(add) X(sub) X(mul) X(div) X(sdiv) X(bit_or) X(bit_and) X(lsh) X(rsh) X(mod)       \
  X(smod) X(bit_xor) X(mov) X(arsh)
#define SKEP_CONDITIONS(X)                                                            \
  X(jeq) X(jgt) X(jge) X(jset) X(jne) X(jsgt) X(jsge) X(jlt) X(jle) X(jslt) X(jsle)
// Each exists for 4 (w) and 8 (dw) bytes.
#define SKEP_ATOMIC_OPERATIONS(X)                                                     \
  X(atomic_add) X(atomic_or) X(atomic_and) X(atomic_xor)                              \
  X(atomic_fetch_add) X(atomic_fetch_or) X(atomic_fetch_and) X(atomic_fetch_xor)      \
  X(atomic_xchg) X(atomic_cmpxchg)
// clang-format on

enum class Op : std::uint8_t {
  trap,  // not an instruction: the second half of a 16-byte load, or code that the loader proved
         // dead
#define X(name) name##64_k, name##64_x, name##32_k, name##32_x,
  SKEP_ALU_OPERATIONS(X) SKEP_CONDITIONS(X)
#undef X
#define X(name) name##_w, name##_dw,
      SKEP_ATOMIC_OPERATIONS(X)
#undef X
          neg64,
  neg32,
  movsx8_64,  // sign-extending moves: from, to
  movsx16_64,
  movsx32_64,
  movsx8_32,
  movsx16_32,
  truncate16,  // "to little-endian" on a little-endian machine
  truncate32,
  keep64,
  swap16,
  swap32,
  swap64,
  ja,
  may_goto,
  call_helper,      // imm: Helper*
  call_subprogram,  // target
  exit,
  load_imm64,  // imm
  load_b,
  load_h,
  load_w,
  load_dw,
  load_sb,
  load_sh,
  load_sw,
  store_k_b,
  store_k_h,
  store_k_w,
  store_k_dw,
  store_x_b,
  store_x_h,
  store_x_w,
  store_x_dw,
  load_acquire_b,
  load_acquire_h,
  load_acquire_w,
  load_acquire_dw,
  store_release_b,
  store_release_h,
  store_release_w,
  store_release_dw,
  packet_abs_b,
  packet_abs_h,
  packet_abs_w,
  packet_ind_b,
  packet_ind_h,
  packet_ind_w,
};

struct Instruction {
  Op op = Op::trap;
  std::uint8_t dst = 0;
  std::uint8_t src = 0;
  std::int32_t off = 0;   // memory: displacement; jumps and calls: the position to go to
  std::uint64_t imm = 0;  // sign-extended; load_imm64: the value; call_helper: the helper's address
};
static_assert(sizeof(Instruction) == 16);

/// The operation that `insn` at position `pc` stands for, or `trap` if it is malformed. The
/// immediate of a 16-byte load and of a helper call is left to the caller. Never fails: what is
/// refused, and why, is the loader's business.
Instruction decode(uapi::bpf_insn insn, std::uint32_t pc);

/// Whether `code` is an opcode of the instruction set at all.
bool is_known_opcode(std::uint8_t code);

inline bool is_wide_load(uapi::bpf_insn insn) {
  return insn.code == (uapi::BPF_LD | uapi::BPF_DW | uapi::BPF_IMM);
}
inline bool is_jump_class(std::uint8_t code) {
  return (code & 7) == uapi::BPF_JMP || (code & 7) == uapi::BPF_JMP32;
}
inline bool is_call(uapi::bpf_insn insn) { return insn.code == (uapi::BPF_JMP | uapi::BPF_CALL); }
inline bool is_exit(uapi::bpf_insn insn) { return insn.code == (uapi::BPF_JMP | uapi::BPF_EXIT); }
inline bool is_goto(uapi::bpf_insn insn) {
  return insn.code == (uapi::BPF_JMP | uapi::BPF_JA) ||
         insn.code == (uapi::BPF_JMP32 | uapi::BPF_JA);
}
inline bool is_subprogram_call(uapi::bpf_insn insn) {
  return is_call(insn) && insn.src_reg == uapi::BPF_PSEUDO_CALL;
}
inline bool is_callback_load(uapi::bpf_insn insn) {
  return is_wide_load(insn) && insn.src_reg == uapi::BPF_PSEUDO_FUNC;
}
/// A jump of any kind that is neither call nor exit: it has a target.
inline bool has_jump_target(uapi::bpf_insn insn) {
  const std::uint8_t operation = insn.code & 0xf0;
  return is_jump_class(insn.code) && operation != uapi::BPF_CALL && operation != uapi::BPF_EXIT;
}
/// Where a jump goes. Precondition: has_jump_target(insn).
inline std::int64_t jump_target(uapi::bpf_insn insn, std::uint32_t pc) {
  const bool far = insn.code == (uapi::BPF_JMP32 | uapi::BPF_JA);
  return std::int64_t{pc} + 1 + (far ? insn.imm : insn.off);
}

}  // namespace skep
