// SPDX-License-Identifier: Apache-2.0
// Access to bytes that are raced on by design: map values and packet bytes. Nothing else in skep
// touches them, so that a sanitizer report elsewhere means a bug. Bytes of one aligned word are
// read and written whole; a longer copy may mix old and new words, as on Linux.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace skep {

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SKEP_RACY_ATOMIC 1
#endif
#endif

namespace detail {
template <class T>
struct [[gnu::packed, gnu::may_alias]] RacyWord {
  T value;
};
}  // namespace detail

/// Loads a `T` from any address, aligned or not; relaxed.
template <class T>
  requires std::is_trivially_copyable_v<T>
T racy_load(const void* address) {
#ifdef SKEP_RACY_ATOMIC
  T value;
  const auto bits = reinterpret_cast<std::uintptr_t>(address);
  if (bits % sizeof(T) == 0) {
    // relaxed: raced on by design; no other state is inferred from it.
    __atomic_load(static_cast<const T*>(address), &value, __ATOMIC_RELAXED);
  } else {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      reinterpret_cast<unsigned char*>(&value)[i] =
          __atomic_load_n(static_cast<const unsigned char*>(address) + i, __ATOMIC_RELAXED);
    }
  }
  return value;
#else
  return static_cast<const volatile detail::RacyWord<T>*>(address)->value;
#endif
}

/// Stores a `T` at any address, aligned or not; relaxed.
template <class T>
  requires std::is_trivially_copyable_v<T>
void racy_store(void* address, T value) {
#ifdef SKEP_RACY_ATOMIC
  const auto bits = reinterpret_cast<std::uintptr_t>(address);
  if (bits % sizeof(T) == 0) {
    // relaxed: as above.
    __atomic_store(static_cast<T*>(address), &value, __ATOMIC_RELAXED);
  } else {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      __atomic_store_n(static_cast<unsigned char*>(address) + i,
                       reinterpret_cast<const unsigned char*>(&value)[i], __ATOMIC_RELAXED);
    }
  }
#else
  static_cast<volatile detail::RacyWord<T>*>(address)->value = value;
#endif
}

/// Copies `bytes` by words where both sides are 8-aligned, else by bytes. The ranges do not
/// overlap.
inline void racy_copy(void* to, const void* from, std::size_t bytes) {
#ifdef SKEP_RACY_ATOMIC
  auto* out = static_cast<std::byte*>(to);
  const auto* in = static_cast<const std::byte*>(from);
  const bool aligned =
      (reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from)) % 8 == 0;
  std::size_t done = 0;
  if (aligned) {
    for (; done + 8 <= bytes; done += 8)
      racy_store<std::uint64_t>(out + done, racy_load<std::uint64_t>(in + done));
  }
  for (; done < bytes; ++done)
    racy_store<std::uint8_t>(out + done, racy_load<std::uint8_t>(in + done));
#else
  // Without the sanitizer a plain copy moves at least aligned words whole on every supported
  // machine.
  std::memcpy(to, from, bytes);
#endif
}

/// Sets `bytes` zero bytes.
inline void racy_zero(void* to, std::size_t bytes) {
#ifdef SKEP_RACY_ATOMIC
  for (std::size_t i = 0; i < bytes; ++i)
    racy_store<std::uint8_t>(static_cast<std::byte*>(to) + i, std::uint8_t{0});
#else
  std::memset(to, 0, bytes);
#endif
}

}  // namespace skep
