// SPDX-License-Identifier: Apache-2.0
// What PROG_LOAD refuses, with which errno and words, judged by the host kernel where it can judge.
#include "prog/host_bpf_test_support.hpp"
#include "prog/program_test_support.hpp"

#include <gtest/gtest.h>

namespace skep::testing {
namespace {

using namespace uapi;

class ProgramLoad : public ProgramTest {
 protected:
  std::string last_line_but_summary() const {
    std::string text = log_text_;
    text.resize(text.rfind("processed "));
    if (!text.empty()) text.pop_back();
    const std::size_t newline = text.rfind('\n');
    return newline == std::string::npos ? text : text.substr(newline + 1);
  }
};

struct Refusal {
  std::string_view program;
  int error;
  std::string_view message;  // the last line before the summary
};

const Refusal refusals[] = {
    // Structure.
    {"r0 = 0", EINVAL, "last insn is not an exit or jmp"},
    {"r0 = 0; r1 = 0x1 ll", EINVAL, "last insn is not an exit or jmp"},
    {"r0 = 0; goto +5; exit", EINVAL, "jump out of range from insn 1 to 7"},
    {"r0 = 0; goto -5; exit", EINVAL, "jump out of range from insn 1 to -3"},
    {"r0 = 0; gotol +100000; exit", EINVAL, "jump out of range from insn 1 to 100002"},
    {"if r1 == 0 goto +9; r0 = 0; exit", EINVAL, "jump out of range from insn 0 to 10"},
    {"r0 = 0; exit; exit", EINVAL, "unreachable insn 2"},
    {"goto +1; r0 = 1; r0 = 0; exit", EINVAL, "unreachable insn 1"},
    {"if r1 == 0 goto +1; r0 = 0x1 ll; r0 = 0; exit", EINVAL,
     "jump into the middle of ldimm64 insn 1"},
    {"call pc+5; exit", EINVAL, "call to invalid destination"},
    {"call pc-5; exit", EINVAL, "call to invalid destination"},
    {"call pc+1; exit; if r1 == 0 goto -3; r0 = 0; exit", EINVAL,
     "jump out of range from insn 2 to 0"},
    // A 16-byte load needs a clean second half.
    {".raw 0x18 0 0 0 1", EINVAL, "last insn is not an exit or jmp"},
    {".raw 0x18 0 0 0 1; .raw 0 1 0 0 0; exit", EINVAL, "invalid bpf_ld_imm64 insn"},
    {".raw 0x18 0 0 0 1; .raw 0 0 2 0 0; exit", EINVAL, "invalid bpf_ld_imm64 insn"},
    {".raw 0x18 0 0 0 1; .raw 0 0 0 3 0; exit", EINVAL, "invalid bpf_ld_imm64 insn"},
    {".raw 0x18 0 0 0 1; r0 = 0; exit", EINVAL, "invalid bpf_ld_imm64 insn"},
    {".raw 0x18 0 0 4 1; .raw 0 0 0 0 0; exit", EINVAL, "BPF_LD_IMM64 uses reserved fields"},
    {".raw 0x18 0 7 0 1; .raw 0 0 0 0 0; exit", EINVAL, "unrecognized bpf_ld_imm64 insn"},
    {".raw 0x18 0 1 0 1; .raw 0 0 0 0 1; exit", EINVAL, "unrecognized bpf_ld_imm64 insn"},
    // Unknown opcodes.
    {"r0 = 0; .raw 0xff 0 0 0 0; exit", EINVAL, "unknown opcode ff"},
    {"r0 = 0; .raw 0x86 0 0 0 1; exit", EINVAL, "unknown opcode 86"},
    {"r0 = 0; .raw 0x96 0 0 0 0; exit", EINVAL, "unknown opcode 96"},
    {"r0 = 0; .raw 0x8f 0 0 0 0; exit", EINVAL, "unknown opcode 8f"},
    {"r0 = 0; .raw 0xdf 0 0 0 16; exit", EINVAL, "unknown opcode df"},
    {"r0 = 0; .raw 0xe7 0 0 0 0; exit", EINVAL, "unknown opcode e7"},
    {"r0 = 0; .raw 0x00 0 0 0 0; exit", EINVAL, "unknown opcode 00"},
    {"r0 = 0; .raw 0x38 0 0 0 0; exit", EINVAL, "unknown opcode 38"},
    {"r0 = 0; .raw 0x99 0 10 -8 0; exit", EINVAL, "unknown opcode 99"},
    // Reserved fields.
    {".raw 0xb7 0 1 0 0; exit", EINVAL, "BPF_MOV uses reserved fields"},
    {".raw 0xb7 0 0 8 0; exit", EINVAL, "BPF_MOV uses reserved fields"},
    {".raw 0xbf 0 1 0 5; exit", EINVAL, "BPF_MOV uses reserved fields"},
    {".raw 0xbf 0 1 5 0; exit", EINVAL, "BPF_MOV uses reserved fields"},
    {".raw 0xbc 0 1 32 0; exit", EINVAL, "BPF_MOV uses reserved fields"},
    {"r0 = 0; .raw 0x07 0 2 0 1; exit", EINVAL, "BPF_ALU uses reserved fields"},
    {"r0 = 0; .raw 0x07 0 0 1 1; exit", EINVAL, "BPF_ALU uses reserved fields"},
    {"r0 = 0; .raw 0x37 0 0 2 1; exit", EINVAL, "BPF_ALU uses reserved fields"},
    {"r0 = 0; .raw 0x87 0 0 0 1; exit", EINVAL, "BPF_NEG uses reserved fields"},
    {"r0 = 0; .raw 0x87 0 1 0 0; exit", EINVAL, "BPF_NEG uses reserved fields"},
    {"r0 = 0; .raw 0xdc 0 0 0 24; exit", EINVAL, "BPF_END uses reserved fields"},
    {"r0 = 0; .raw 0xd4 0 0 4 16; exit", EINVAL, "BPF_END uses reserved fields"},
    {"r0 = 0; .raw 0xd7 0 0 0 8; exit", EINVAL, "BPF_END uses reserved fields"},
    {"r0 = 0; .raw 0x05 0 0 0 1; exit", EINVAL, "BPF_JA uses reserved fields"},
    {"r0 = 0; .raw 0x05 1 0 0 0; exit", EINVAL, "BPF_JA uses reserved fields"},
    {"r0 = 0; .raw 0x06 0 0 1 0; exit", EINVAL, "BPF_JA uses reserved fields"},
    {"r0 = 0; .raw 0x15 0 1 0 0; exit", EINVAL, "BPF_JMP/JMP32 uses reserved fields"},
    {"r0 = 0; .raw 0x1d 0 0 0 1; exit", EINVAL, "BPF_JMP/JMP32 uses reserved fields"},
    {"r0 = 0; .raw 0x95 0 0 0 1", EINVAL, "BPF_EXIT uses reserved fields"},
    {"r0 = 0; .raw 0x95 1 0 0 0", EINVAL, "BPF_EXIT uses reserved fields"},
    {".raw 0x85 0 0 1 7; exit", EINVAL, "BPF_CALL uses reserved fields"},
    {".raw 0x85 1 0 0 7; exit", EINVAL, "BPF_CALL uses reserved fields"},
    {".raw 0x85 0 3 0 7; exit", EINVAL, "BPF_CALL uses reserved fields"},
    {"r0 = 0; .raw 0x61 0 10 -4 1; exit", EINVAL, "BPF_LDX uses reserved fields"},
    {"r0 = 0; .raw 0x62 10 1 -4 1; exit", EINVAL, "BPF_ST uses reserved fields"},
    {"r0 = 0; .raw 0x63 10 0 -4 1; exit", EINVAL, "BPF_STX uses reserved fields"},
    {"r0 = 0; .raw 0xe5 0 0 0 1; exit", EINVAL, "invalid may_goto imm 1"},
    {"r6 = r1; r0 = 0; .raw 0xc3 10 0 -4 2; exit", EINVAL,
     "BPF_ATOMIC uses invalid atomic opcode 02"},
    {"r6 = r1; r0 = 0; .raw 0xd3 10 0 -4 0; exit", EINVAL, "invalid atomic operand size"},
    // Registers and immediates.
    {".raw 0xb7 11 0 0 0; r0 = 0; exit", EINVAL, "R11 is invalid"},
    {".raw 0xbf 0 15 0 0; exit", EINVAL, "R15 is invalid"},
    {"r10 = 0; r0 = 0; exit", EACCES, "frame pointer is read only"},
    {"r10 += 8; r0 = 0; exit", EACCES, "frame pointer is read only"},
    {"r10 = 0x5 ll; r0 = 0; exit", EACCES, "frame pointer is read only"},
    {"r10 = *(u32 *)(r1 + 0); r0 = 0; exit", EACCES, "frame pointer is read only"},
    {"r0 = 1; r0 /= 0; exit", EINVAL, "div by zero"},
    {"w0 = 1; w0 %= 0; exit", EINVAL, "div by zero"},
    {"r0 = 1; r0 s/= 0; exit", EINVAL, "div by zero"},
    {"r0 = 1; r0 <<= 64; exit", EINVAL, "invalid shift 64"},
    {"w0 = 1; w0 >>= 32; exit", EINVAL, "invalid shift 32"},
    {"r0 = 1; r0 s>>= -1; exit", EINVAL, "invalid shift -1"},
    // Calls.
    {"call 195896080; exit", EINVAL, "invalid func unknown#195896080"},
    {"call -1; exit", EINVAL, "invalid func unknown#-1"},
    {"r6 = r1; r0 = *(u16 *)skb[12]; exit", EINVAL,
     "BPF_LD_[ABS|IND] instructions not allowed for this program type"},
    {"call pc+1; exit; call pc-1; exit", E2BIG, "the call stack of 9 frames is too deep"},
    {R"(
      call pc+1; exit
      call pc+1; exit
      call pc+1; exit
      call pc+1; exit
      call pc+1; exit
      call pc+1; exit
      call pc+1; exit
      call pc+1; exit
      r0 = 0; exit
    )",
     E2BIG, "the call stack of 9 frames is too deep"},
    {R"(
      *(u64 *)(r10 - 304) = 0
      call pc+2
      r0 = 0
      exit
      *(u64 *)(r10 - 304) = 0
      r0 = 0
      exit
    )",
     EACCES, "combined stack size of 2 calls is 608. Too large"},
    {"call pc+1; exit; r2 = 0; r3 = 0; call 12; r0 = 0; exit", EINVAL,
     "tail_call is not allowed in subprogs without BTF"},
    {"call pc+1; exit; r6 = r1; r0 = *(u16 *)skb[12]; exit", EINVAL,
     "LD_ABS is not allowed in subprogs without BTF"},
    // Pseudo loads.
    {"r1 = map 99; r0 = 0; exit", EBADF, "fd 99 is not pointing to valid bpf_map"},
    {"r1 = map 99 +0; r0 = 0; exit", EBADF, "fd 99 is not pointing to valid bpf_map"},
    {"r1 = map_idx 0; r0 = 0; exit", EPROTO, "fd_idx without fd_array is invalid"},
    {"r1 = func f; r0 = 0; exit; f: r0 = 0; exit", EINVAL, "missing btf func_info"},
};

