// SPDX-License-Identifier: Apache-2.0
#include "map/array_map.hpp"

#include "map/array_index.hpp"
#include "map/type_checks.hpp"

#include <limits>
#include <utility>

namespace skep {
namespace {

using namespace uapi;

constexpr std::uint32_t creation_flags =
    BPF_F_NUMA_NODE | BPF_F_MMAPABLE | access_flags | BPF_F_INNER_MAP;

Result<void> check_array(const MapSpec& spec, const Caller& /*caller*/) {
  if (spec.max_entries == 0 || spec.key_bytes != sizeof(std::uint32_t) || spec.value_bytes == 0 ||
      (spec.flags & ~creation_flags) != 0 || has_both_program_access_flags(spec.flags))
    return Errno{EINVAL};
  if (spec.value_bytes > std::numeric_limits<std::int32_t>::max()) return Errno{E2BIG};
  return ok();
}

Result<void> check_array_btf(const MapSpec& spec) {
  TRY(check_special_fields(spec, field_bit(FieldKind::spin_lock)));
  if (spec.btf_key_type_id != 0) return check_index_key(spec);
  // Global data: one element that is a whole section.
  const bool is_section = spec.btf->resolved(spec.btf_value_type_id).is(BtfKind::data_section);
  if (spec.max_entries != 1 || !is_section) return Errno{EINVAL};
  return ok();
}

}  // namespace

const MapType ArrayMap::type_entry = {
    .number = BPF_MAP_TYPE_ARRAY,
    .name = "array",
    .capability = std::nullopt,
    .check_before_permissions = true,
    .batch = {.lookup = true, .update = true},
    .direct_value = true,
    .spin_lock = true,
    .check = check_array,
    .check_btf = check_array_btf,
    .make = ArrayMap::make,
};

Result<Ref<Map>> ArrayMap::make(const MapType& type, MapSpec spec,
                                const MapEnvironment& environment) {
  const std::uint64_t bytes = round_up_8(spec.value_bytes) * spec.max_entries;
  // Whoever maps a lock could hold it for ever: such a map has no mmap (maps.md 1.4).
  const bool shared = (spec.flags & BPF_F_MMAPABLE) != 0 && spec.record.empty();
  MapMemory memory = TRY(shared ? MapMemory::shared(environment.budget, bytes)
                                : MapMemory::anonymous(environment.budget, bytes));
  return Ref<Map>(make_object<ArrayMap>(type, std::move(spec), environment, std::move(memory)));
}

ArrayMap::ArrayMap(const MapType& type, MapSpec spec, const MapEnvironment& environment,
                   MapMemory memory)
    : Map(type, std::move(spec), environment),
      layout_(this->spec().value_bytes, lock_offset(this->spec())),
      stride_(round_up_8(this->spec().value_bytes)),
      memory_(std::move(memory)) {}

std::byte* ArrayMap::lookup(Slot& /*slot*/, const std::byte* key) {
  const std::uint32_t index = array_index(key);
  return index < spec().max_entries ? element(index) : nullptr;
}

Result<void> ArrayMap::update(Slot& /*slot*/, const std::byte* key, const std::byte* value,
                              std::uint64_t flags) {
  const std::uint32_t index = array_index(key);
  TRY(check_array_update(index, spec().max_entries, flags, layout_.has_lock()));
  if ((flags & BPF_F_LOCK) != 0) {
    layout_.copy_in_locked(element(index), value);
  } else {
    layout_.copy_in(element(index), value);
  }
  return ok();
}

Result<void> ArrayMap::erase(Slot& /*slot*/, const std::byte* /*key*/) { return Errno{EINVAL}; }

Result<std::uint64_t> ArrayMap::for_each(
    Slot& /*slot*/, FunctionRef<bool(const std::byte* key, std::byte* value)> visit) {
  for (std::uint64_t index = 0; index < spec().max_entries; ++index) {
    const auto key = static_cast<std::uint32_t>(index);  // the callback's own copy
    if (!visit(reinterpret_cast<const std::byte*>(&key), element(key))) return index + 1;
  }
  return spec().max_entries;
}

Result<std::byte*> ArrayMap::direct_value(std::uint32_t offset) {
  if (spec().max_entries != 1) return Errno{ENOTSUPP};
  if (offset >= spec().value_bytes) return Errno{EINVAL};
  return element(0);
}

Result<void> ArrayMap::command_lookup(MapCommand& command, const std::byte* key, std::byte* value,
                                      std::uint64_t flags) {
  std::byte* const found = lookup(command.slot, key);
  if (found == nullptr) return Errno{ENOENT};
  if ((flags & BPF_F_LOCK) != 0) {
    layout_.copy_out_locked(value, found);
  } else {
    layout_.copy_out(value, found);
  }
  return ok();
}

Result<void> ArrayMap::command_update(MapCommand& command, const std::byte* key,
                                      const std::byte* value, std::uint64_t flags) {
  return update(command.slot, key, value, flags);
}

Result<void> ArrayMap::command_erase(MapCommand& command, const std::byte* key) {
  return erase(command.slot, key);
}

Result<void> ArrayMap::next_key(MapCommand& /*command*/, const std::byte* key, std::byte* next) {
  return next_array_key(key, spec().max_entries, next);
}

Result<int> ArrayMap::memory_fd() const {
  if (memory_.fd() < 0) return Errno{ENOTSUPP};
  return memory_.fd();
}

std::uint64_t ArrayMap::memory_bytes() const {
  const std::uint64_t elements = stride_ * spec().max_entries;
  if ((spec().flags & BPF_F_MMAPABLE) == 0) return kernel_array_bytes + elements;
  return MapMemory::round_up_page(kernel_array_bytes) + MapMemory::round_up_page(elements);
}

}  // namespace skep
