// SPDX-License-Identifier: Apache-2.0
// ARRAY: elements that exist from the start, updated in place. Linux counterpart:
// kernel/bpf/arraymap.c; contract: maps.md section 4. With BPF_F_MMAPABLE the elements live in a
// memfd, which processes map as they map a kernel's array; not if they hold special fields.
//
// Guarantees
// G1  No operation waits for another, except under F_LOCK.
// G2  An aligned word is read and written whole; a longer value may mix an old and a new one, as on
// Linux.
// G3  Addresses of elements do not change while the map lives.
#pragma once

#include "map/map.hpp"
#include "map/memory.hpp"
#include "map/value_layout.hpp"

#include <cstddef>
#include <cstdint>

namespace skep {

class ArrayMap final : public Map {
 public:
  static const MapType type_entry;

  /// Errors: ENOMEM, EMFILE, ENFILE (BPF_F_MMAPABLE needs a descriptor).
  static Result<Ref<Map>> make(const MapType& type, MapSpec spec,
                               const MapEnvironment& environment);

  std::byte* lookup(Slot& slot, const std::byte* key) override;
  Result<void> update(Slot& slot, const std::byte* key, const std::byte* value,
                      std::uint64_t flags) override;
  Result<void> erase(Slot& slot, const std::byte* key) override;
  Result<std::uint64_t> for_each(
      Slot& slot, FunctionRef<bool(const std::byte* key, std::byte* value)> visit) override;
  Result<std::byte*> direct_value(std::uint32_t offset) override;

  Result<void> command_lookup(MapCommand& command, const std::byte* key, std::byte* value,
                              std::uint64_t flags) override;
  Result<void> command_update(MapCommand& command, const std::byte* key, const std::byte* value,
                              std::uint64_t flags) override;
  Result<void> command_erase(MapCommand& command, const std::byte* key) override;
  Result<void> next_key(MapCommand& command, const std::byte* key, std::byte* next) override;

  Result<int> memory_fd() const override;
  std::uint64_t memory_bytes() const override;

 private:
  template <class T, class... Args>
  friend Ref<T> make_object(Args&&... args);

  ArrayMap(const MapType& type, MapSpec spec, const MapEnvironment& environment, MapMemory memory);
  ~ArrayMap() override = default;
  void on_freeze() override { memory_.seal_future_writes(); }
  std::byte* element(std::uint32_t index) const { return memory_.begin() + index * stride_; }

  const ValueLayout layout_;
  const std::uint64_t stride_;
  const MapMemory memory_;
};

}  // namespace skep