TEST_F(ProgramLoad, RefusesWithErrnoAndReason) {
  for (const Refusal& c : refusals) {
    SCOPED_TRACE(c.program);
    EXPECT_ERRNO(load(c.program), c.error);
    EXPECT_EQ(last_line_but_summary(), c.message) << log_text_;
  }
}

TEST_F(ProgramLoad, HostKernelRefusesWithTheSameErrno) {
  if (const auto reason = host_refusal()) GTEST_SKIP() << *reason;
  // Descriptor 99 must be closed for the host as well.
  ASSERT_EQ(::close(99), -1);
  for (const Refusal& c : refusals) {
    SCOPED_TRACE(c.program);
    std::string log;
    const int result = host_load(assemble(c.program).instructions, BPF_PROG_TYPE_XDP, &log);
    if (result >= 0) ::close(result);
    EXPECT_EQ(result, -c.error) << log;
  }
}

TEST_F(ProgramLoad, HostKernelUsesTheSameWords) {
  if (const auto reason = host_refusal()) GTEST_SKIP() << *reason;
  for (const Refusal& c : refusals) {
    std::string log;
    const int result = host_load(assemble(c.program).instructions, BPF_PROG_TYPE_XDP, &log);
    if (result >= 0) ::close(result);
    EXPECT_NE(log.find(c.message), std::string::npos) << c.program << "\nhost: " << log;
  }
}

