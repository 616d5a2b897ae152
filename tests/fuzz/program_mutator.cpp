// SPDX-License-Identifier: Apache-2.0
// Changes of whole instructions for program_fuzz: libFuzzer's own would tear them apart, and of all
// bytes few are opcodes.
#include "prog/instruction.hpp"
#include "uapi/bpf.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t bytes,
                                        std::size_t max_bytes);

namespace skep::fuzz {
namespace {

constexpr std::size_t header_bytes = 8;

class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  void change(std::vector<uapi::bpf_insn>& program) {
    const std::size_t at = below(static_cast<std::uint32_t>(program.size()) + 1);
    const auto place = program.begin() + static_cast<std::ptrdiff_t>(at);
    switch (program.empty() || at == program.size() ? 0 : below(7)) {
      case 0:
        insert(program, at);
        break;
      case 1:
        program.erase(place);
        break;
      case 2:
        std::swap(*place, program[below(static_cast<std::uint32_t>(program.size()))]);
        break;
      case 3: {
        const uapi::bpf_insn copy = program[below(static_cast<std::uint32_t>(program.size()))];
        program.insert(place, copy);
        break;
      }
      case 4:
        place->dst_reg = below(uapi::MAX_BPF_REG);
        break;
      case 5:
        place->src_reg = below(uapi::MAX_BPF_REG);
        break;
      default:
        tweak(*place);
        break;
    }
  }

 private:
  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }

  std::int16_t offset() {
    constexpr std::array<std::int16_t, 14> usual = {-512, -16, -8, -4, -1, 0,  1,
                                                    2,    4,   8,  12, 16, 64, 511};
    return below(8) == 0 ? static_cast<std::int16_t>(random_()) : usual[below(usual.size())];
  }
  std::int32_t immediate() {
    constexpr std::array<std::int32_t, 14> usual = {-1, 0,  1,  2,  3,    4,    7,
                                                    8,  12, 16, 64, 0x41, 4096, INT32_MIN};
    return below(8) == 0 ? static_cast<std::int32_t>(random_()) : usual[below(usual.size())];
  }

  void tweak(uapi::bpf_insn& instruction) {
    switch (below(3)) {
      case 0:
        instruction.off = offset();
        break;
      case 1:
        instruction.imm = immediate();
        break;
      default:
        instruction.code = opcode();
        break;
    }
  }

  std::uint8_t opcode() {
    std::uint8_t code;
    do code = static_cast<std::uint8_t>(random_());
    while (!is_known_opcode(code));
    return code;
  }

  /// Something that loads have a chance to accept: what an operation does not use is 0.
  uapi::bpf_insn random_instruction() {
    uapi::bpf_insn made{.code = opcode(),
                        .dst_reg = static_cast<std::uint8_t>(below(uapi::MAX_BPF_REG)),
                        .src_reg = static_cast<std::uint8_t>(below(uapi::MAX_BPF_REG)),
                        .off = 0,
                        .imm = 0};
    const std::uint8_t operation = made.code & 0xf0;
    switch (made.code & 7) {
      case uapi::BPF_ALU:
      case uapi::BPF_ALU64: {
        constexpr std::array<std::int16_t, 4> sign_extensions = {0, 8, 16, 32};
        const bool uses_register = (made.code & uapi::BPF_X) != 0;
        if (operation == uapi::BPF_END) {
          constexpr std::array<std::int32_t, 3> widths = {16, 32, 64};
          made.src_reg = 0;
          made.imm = widths[below(3)];
          break;
        }
        if (operation == uapi::BPF_NEG || !uses_register) made.src_reg = 0;
        if (operation == uapi::BPF_DIV || operation == uapi::BPF_MOD)
          made.off = static_cast<std::int16_t>(below(2));
        if (operation == uapi::BPF_MOV && uses_register) made.off = sign_extensions[below(4)];
        if (!uses_register && operation != uapi::BPF_NEG) made.imm = immediate();
        break;
      }
      case uapi::BPF_JMP:
      case uapi::BPF_JMP32:
        if (operation == uapi::BPF_CALL) {
          made.dst_reg = 0;
          made.src_reg = below(4) == 0 ? uapi::BPF_PSEUDO_CALL : 0;
          made.imm = static_cast<std::int32_t>(below(made.src_reg == 0 ? 220 : 16));
        } else if (operation == uapi::BPF_EXIT) {
          made.dst_reg = made.src_reg = 0;
        } else if (operation == uapi::BPF_JA) {
          made.dst_reg = made.src_reg = 0;
          ((made.code & 7) == uapi::BPF_JMP ? made.off
                                            : *reinterpret_cast<std::int16_t*>(&made.imm)) =
              static_cast<std::int16_t>(below(8));
        } else {
          made.off = static_cast<std::int16_t>(static_cast<int>(below(12)) - 2);
          if ((made.code & uapi::BPF_X) != 0) break;
          made.src_reg = 0;
          made.imm = immediate();
        }
        break;
      default:
        made.off = offset();
        if ((made.code & 7) == uapi::BPF_ST) made.src_reg = 0, made.imm = immediate();
        if ((made.code & 0xe7) == (uapi::BPF_STX | uapi::BPF_ATOMIC)) {
          constexpr std::array<std::int32_t, 12> operations = {0,
                                                               1,
                                                               0x40,
                                                               0x41,
                                                               0x50,
                                                               0x51,
                                                               0xa0,
                                                               0xa1,
                                                               uapi::BPF_XCHG,
                                                               uapi::BPF_CMPXCHG,
                                                               uapi::BPF_LOAD_ACQ,
                                                               uapi::BPF_STORE_REL};
          made.imm = operations[below(operations.size())];
        }
        break;
    }
    return made;
  }

