// SPDX-License-Identifier: Apache-2.0
// PROG_LOAD below the attributes: structure, type information, pseudo loads, operations, calls.
// What the kernel's verifier proves about values is proven by the checked interpreter when it
// happens.
//
// The order is that of program-load.md 2.6, because programs with several faults must get the errno
// of the first one. Operations are judged only where they can run (constant_flow.hpp), as the
// kernel does.
#include "prog/code.hpp"
#include "prog/constant_flow.hpp"
#include "prog/disassembler.hpp"
#include "prog/instruction.hpp"
#include "prog/program.hpp"

#include <fmt/format.h>
#include <sha256.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <utility>

namespace skep {
namespace {

using namespace uapi;

constexpr std::size_t max_subprograms = 256;
constexpr std::size_t max_maps = 64;
constexpr std::uint32_t max_frames = 8;
constexpr std::uint32_t max_frames_before_tail_call_bytes = 256;
constexpr std::uint32_t max_value_offset = 1U << 29;
constexpr std::uint32_t instruction_limit = 1'000'000;
constexpr std::uint32_t tail_call_id = 12;

constexpr std::array<std::string_view, 6> gpl_compatible_licenses = {
    "GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"};

}  // namespace

/// One load. Lives for the length of Program::load.
class ProgramLoader {
 public:
  ProgramLoader(ProgramSpec spec, MapResolver& resolver, ProgramEnvironment& environment, Log& log)
      : resolver_(resolver),
        environment_(environment),
        log_(log),
        program_(Ref<Program>::adopt(new Program(std::move(spec), environment))),
        spec_(program_->spec_),
        code_(spec_.instructions),
        result_(std::make_unique<Program::Code>()) {}

  Result<Ref<Program>> load() {
    const std::uint64_t start_ns = environment_.slots.clock().monotonic_ns();
    program_->charge_ = TRY(environment_.budget.charge(memory_bytes()));
    program_->gpl_compatible_ =
        std::ranges::find(gpl_compatible_licenses, spec_.license) != gpl_compatible_licenses.end();
    const Result<void> checked = check();
    summarise(environment_.slots.clock().monotonic_ns() - start_ns);
    TRY(checked);
    program_->verified_insns_ = processed_;
    program_->load_time_ns_ = environment_.slots.clock().boottime_ns();
    program_->code_ = std::move(result_);
    for (const Ref<Map>& map : program_->used_maps_)
      if (map->type().holds_programs)
        TRY(static_cast<ProgramMap&>(*map).on_program_load(*program_));
    return std::move(program_);
  }

 private:
  struct Call {
    std::uint32_t from, to;  // subprograms
  };

  std::uint64_t memory_bytes() const {
    return sizeof(Program) + code_.size() * (sizeof(bpf_insn) + sizeof(Instruction)) +
           spec_.line_info.size() * sizeof(bpf_line_info) +
           spec_.func_info.size() * (sizeof(bpf_func_info) + sizeof(Subprogram));
  }

  // ---- words ----

  template <class... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) {
    if (log_.level() != 0) log_.line(fmt::format(format, std::forward<Args>(args)...));
  }

  template <class... Args>
  Errno refuse(int code, fmt::format_string<Args...> format, Args&&... args) {
    say(format, std::forward<Args>(args)...);
    return Errno{code};
  }

  std::string helper_name(std::int32_t id) const {
    const Helper* helper = environment_.types.find_helper(static_cast<std::uint32_t>(id));
    return helper == nullptr ? "unknown" : fmt::format("bpf_{}", helper->name);
  }

  /// An operation is refused: the instruction, then the reason.
  template <class... Args>
  Errno refuse_at(std::uint32_t pc, int code, fmt::format_string<Args...> format, Args&&... args) {
    const auto name = is_call(code_[pc]) ? helper_name(code_[pc].imm) : std::string();
    say("{}: {}", pc, disassemble(code_.subspan(pc), name));
    return refuse(code, format, std::forward<Args>(args)...);
  }