TEST_F(ProgramLoad, PoisonedCallPrintsWhatLibbpfLooksFor) {
  EXPECT_ERRNO(load("r1 = 0; call 195896080; exit"), EINVAL);
  EXPECT_NE(log_text_.find("1: (85) call unknown#195896080\ninvalid func unknown#195896080\n"),
            std::string::npos)
      << log_text_;
}

TEST_F(ProgramLoad, PoisonedLoadPrintsWhatLoadersLookFor) {
  EXPECT_ERRNO(load("r10 = 0xbad2310 ll; r0 = 0; exit"), EACCES);
  EXPECT_NE(log_text_.find("0: (18) r10 = 0xbad2310\n"), std::string::npos) << log_text_;
}

TEST_F(ProgramLoad, HelperOfAnotherTypeIsNamed) {
  ProgramSpec spec = spec_of("r2 = 0; call 44; exit");
  spec.type = &socket_filter_;
  EXPECT_ERRNO(load(std::move(spec)), EINVAL);
  EXPECT_NE(log_text_.find("program of this type cannot use helper bpf_xdp_adjust_head#44\n"
                           "unknown func bpf_xdp_adjust_head#44\n"),
            std::string::npos)
      << log_text_;
}

TEST_F(ProgramLoad, GplOnlyHelperNeedsAGplProgram) {
  constexpr std::string_view program =
      "*(u64 *)(r10 - 8) = 0; r1 = r10; r1 += -8; r2 = 8; call 6; r0 = 0; exit";
  for (const auto& [license, fine] :
       {std::pair("GPL", true), std::pair("Dual BSD/GPL", true), std::pair("", false),
        std::pair("BSD", false), std::pair("GPLv2", false)}) {
    ProgramSpec spec = spec_of(program);
    spec.license = license;
    Result<Ref<Program>> loaded = load(std::move(spec));
    EXPECT_EQ(static_cast<bool>(loaded), fine) << license;
    if (fine) EXPECT_TRUE((*loaded)->gpl_compatible());
    if (!fine)
      EXPECT_EQ(last_line_but_summary(),
                "cannot call GPL-restricted function from non-GPL compatible program");
  }
}

