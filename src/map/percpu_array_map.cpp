// SPDX-License-Identifier: Apache-2.0
#include "map/percpu_array_map.hpp"

#include "map/array_index.hpp"
#include "map/type_checks.hpp"
#include "sync/racy.hpp"

#include <utility>

namespace skep {
namespace {

using namespace uapi;

constexpr std::uint32_t creation_flags = BPF_F_NUMA_NODE | access_flags;

Result<void> check_percpu_array(const MapSpec& spec, const Caller& /*caller*/) {
  if (spec.max_entries == 0 || spec.key_bytes != sizeof(std::uint32_t) || spec.value_bytes == 0 ||
      (spec.flags & ~creation_flags) != 0 || has_both_program_access_flags(spec.flags) ||
      spec.numa_node.has_value())
    return Errno{EINVAL};
  if (round_up_8(spec.value_bytes) > PercpuArrayMap::max_value_bytes) return Errno{E2BIG};
  return ok();
}

Result<void> check_percpu_array_btf(const MapSpec& spec) {
  TRY(check_special_fields(spec, 0));
  if (spec.btf_key_type_id == 0) return Errno{EINVAL};
  return check_index_key(spec);
}

std::uint64_t bytes_of_cpu(const MapSpec& spec) {
  constexpr std::uint64_t cache_line_bytes = 64;
  const std::uint64_t bytes = round_up_8(spec.value_bytes) * spec.max_entries;
  return (bytes + cache_line_bytes - 1) & ~(cache_line_bytes - 1);
}

}  // namespace

const MapType PercpuArrayMap::type_entry = {
    .number = BPF_MAP_TYPE_PERCPU_ARRAY,
    .name = "percpu_array",
    .capability = std::nullopt,
    .check_before_permissions = true,
    .batch = {.lookup = true, .update = true},
    .check = check_percpu_array,
    .check_btf = check_percpu_array_btf,
    .make = PercpuArrayMap::make,
};

Result<Ref<Map>> PercpuArrayMap::make(const MapType& type, MapSpec spec,
                                      const MapEnvironment& environment) {
  const std::uint64_t bytes = bytes_of_cpu(spec) * environment.slots.cpus();
  MapMemory memory = TRY(MapMemory::anonymous(environment.budget, bytes));
  return Ref<Map>(
      make_object<PercpuArrayMap>(type, std::move(spec), environment, std::move(memory)));
}

PercpuArrayMap::PercpuArrayMap(const MapType& type, MapSpec spec, const MapEnvironment& environment,
                               MapMemory memory)
    : Map(type, std::move(spec), environment),
      stride_(round_up_8(this->spec().value_bytes)),
      cpu_bytes_(bytes_of_cpu(this->spec())),
      memory_(std::move(memory)) {}

std::byte* PercpuArrayMap::lookup(Slot& slot, const std::byte* key) {
  return lookup_percpu(slot, key, slot.cpu());
}

std::byte* PercpuArrayMap::lookup_percpu(Slot& /*slot*/, const std::byte* key, std::uint32_t cpu) {
  const std::uint32_t index = array_index(key);
  return index < spec().max_entries && cpu < cpus() ? element(index, cpu) : nullptr;
}

Result<void> PercpuArrayMap::update(Slot& slot, const std::byte* key, const std::byte* value,
                                    std::uint64_t flags) {
  const std::uint32_t index = array_index(key);
  TRY(check_array_update(index, spec().max_entries, flags, false));
  racy_copy(element(index, slot.cpu()), value, spec().value_bytes);
  return ok();
}

Result<void> PercpuArrayMap::erase(Slot& /*slot*/, const std::byte* /*key*/) {
  return Errno{EINVAL};
}

Result<std::uint64_t> PercpuArrayMap::for_each(
    Slot& slot, FunctionRef<bool(const std::byte* key, std::byte* value)> visit) {
  for (std::uint64_t index = 0; index < spec().max_entries; ++index) {
    const auto key = static_cast<std::uint32_t>(index);  // the callback's own copy
    if (!visit(reinterpret_cast<const std::byte*>(&key), element(key, slot.cpu())))
      return index + 1;
  }
  return spec().max_entries;
}

Result<void> PercpuArrayMap::command_lookup(MapCommand& /*command*/, const std::byte* key,
                                            std::byte* value, std::uint64_t /*flags*/) {
  const std::uint32_t index = array_index(key);
  if (index >= spec().max_entries) return Errno{ENOENT};
  for (std::uint32_t cpu = 0; cpu < cpus(); ++cpu)
    racy_copy(value + cpu * stride_, element(index, cpu), stride_);
  return ok();
}

Result<void> PercpuArrayMap::command_update(MapCommand& /*command*/, const std::byte* key,
                                            const std::byte* value, std::uint64_t flags) {
  const std::uint32_t index = array_index(key);
  if (flags > BPF_EXIST) return Errno{EINVAL};
  TRY(check_array_update(index, spec().max_entries, flags, false));
  for (std::uint32_t cpu = 0; cpu < cpus(); ++cpu)
    racy_copy(element(index, cpu), value + cpu * stride_, stride_);
  return ok();
}

Result<void> PercpuArrayMap::command_erase(MapCommand& command, const std::byte* key) {
  return erase(command.slot, key);
}

Result<void> PercpuArrayMap::next_key(MapCommand& /*command*/, const std::byte* key,
                                      std::byte* next) {
  return next_array_key(key, spec().max_entries, next);
}

std::uint64_t PercpuArrayMap::memory_bytes() const {
  const std::uint64_t entries = spec().max_entries;
  return kernel_array_bytes + sizeof(void*) * entries + stride_ * cpus() * entries;
}

}  // namespace skep