  /// The lines that every log ends with.
  void summarise(std::uint64_t duration_ns) {
    if (log_.has(Log::statistics)) {
      say("verification time {} usec", duration_ns / 1000);
      std::string depths;
      for (const std::uint32_t bytes : stack_bytes_)
        depths += fmt::format("{}{}", depths.empty() ? "" : "+", bytes);
      say("stack depth {}", depths.empty() ? "0" : depths);
    }
    say("processed {} insns (limit {}) max_states_per_insn 0 total_states 0 peak_states 0 "
        "mark_read 0",
        processed_, instruction_limit);
  }

  // ---- stages ----

  Result<void> check() {
    TRY(check_func_info());
    TRY(find_subprograms());
    TRY(check_jumps());
    TRY(match_func_info());
    TRY(check_line_info());
    hash();
    TRY(resolve());
    TRY(check_all_reachable());
    TRY(check_operations());
    return check_calls();
  }

  Result<void> check_func_info() {
    std::uint32_t previous = 0;
    for (std::size_t n = 0; n < spec_.func_info.size(); ++n) {
      const bpf_func_info& info = spec_.func_info[n];
      if (n == 0 && info.insn_off != 0)
        return refuse(EINVAL, "nonzero insn_off {} for the first func info record", info.insn_off);
      if (n != 0 && info.insn_off <= previous)
        return refuse(EINVAL,
                      "same or smaller insn offset ({}) than previous func info record ({})",
                      info.insn_off, previous);
      previous = info.insn_off;
      if (!spec_.btf || !spec_.btf->type(info.type_id).is(BtfKind::function))
        return refuse(EINVAL, "invalid type id {} in func info", info.type_id);
    }
    return ok();
  }

  Result<void> find_subprograms() {
    std::vector<std::uint32_t> starts = {0};
    for (std::uint32_t pc = 0; pc < code_.size(); ++pc) {
      const bpf_insn insn = code_[pc];
      if (is_call(insn) && insn.src_reg == BPF_PSEUDO_KFUNC_CALL)
        return refuse_at(pc, ENOTSUPP, "calling kernel function btf_id {} is not supported",
                         insn.imm);
      if (!is_subprogram_call(insn) && !is_callback_load(insn)) continue;
      const std::int64_t target = std::int64_t{pc} + 1 + insn.imm;
      if (target < 0 || target >= static_cast<std::int64_t>(code_.size()))
        return refuse(EINVAL, "call to invalid destination");
      const auto start = static_cast<std::uint32_t>(target);
      const auto place = std::ranges::lower_bound(starts, start);
      if (place != starts.end() && *place == start) continue;
      if (starts.size() == max_subprograms) return refuse(E2BIG, "too many subprograms");
      starts.insert(place, start);
    }
    subprogram_of_.resize(code_.size());
    for (std::size_t n = 0; n < starts.size(); ++n) {
      const auto end =
          n + 1 < starts.size() ? starts[n + 1] : static_cast<std::uint32_t>(code_.size());
      program_->subprograms_.push_back({.first = starts[n], .count = end - starts[n]});
      std::fill(subprogram_of_.begin() + starts[n], subprogram_of_.begin() + end,
                static_cast<std::uint32_t>(n));
    }
    if (log_.has(Log::trace))
      for (std::size_t n = 0; n < starts.size(); ++n) say("func#{} @{}", n, starts[n]);
    return ok();
  }

  Result<void> check_jumps() {
    for (const Subprogram& subprogram : program_->subprograms_) {
      const std::uint32_t end = subprogram.first + subprogram.count;
      for (std::uint32_t pc = subprogram.first; pc < end; ++pc) {
        if (!has_jump_target(code_[pc])) continue;
        const std::int64_t target = jump_target(code_[pc], pc);
        if (target < subprogram.first || target >= end)
          return refuse(EINVAL, "jump out of range from insn {} to {}", pc, target);
      }
      const bpf_insn last = code_[end - 1];
      if (!is_exit(last) && !is_goto(last))
        return refuse(EINVAL, "last insn is not an exit or jmp");
    }
    return ok();
  }