TEST_F(ProgramLoad, CodeThatCannotRunIsNotJudged) {
  // What libbpf makes of `if (bpf_core_field_exists(...))`: a constant, and a poisoned branch.
  EXPECT_EQ(value_of("r1 = 0; r0 = 3; if r1 == 0 goto out; call 195896080; out: exit"), 3U);
  EXPECT_EQ(value_of("w1 = 7; w1 &= 8; r0 = 3; if w1 == 0 goto +1; r10 = 5; exit"), 3U);
  EXPECT_ERRNO(
      load("r2 = *(u32 *)(r1 + 16); r0 = 3; if r2 == 0 goto out; call 195896080; out: exit"),
      EINVAL);
  // A byte swap depends on no other register, although its opcode has the bit that says so.
  EXPECT_OK(
      load("r0 = *(u32 *)(r1 + 16); r1 = 0x1234; r1 = be16 r1; if r1 == 0x3412 goto out; "
           "call 195896080; out: exit"));
  // Loops do not hide a change.
  EXPECT_ERRNO(load("r1 = 0; r0 = 3; again: if r1 == 5 goto bad; r1 += 1; goto again; bad: call "
                    "195896080; exit"),
               EINVAL);
}

TEST_F(ProgramLoad, FrozenReadOnlyValuesAreConstants) {
  Map& map = make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_RDONLY_PROG);
  constexpr std::string_view program =
      "r1 = map 3 +4; r1 = *(u32 *)(r1 + 0); r0 = 3; if r1 == 0 goto out; call 195896080; out: "
      "exit";
  EXPECT_ERRNO(load(program), EINVAL);
  ASSERT_OK(map.freeze());
  EXPECT_EQ(value_of(program), 3U);
}

TEST_F(ProgramLoad, PseudoLoads) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 1);
  make_map(4, BPF_MAP_TYPE_ARRAY, 4, 8, 2);
  make_map(5, BPF_MAP_TYPE_HASH, 4, 8, 1);
  resolver_.has_fd_array = true;
  EXPECT_OK(load("r1 = map 3; r1 = map_idx 3; r1 = map 3 +7; r1 = map_idx 3 +0; r0 = 0; exit"));
  EXPECT_ERRNO(load("r1 = map 3 +8; r0 = 0; exit"), EINVAL);
  EXPECT_EQ(last_line_but_summary(), "invalid access to map value pointer, value_size=8 off=8");
  EXPECT_ERRNO(load("r1 = map 3 +536870912; r0 = 0; exit"), EINVAL);
  EXPECT_EQ(last_line_but_summary(), "direct value offset of 536870912 is not allowed");
  EXPECT_ERRNO(load("r1 = map 4 +0; r0 = 0; exit"), ENOTSUPP);
  EXPECT_ERRNO(load("r1 = map 5 +0; r0 = 0; exit"), EINVAL);
  EXPECT_EQ(last_line_but_summary(), "no direct value access support for this map type");
  EXPECT_ERRNO(load(".raw 0x18 1 3 0 5; .raw 0 0 0 0 0; r0 = 0; exit"), ENOENT);
}

