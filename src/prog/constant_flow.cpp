// SPDX-License-Identifier: Apache-2.0
#include "prog/constant_flow.hpp"

#include "prog/alu.hpp"
#include "sync/racy.hpp"

namespace skep {
namespace {

using Kind = Known::Kind;

constexpr Known constant(std::uint64_t number) {
  return {.kind = Kind::constant, .number = number};
}

/// What holds on both of two paths.
Known join(const Known& a, const Known& b) {
  if (a.kind == Kind::nothing_yet) return b;
  return a == b ? a : Known{};
}

/// Result of an operation on two constants, if it is one of arithmetic.
std::optional<std::uint64_t> evaluate(const Instruction& i, std::uint64_t a, std::uint64_t b) {
  const auto a32 = static_cast<std::uint32_t>(a);
  const auto b32 = static_cast<std::uint32_t>(b);
  switch (i.op) {
#define X(name)                            \
  case Op::name##64_k:                     \
  case Op::name##64_x:                     \
    return alu::name<std::uint64_t>(a, b); \
  case Op::name##32_k:                     \
  case Op::name##32_x:                     \
    return alu::name<std::uint32_t>(a32, b32);
    SKEP_ALU_OPERATIONS(X)
#undef X
    case Op::neg64:
      return 0 - a;
    case Op::neg32:
      return 0U - a32;
    case Op::movsx8_64:
      return alu::sign_extend<std::int8_t>(b);
    case Op::movsx16_64:
      return alu::sign_extend<std::int16_t>(b);
    case Op::movsx32_64:
      return alu::sign_extend<std::int32_t>(b);
    case Op::movsx8_32:
      return static_cast<std::uint32_t>(alu::sign_extend<std::int8_t>(b));
    case Op::movsx16_32:
      return static_cast<std::uint32_t>(alu::sign_extend<std::int16_t>(b));
    case Op::truncate16:
      return static_cast<std::uint16_t>(a);
    case Op::truncate32:
      return a32;
    case Op::keep64:
      return a;
    case Op::swap16:
      return __builtin_bswap16(static_cast<std::uint16_t>(a));
    case Op::swap32:
      return __builtin_bswap32(a32);
    case Op::swap64:
      return __builtin_bswap64(a);
    default:
      return std::nullopt;
  }
}

std::optional<bool> evaluate_condition(const Instruction& i, std::uint64_t a, std::uint64_t b) {
  const auto a32 = static_cast<std::uint32_t>(a);
  const auto b32 = static_cast<std::uint32_t>(b);
  switch (i.op) {
#define X(name)                            \
  case Op::name##64_k:                     \
  case Op::name##64_x:                     \
    return alu::name<std::uint64_t>(a, b); \
  case Op::name##32_k:                     \
  case Op::name##32_x:                     \
    return alu::name<std::uint32_t>(a32, b32);
    SKEP_CONDITIONS(X)
#undef X
    default:
      return std::nullopt;
  }
}

/// Whether the second operand of an arithmetic or conditional instruction is a register. In byte
/// swaps the bit means the order.
bool uses_source_register(std::uint8_t code) {
  const bool arithmetic = (code & 7) == uapi::BPF_ALU || (code & 7) == uapi::BPF_ALU64;
  return (code & uapi::BPF_X) != 0 && !(arithmetic && (code & 0xf0) == uapi::BPF_END);
}

}  // namespace

ConstantFlow::ConstantFlow(std::span<const uapi::bpf_insn> raw,
                           std::span<const Instruction> decoded, std::span<const Ref<Map>> maps,
                           ValueLoadOf value_load)
    : raw_(raw),
      decoded_(decoded),
      maps_(maps),
      value_load_(value_load),
      reached_(raw.size()),
      state_of_(raw.size(), no_state) {
  const auto mark = [&](std::int64_t pc) { state_of_[static_cast<std::size_t>(pc)] = 0; };
  mark(0);
  for (std::uint32_t pc = 0; pc < raw.size(); ++pc) {
    if (has_jump_target(raw[pc])) mark(jump_target(raw[pc], pc));
    if (is_subprogram_call(raw[pc]) || is_callback_load(raw[pc]))
      mark(std::int64_t{pc} + 1 + raw[pc].imm);
    if (is_wide_load(raw[pc])) ++pc;
  }
  for (std::uint32_t& index : state_of_)
    if (index != no_state) index = target_count_++;
}

void ConstantFlow::propagate(std::uint32_t target, const State& state) {
  State& known = states_[state_of_[target]];
  State joined;
  for (std::size_t n = 0; n < joined.size(); ++n) joined[n] = join(known[n], state[n]);
  if (joined == known) return;
  known = joined;
  pending_.push_back(target);
}

/// The constant that a load through `base` gives, if the bytes can never change again.
std::optional<std::uint64_t> ConstantFlow::read_frozen(Known base, std::int32_t off,
                                                       unsigned bytes) const {
  if (base.kind != Kind::value) return std::nullopt;
  Map& map = *maps_[base.map];
  const MapSpec& spec = map.spec();
  if (!map.frozen() || (spec.flags & uapi::BPF_F_RDONLY_PROG) == 0) return std::nullopt;
  const std::uint64_t offset = base.number + static_cast<std::uint64_t>(std::int64_t{off});
  if (offset >= spec.value_bytes || bytes > spec.value_bytes - offset) return std::nullopt;
  const Result<std::byte*> begin = map.direct_value(0);
  if (!begin) return std::nullopt;
  std::uint64_t value = 0;
  racy_copy(&value, *begin + offset, bytes);
  return value;
}

void ConstantFlow::transfer(std::uint32_t pc, State& state) const {
  const Instruction& i = decoded_[pc];
  const std::uint8_t code = raw_[pc].code;
  const auto forget = [&](unsigned first, unsigned last) {
    for (unsigned n = first; n <= last; ++n) state[n] = {};
  };
  switch (i.op) {
    case Op::call_helper:
    case Op::call_subprogram:
    case Op::packet_abs_b:
    case Op::packet_abs_h:
    case Op::packet_abs_w:
    case Op::packet_ind_b:
    case Op::packet_ind_h:
    case Op::packet_ind_w:
      return forget(0, 5);
    case Op::load_imm64:
      if (const std::optional<ValueLoad> load = value_load_(pc)) {
        state[i.dst] = {.kind = Kind::value, .map = load->map, .number = load->offset};
      } else {
        // Maps and callbacks are numbers of this process: nothing may depend on them.
        state[i.dst] = raw_[pc].src_reg == 0 ? constant(i.imm) : Known{};
      }
      return;
    case Op::load_b:
    case Op::load_h:
    case Op::load_w:
    case Op::load_dw: {
      const unsigned bytes =
          1U << (static_cast<unsigned>(i.op) - static_cast<unsigned>(Op::load_b));
      const std::optional<std::uint64_t> value = read_frozen(state[i.src], i.off, bytes);
      state[i.dst] = value ? constant(*value) : Known{};
      return;
    }
    default:
      break;
  }
  switch (code & 7) {
    case uapi::BPF_ALU:
    case uapi::BPF_ALU64: {
      const Known a = state[i.dst];
      const Known b = uses_source_register(code) ? state[i.src] : constant(i.imm);
      Known& dst = state[i.dst];
      const bool address = a.kind == Kind::value || a.kind == Kind::frame;
      if (i.op == Op::mov64_x) {
        dst = b;
      } else if (address && b.kind == Kind::constant &&
                 (i.op == Op::add64_k || i.op == Op::add64_x)) {
        dst.number = a.number + b.number;
      } else if (const bool moves = (code & 0xf0) == uapi::BPF_MOV;
                 (moves || a.kind == Kind::constant) && b.kind == Kind::constant) {
        const std::optional<std::uint64_t> value = evaluate(i, a.number, b.number);
        dst = value ? constant(*value) : Known{};
      } else {
        dst = {};
      }
      return;
    }
    case uapi::BPF_LDX:
      state[i.dst] = {};
      return;
    case uapi::BPF_STX:
      if ((code & 0xe0) != uapi::BPF_ATOMIC) return;
      // Whichever register an atomic operation writes.
      state[0] = state[i.src] = state[i.dst] = {};
      return;
    default:
      return;
  }
}

Result<void> ConstantFlow::walk(std::uint32_t pc, Visit visit) {
  State state = states_[state_of_[pc]];
  State entry;  // of subprograms and callbacks
  entry.fill({});
  entry[10] = {.kind = Kind::frame};
  for (;;) {
    if (!reached_[pc]) {
      reached_[pc] = true;
      ++reached_count_;
      TRY(visit(pc, state));
    }
    const Instruction& i = decoded_[pc];
    if (i.op == Op::exit || i.op == Op::trap) return ok();
    if (i.op == Op::ja) {
      propagate(static_cast<std::uint32_t>(i.off), state);
      return ok();
    }
    if (i.op == Op::call_subprogram) propagate(static_cast<std::uint32_t>(i.off), entry);
    if (is_callback_load(raw_[pc]))
      propagate(pc + 1 + static_cast<std::uint32_t>(raw_[pc].imm), entry);
    if (has_jump_target(raw_[pc])) {
      const Known a = state[i.dst];
      const Known b = uses_source_register(raw_[pc].code) ? state[i.src] : constant(i.imm);
      std::optional<bool> taken;
      if (a.kind == Kind::constant && b.kind == Kind::constant)
        taken = evaluate_condition(i, a.number, b.number);
      if (taken != false) propagate(static_cast<std::uint32_t>(i.off), state);
      if (taken == true) return ok();
    } else {
      transfer(pc, state);
    }
    pc += is_wide_load(raw_[pc]) ? 2 : 1;
    if (state_of_[pc] != no_state) {
      propagate(pc, state);
      return ok();
    }
  }
}

Result<void> ConstantFlow::run(Budget& budget, Visit visit) {
  const Charge charge = TRY(budget.charge(std::uint64_t{target_count_} * sizeof(State)));
  State nothing;
  nothing.fill({.kind = Kind::nothing_yet});
  states_.assign(target_count_, nothing);
  State entry;
  entry.fill({});
  entry[10] = {.kind = Kind::frame};
  propagate(0, entry);
  while (!pending_.empty()) {
    const std::uint32_t pc = pending_.back();
    pending_.pop_back();
    TRY(walk(pc, visit));
  }
  return ok();
}

}  // namespace skep