  Result<void> match_func_info() {
    if (spec_.func_info.empty()) return check_abnormal_returns();
    std::vector<Subprogram>& subprograms = program_->subprograms_;
    if (spec_.func_info.size() != subprograms.size())
      return refuse(EINVAL, "number of funcs in func_info doesn't match number of subprogs");
    for (std::size_t n = 0; n < subprograms.size(); ++n) {
      if (spec_.func_info[n].insn_off != subprograms[n].first)
        return refuse(EINVAL, "func_info BTF section doesn't match subprog layout in BPF program");
      const BtfType function = spec_.btf->type(spec_.func_info[n].type_id);
      subprograms[n].name = function.name();
      subprograms[n].global = function.linkage() == 1;
    }
    return ok();
  }

  /// What can end a subprogram without its exit is allowed only where type information says what it
  /// returns.
  Result<void> check_abnormal_returns() {
    for (std::uint32_t pc = 0; pc < code_.size(); ++pc) {
      if (subprogram_of_[pc] == 0) continue;
      const bpf_insn insn = code_[pc];
      const std::uint8_t mode = insn.code & 0xe0;
      if ((insn.code & 7) == BPF_LD && (mode == BPF_ABS || mode == BPF_IND))
        return refuse(EINVAL, "LD_ABS is not allowed in subprogs without BTF");
      if (is_call(insn) && insn.src_reg == 0 && insn.imm == tail_call_id)
        return refuse(EINVAL, "tail_call is not allowed in subprogs without BTF");
    }
    return ok();
  }

  Result<void> check_line_info() {
    std::size_t subprogram = 0;
    const std::vector<Subprogram>& subprograms = program_->subprograms_;
    std::uint32_t previous = 0;
    for (std::size_t n = 0; n < spec_.line_info.size(); ++n) {
      const bpf_line_info& info = spec_.line_info[n];
      if ((n != 0 && info.insn_off <= previous) || info.insn_off >= code_.size())
        return refuse(EINVAL, "Invalid line_info[{}].insn_off:{} (prev_offset:{} prog->len:{})", n,
                      info.insn_off, previous, code_.size());
      if (code_[info.insn_off].code == 0)
        return refuse(EINVAL, "Invalid insn code at line_info[{}].insn_off", n);
      if (!spec_.btf || !spec_.btf->has_string(info.line_off) ||
          !spec_.btf->has_string(info.file_name_off))
        return refuse(EINVAL, "Invalid line_info[{}].line_off or .file_name_off", n);
      if (subprogram < subprograms.size()) {
        if (info.insn_off == subprograms[subprogram].first) {
          ++subprogram;
        } else if (info.insn_off > subprograms[subprogram].first) {
          return refuse(EINVAL, "missing bpf_line_info for func#{}", subprogram);
        }
      }
      previous = info.insn_off;
    }
    if (!spec_.line_info.empty() && subprogram != subprograms.size())
      return refuse(EINVAL, "missing bpf_line_info for func#{}", subprogram);
    return ok();
  }

  // ---- tag ----

  static std::array<std::uint8_t, BPF_TAG_SIZE> digest(std::span<const bpf_insn> instructions) {
    SHA2_CTX context;
    SHA256Init(&context);
    SHA256Update(&context, reinterpret_cast<const std::uint8_t*>(instructions.data()),
                 instructions.size_bytes());
    std::array<std::uint8_t, SHA256_DIGEST_LENGTH> whole;
    SHA256Final(whole.data(), &context);
    std::array<std::uint8_t, BPF_TAG_SIZE> tag;
    std::copy_n(whole.begin(), tag.size(), tag.begin());
    return tag;
  }

  void hash() {
    std::vector<bpf_insn> instructions(code_.begin(), code_.end());
    for (std::size_t pc = 0; pc + 1 < instructions.size(); ++pc) {
      const bpf_insn insn = instructions[pc];
      if (!is_wide_load(insn)) continue;
      if (insn.src_reg == BPF_PSEUDO_MAP_FD || insn.src_reg == BPF_PSEUDO_MAP_VALUE)
        instructions[pc].imm = instructions[pc + 1].imm = 0;
      ++pc;
    }
    program_->tag_ = digest(instructions);
    for (Subprogram& subprogram : program_->subprograms_)
      subprogram.tag = digest(std::span(instructions).subspan(subprogram.first, subprogram.count));
  }

