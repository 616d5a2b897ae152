// SPDX-License-Identifier: Apache-2.0
#include "map/hash/key_hash.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

namespace skep {
namespace {

std::vector<std::byte> bytes(std::size_t count, std::uint64_t seed) {
  Random random(seed, 0);
  std::vector<std::byte> out(count);
  for (std::byte& byte : out) byte = static_cast<std::byte>(random.next_u32());
  return out;
}

// ZERO_SEED order is a promise: it must not change with the address, the machine or the build.
TEST(KeyHash, ZeroSeedIsFixed) {
  const KeyHash hash;
  const std::uint32_t key = 0x01020304;
  const auto* const raw = reinterpret_cast<const std::byte*>(&key);
  EXPECT_EQ(hash(raw, 4), KeyHash()(raw, 4));
  std::array<std::byte, 12> shifted;
  std::memcpy(&shifted[3], &key, 4);
  EXPECT_EQ(hash(&shifted[3], 4), hash(raw, 4));
}

TEST(KeyHash, SeedsMakeDifferentFunctions) {
  Random first(1, 0), again(1, 0), second(2, 0);
  const KeyHash a(first), b(again), c(second);
  const auto key = bytes(16, 7);
  EXPECT_EQ(a(key.data(), 16), b(key.data(), 16));
  EXPECT_NE(a(key.data(), 16), c(key.data(), 16));
}

// Every byte of a key of any length counts, and so does the length.
TEST(KeyHash, EveryByteAndTheLengthCount) {
  const KeyHash hash;
  for (std::size_t count = 1; count <= 70; ++count) {
    auto key = bytes(count, count);
    const std::uint32_t before = hash(key.data(), count);
    for (std::size_t at = 0; at < count; ++at) {
      key[at] ^= std::byte{1};
      EXPECT_NE(hash(key.data(), count), before) << count << " bytes, byte " << at;
      key[at] ^= std::byte{1};
    }
  }
  const std::vector<std::byte> zeros(70);
  std::set<std::uint32_t> seen;
  for (std::size_t count = 1; count <= 70; ++count) seen.insert(hash(zeros.data(), count));
  EXPECT_EQ(seen.size(), 70u);
}

// One flipped input bit flips every output bit about half of the time.
TEST(KeyHash, Avalanches) {
  Random random(3, 0);
  const KeyHash hash(random);
  for (const std::size_t count : {4, 8, 13, 16, 37}) {
    constexpr int samples = 400;
    std::array<int, 32> flips{};
    for (int sample = 0; sample < samples; ++sample) {
      auto key = bytes(count, 1000 + sample);
      const std::uint32_t before = hash(key.data(), count);
      const std::size_t bit = random.next_u32() % (count * 8);
      key[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
      const std::uint32_t change = before ^ hash(key.data(), count);
      for (int i = 0; i < 32; ++i) flips[i] += static_cast<int>(change >> i & 1);
    }
    // Six standard deviations of a fair coin.
    for (const int flipped : flips) {
      EXPECT_GT(flipped, samples / 2 - 60) << count;
      EXPECT_LT(flipped, samples / 2 + 60) << count;
    }
  }
}

// Keys as networks have them (consecutive addresses, ports) fill buckets like random ones: the
// longest of 4096 chains with load 1 has about 7 elements.
TEST(KeyHash, SpreadsConsecutiveKeys) {
  const KeyHash hash;
  for (const std::uint32_t step : {1U, 256U, 65536U, 1U << 20}) {
    std::vector<int> load(4096);
    for (std::uint32_t i = 0; i < 4096; ++i) {
      const std::uint32_t key = i * step;
      ++load[hash(reinterpret_cast<const std::byte*>(&key), 4) & 4095];
    }
    EXPECT_LE(*std::max_element(load.begin(), load.end()), 12) << step;
  }
}

}  // namespace
}  // namespace skep