  void insert(std::vector<uapi::bpf_insn>& program, std::size_t at) {
    const auto place = program.begin() + static_cast<std::ptrdiff_t>(at);
    uapi::bpf_insn made = random_instruction();
    if (is_wide_load(made)) {
      made.off = 0;
      made.src_reg = below(7);
      made.imm = made.src_reg == 0 ? immediate() : static_cast<std::int32_t>(below(9));
      program.insert(place, {made, uapi::bpf_insn{}});
    } else if (below(4) == 0) {
      // Pointers that an access may go through: the stack, and the start of the packet.
      if (below(2) == 0) {
        made = {.code = uapi::BPF_ALU64 | uapi::BPF_MOV | uapi::BPF_X,
                .dst_reg = static_cast<std::uint8_t>(below(10)),
                .src_reg = 10,
                .off = 0,
                .imm = 0};
        const uapi::bpf_insn down{.code = uapi::BPF_ALU64 | uapi::BPF_ADD | uapi::BPF_K,
                                  .dst_reg = made.dst_reg,
                                  .src_reg = 0,
                                  .off = 0,
                                  .imm = -8 * static_cast<std::int32_t>(1 + below(8))};
        program.insert(place, {made, down});
      } else {
        made = {.code = uapi::BPF_LDX | uapi::BPF_MEM | uapi::BPF_W,
                .dst_reg = static_cast<std::uint8_t>(below(10)),
                .src_reg = 1,
                .off = static_cast<std::int16_t>(4 * below(6)),
                .imm = 0};
        program.insert(place, made);
      }
    } else {
      program.insert(place, made);
    }
  }

  std::minstd_rand random_;
};

}  // namespace
}  // namespace skep::fuzz

extern "C" __attribute__((visibility("default"))) std::size_t LLVMFuzzerCustomMutator(
    std::uint8_t* data, std::size_t bytes, std::size_t max_bytes, unsigned seed) {
  using namespace skep;
  using namespace skep::fuzz;
  // Now and then anything goes: the loader must take torn instructions, too.
  if (bytes < header_bytes || seed % 16 == 0) return LLVMFuzzerMutate(data, bytes, max_bytes);
  if (seed % 16 == 1) {
    LLVMFuzzerMutate(data, header_bytes, header_bytes);
    return bytes;
  }
  std::vector<uapi::bpf_insn> program((bytes - header_bytes) / sizeof(uapi::bpf_insn));
  const std::size_t program_bytes = program.size() * sizeof(uapi::bpf_insn);
  if (program_bytes != 0) std::memcpy(program.data(), data + header_bytes, program_bytes);
  Mutator mutator(seed);
  for (unsigned turn = 0; turn <= seed / 16 % 4; ++turn) mutator.change(program);
  const std::size_t changed_bytes = program.size() * sizeof(uapi::bpf_insn);
  if (header_bytes + changed_bytes > max_bytes) return bytes;
  if (changed_bytes != 0) std::memcpy(data + header_bytes, program.data(), changed_bytes);
  return header_bytes + changed_bytes;
}