  // ---- pseudo loads ----

  Result<void> resolve() {
    result_->instructions.resize(code_.size());
    for (std::uint32_t pc = 0; pc < code_.size(); ++pc) {
      const bpf_insn insn = code_[pc];
      const std::uint8_t mode = insn.code & 0xe0;
      if ((insn.code & 7) == BPF_LDX && ((mode != BPF_MEM && mode != BPF_MEMSX) || insn.imm != 0))
        return refuse(EINVAL, "BPF_LDX uses reserved fields");
      result_->instructions[pc] = decode(insn, pc);
      if (is_wide_load(insn)) {
        TRY(resolve_wide_load(pc));
        ++pc;  // the second half stays a trap
      } else if (!is_known_opcode(insn.code)) {
        return refuse(EINVAL, "unknown opcode {:02x}", insn.code);
      }
    }
    return ok();
  }

  Result<void> resolve_wide_load(std::uint32_t pc) {
    const bpf_insn insn = code_[pc];
    const bpf_insn next = pc + 1 < code_.size() ? code_[pc + 1] : bpf_insn{.code = 0xff};
    if (next.code != 0 || next.dst_reg != 0 || next.src_reg != 0 || next.off != 0)
      return refuse(EINVAL, "invalid bpf_ld_imm64 insn");
    Instruction& load = result_->instructions[pc];
    const std::uint64_t high = static_cast<std::uint32_t>(next.imm);
    switch (insn.src_reg) {
      case 0:
        load.imm = high << 32 | static_cast<std::uint32_t>(insn.imm);
        return ok();
      case BPF_PSEUDO_FUNC:
        load.imm = callback_address + pc + 1 + static_cast<std::uint64_t>(std::int64_t{insn.imm});
        return ok();
      case BPF_PSEUDO_BTF_ID:
        return refuse(ENOENT,
                      "ldimm64 insn specified invalid btf_id {}: kernel symbols are not "
                      "supported",
                      insn.imm);
      case BPF_PSEUDO_MAP_FD:
      case BPF_PSEUDO_MAP_IDX:
        if (high != 0) break;
        [[fallthrough]];
      case BPF_PSEUDO_MAP_VALUE:
      case BPF_PSEUDO_MAP_IDX_VALUE:
        return resolve_map(pc, load, static_cast<std::uint32_t>(high));
      default:
        break;
    }
    return refuse(EINVAL, "unrecognized bpf_ld_imm64 insn");
  }

  Result<std::uint32_t> find_map(bpf_insn insn) {
    const bool by_index =
        insn.src_reg == BPF_PSEUDO_MAP_IDX || insn.src_reg == BPF_PSEUDO_MAP_IDX_VALUE;
    Result<Ref<Map>> found = by_index ? resolver_.map_by_index(static_cast<std::uint32_t>(insn.imm))
                                      : resolver_.map_by_fd(insn.imm);
    if (!found) {
      if (found.error() == Errno{EPROTO})
        return refuse(EPROTO, "fd_idx without fd_array is invalid");
      return refuse(found.error().code, "fd {} is not pointing to valid bpf_map", insn.imm);
    }
    std::vector<Ref<Map>>& maps = program_->used_maps_;
    const auto known = std::ranges::find(maps, *found);
    if (known != maps.end()) return static_cast<std::uint32_t>(known - maps.begin());
    if ((*found)->spec().record.has(FieldKind::spin_lock) &&
        spec_.type->number() == BPF_PROG_TYPE_SOCKET_FILTER)
      return refuse(EINVAL, "socket filter progs cannot use bpf_spin_lock yet");
    if (maps.size() == max_maps)
      return refuse(E2BIG, "The total number of maps per program has reached the limit of {}",
                    max_maps);
    maps.push_back(std::move(*found));
    return static_cast<std::uint32_t>(maps.size() - 1);
  }

