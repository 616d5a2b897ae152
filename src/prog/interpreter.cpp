// SPDX-License-Identifier: Apache-2.0
// The main loop is one switch and stays whole; what a helper call takes is in call.cpp, the words
// for faults in fault.cpp.
#include "prog/interpreter.hpp"

#include "map/spin_lock.hpp"
#include "prog/alu.hpp"
#include "sync/racy.hpp"

#include <cstring>

namespace skep {
namespace {

std::uint64_t byte_swap(std::uint64_t value, unsigned bits) {
  return __builtin_bswap64(value) >> (64 - bits);
}

}  // namespace

Interpreter::Interpreter(Slot& slot, Context& context, const Program& program)
    : Run(slot, context, program),
      left_(program.environment().instruction_budget),
      grants_(program.environment().budget) {
  read_packet_window();
}

Interpreter::~Interpreter() {
  if (lock_ != nullptr) spin_unlock(lock_);
}

Outcome Interpreter::run() {
  Registers r{};
  r[1] = context_address;
  enter_frame();
  r[10] = frame_end();
  const bool done = execute(0, r);
  if (done && lock_ != nullptr)
    fail(FaultKind::lock, 0, 0, 0, 0, "the program ended with a lock held");
  if (fault_) return {.value = 0, .faulted = true};
  return {.value = done ? r[0] : 0, .faulted = false};
}

// ---- frames
// ----------------------------------------------------------------------------------------------------

void Interpreter::enter_frame() {
  std::memset(stack_ + std::size_t{top_} * frame_stride, 0, uapi::MAX_BPF_STACK);
  frames_[top_].may_goto_count = 0;
}

bool Interpreter::push_frame(std::uint32_t pc, const Registers& r) {
  if (program_frames_ == max_program_frames) return fail(FaultKind::call_depth, pc);
  ASSERT(top_ + 1 < max_frames);
  Frame& frame = frames_[++top_];
  frame.saved = {r[6], r[7], r[8], r[9]};
  frame.caller = program_;
  frame.return_pc = pc + 1;
  frame.caller_frames = program_frames_++;
  enter_frame();
  return true;
}

void Interpreter::pop_frame() {
  const Frame& frame = frames_[top_--];
  program_ = frame.caller;
  program_frames_ = frame.caller_frames;
}

bool Interpreter::call_back(std::uint64_t callback, std::uint64_t r1, std::uint64_t r2,
                            std::uint64_t r3, std::uint64_t r4, std::uint64_t& result) {
  const std::uint64_t pc = callback - callback_address;
  const std::uint32_t call_pc = helper_pc_;
  if (stopped()) return false;
  if (!program_->code_->is_callback(pc))
    return fail(FaultKind::helper_argument, call_pc, 0, 0, callback, "not a callback");
  Registers r{};
  if (!push_frame(call_pc, r)) return false;
  r[1] = r1;
  r[2] = r2;
  r[3] = r3;
  r[4] = r4;
  r[10] = frame_end();
  const bool done = execute(static_cast<std::uint32_t>(pc), r);
  pop_frame();
  helper_pc_ = call_pc;
  if (!done) return false;
  // The helper goes on and may take locks of its own: a lock kept now could be waited for in a
  // circle.
  if (lock_ != nullptr)
    return fail(FaultKind::lock, call_pc, 0, 0, 0, "the callback ended with a lock held");
  if (r[0] > 1) return fail(FaultKind::callback_return, call_pc, 0, 0, r[0]);
  result = r[0];
  return true;
}

bool Interpreter::tail_call(const Program& target) {
  if (tail_calls_ >= uapi::MAX_TAIL_CALL_CNT) return false;
  ++tail_calls_;
  pending_ = &target;
  return true;
}

/// A may_goto leaves its loop after 8 million rounds in one frame, or when half of the instruction
/// budget is gone, so that the rest of the program can still run.
bool Interpreter::may_goto_jumps(std::uint64_t left) {
  return ++frames_[top_].may_goto_count > max_may_goto ||
         left < environment().instruction_budget / 2;
}

// ---- memory
// ----------------------------------------------------------------------------------------------------

Region value_region(const Map& map, const std::byte* value) {
  const MapSpec& spec = map.spec();
  // The kernel's own values: what a program sees of a devmap or xskmap entry is not for writing.
  constexpr MapTypeSet kernel_values = map_types(
      uapi::BPF_MAP_TYPE_DEVMAP, uapi::BPF_MAP_TYPE_DEVMAP_HASH, uapi::BPF_MAP_TYPE_XSKMAP);
  return {.begin = reinterpret_cast<std::uint64_t>(value),
          .bytes = spec.value_bytes,
          .map = &map,
          .readable = (spec.flags & uapi::BPF_F_WRONLY_PROG) == 0,
          .writable = (spec.flags & uapi::BPF_F_RDONLY_PROG) == 0 &&
                      (map_type_bit(spec.type) & kernel_values) == 0};
}

const Region* Interpreter::find_region(std::uint64_t address, std::uint64_t bytes) {
  if (const Region* region = grants_.find(address, bytes)) return region;
  for (const Region& region : program_->code_->direct_values)
    if (region.contains(address, bytes)) return &region;
  return nullptr;
}

std::byte* Interpreter::value_memory(std::uint64_t address, std::uint64_t bytes, Access access) {
  auto* const pointer = reinterpret_cast<std::byte*>(address);
  const Region* region = find_region(address, bytes);
  if (region == nullptr) {
    if (access != Access::read) return nullptr;
    for (std::uint32_t i = 0; i < lent_; ++i) {
      const std::uint64_t offset = address - loans_[i].begin;
      if (offset < loans_[i].bytes && bytes <= loans_[i].bytes - offset) return pointer;
    }
    return nullptr;
  }
  if (access != Access::write && !region->readable) return nullptr;
  if (access != Access::read && !region->writable) return nullptr;
  const std::uint64_t first = address - region->begin;
  for (const SpecialField& field : region->map->spec().record.fields())
    if (first < std::uint64_t{field.offset} + field.bytes && field.offset < first + bytes)
      return nullptr;
  return pointer;
}

void Interpreter::grant_value(const Map& map, std::byte* value) {
  if (!grants_.add(value_region(map, value))) fail(FaultKind::out_of_memory, helper_pc_);
}

void Interpreter::lend(const std::byte* begin, std::uint64_t bytes) {
  // Each loan belongs to a callback of its own, and each callback has a frame.
  ASSERT(lent_ < max_frames);
  loans_[lent_++] = {.begin = reinterpret_cast<std::uint64_t>(begin), .bytes = bytes};
}

void Interpreter::take_back() { --lent_; }

const std::byte* Interpreter::readable(std::uint64_t address, std::uint64_t bytes) {
  return memory<Access::read>(address, bytes);
}

template <class T, bool sign>
bool Interpreter::load(std::uint64_t address, std::uint64_t& into) {
  if (const std::byte* from = memory<Access::read>(address, sizeof(T))) [[likely]] {
    const T value = racy_load<T>(from);
    into = sign ? alu::sign_extend<std::make_signed_t<T>>(value) : std::uint64_t{value};
    return true;
  }
  if (!in_context(address)) return false;
  const auto offset = static_cast<std::uint32_t>(address - context_address);
  const std::optional<std::uint64_t> value = context_.load(offset, sizeof(T));
  if (!value) return false;
  // Not cut to the width of T: 4-byte fields of a context hold addresses.
  into = sign ? alu::sign_extend<std::make_signed_t<T>>(*value) : *value;
  return true;
}

template <class T>
bool Interpreter::store(std::uint64_t address, std::uint64_t value) {
  if (std::byte* to = memory<Access::write>(address, sizeof(T))) [[likely]] {
    racy_store<T>(to, static_cast<T>(value));
    return true;
  }
  if (!in_context(address)) return false;
  return context_.store(static_cast<std::uint32_t>(address - context_address), sizeof(T),
                        static_cast<T>(value));
}

/// LD_ABS and LD_IND. False: the run is over, with value 0 or a fault.
bool Interpreter::load_packet(const Instruction& i, std::uint32_t pc, Registers& r) {
  if (r[6] != context_address)
    return fail(FaultKind::context_read, pc, 6, 0, r[6], "r6 must hold the context");
  const bool indirect = i.op >= Op::packet_ind_b;
  const unsigned size_index = static_cast<unsigned>(i.op) -
                              static_cast<unsigned>(indirect ? Op::packet_ind_b : Op::packet_abs_b);
  const std::uint64_t bytes = std::uint64_t{1} << size_index;
  // The offset is a signed 32-bit number; negative ones (link and network header) are not offered.
  const auto offset = static_cast<std::int32_t>(
      static_cast<std::uint32_t>(i.imm) + (indirect ? static_cast<std::uint32_t>(r[i.src]) : 0));
  if (offset < 0 || static_cast<std::uint64_t>(offset) + bytes > packet_bytes_) {
    ended_ = true;
    return false;
  }
  const std::uint64_t address = packet_begin_ + static_cast<std::uint64_t>(offset);
  const auto* from = reinterpret_cast<const std::byte*>(address);
  switch (size_index) {
    case 0:
      r[0] = racy_load<std::uint8_t>(from);
      break;
    case 1:
      r[0] = byte_swap(racy_load<std::uint16_t>(from), 16);
      break;
    default:
      r[0] = byte_swap(racy_load<std::uint32_t>(from), 32);
      break;
  }
  // As a helper call would: what the kernel's verifier calls unreadable must not become a channel
  // between runs.
  for (unsigned n = 1; n <= 5; ++n) r[n] = 0;
  return true;
}

// ---- the loop
// --------------------------------------------------------------------------------------------------

bool Interpreter::execute(std::uint32_t start, Registers& r) {
  const std::uint32_t base = top_;
  const Instruction* code = program_->code_->instructions.data();
  const Instruction* ip = code + start;
  std::uint64_t left = left_;  // the member is current only outside of this loop
  const auto pc = [&] { return static_cast<std::uint32_t>(ip - code - 1); };

  for (;;) {
    const Instruction& i = *ip++;
    if (left == 0) [[unlikely]] {
      left_ = 0;
      return fail(FaultKind::instruction_budget, pc());
    }
    --left;
    switch (i.op) {
      case Op::trap:
        return fail(FaultKind::fell_off, pc());

#define X(name)                                                                                    \
  case Op::name##64_k:                                                                             \
    r[i.dst] = alu::name<std::uint64_t>(r[i.dst], i.imm);                                          \
    break;                                                                                         \
  case Op::name##64_x:                                                                             \
    r[i.dst] = alu::name<std::uint64_t>(r[i.dst], r[i.src]);                                       \
    break;                                                                                         \
  case Op::name##32_k:                                                                             \
    r[i.dst] = alu::name(static_cast<std::uint32_t>(r[i.dst]), static_cast<std::uint32_t>(i.imm)); \
    break;                                                                                         \
  case Op::name##32_x:                                                                             \
    r[i.dst] =                                                                                     \
        alu::name(static_cast<std::uint32_t>(r[i.dst]), static_cast<std::uint32_t>(r[i.src]));     \
    break;
        SKEP_ALU_OPERATIONS(X)
#undef X

#define X(name)                                                                                \
  case Op::name##64_k:                                                                         \
    if (alu::name<std::uint64_t>(r[i.dst], i.imm)) ip = code + i.off;                          \
    break;                                                                                     \
  case Op::name##64_x:                                                                         \
    if (alu::name<std::uint64_t>(r[i.dst], r[i.src])) ip = code + i.off;                       \
    break;                                                                                     \
  case Op::name##32_k:                                                                         \
    if (alu::name(static_cast<std::uint32_t>(r[i.dst]), static_cast<std::uint32_t>(i.imm)))    \
      ip = code + i.off;                                                                       \
    break;                                                                                     \
  case Op::name##32_x:                                                                         \
    if (alu::name(static_cast<std::uint32_t>(r[i.dst]), static_cast<std::uint32_t>(r[i.src]))) \
      ip = code + i.off;                                                                       \
    break;
        SKEP_CONDITIONS(X)
#undef X

      case Op::neg64:
        r[i.dst] = 0 - r[i.dst];
        break;
      case Op::neg32:
        r[i.dst] = static_cast<std::uint32_t>(0 - r[i.dst]);
        break;
      case Op::movsx8_64:
        r[i.dst] = alu::sign_extend<std::int8_t>(r[i.src]);
        break;
      case Op::movsx16_64:
        r[i.dst] = alu::sign_extend<std::int16_t>(r[i.src]);
        break;
      case Op::movsx32_64:
        r[i.dst] = alu::sign_extend<std::int32_t>(r[i.src]);
        break;
      case Op::movsx8_32:
        r[i.dst] = static_cast<std::uint32_t>(alu::sign_extend<std::int8_t>(r[i.src]));
        break;
      case Op::movsx16_32:
        r[i.dst] = static_cast<std::uint32_t>(alu::sign_extend<std::int16_t>(r[i.src]));
        break;
      case Op::truncate16:
        r[i.dst] = static_cast<std::uint16_t>(r[i.dst]);
        break;
      case Op::truncate32:
        r[i.dst] = static_cast<std::uint32_t>(r[i.dst]);
        break;
      case Op::keep64:
        break;
      case Op::swap16:
        r[i.dst] = byte_swap(r[i.dst], 16);
        break;
      case Op::swap32:
        r[i.dst] = byte_swap(r[i.dst], 32);
        break;
      case Op::swap64:
        r[i.dst] = byte_swap(r[i.dst], 64);
        break;

      case Op::ja:
        ip = code + i.off;
        break;
      case Op::may_goto:
        if (may_goto_jumps(left)) ip = code + i.off;
        break;

      case Op::load_imm64:
        r[i.dst] = i.imm;
        ++ip;  // over the second half
        break;

#define X(name, type, sign)                                                                   \
  case Op::name: {                                                                            \
    const std::uint64_t address = r[i.src] + static_cast<std::uint64_t>(std::int64_t{i.off}); \
    if (!load<type, sign>(address, r[i.dst])) [[unlikely]]                                    \
      return fail_access(Access::read, pc(), i.src, sizeof(type), address);                   \
    break;                                                                                    \
  }
        X(load_b, std::uint8_t, false)
        X(load_h, std::uint16_t, false)
        X(load_w, std::uint32_t, false)
        X(load_dw, std::uint64_t, false)
        X(load_sb, std::uint8_t, true)
        X(load_sh, std::uint16_t, true)
        X(load_sw, std::uint32_t, true)
#undef X

#define X(name, type, value)                                                                  \
  case Op::name: {                                                                            \
    const std::uint64_t address = r[i.dst] + static_cast<std::uint64_t>(std::int64_t{i.off}); \
    if (!store<type>(address, value)) [[unlikely]]                                            \
      return fail_access(Access::write, pc(), i.dst, sizeof(type), address);                  \
    break;                                                                                    \
  }
        X(store_k_b, std::uint8_t, i.imm)
        X(store_k_h, std::uint16_t, i.imm)
        X(store_k_w, std::uint32_t, i.imm)
        X(store_k_dw, std::uint64_t, i.imm)
        X(store_x_b, std::uint8_t, r[i.src])
        X(store_x_h, std::uint16_t, r[i.src])
        X(store_x_w, std::uint32_t, r[i.src])
        X(store_x_dw, std::uint64_t, r[i.src])
#undef X

        // acquire and release as the instruction set defines them; the partner is another program.
#define X(name, type)                                                                             \
  case Op::load_acquire_##name: {                                                                 \
    const std::uint64_t address = r[i.src] + static_cast<std::uint64_t>(std::int64_t{i.off});     \
    const std::byte* from = atomic_memory<Access::read>(address, sizeof(type));                   \
    if (from == nullptr) return fail_access(Access::read, pc(), i.src, sizeof(type), address);    \
    r[i.dst] = __atomic_load_n(reinterpret_cast<const type*>(from), __ATOMIC_ACQUIRE);            \
    break;                                                                                        \
  }                                                                                               \
  case Op::store_release_##name: {                                                                \
    const std::uint64_t address = r[i.dst] + static_cast<std::uint64_t>(std::int64_t{i.off});     \
    std::byte* to = atomic_memory<Access::write>(address, sizeof(type));                          \
    if (to == nullptr) return fail_access(Access::write, pc(), i.dst, sizeof(type), address);     \
    __atomic_store_n(reinterpret_cast<type*>(to), static_cast<type>(r[i.src]), __ATOMIC_RELEASE); \
    break;                                                                                        \
  }
        X(b, std::uint8_t)
        X(h, std::uint16_t)
        X(w, std::uint32_t)
        X(dw, std::uint64_t)
#undef X

        // Without fetch an atomic operation orders nothing (relaxed); with it, it is a full barrier
        // (seq_cst): RFC 9669 leaves the order open, Linux programs rely on these.
#define ATOMIC(name, type, statement)                                                          \
  case Op::name: {                                                                             \
    const std::uint64_t address = r[i.dst] + static_cast<std::uint64_t>(std::int64_t{i.off});  \
    auto* const to =                                                                           \
        reinterpret_cast<type*>(atomic_memory<Access::update>(address, sizeof(type)));         \
    if (to == nullptr) return fail_access(Access::update, pc(), i.dst, sizeof(type), address); \
    const auto operand = static_cast<type>(r[i.src]);                                          \
    statement;                                                                                 \
    break;                                                                                     \
  }
#define X(name, function, order)                                \
  ATOMIC(name##_w, std::uint32_t, function(to, operand, order)) \
  ATOMIC(name##_dw, std::uint64_t, function(to, operand, order))
        X(atomic_add, __atomic_fetch_add, __ATOMIC_RELAXED)
        X(atomic_or, __atomic_fetch_or, __ATOMIC_RELAXED)
        X(atomic_and, __atomic_fetch_and, __ATOMIC_RELAXED)
        X(atomic_xor, __atomic_fetch_xor, __ATOMIC_RELAXED)
#undef X
#define X(name, function)                                                             \
  ATOMIC(name##_w, std::uint32_t, r[i.src] = function(to, operand, __ATOMIC_SEQ_CST)) \
  ATOMIC(name##_dw, std::uint64_t, r[i.src] = function(to, operand, __ATOMIC_SEQ_CST))
        X(atomic_fetch_add, __atomic_fetch_add)
        X(atomic_fetch_or, __atomic_fetch_or)
        X(atomic_fetch_and, __atomic_fetch_and)
        X(atomic_fetch_xor, __atomic_fetch_xor)
        X(atomic_xchg, __atomic_exchange_n)
#undef X
#define X(name, type)                                                                      \
  ATOMIC(name, type, auto expected = static_cast<type>(r[0]); __atomic_compare_exchange_n( \
             to, &expected, operand, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);           \
         r[0] = expected)
        X(atomic_cmpxchg_w, std::uint32_t)
        X(atomic_cmpxchg_dw, std::uint64_t)
#undef X
#undef ATOMIC

      case Op::packet_abs_b:
      case Op::packet_abs_h:
      case Op::packet_abs_w:
      case Op::packet_ind_b:
      case Op::packet_ind_h:
      case Op::packet_ind_w:
        if (!load_packet(i, pc(), r)) return false;
        break;

      case Op::call_helper: {
        const auto* helper = reinterpret_cast<const Helper*>(i.imm);
        left_ = left;
        if (!call_helper(*helper, pc(), r)) return false;
        left = left_;
        if (pending_ != nullptr) {
          // The callee replaces the frame: it starts afresh and returns to where this frame would
          // have returned.
          program_ = pending_;
          pending_ = nullptr;
          program_frames_ = 1;
          code = program_->code_->instructions.data();
          enter_frame();
          r = {};
          r[1] = context_address;
          r[10] = frame_end();
          ip = code;
        }
        break;
      }

      case Op::call_subprogram:
        if (!push_frame(pc(), r)) return false;
        r[10] = frame_end();
        ip = code + i.off;
        break;

      case Op::exit: {
        if (top_ == base) {
          left_ = left;
          return true;
        }
        const Frame& frame = frames_[top_];
        r[6] = frame.saved[0];
        r[7] = frame.saved[1];
        r[8] = frame.saved[2];
        r[9] = frame.saved[3];
        const std::uint32_t return_pc = frame.return_pc;
        pop_frame();
        code = program_->code_->instructions.data();
        r[10] = frame_end();
        ip = code + return_pc;
        break;
      }
    }
  }
}

}  // namespace skep
