// SPDX-License-Identifier: Apache-2.0
// PERCPU_ARRAY: an array per possible CPU; programs see that of their slot, commands see all. Linux
// counterpart: kernel/bpf/arraymap.c; contract: maps.md section 4.
//
// Guarantees
// G1  A program's update touches its own CPU's copy and no cache line of another CPU's.
// G2  Addresses of elements do not change while the map lives.
#pragma once

#include "map/map.hpp"
#include "map/memory.hpp"

#include <cstddef>
#include <cstdint>

namespace skep {

class PercpuArrayMap final : public Map {
 public:
  static const MapType type_entry;
  static constexpr std::uint32_t max_value_bytes = 32768;  // of one CPU, rounded up to 8

  /// Errors: ENOMEM.
  static Result<Ref<Map>> make(const MapType& type, MapSpec spec,
                               const MapEnvironment& environment);

  std::byte* lookup(Slot& slot, const std::byte* key) override;
  std::byte* lookup_percpu(Slot& slot, const std::byte* key, std::uint32_t cpu) override;
  Result<void> update(Slot& slot, const std::byte* key, const std::byte* value,
                      std::uint64_t flags) override;
  Result<void> erase(Slot& slot, const std::byte* key) override;
  Result<std::uint64_t> for_each(
      Slot& slot, FunctionRef<bool(const std::byte* key, std::byte* value)> visit) override;

  /// Values of all CPUs side by side, each rounded up to 8 bytes; the padding is kept as well.
  std::size_t command_value_bytes() const override { return stride_ * cpus(); }
  Result<void> command_lookup(MapCommand& command, const std::byte* key, std::byte* value,
                              std::uint64_t flags) override;
  Result<void> command_update(MapCommand& command, const std::byte* key, const std::byte* value,
                              std::uint64_t flags) override;
  Result<void> command_erase(MapCommand& command, const std::byte* key) override;
  Result<void> next_key(MapCommand& command, const std::byte* key, std::byte* next) override;

  std::uint64_t memory_bytes() const override;

 private:
  template <class T, class... Args>
  friend Ref<T> make_object(Args&&... args);

  PercpuArrayMap(const MapType& type, MapSpec spec, const MapEnvironment& environment,
                 MapMemory memory);
  ~PercpuArrayMap() override = default;
  std::byte* element(std::uint32_t index, std::uint32_t cpu) const {
    return memory_.begin() + cpu * cpu_bytes_ + index * stride_;
  }

  const std::uint64_t stride_;     // between elements of one CPU
  const std::uint64_t cpu_bytes_;  // between the arrays of two CPUs: whole cache lines
  const MapMemory memory_;
};

}  // namespace skep