  Result<void> resolve_map(std::uint32_t pc, Instruction& load, std::uint32_t offset) {
    const bpf_insn insn = code_[pc];
    const std::uint32_t index = TRY(find_map(insn));
    Map& map = *program_->used_maps_[index];
    const bool value =
        insn.src_reg == BPF_PSEUDO_MAP_VALUE || insn.src_reg == BPF_PSEUDO_MAP_IDX_VALUE;
    result_->map_loads.push_back({.pc = pc, .map = index, .value = value});
    if (!value) {
      load.imm = reinterpret_cast<std::uint64_t>(&map);
      return ok();
    }
    if (offset >= max_value_offset)
      return refuse(EINVAL, "direct value offset of {} is not allowed", offset);
    if (!map.type().direct_value)
      return refuse(EINVAL, "no direct value access support for this map type");
    const Result<std::byte*> base = map.direct_value(offset);
    if (!base)
      return refuse(base.error().code, "invalid access to map value pointer, value_size={} off={}",
                    map.spec().value_bytes, offset);
    load.imm = reinterpret_cast<std::uint64_t>(*base) + offset;
    const Region region = value_region(map, *base);
    const auto same = [&](const Region& other) { return other.begin == region.begin; };
    if (std::ranges::none_of(result_->direct_values, same))
      result_->direct_values.push_back(region);
    return ok();
  }

  std::optional<ValueLoad> value_load(std::uint32_t pc) const {
    const auto load =
        std::ranges::lower_bound(result_->map_loads, pc, {}, &Program::Code::MapLoad::pc);
    if (load == result_->map_loads.end() || load->pc != pc || !load->value) return std::nullopt;
    return ValueLoad{.map = load->map, .offset = static_cast<std::uint32_t>(code_[pc + 1].imm)};
  }

  // ---- control flow ----

  /// Every instruction can be reached if every branch may go either way.
  Result<void> check_all_reachable() {
    std::vector<bool> reached(code_.size());
    std::vector<std::uint32_t> pending = {0};
    const auto go = [&](std::int64_t pc) { pending.push_back(static_cast<std::uint32_t>(pc)); };
    while (!pending.empty()) {
      const std::uint32_t pc = pending.back();
      pending.pop_back();
      if (reached[pc] && !is_second_half(code_[pc])) continue;
      if (is_second_half(code_[pc]))
        return refuse(EINVAL, "jump into the middle of ldimm64 insn {}", pc - 1);
      reached[pc] = true;
      const bpf_insn insn = code_[pc];
      if (is_exit(insn)) continue;
      if (is_subprogram_call(insn) || is_callback_load(insn)) go(std::int64_t{pc} + 1 + insn.imm);
      if (has_jump_target(insn)) go(jump_target(insn, pc));
      if (is_goto(insn)) continue;
      if (is_wide_load(insn)) reached[pc + 1] = true;
      go(std::int64_t{pc} + (is_wide_load(insn) ? 2 : 1));
    }
    for (std::uint32_t pc = 0; pc < code_.size(); ++pc)
      if (!reached[pc]) return refuse(EINVAL, "unreachable insn {}", pc);
    return ok();
  }

  /// Opcode 0 is no instruction and was refused elsewhere, so it stands only in second halves.
  static bool is_second_half(bpf_insn insn) { return insn.code == 0; }

  // ---- operations ----

  Result<void> check_operations() {
    const auto value_load_of = [this](std::uint32_t pc) { return value_load(pc); };
    ConstantFlow flow(code_, result_->instructions, program_->used_maps_, value_load_of);
    stack_bytes_.resize(program_->subprograms_.size());
    has_tail_call_.resize(program_->subprograms_.size());
    const auto visit = [&](std::uint32_t pc, const ConstantFlow::State& before) {
      ++processed_;
      return check_operation(pc, before);
    };
    TRY(flow.run(environment_.budget, visit));
    // What no path reaches keeps its place but is nothing that could run.
    for (std::uint32_t pc = 0; pc < code_.size(); ++pc)
      if (!flow.reached(pc)) result_->instructions[pc] = {};
    std::ranges::sort(result_->callbacks);
    return ok();
  }

