// SPDX-License-Identifier: Apache-2.0
// Copies values in and out of a map around their bpf_spin_lock: its bytes never enter and never
// leave (maps.md 1.5.6).
#pragma once

#include "map/spin_lock.hpp"
#include "sync/racy.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

namespace skep {

/// How the bytes of one value are copied. Immutable.
class ValueLayout {
 public:
  static constexpr std::uint32_t lock_bytes = 4;  // struct bpf_spin_lock

  ValueLayout(std::uint32_t value_bytes, std::optional<std::uint32_t> lock_offset)
      : value_bytes_(value_bytes), lock_offset_(lock_offset) {}

  bool has_lock() const { return lock_offset_.has_value(); }

  /// Into the map. The lock in the map stays as it is.
  void copy_in(std::byte* to, const std::byte* from) const {
    if (!lock_offset_) return racy_copy(to, from, value_bytes_);
    const std::uint32_t after = *lock_offset_ + lock_bytes;
    racy_copy(to, from, *lock_offset_);
    racy_copy(to + after, from + after, value_bytes_ - after);
  }

  /// Out of the map, into memory of the caller's. The lock reads as zero.
  void copy_out(std::byte* to, const std::byte* from) const {
    copy_in(to, from);
    if (lock_offset_) std::memset(to + *lock_offset_, 0, lock_bytes);
  }

  /// The same, holding the lock of the value in the map. Precondition: has_lock(). Blocks: parks on
  /// contention.
  void copy_in_locked(std::byte* to, const std::byte* from) const {
    spin_lock(to + *lock_offset_);
    copy_in(to, from);
    spin_unlock(to + *lock_offset_);
  }
  void copy_out_locked(std::byte* to, std::byte* from) const {
    spin_lock(from + *lock_offset_);
    copy_out(to, from);
    spin_unlock(from + *lock_offset_);
  }

 private:
  const std::uint32_t value_bytes_;
  const std::optional<std::uint32_t> lock_offset_;
};

}  // namespace skep
