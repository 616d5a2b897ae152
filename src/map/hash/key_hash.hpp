// SPDX-License-Identifier: Apache-2.0
// The keyed hash of the hash tables: folded 64x64-bit multiplications, 16 key bytes per step. All
// inputs are mixed with secret words before they are multiplied, so whoever chooses keys (a sender
// of packets) cannot choose buckets without the seed. The result depends on nothing but seed and
// key bytes: tables with ZERO_SEED iterate alike.
#pragma once

#include "cpu/random.hpp"
#include "sync/racy.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace skep {

/// One hash function. Immutable.
class KeyHash {
 public:
  /// The function of all tables made with ZERO_SEED. The words are the fractions of the square
  /// roots of 2, 3 and 5.
  KeyHash() : secret_{0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b} {}
  explicit KeyHash(Random& random)
      : secret_{random.next_u64(), random.next_u64(), random.next_u64()} {}

  /// Hashes `bytes` bytes at any address. All bits of the result are equally good.
  std::uint32_t operator()(const std::byte* key, std::size_t bytes) const {
    std::uint64_t state = secret_[0] ^ bytes;
    while (bytes > 16) {
      state = step(state, racy_load<std::uint64_t>(key), racy_load<std::uint64_t>(key + 8));
      key += 16;
      bytes -= 16;
    }
    const std::uint64_t first = word(key, bytes);
    const std::uint64_t second = bytes > 8 ? word(key + 8, bytes - 8) : 0;
    state = fold(step(state, first, second) ^ secret_[2], secret_[1]);
    return static_cast<std::uint32_t>(state ^ state >> 32);
  }

 private:
  static std::uint64_t fold(std::uint64_t a, std::uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }
  std::uint64_t step(std::uint64_t state, std::uint64_t first, std::uint64_t second) const {
    return fold(first ^ secret_[1], second ^ state);
  }
  /// Up to 8 bytes as a number, little end first.
  static std::uint64_t word(const std::byte* from, std::size_t bytes) {
    if (bytes >= 8) return racy_load<std::uint64_t>(from);
    std::uint64_t value = 0;
    std::size_t shift = 0;
    if (bytes >= 4) {
      value = racy_load<std::uint32_t>(from);
      shift = 4;
    }
    for (; shift < bytes; ++shift)
      value |= std::uint64_t{racy_load<std::uint8_t>(from + shift)} << (8 * shift);
    return value;
  }

  const std::array<std::uint64_t, 3> secret_;
};

}  // namespace skep