  Result<void> check_operation(std::uint32_t pc, const ConstantFlow::State& before) {
    const bpf_insn insn = code_[pc];
    if (insn.src_reg >= MAX_BPF_REG && !is_wide_load(insn))
      return refuse_at(pc, EINVAL, "R{} is invalid", +insn.src_reg);
    if (insn.dst_reg >= MAX_BPF_REG) return refuse_at(pc, EINVAL, "R{} is invalid", +insn.dst_reg);
    switch (insn.code & 7) {
      case BPF_ALU:
      case BPF_ALU64:
        return check_alu(pc, insn);
      case BPF_JMP:
      case BPF_JMP32:
        return check_jump(pc, insn);
      case BPF_LD:
        return check_load(pc, insn);
      case BPF_LDX:
        if (insn.dst_reg == 10) return refuse_frame_pointer(pc);
        note_stack_use(pc, before[insn.src_reg], insn);
        return ok();
      case BPF_ST:
        if (insn.src_reg != 0) return refuse_at(pc, EINVAL, "BPF_ST uses reserved fields");
        note_stack_use(pc, before[insn.dst_reg], insn);
        return ok();
      default:
        if ((insn.code & 0xe0) == BPF_ATOMIC) return check_atomic(pc, insn);
        if (insn.imm != 0) return refuse_at(pc, EINVAL, "BPF_STX uses reserved fields");
        note_stack_use(pc, before[insn.dst_reg], insn);
        return ok();
    }
  }

  Errno refuse_frame_pointer(std::uint32_t pc) {
    return refuse_at(pc, EACCES, "frame pointer is read only");
  }

  /// The deepest byte of the frame that a load or store is known to touch.
  void note_stack_use(std::uint32_t pc, const Known& base, bpf_insn insn) {
    if (base.kind != Known::Kind::frame) return;
    const std::int64_t offset = static_cast<std::int64_t>(base.number) + insn.off;
    if (offset >= 0 || offset < -std::int64_t{MAX_BPF_STACK}) return;  // a fault when it runs
    std::uint32_t& depth = stack_bytes_[subprogram_of_[pc]];
    depth = std::max(depth, static_cast<std::uint32_t>(-offset));
  }

  Result<void> check_alu(std::uint32_t pc, bpf_insn insn) {
    const std::uint8_t operation = insn.code & 0xf0;
    const bool wide = (insn.code & 7) == BPF_ALU64;
    const bool from_register = (insn.code & BPF_X) != 0;
    if (operation == BPF_NEG) {
      if (insn.src_reg != 0 || insn.off != 0 || insn.imm != 0)
        return refuse_at(pc, EINVAL, "BPF_NEG uses reserved fields");
    } else if (operation == BPF_END) {
      if (insn.src_reg != 0 || insn.off != 0 ||
          (insn.imm != 16 && insn.imm != 32 && insn.imm != 64))
        return refuse_at(pc, EINVAL, "BPF_END uses reserved fields");
    } else if (operation == BPF_MOV) {
      const bool extends =
          from_register && (insn.off == 8 || insn.off == 16 || (insn.off == 32 && wide));
      if ((insn.off != 0 && !extends) || (from_register ? insn.imm : insn.src_reg) != 0)
        return refuse_at(pc, EINVAL, "BPF_MOV uses reserved fields");
    } else {
      const bool divides = operation == BPF_DIV || operation == BPF_MOD;
      if ((from_register ? insn.imm : insn.src_reg) != 0 ||
          (insn.off != 0 && !(insn.off == 1 && divides)))
        return refuse_at(pc, EINVAL, "BPF_ALU uses reserved fields");
      if (divides && !from_register && insn.imm == 0) return refuse_at(pc, EINVAL, "div by zero");
      const bool shifts = operation == BPF_LSH || operation == BPF_RSH || operation == BPF_ARSH;
      if (shifts && !from_register && (insn.imm < 0 || insn.imm >= (wide ? 64 : 32)))
        return refuse_at(pc, EINVAL, "invalid shift {}", insn.imm);
    }
    if (insn.dst_reg == 10) return refuse_frame_pointer(pc);
    return ok();
  }

