// SPDX-License-Identifier: Apache-2.0
// The words for faults: what a program tried, and which memory of its own it meant.
#include "prog/interpreter.hpp"

#include <fmt/format.h>

#include <limits>

namespace skep {
namespace {

/// "packet-4", "stack+0": `offset` may be the difference of any two addresses.
std::string place(std::string_view name, std::uint64_t offset) {
  return fmt::format("{}{:+d}", name, static_cast<std::int64_t>(offset));
}

/// Whether `address` is in [begin, begin + bytes) or so close to it that it was probably meant.
bool is_near(std::uint64_t address, std::uint64_t begin, std::uint64_t bytes) {
  constexpr std::uint64_t margin = 4096;
  return address - (begin - margin) < bytes + 2 * margin;
}

}  // namespace

std::string_view name_of(FaultKind kind) {
  switch (kind) {
    case FaultKind::invalid_read:
      return "invalid_read";
    case FaultKind::invalid_write:
      return "invalid_write";
    case FaultKind::context_read:
      return "context_read";
    case FaultKind::context_write:
      return "context_write";
    case FaultKind::instruction_budget:
      return "instruction_budget";
    case FaultKind::call_depth:
      return "call_depth";
    case FaultKind::helper_argument:
      return "helper_argument";
    case FaultKind::fell_off:
      return "fell_off";
    case FaultKind::callback_return:
      return "callback_return";
    case FaultKind::lock:
      return "lock";
    case FaultKind::out_of_memory:
      return "out_of_memory";
  }
  return "unknown";
}

std::string Fault::describe() const {
  switch (kind) {
    case FaultKind::invalid_read:
      return fmt::format("pc {}: read of {} bytes through r{}: {} may not be read", pc, bytes, reg,
                         where);
    case FaultKind::invalid_write:
      return fmt::format("pc {}: write of {} bytes through r{}: {} may not be written", pc, bytes,
                         reg, where);
    case FaultKind::context_read:
      return fmt::format("pc {}: read of {} bytes through r{}: {} is no readable field", pc, bytes,
                         reg, where);
    case FaultKind::context_write:
      return fmt::format("pc {}: write of {} bytes through r{}: {} is no writable field", pc, bytes,
                         reg, where);
    case FaultKind::instruction_budget:
      return fmt::format("pc {}: the instruction budget of the run is used up", pc);
    case FaultKind::call_depth:
      return fmt::format("pc {}: call of a ninth frame; a program may have 8", pc);
    case FaultKind::helper_argument:
      return fmt::format("pc {}: helper argument r{}: {}", pc, reg, where);
    case FaultKind::fell_off:
      return fmt::format("pc {}: no instruction to run here", pc);
    case FaultKind::callback_return:
      return fmt::format("pc {}: the callback returned {}, but may return 0 or 1", pc, address);
    case FaultKind::lock:
      return fmt::format("pc {}: bpf_spin_lock: {}", pc, where);
    case FaultKind::out_of_memory:
      return fmt::format("pc {}: the byte budget has no room for more map values in this run", pc);
  }
  return {};
}

bool Interpreter::fail(FaultKind kind, std::uint32_t pc, unsigned reg, std::uint64_t bytes,
                       std::uint64_t address, std::string_view why) {
  if (stopped()) return false;  // the first reason counts
  const bool fits = bytes <= std::numeric_limits<std::uint8_t>::max();
  fault_ = Fault{.kind = kind,
                 .pc = pc,
                 .reg = static_cast<std::uint8_t>(reg),
                 .bytes = static_cast<std::uint8_t>(fits ? bytes : 0),
                 .address = address,
                 .prog_id = program_->id(),
                 .where = std::string(why)};
  if (kind == FaultKind::helper_argument) {
    fault_->where += bytes == 0
                         ? fmt::format(": {}", describe_address(address, 1))
                         : fmt::format(": {} bytes at {}", bytes, describe_address(address, bytes));
  }
  return false;
}

bool Interpreter::fail_access(Access access, std::uint32_t pc, unsigned reg, std::uint64_t bytes,
                              std::uint64_t address) {
  if (access == Access::update) {
    // What cannot be read is named first, as the reason beside which writing does not matter.
    const Region* region = find_region(address, bytes);
    access = region != nullptr && !region->readable ? Access::read : Access::write;
  }
  const bool context = is_near(address, context_address, program_->type().context_bytes());
  FaultKind kind = FaultKind::invalid_read;
  if (access == Access::write)
    kind = context ? FaultKind::context_write : FaultKind::invalid_write;
  else if (context)
    kind = FaultKind::context_read;
  return fail(kind, pc, reg, bytes, address, describe_address(address, bytes));
}

const Region* Interpreter::nearest_region(std::uint64_t address) const {
  for (const Region& region : program_->code_->direct_values)
    if (region.contains(address, 1)) return &region;
  if (const Region* region = grants_.nearest(address)) return region;
  for (const Region& region : program_->code_->direct_values)
    if (is_near(address, region.begin, region.bytes)) return &region;
  return nullptr;
}

std::string Interpreter::describe_address(std::uint64_t address, std::uint64_t bytes) const {
  if (address < 4096) return address == 0 ? "null" : place("null", address);
  if (is_near(address, context_address, program_->type().context_bytes()))
    return place("context", address - context_address);
  if (address - callback_address < program_->code_->instructions.size())
    return place("callback", address - callback_address);
  for (const Ref<Map>& map : program_->used_maps_) {
    if (is_near(address, reinterpret_cast<std::uint64_t>(map.get()), sizeof(Map)))
      return fmt::format("map pointer ({})", map->spec().name);
  }
  if (address - stack_begin() < sizeof stack_) {
    // As an offset from the top of the frame in which, or next below which, it lies.
    const std::uint64_t frame = (address - stack_begin()) / frame_stride;
    const std::uint64_t in_frame = (address - stack_begin()) % frame_stride;
    // Above a frame lies its guard: from the middle of it on, the frame above was meant.
    const bool below_next = in_frame >= uapi::MAX_BPF_STACK + uapi::MAX_BPF_STACK / 2;
    const std::uint64_t end =
        stack_begin() + (frame + (below_next ? 1 : 0)) * frame_stride + uapi::MAX_BPF_STACK;
    return place("stack", address - end);
  }
  if (address < stack_begin() && stack_begin() - address <= frame_stride)
    return place("stack", address - stack_begin() - uapi::MAX_BPF_STACK);
  if (packet_bytes_ != 0 && is_near(address, packet_begin_, packet_bytes_))
    return fmt::format("{} (end at {})", place("packet", address - packet_begin_), packet_bytes_);
  if (const Region* region = nearest_region(address)) {
    const std::uint64_t offset = address - region->begin;
    const MapSpec& spec = region->map->spec();
    std::string_view note;
    if (region->contains(address, bytes)) {
      note = ", special field";
      if (!region->writable) note = ", read-only";
      if (!region->readable) note = ", write-only";
    }
    return fmt::format("{} ({}, {} bytes{})", place("map value", offset), spec.name,
                       spec.value_bytes, note);
  }
  return fmt::format("{:#x}, no memory of this program,", address);
}

}  // namespace skep
