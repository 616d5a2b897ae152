// SPDX-License-Identifier: Apache-2.0
// What all array-like maps do with their keys and flags (maps.md 4.2). Keys are indexes in native
// byte order.
#pragma once

#include "result/result.hpp"
#include "sync/racy.hpp"
#include "uapi/bpf.hpp"

#include <cstddef>
#include <cstdint>

namespace skep {

/// Bytes of every figure that fdinfo shows for array-like maps, besides their elements
/// (maps.md 4.5).
inline constexpr std::uint64_t kernel_array_bytes = 312;

inline std::uint32_t array_index(const std::byte* key) { return racy_load<std::uint32_t>(key); }

/// The key after `key`; from none or one outside it starts over at 0. Errors: ENOENT (the last).
inline Result<void> next_array_key(const std::byte* key, std::uint32_t max_entries,
                                   std::byte* next) {
  std::uint32_t index = 0;
  if (key != nullptr && array_index(key) < max_entries) {
    index = array_index(key) + 1;
    if (index == max_entries) return Errno{ENOENT};
  }
  racy_store(next, index);
  return ok();
}

/// Whether an update may go on. `has_lock`: the value has a lock for F_LOCK.
/// Errors, in this order: EINVAL (flags), E2BIG (index), EEXIST (NOEXIST: all elements exist),
/// EINVAL (F_LOCK without lock).
inline Result<void> check_array_update(std::uint32_t index, std::uint32_t max_entries,
                                       std::uint64_t flags, bool has_lock) {
  if ((flags & ~uapi::BPF_F_LOCK) > uapi::BPF_EXIST) return Errno{EINVAL};
  if (index >= max_entries) return Errno{E2BIG};
  if ((flags & uapi::BPF_NOEXIST) != 0) return Errno{EEXIST};
  if ((flags & uapi::BPF_F_LOCK) != 0 && !has_lock) return Errno{EINVAL};
  return ok();
}

}  // namespace skep