  Result<void> check_jump(std::uint32_t pc, bpf_insn insn) {
    const std::uint8_t operation = insn.code & 0xf0;
    const bool from_register = (insn.code & BPF_X) != 0;
    switch (operation) {
      case BPF_CALL:
        return check_call(pc, insn);
      case BPF_EXIT:
        if (insn.dst_reg != 0 || insn.src_reg != 0 || insn.imm != 0)
          return refuse_at(pc, EINVAL, "BPF_EXIT uses reserved fields");
        return ok();
      case BPF_JA:
        if (insn.dst_reg != 0 || insn.src_reg != 0 ||
            ((insn.code & 7) == BPF_JMP ? insn.imm != 0 : insn.off != 0))
          return refuse_at(pc, EINVAL, "BPF_JA uses reserved fields");
        return ok();
      case BPF_JCOND:
        if (insn.dst_reg != 0 || insn.src_reg != 0 || insn.imm != 0)
          return refuse_at(pc, EINVAL, "invalid may_goto imm {}", insn.imm);
        return ok();
      default:
        if ((from_register ? insn.imm : insn.src_reg) != 0)
          return refuse_at(pc, EINVAL, "BPF_JMP/JMP32 uses reserved fields");
        return ok();
    }
  }

  Result<void> check_load(std::uint32_t pc, bpf_insn insn) {
    if (is_wide_load(insn)) {
      if (insn.off != 0) return refuse_at(pc, EINVAL, "BPF_LD_IMM64 uses reserved fields");
      if (insn.dst_reg == 10) return refuse_frame_pointer(pc);
      return is_callback_load(insn) ? note_callback(pc, insn) : ok();
    }
    if (!spec_.type->allows_packet_loads())
      return refuse_at(pc, EINVAL,
                       "BPF_LD_[ABS|IND] instructions not allowed for this program type");
    if (insn.dst_reg != 0 || insn.off != 0 || ((insn.code & 0xe0) == BPF_ABS && insn.src_reg != 0))
      return refuse_at(pc, EINVAL, "BPF_LD_[ABS|IND] uses reserved fields");
    return ok();
  }

  Result<void> note_callback(std::uint32_t pc, bpf_insn insn) {
    const auto first = static_cast<std::uint32_t>(std::int64_t{pc} + 1 + insn.imm);
    if (spec_.func_info.empty()) return refuse_at(pc, EINVAL, "missing btf func_info");
    const std::uint32_t callee = subprogram_of_[first];
    if (callee == 0 || program_->subprograms_[callee].global)
      return refuse_at(pc, EINVAL, "callback function not static");
    if (std::ranges::find(result_->callbacks, first) == result_->callbacks.end())
      result_->callbacks.push_back(first);
    calls_.push_back({.from = subprogram_of_[pc], .to = callee});
    return ok();
  }

  Result<void> check_atomic(std::uint32_t pc, bpf_insn insn) {
    const Op op = result_->instructions[pc].op;
    const std::uint8_t size = insn.code & 0x18;
    const bool plain = insn.imm == BPF_LOAD_ACQ || insn.imm == BPF_STORE_REL;
    if (!plain && size != BPF_W && size != BPF_DW)
      return refuse_at(pc, EINVAL, "invalid atomic operand size");
    if (op == Op::trap)
      return refuse_at(pc, EINVAL, "BPF_ATOMIC uses invalid atomic opcode {:02x}", insn.imm);
    const bool fetches = insn.imm != BPF_CMPXCHG && (insn.imm & BPF_FETCH) != 0;
    if ((insn.imm == BPF_LOAD_ACQ && insn.dst_reg == 10) || (fetches && insn.src_reg == 10))
      return refuse_frame_pointer(pc);
    return ok();
  }

