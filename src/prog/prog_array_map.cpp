// SPDX-License-Identifier: Apache-2.0
#include "prog/prog_array_map.hpp"

#include "rcu/rcu.hpp"

#include <cstring>
#include <new>
#include <utility>

namespace skep {
namespace {

using namespace uapi;

constexpr std::uint32_t creation_flags = BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY;

std::uint32_t index_of(const std::byte* key) {
  std::uint32_t index;
  std::memcpy(&index, key, sizeof index);
  return index;
}

Result<void> check(const MapSpec& spec, const Caller& /*caller*/) {
  if (spec.value_bytes != 4 || spec.max_entries == 0 || spec.key_bytes != 4) return Errno{EINVAL};
  if ((spec.flags & ~creation_flags) != 0) return Errno{EINVAL};
  return ok();
}

/// A key type is required, nothing else.
Result<void> check_btf(const MapSpec& spec) {
  if (spec.btf_key_type_id == 0) return Errno{EINVAL};
  return ok();
}

constexpr MapType prog_array_type = {
    .number = BPF_MAP_TYPE_PROG_ARRAY,
    .name = "prog_array",
    .capability = std::nullopt,
    .check_before_permissions = true,
    .batch = {},
    .holds_programs = true,
    .needs_btf_key = true,
    .check = check,
    .check_btf = check_btf,
    .make = ProgArrayMap::make,
};

}  // namespace

Result<Ref<Map>> ProgArrayMap::make(const MapType& type, MapSpec spec,
                                    const MapEnvironment& environment) {
  const std::uint64_t bytes = sizeof(ProgArrayMap) + std::uint64_t{8} * spec.max_entries;
  Charge charge = TRY(environment.budget.charge(bytes));
  std::unique_ptr<std::atomic<const Program*>[]> programs(
      new (std::nothrow) std::atomic<const Program*>[spec.max_entries]());
  if (programs == nullptr) return Errno{ENOMEM};
  return Ref<Map>(Ref<ProgArrayMap>::adopt(new ProgArrayMap(
      type, std::move(spec), environment, std::move(charge), std::move(programs))));
}

ProgArrayMap::ProgArrayMap(const MapType& type, MapSpec spec, const MapEnvironment& environment,
                           Charge charge, std::unique_ptr<std::atomic<const Program*>[]> programs)
    : ProgramMap(type, std::move(spec), environment),
      charge_(std::move(charge)),
      programs_(std::move(programs)) {}

ProgArrayMap::~ProgArrayMap() { on_last_user(); }

bool ProgArrayMap::put(std::uint32_t index, Ref<const Program> program) {
  // acq_rel: publishes `program` to program(); the old one came from another writer. Its reference
  // may go at once: objects outlive the read sections in which they were found.
  const Program* old = programs_[index].exchange(program.release(), std::memory_order_acq_rel);
  if (old != nullptr) old->drop_reference();
  return old != nullptr;
}

void ProgArrayMap::on_last_user() {
  for (std::uint32_t index = 0; index < spec().max_entries; ++index) put(index, nullptr);
}

std::byte* ProgArrayMap::lookup(Slot& /*slot*/, const std::byte* /*key*/) { return nullptr; }

Result<void> ProgArrayMap::update(Slot& /*slot*/, const std::byte* /*key*/,
                                  const std::byte* /*value*/, std::uint64_t /*flags*/) {
  return Errno{EINVAL};
}

Result<void> ProgArrayMap::erase(Slot& /*slot*/, const std::byte* /*key*/) { return Errno{EINVAL}; }

Result<void> ProgArrayMap::command_lookup(MapCommand& /*command*/, const std::byte* key,
                                          std::byte* value, std::uint64_t /*flags*/) {
  const rcu::ReadGuard guard;
  const Program* found = program(index_of(key));
  if (found == nullptr) return Errno{ENOENT};
  const std::uint32_t id = found->id();
  std::memcpy(value, &id, sizeof id);
  return ok();
}

Result<void> ProgArrayMap::command_update(MapCommand& command, const std::byte* key,
                                          const std::byte* value, std::uint64_t flags) {
  if (flags != BPF_ANY) return Errno{EINVAL};
  const std::uint32_t index = index_of(key);
  if (index >= spec().max_entries) return Errno{E2BIG};
  const auto fd = static_cast<int>(index_of(value));
  Ref<Program> program = ref_cast<Program>(TRY(command.caller.object(fd, ObjectKind::prog)));
  TRY(claim(program->shape()));
  put(index, std::move(program));
  return ok();
}

Result<void> ProgArrayMap::command_erase(MapCommand& /*command*/, const std::byte* key) {
  const std::uint32_t index = index_of(key);
  if (index >= spec().max_entries) return Errno{E2BIG};
  if (!put(index, nullptr)) return Errno{ENOENT};
  return ok();
}

Result<void> ProgArrayMap::next_key(MapCommand& /*command*/, const std::byte* key,
                                    std::byte* next) {
  const std::uint32_t last = spec().max_entries - 1;
  std::uint32_t index = 0;
  if (key != nullptr && index_of(key) <= last) {
    index = index_of(key);
    if (index == last) return Errno{ENOENT};
    ++index;
  }
  std::memcpy(next, &index, sizeof index);
  return ok();
}

std::uint64_t ProgArrayMap::memory_bytes() const {
  constexpr std::uint64_t map_bytes = 312;  // what Linux reports for the map itself
  return map_bytes + std::uint64_t{8} * spec().max_entries;
}

void add_program_map_types(MapTypes& types) { types.add(prog_array_type); }

}  // namespace skep