TEST_F(ProgramLoad, SixtyFourMapsAtMost) {
  std::string program;
  for (int fd = 100; fd < 164; ++fd) {
    make_map(fd, BPF_MAP_TYPE_ARRAY, 4, 8, 1);
    program += "r1 = map " + std::to_string(fd) + "\n";
  }
  Result<Ref<Program>> loaded = load(program + "r1 = map 100; r0 = 0; exit");
  ASSERT_OK(loaded);
  EXPECT_EQ((*loaded)->maps().size(), 64U);
  make_map(164, BPF_MAP_TYPE_ARRAY, 4, 8, 1);
  EXPECT_ERRNO(load(program + "r1 = map 164; r0 = 0; exit"), E2BIG);
  EXPECT_EQ(last_line_but_summary(),
            "The total number of maps per program has reached the limit of 64");
}

TEST_F(ProgramLoad, SubprogramsAreCounted) {
  std::string program;
  for (int n = 0; n < 255; ++n) program += "call @f" + std::to_string(n) + "\n";
  program += "r0 = 0; exit\n";
  for (int n = 0; n < 255; ++n) program += "f" + std::to_string(n) + ": r0 = 0; exit\n";
  Result<Ref<Program>> loaded = load(program);
  ASSERT_OK(loaded) << log_text_;
  EXPECT_EQ((*loaded)->subprograms().size(), 256U);
  EXPECT_EQ((*loaded)->subprograms()[1].count, 2U);
  EXPECT_ERRNO(load("call @more\n" + program + "more: r0 = 0; exit"), E2BIG);
  EXPECT_EQ(last_line_but_summary(), "too many subprograms");
}

TEST_F(ProgramLoad, KernelFunctionsAreRefusedClearly) {
  EXPECT_ERRNO(load("call kfunc#17; exit"), ENOTSUPP);
  EXPECT_EQ(last_line_but_summary(), "calling kernel function btf_id 17 is not supported");
}

TEST_F(ProgramLoad, TagIsSha256WithoutMapDescriptors) {
  const auto hex = [](std::span<const std::uint8_t> tag) {
    std::string text;
    for (const std::uint8_t byte : tag) {
      char digits[3];
      std::snprintf(digits, sizeof digits, "%02x", byte);
      text += digits;
    }
    return text;
  };
  // printf '\xb7\0\0\0\0\0\0\0\x95\0\0\0\0\0\0\0' | sha256sum
  Result<Ref<Program>> trivial = load("r0 = 0; exit");
  ASSERT_OK(trivial);
  EXPECT_EQ(hex((*trivial)->tag()), "59f4a931744dcdc6");
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 1);
  make_map(4, BPF_MAP_TYPE_ARRAY, 4, 8, 1);
  EXPECT_EQ(hex((*load("r1 = map 3; r0 = 0; exit"))->tag()),
            hex((*load("r1 = map 4; r0 = 0; exit"))->tag()));
  EXPECT_NE(hex((*load("r1 = 3 ll; r0 = 0; exit"))->tag()),
            hex((*load("r1 = 4 ll; r0 = 0; exit"))->tag()));
  // A subprogram's tag covers its own instructions.
  Result<Ref<Program>> nested = load("call @f; exit; f: r0 = 0; exit");
  EXPECT_EQ(hex((*nested)->subprograms()[1].tag), "59f4a931744dcdc6");
}

