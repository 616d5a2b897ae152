// SPDX-License-Identifier: Apache-2.0
#include "prog/program_test_support.hpp"

#include "prog/instruction.hpp"

#include <set>

namespace skep::testing {
namespace {

std::uint64_t shrink(Run& run, std::uint64_t, std::uint64_t bytes, std::uint64_t, std::uint64_t,
                     std::uint64_t) {
  static_cast<TestContext&>(run.context()).shrink(bytes);
  return 0;
}
std::uint64_t fill(Run&, std::uint64_t to, std::uint64_t bytes, std::uint64_t, std::uint64_t,
                   std::uint64_t) {
  std::memset(reinterpret_cast<void*>(to), 0x5a, bytes);
  return bytes;
}
std::uint64_t read_u32(Run&, std::uint64_t from, std::uint64_t, std::uint64_t, std::uint64_t,
                       std::uint64_t) {
  std::uint32_t value;
  std::memcpy(&value, reinterpret_cast<const void*>(from), sizeof value);
  return value;
}

constexpr Helper shrink_helper = {.id = 44,
                                  .name = "xdp_adjust_head",
                                  .returns = Return::number,
                                  .arguments = {Arg::context, Arg::anything},
                                  .function = shrink,
                                  .changes_packet = true};
constexpr Helper fill_helper = {
    51, "redirect_map", Return::number, {Arg::memory_out, Arg::size}, fill};
constexpr Helper read_helper = {
    54, "xdp_adjust_meta", Return::number, {Arg::memory_inout_4}, read_u32};

}  // namespace

const Helper* TestProgramType::helper(std::uint32_t id) const {
  switch (id) {
    case 44:
      return &shrink_helper;
    case 51:
      return &fill_helper;
    case 54:
      return &read_helper;
    default:
      return base_helper(id);
  }
}

Ref<Btf> functions_btf(Budget& budget, const std::vector<bool>& globals) {
  std::string strings(1, '\0');
  const auto add_string = [&](const std::string& text) {
    const auto at = static_cast<std::uint32_t>(strings.size());
    strings += text + '\0';
    return at;
  };
  std::vector<std::uint32_t> types;
  constexpr std::uint32_t kind_int = 1, kind_func = 12, kind_proto = 13;
  std::vector<std::uint32_t> names;
  for (std::size_t n = 0; n < globals.size(); ++n)
    names.push_back(add_string("f" + std::to_string(n)));
  types.insert(types.end(), {add_string("int"), kind_int << 24, 4, 1U << 24 | 32});
  types.insert(types.end(), {0, kind_proto << 24, 1});
  for (std::size_t n = 0; n < globals.size(); ++n)
    types.insert(types.end(), {names[n], kind_func << 24 | (globals[n] ? 1U : 0U), 2});
  const auto type_bytes = static_cast<std::uint32_t>(types.size() * 4);
  const std::uint32_t header[] = {
      0x0001eb9f, 24, 0, type_bytes, type_bytes, static_cast<std::uint32_t>(strings.size())};
  std::vector<std::byte> blob(sizeof header + type_bytes + strings.size());
  std::memcpy(blob.data(), header, sizeof header);
  std::memcpy(blob.data() + sizeof header, types.data(), type_bytes);
  std::memcpy(blob.data() + sizeof header + type_bytes, strings.data(), strings.size());
  Log log;
  Result<Ref<Btf>> btf = Btf::parse(blob, budget, log);
  EXPECT_OK(btf) << log.text();
  return btf ? std::move(*btf) : Ref<Btf>();
}

Result<Ref<Program>> ProgramTest::load_with_functions(std::string_view text,
                                                      std::size_t functions) {
  ProgramSpec spec = spec_of(text);
  std::vector<bool> globals(functions, false);
  globals[0] = true;
  spec.btf = functions_btf(budget_, globals);
  std::set<std::uint32_t> starts = {0};
  for (std::uint32_t pc = 0; pc < spec.instructions.size(); ++pc) {
    const uapi::bpf_insn insn = spec.instructions[pc];
    if (is_subprogram_call(insn) || is_callback_load(insn))
      starts.insert(pc + 1 + static_cast<std::uint32_t>(insn.imm));
  }
  std::uint32_t type = 3;
  for (const std::uint32_t start : starts)
    spec.func_info.push_back({.insn_off = start, .type_id = type++});
  return load(std::move(spec));
}

}  // namespace skep::testing
