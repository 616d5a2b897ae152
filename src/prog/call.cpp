// SPDX-License-Identifier: Apache-2.0
// Helper calls of the checked interpreter: every argument is tested against what the helper
// declares before it runs.
#include "map/spin_lock.hpp"
#include "prog/interpreter.hpp"
#include "sync/racy.hpp"

namespace skep {
namespace {

constexpr std::uint32_t spin_lock_bytes = 4;  // struct bpf_spin_lock

// base_helper() ids with rules of their own.
constexpr std::uint32_t update_id = 2, delete_id = 3, unlock_id = 94;
constexpr std::uint64_t bucket_bytes = 16;  // a walk goes through the empty ones too

const Map* map_at(std::uint64_t address) { return reinterpret_cast<const Map*>(address); }

}  // namespace

bool Interpreter::call_helper(const Helper& helper, std::uint32_t pc, Registers& r) {
  if (lock_ != nullptr && helper.id != unlock_id) [[unlikely]]
    return fail(FaultKind::lock, pc, 0, 0, 0, "helper called while a lock is held");
  std::array<std::uint64_t, 5> arguments;
  if (!check_arguments(helper, pc, r, arguments)) [[unlikely]]
    return false;
  helper_pc_ = pc;
  const std::uint64_t result =
      helper.function(*this, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4]);
  if (stopped()) [[unlikely]]
    return false;
  if (helper.changes_packet) read_packet_window();
  switch (helper.returns) {
    case Return::number:
      r[0] = result;
      break;
    // The kernel's verifier calls r0 unreadable; here it is 0, so that runs can be repeated.
    case Return::nothing:
      r[0] = 0;
      break;
    case Return::map_value_or_null:
      r[0] = result;
      if (result != 0) grant_value(*map_at(arguments[0]), reinterpret_cast<std::byte*>(result));
      break;
  }
  // The same for r1-r5: what a helper leaves there is nobody's business.
  for (unsigned n = 1; n <= 5; ++n) r[n] = 0;
  return !stopped();
}

/// Programs may not change a read-only map through helpers. Finding a value that may not be read is
/// allowed (maps.md 1.10): reading it is what fails.
bool Interpreter::check_map_rights(const Helper& helper, const Map& map, std::uint32_t pc,
                                   std::uint8_t reg) {
  const bool writes = helper.id == update_id || helper.id == delete_id;
  if (!writes || (map.spec().flags & uapi::BPF_F_RDONLY_PROG) == 0) return true;
  return fail(FaultKind::helper_argument, pc, reg, 0, reinterpret_cast<std::uint64_t>(&map),
              "write into map forbidden");
}

/// The key at `address`, in memory that no other thread changes while a map compares and copies it;
/// null if unreadable.
const std::byte* Interpreter::private_key(const Map& map, std::uint64_t address) {
  const std::size_t bytes = map.spec().key_bytes;
  const std::byte* key = memory<Access::read>(address, bytes);
  if (key == nullptr || address - stack_begin() < sizeof stack_) return key;
  std::byte* copy = key_copy_.data();
  if (bytes > key_copy_.size()) {
    long_key_.resize(bytes);
    copy = long_key_.data();
  }
  racy_copy(copy, key, bytes);
  return copy;
}

bool Interpreter::check_arguments(const Helper& helper, std::uint32_t pc, const Registers& r,
                                  std::array<std::uint64_t, 5>& arguments) {
  const Map* map = nullptr;
  std::uint64_t work_bytes = 0;  // that the helper will go through
  for (unsigned n = 0; n < 5; ++n) {
    const auto reg = static_cast<std::uint8_t>(n + 1);
    const std::uint64_t value = r[reg];
    arguments[n] = value;
    const auto refuse = [&](std::string_view why, std::uint64_t bytes = 0) {
      return fail(FaultKind::helper_argument, pc, reg, bytes, value, why);
    };
    switch (helper.arguments[n]) {
      case Arg::none:
      case Arg::anything:
      case Arg::callback_context:
        break;
      case Arg::context:
        if (value != context_address) return refuse("not the context");
        break;
      case Arg::map:
        map = map_at(value);
        if (!program_->uses(map)) return refuse("not a map of this program");
        if (helper.maps != 0 && (helper.maps & map_type_bit(map->spec().type)) == 0)
          return refuse("map of a type that this helper does not take");
        if (!check_map_rights(helper, *map, pc, reg)) return false;
        break;
      case Arg::map_key: {
        if (map == nullptr) return refuse("no map was given before this key");
        const std::byte* key = private_key(*map, value);
        if (key == nullptr) return refuse("key is not readable", map->spec().key_bytes);
        work_bytes += map->spec().key_bytes;
        arguments[n] = reinterpret_cast<std::uint64_t>(key);
        break;
      }
      case Arg::map_value:
        if (map == nullptr) return refuse("no map was given before this value");
        if (memory<Access::read>(value, map->spec().value_bytes) == nullptr)
          return refuse("value is not readable", map->spec().value_bytes);
        work_bytes += map->spec().value_bytes;
        break;
      case Arg::memory:
      case Arg::memory_or_null:
      case Arg::memory_out: {
        const Arg kind = helper.arguments[n];
        const std::uint64_t bytes = n + 1 < 5 ? r[reg + 1] : 0;
        if (kind == Arg::memory_or_null && value == 0 && bytes == 0) break;
        // Zero bytes need no memory; whether zero is allowed is for the size argument to say.
        if (bytes == 0) break;
        const bool fine = kind == Arg::memory_out ? memory<Access::write>(value, bytes) != nullptr
                                                  : memory<Access::read>(value, bytes) != nullptr;
        if (!fine) return refuse(kind == Arg::memory_out ? "not writable" : "not readable", bytes);
        work_bytes += bytes;
        break;
      }
      case Arg::memory_inout_4:
        if (memory<Access::update>(value, 4) == nullptr)
          return refuse("not readable and writable", 4);
        break;
      case Arg::memory_out_8:
        if (memory<Access::write>(value, 8) == nullptr) return refuse("not writable", 8);
        break;
      case Arg::size:
        if (value == 0) return refuse("zero-sized access");
        break;
      case Arg::size_or_zero:
        break;
      case Arg::spin_lock: {
        const Region* region = find_region(value, spin_lock_bytes);
        const SpecialField* field =
            region == nullptr ? nullptr : region->map->spec().record.find(FieldKind::spin_lock);
        if (field == nullptr || value - region->begin != field->offset)
          return refuse("not a bpf_spin_lock inside a map value");
        break;
      }
      case Arg::callback:
        if (!program_->code_->is_callback(value - callback_address))
          return refuse("not a callback of this program");
        if (map != nullptr) work_bytes += std::uint64_t{map->spec().max_entries} * bucket_bytes;
        break;
    }
  }
  // The budget bounds time, and a helper's takes as long as its bytes: 64 of them, a cache line,
  // for an instruction.
  left_ -= std::min(left_, work_bytes / 64);
  return true;
}

void Interpreter::lock(std::uint64_t address) {
  ASSERT(lock_ == nullptr);  // call_helper() lets nothing but the unlock through
  lock_ = reinterpret_cast<std::byte*>(address);
  spin_lock(lock_);
}

void Interpreter::unlock(std::uint64_t address) {
  if (lock_ != reinterpret_cast<std::byte*>(address)) {
    fail(FaultKind::lock, helper_pc_, 1, 0, address,
         lock_ == nullptr ? "no lock is held" : "another lock is held");
    return;
  }
  spin_unlock(lock_);
  lock_ = nullptr;
}

}  // namespace skep