TEST_F(ProgramLoad, TranslatedInstructionsShowMapIds) {
  Map& map = make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 1);
  IdTable ids;
  ASSERT_OK(ids.publish(map));
  resolver_.has_fd_array = true;
  Result<Ref<Program>> program = load("r1 = map 3; r2 = map_idx 3 +4; r0 = 0; exit");
  ASSERT_OK(program);
  const std::vector<bpf_insn> shown = (*program)->xlated();
  EXPECT_EQ(shown[0].src_reg, BPF_PSEUDO_MAP_FD);
  EXPECT_EQ(shown[0].imm, static_cast<int>(map.id()));
  EXPECT_EQ(shown[2].src_reg, BPF_PSEUDO_MAP_VALUE);
  EXPECT_EQ(shown[2].imm, static_cast<int>(map.id()));
  EXPECT_EQ(shown[3].imm, 4);
  *program = {};
  resolver_.maps.clear();
  rcu::barrier();
}

TEST_F(ProgramLoad, FunctionInfoMustMatchTheLayout) {
  const auto with = [&](std::vector<bpf_func_info> info) {
    ProgramSpec spec = spec_of("call @f; exit; f: r0 = 0; exit");
    spec.btf = functions_btf(budget_, {true, false});
    spec.func_info = std::move(info);
    return load(std::move(spec));
  };
  Result<Ref<Program>> good = with({{0, 3}, {2, 4}});
  ASSERT_OK(good) << log_text_;
  EXPECT_EQ((*good)->subprograms()[0].name, "f0");
  EXPECT_TRUE((*good)->subprograms()[0].global);
  EXPECT_EQ((*good)->subprograms()[1].name, "f1");
  EXPECT_FALSE((*good)->subprograms()[1].global);
  EXPECT_ERRNO(with({{1, 3}, {2, 4}}), EINVAL);
  EXPECT_EQ(last_line_but_summary(), "nonzero insn_off 1 for the first func info record");
  EXPECT_ERRNO(with({{0, 3}, {0, 4}}), EINVAL);
  EXPECT_EQ(last_line_but_summary(),
            "same or smaller insn offset (0) than previous func info record (0)");
  EXPECT_ERRNO(with({{0, 1}, {2, 4}}), EINVAL);
  EXPECT_EQ(last_line_but_summary(), "invalid type id 1 in func info");
  EXPECT_ERRNO(with({{0, 99}, {2, 4}}), EINVAL);
  EXPECT_ERRNO(with({{0, 3}}), EINVAL);
  EXPECT_EQ(last_line_but_summary(),
            "number of funcs in func_info doesn't match number of subprogs");
  EXPECT_ERRNO(with({{0, 3}, {1, 4}}), EINVAL);
  EXPECT_EQ(last_line_but_summary(),
            "func_info BTF section doesn't match subprog layout in BPF program");
}

TEST_F(ProgramLoad, LineInfoMustMatchTheLayout) {
  const auto with = [&](std::vector<bpf_line_info> info) {
    ProgramSpec spec = spec_of("call @f; exit; f: r0 = 0x1 ll; exit");
    spec.btf = functions_btf(budget_, {true, false});
    spec.func_info = {{0, 3}, {2, 4}};
    spec.line_info = std::move(info);
    return load(std::move(spec));
  };
  EXPECT_OK(with({{0, 1, 1, 0}, {1, 1, 1, 0}, {2, 1, 1, 0}, {4, 1, 1, 0}}));
  EXPECT_ERRNO(with({{0, 1, 1, 0}, {3, 1, 1, 0}}), EINVAL);
  EXPECT_EQ(last_line_but_summary(), "Invalid insn code at line_info[1].insn_off");
  EXPECT_ERRNO(with({{0, 1, 1, 0}, {0, 1, 1, 0}}), EINVAL);
  EXPECT_EQ(last_line_but_summary(), "Invalid line_info[1].insn_off:0 (prev_offset:0 prog->len:5)");
  EXPECT_ERRNO(with({{0, 1, 1, 0}, {2, 1, 1, 0}, {5, 1, 1, 0}}), EINVAL);
  EXPECT_ERRNO(with({{0, 9999, 1, 0}}), EINVAL);
  EXPECT_EQ(last_line_but_summary(), "Invalid line_info[0].line_off or .file_name_off");
  EXPECT_ERRNO(with({{1, 1, 1, 0}}), EINVAL);
  EXPECT_EQ(last_line_but_summary(), "missing bpf_line_info for func#0");
  EXPECT_ERRNO(with({{0, 1, 1, 0}}), EINVAL);
  EXPECT_EQ(last_line_but_summary(), "missing bpf_line_info for func#1");
}

