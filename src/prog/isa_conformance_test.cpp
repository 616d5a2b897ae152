// SPDX-License-Identifier: Apache-2.0
// Runs the text cases of tests/conformance/isa: programs with the value or the fault they must end
// with. The host kernel must give the same values, so the cases themselves are checked too.
#include "prog/host_bpf_test_support.hpp"
#include "prog/instruction.hpp"
#include "prog/program_test_support.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace skep::testing {
namespace {

struct Case {
  std::string name, program, expected;
};

/// `=== name`, the program, `--- expected`; `//` begins a comment.
std::vector<Case> read_cases(const std::filesystem::path& file) {
  std::vector<Case> cases;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("=== ")) {
      cases.push_back(
          {.name = file.stem().string() + ": " + line.substr(4), .program = {}, .expected = {}});
    } else if (line.starts_with("--- ")) {
      cases.back().expected = line.substr(4);
    } else if (!cases.empty()) {
      cases.back().program += line + "\n";
    }
  }
  return cases;
}

std::vector<Case> all_cases() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(SKEP_ISA_CASES))
    files.push_back(entry.path());
  std::ranges::sort(files);
  std::vector<Case> cases;
  for (const auto& file : files)
    for (Case& c : read_cases(file)) cases.push_back(std::move(c));
  return cases;
}

class IsaConformance : public ProgramTest {};

TEST_F(IsaConformance, CasesGiveTheirValueOrFault) {
  type_.packet_loads = true;
  const std::vector<Case> cases = all_cases();
  ASSERT_GT(cases.size(), 500U);
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name + "\n" + c.program);
    ASSERT_FALSE(c.expected.empty());
    Result<Ref<Program>> program = load(c.program);
    ASSERT_OK(program) << log_text_;
    const Outcome outcome = run(**program);
    if (!c.expected.starts_with("fault")) {
      EXPECT_FALSE(outcome.faulted) << (*program)->last_fault()->describe();
      EXPECT_EQ(outcome.value, std::stoull(c.expected, nullptr, 0));
      continue;
    }
    ASSERT_TRUE(outcome.faulted);
    EXPECT_EQ(outcome.value, 0U);
    const Fault fault = *(*program)->last_fault();
    std::istringstream expected(c.expected);
    std::string word, kind, where;
    std::uint32_t pc = 0;
    expected >> word >> pc >> kind;
    std::getline(expected >> std::ws, where);
    EXPECT_EQ(fault.pc, pc);
    EXPECT_EQ(name_of(fault.kind), kind);
    if (!where.empty()) EXPECT_EQ(fault.where, where);
  }
}

/// Calls `program` as a subprogram and returns the low or the high half of its value.
std::vector<uapi::bpf_insn> wrapped(const std::vector<uapi::bpf_insn>& program, bool high) {
  Assembled head = assemble(high ? "call pc+2; r0 >>= 32; exit" : "call pc+2; r0 <<= 0; exit");
  head.instructions.insert(head.instructions.end(), program.begin(), program.end());
  return head.instructions;
}

TEST_F(IsaConformance, HostKernelAgrees) {
  if (const auto reason = host_refusal()) GTEST_SKIP() << *reason;
  std::size_t compared = 0;
  for (const Case& c : all_cases()) {
    // Faults are what the kernel refuses to load; may_goto and eight frames leave no room for the
    // wrapper.
    if (c.expected.starts_with("fault") || c.name.starts_with("faults") ||
        c.name.ends_with("eight frames"))
      continue;
    SCOPED_TRACE(c.name + "\n" + c.program);
    std::uint64_t value = 0;
    const auto program = assemble(c.program).instructions;
    for (const bool high : {false, true}) {
      std::string log;
      const int fd = host_load(wrapped(program, high), uapi::BPF_PROG_TYPE_XDP, &log);
      ASSERT_GE(fd, 0) << log;
      const std::optional<std::uint32_t> half = host_run(fd);
      ::close(fd);
      ASSERT_TRUE(half);
      value |= std::uint64_t{*half} << (high ? 32 : 0);
    }
    EXPECT_EQ(value, std::stoull(c.expected, nullptr, 0));
    ++compared;
  }
  EXPECT_GT(compared, 500U);
}

// Every opcode of the instruction set occurs in some case, or is a form that needs a map or another
// program type.
TEST_F(IsaConformance, EveryOpcodeHasACase) {
  std::set<std::pair<unsigned, int>> seen;
  for (const Case& c : all_cases())
    for (const uapi::bpf_insn insn : assemble(c.program).instructions)
      seen.insert({insn.code, (insn.code & 0xe7) == 0xc3 ? insn.imm : 0});
  std::string missing;
  for (unsigned code = 0; code < 256; ++code) {
    const bool packet = (code & 7) == uapi::BPF_LD && code != 0x18;
    const bool atomic = (code & 0xe7) == 0xc3;
    if (!is_known_opcode(static_cast<std::uint8_t>(code)) || packet || atomic) continue;
    if (!seen.contains({code, 0})) missing += std::to_string(code) + " ";
  }
  EXPECT_EQ(missing, "");
  for (const int operation :
       {0x00, 0x40, 0x50, 0xa0, 0x01, 0x41, 0x51, 0xa1, 0xe1, 0xf1, 0x100, 0x110}) {
    EXPECT_TRUE(seen.contains({0xc3, operation})) << operation;
    EXPECT_TRUE(seen.contains({0xdb, operation})) << operation;
  }
}

}  // namespace
}  // namespace skep::testing