  Result<void> check_call(std::uint32_t pc, bpf_insn insn) {
    if (insn.off != 0 || insn.dst_reg != 0 || insn.src_reg > BPF_PSEUDO_CALL)
      return refuse_at(pc, EINVAL, "BPF_CALL uses reserved fields");
    if (insn.src_reg == BPF_PSEUDO_CALL) {
      const auto target = static_cast<std::uint32_t>(result_->instructions[pc].off);
      calls_.push_back({.from = subprogram_of_[pc], .to = subprogram_of_[target]});
      return ok();
    }
    const auto id = static_cast<std::uint32_t>(insn.imm);
    const Helper* helper = spec_.type->helper(id);
    if (helper == nullptr) {
      const Helper* elsewhere = environment_.types.find_helper(id);
      const std::string name = helper_name(insn.imm);
      const Errno error =
          elsewhere != nullptr
              ? refuse_at(pc, EINVAL, "program of this type cannot use helper {}#{}", name,
                          insn.imm)
              : refuse_at(pc, EINVAL, "invalid func {}#{}", name, insn.imm);
      // For libbpf before 1.5 and bpftool 7.1, whose probes know only these words.
      if (elsewhere != nullptr) say("unknown func {}#{}", name, insn.imm);
      return error;
    }
    if (helper->gpl_only && !program_->gpl_compatible_)
      return refuse_at(pc, EINVAL,
                       "cannot call GPL-restricted function from non-GPL compatible program");
    if (id == tail_call_id) has_tail_call_[subprogram_of_[pc]] = true;
    result_->instructions[pc].imm = reinterpret_cast<std::uint64_t>(helper);
    return ok();
  }

  // ---- calls ----

  /// Depth and stack over the call graph, where a graph without cycles has longest paths.
  Result<void> check_calls() {
    // Callees before callers would need a sort; relaxing `max_frames` times finds every path that
    // is short enough.
    const std::size_t count = program_->subprograms_.size();
    std::vector<std::uint32_t> frames(count, 0), above(count, 0);
    frames[0] = 1;
    const auto rounded = [&](std::uint32_t n) { return (stack_bytes_[n] + 15) & ~15U; };
    bool changed = true;
    while (changed) {
      changed = false;
      for (const Call& call : calls_) {
        if (frames[call.from] == 0) continue;
        if (frames[call.to] < frames[call.from] + 1) {
          frames[call.to] = frames[call.from] + 1;
          changed = true;
        }
        if (const std::uint32_t bytes = above[call.from] + rounded(call.from);
            above[call.to] < bytes) {
          above[call.to] = bytes;
          changed = true;
        }
        // Also what ends the loop on recursion: each round through a cycle adds a frame.
        if (frames[call.to] > max_frames)
          return refuse(E2BIG, "the call stack of {} frames is too deep", frames[call.to]);
        if (above[call.to] + rounded(call.to) > MAX_BPF_STACK)
          return refuse(EACCES, "combined stack size of {} calls is {}. Too large", frames[call.to],
                        above[call.to] + rounded(call.to));
      }
    }
    for (std::size_t n = 1; n < count; ++n) {
      if (!has_tail_call_[n]) continue;
      if (above[n] >= max_frames_before_tail_call_bytes)
        return refuse(EACCES,
                      "tail_calls are not allowed when call stack of previous frames is {} bytes. "
                      "Too large",
                      above[n]);
    }
    return ok();
  }

  MapResolver& resolver_;
  ProgramEnvironment& environment_;
  Log& log_;
  Ref<Program> program_;
  const ProgramSpec& spec_;
  const std::span<const bpf_insn> code_;
  std::unique_ptr<Program::Code> result_;
  std::vector<std::uint32_t> subprogram_of_;  // by pc
  std::vector<std::uint32_t> stack_bytes_;    // by subprogram
  std::vector<bool> has_tail_call_;           // by subprogram
  std::vector<Call> calls_;
  std::uint32_t processed_ = 0;
};

Result<Ref<Program>> Program::load(ProgramSpec spec, MapResolver& resolver,
                                   ProgramEnvironment& environment, Log& log) {
  return ProgramLoader(std::move(spec), resolver, environment, log).load();
}

}  // namespace skep