TEST_F(ProgramLoad, CallbacksAreStaticFunctions) {
  ProgramSpec spec =
      spec_of("r1 = 1; r2 = func f; r3 = 0; r4 = 0; call 181; r0 = 0; exit; f: r0 = 0; exit");
  spec.btf = functions_btf(budget_, {true, true});
  spec.func_info = {{0, 3}, {8, 4}};
  EXPECT_ERRNO(load(std::move(spec)), EINVAL);
  EXPECT_EQ(last_line_but_summary(), "callback function not static");
}

TEST_F(ProgramLoad, TailCallsNeedShallowCallers) {
  make_map(3, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1);
  const auto program = [](std::string_view depth) {
    return "*(u64 *)(r10 - " + std::string(depth) + R"() = 0
      call @f
      exit
    f:
      r2 = map 3
      r3 = 0
      call 12
      r0 = 0
      exit
    )";
  };
  EXPECT_OK(load_with_functions(program("240"), 2)) << log_text_;
  EXPECT_ERRNO(load_with_functions(program("256"), 2), EACCES);
  EXPECT_EQ(
      last_line_but_summary(),
      "tail_calls are not allowed when call stack of previous frames is 256 bytes. Too large");
}

TEST_F(ProgramLoad, LogLevels) {
  constexpr std::string_view summary =
      "processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 "
      "mark_read 0\n";
  log_level_ = 0;
  EXPECT_OK(load("r0 = 0; exit"));
  EXPECT_EQ(log_text_, "");
  EXPECT_ERRNO(load("r0 = 0"), EINVAL);
  EXPECT_EQ(log_text_, "");
  log_level_ = Log::errors;
  EXPECT_OK(load("r0 = 0; exit"));
  EXPECT_EQ(log_text_, summary);
  EXPECT_EQ(log_text_.size() + 1, 98U);  // as observed on Linux
  log_level_ = Log::statistics;
  EXPECT_OK(load("*(u64 *)(r10 - 20) = 0; r0 = 0; exit"));
  EXPECT_TRUE(log_text_.starts_with("verification time 0 usec\nstack depth 20\nprocessed 3 insns"));
  log_level_ = Log::trace;
  EXPECT_OK(load("call @f; exit; f: r0 = 0; exit"));
  EXPECT_TRUE(log_text_.starts_with("func#0 @0\nfunc#1 @2\n")) << log_text_;
}

TEST_F(ProgramLoad, BoundMapsComeAfterUsedOnes) {
  Map& used = make_map(3, BPF_MAP_TYPE_ARRAY, 4, 8, 1);
  Map& bound = make_map(4, BPF_MAP_TYPE_ARRAY, 4, 8, 1);
  Result<Ref<Program>> program = load("r1 = map 3; r0 = 0; exit");
  ASSERT_OK(program);
  for (int n = 0; n < 2; ++n) {
    (*program)->bind_map(Ref<Map>::share(bound));
    (*program)->bind_map(Ref<Map>::share(used));
  }
  const std::vector<Ref<Map>> maps = (*program)->maps();
  ASSERT_EQ(maps.size(), 2U);
  EXPECT_EQ(maps[0].get(), &used);
  EXPECT_EQ(maps[1].get(), &bound);
  EXPECT_TRUE((*program)->uses(&used));
  EXPECT_FALSE((*program)->uses(&bound));
}

TEST_F(ProgramLoad, FullNameComesFromTypeInformation) {
  ProgramSpec spec = spec_of("r0 = 0; exit");
  spec.btf = functions_btf(budget_, {true});
  spec.func_info = {{0, 3}};
  spec.name = "f";
  EXPECT_EQ((*load(spec))->full_name(), "f");  // shorter than 15 characters: taken as it is
}

TEST_F(ProgramLoad, ChargesTheBudget) {
  const Result<Charge> rest = budget_.charge(budget_.limit_bytes() - 100);
  ASSERT_OK(rest);
  EXPECT_ERRNO(load("r0 = 0; exit"), ENOMEM);
}

TEST_F(ProgramLoad, SocketFiltersHaveTheBaseHelpersThatLinuxGivesThem) {
  EXPECT_FALSE(socket_filter_.needs_net_admin());
  EXPECT_EQ(socket_filter_.helper(28), nullptr);
  EXPECT_NE(socket_filter_.helper(1), nullptr);
  EXPECT_EQ(socket_filter_.helper(100'000), nullptr);
}

}  // namespace
}  // namespace skep::testing
