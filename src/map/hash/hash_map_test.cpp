// SPDX-License-Identifier: Apache-2.0
// HASH by one thread: the kernel's own tests, exact capacity, recycling, batches, and a long random
// comparison with std::map. What several threads may see is in hash_map_torture_test.cpp.
#include "map/hash/hash_map.hpp"

#include "map/map_fixture.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace skep::testing {
namespace {

using namespace uapi;

class HashMapTest : public MapFixture {
 protected:
  static MapSpec spec(std::uint32_t max_entries, std::uint32_t flags = 0,
                      std::uint32_t key_bytes = 8, std::uint32_t value_bytes = 8) {
    return {.type = BPF_MAP_TYPE_HASH,
            .key_bytes = key_bytes,
            .value_bytes = value_bytes,
            .max_entries = max_entries,
            .flags = flags};
  }
  Ref<Map> make(std::uint32_t max_entries, std::uint32_t flags = 0) {
    return *create(spec(max_entries, flags));
  }

  Budget small{1 << 20};
};

/// Tests of both ways to allocate elements.
class HashMapBothWays : public HashMapTest, public ::testing::WithParamInterface<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Allocation, HashMapBothWays,
                         ::testing::Values(std::uint32_t{0}, BPF_F_NO_PREALLOC),
                         [](const auto& info) {
                           return info.param == 0 ? "InAdvance" : "OnDemand";
                         });

// ---- creation (maps.md 2.1, 2.2) ----

TEST_F(HashMapTest, CreationErrorsInOrder) {
  // ZERO_SEED needs privilege, and says so before anything else is looked at.
  MapSpec zero = spec(0, BPF_F_ZERO_SEED | BPF_F_MMAPABLE);
  EXPECT_ERRNO(create(zero, false), EPERM);
  EXPECT_ERRNO(create(zero, true), EINVAL);
  // Sizes of zero before sizes too large.
  EXPECT_ERRNO(create(spec(0, 0, 4 << 20, 8)), EINVAL);
  EXPECT_ERRNO(create(spec(1, 0, 4 << 20, 8)), E2BIG);
  EXPECT_ERRNO(create(spec(1, 0, 0xffffffff, 0xffffffff)), E2BIG);
}

TEST_F(HashMapTest, KeyAndValueStayBelow4MiBLess48) {
  constexpr std::uint32_t limit = (4 << 20) - 48;
  EXPECT_OK(create(spec(1, 0, 8, limit - 9)));
  EXPECT_ERRNO(create(spec(1, 0, 8, limit - 8)), E2BIG);
  EXPECT_OK(create(spec(1, 0, limit - 9, 8)));
}

TEST_F(HashMapTest, BucketsEndAt2To27) {
  EXPECT_ERRNO(create(spec((1U << 27) + 1)), E2BIG);
  EXPECT_ERRNO(create(spec((1U << 31) + 1, BPF_F_NO_PREALLOC)), E2BIG);
  EXPECT_ERRNO(create(spec(1U << 27)), ENOMEM);
  // 2^25 buckets of 16 bytes are within the budget; nothing of them is touched.
  EXPECT_OK(create(spec(1U << 25, BPF_F_NO_PREALLOC)));
}

// "hashmap_sizes"
TEST_P(HashMapBothWays, KernelTestSizes) {
  for (std::uint32_t key = 1; key <= 512; key *= 2)
    for (std::uint32_t value = 1; value <= 1 << 18; value *= 2)
      EXPECT_OK(create(spec(2, GetParam(), key, value))) << key << " " << value;
}

// maps.md 2.11
TEST_F(HashMapTest, MemoryFiguresOfLinux) {
  const Ref<Map> ahead = make(100);
  const std::uint64_t base = 832 + 16 * 128 + 4 * cpus * 8;
  EXPECT_EQ(ahead->memory_bytes(), base + (48 + 8 + 8) * (100 + cpus) + 8 * cpus);
  const Ref<Map> demand = *create(spec(100, BPF_F_NO_PREALLOC, 5, 12));
  NumberMap numbers(*demand, slots, caller);
  EXPECT_EQ(demand->memory_bytes(), base);
  ASSERT_OK(numbers.put(1, 1));
  ASSERT_OK(numbers.put(2, 1));
  ASSERT_OK(numbers.put(2, 2));
  EXPECT_EQ(demand->memory_bytes(), base + 2 * (48 + 8 + 16 + 8));
  ASSERT_OK(numbers.remove(1));
  EXPECT_EQ(demand->memory_bytes(), base + 1 * (48 + 8 + 16 + 8));
}

// ---- the kernel's own tests (maps.md 6.1) ----

TEST_P(HashMapBothWays, KernelTestHashmap) {
  const Ref<Map> map = make(2, GetParam());
  NumberMap numbers(*map, slots, caller);
  EXPECT_OK(numbers.put(1, 1234));
  EXPECT_ERRNO(numbers.put(1, 1, BPF_NOEXIST), EEXIST);
  EXPECT_ERRNO(numbers.put(1, 1, ~std::uint64_t{0}), EINVAL);
  EXPECT_VALUE(numbers.get(1), 1234);
  EXPECT_OK(numbers.put(2, 1234));
  EXPECT_VALUE(numbers.pop(2), 1234);
  EXPECT_ERRNO(numbers.get(2), ENOENT);
  EXPECT_ERRNO(numbers.put(2, 1, BPF_EXIST), ENOENT);
  EXPECT_OK(numbers.put(2, 1, BPF_NOEXIST));
  EXPECT_ERRNO(numbers.put(0, 1, BPF_NOEXIST), E2BIG);
  EXPECT_OK(numbers.put(1, 2, BPF_EXIST));
  EXPECT_OK(numbers.put(2, 2));
  EXPECT_ERRNO(numbers.put(3, 1, BPF_NOEXIST), E2BIG);
  EXPECT_ERRNO(numbers.remove(0), ENOENT);
  const auto first = numbers.next(std::nullopt);
  ASSERT_OK(first);
  EXPECT_TRUE(*first == 1 || *first == 2);
  EXPECT_VALUE(numbers.next(0), *first);  // absent: from the start
  EXPECT_VALUE(numbers.next(*first), 3 - *first);
  EXPECT_ERRNO(numbers.next(3 - *first), ENOENT);
  EXPECT_OK(numbers.remove(1));
  EXPECT_OK(numbers.remove(2));
  EXPECT_ERRNO(numbers.remove(2), ENOENT);
  EXPECT_ERRNO(numbers.next(std::nullopt), ENOENT);
  EXPECT_ERRNO(numbers.next(0), ENOENT);
}

// Existence is looked at before capacity (maps.md 2.4).
TEST_P(HashMapBothWays, ExistenceBeatsCapacity) {
  const Ref<Map> map = make(1, GetParam());
  NumberMap numbers(*map, slots, caller);
  ASSERT_OK(numbers.put(1, 1));
  EXPECT_ERRNO(numbers.put(2, 2, BPF_EXIST), ENOENT);
  EXPECT_ERRNO(numbers.put(1, 2, BPF_NOEXIST), EEXIST);
  EXPECT_ERRNO(numbers.put(2, 2), E2BIG);
}

TEST_P(HashMapBothWays, KernelTestWalk) {
  constexpr std::uint32_t keys = 10000;
  const Ref<Map> map = make(keys, GetParam());
  NumberMap numbers(*map, slots, caller);
  for (std::uint32_t key = 0; key < keys; ++key) ASSERT_OK(numbers.put(key, key, BPF_NOEXIST));
  EXPECT_EQ(numbers.walk().size(), keys);
  // The previous key is updated after the next one was fetched.
  std::uint32_t visited = 0;
  for (auto at = numbers.next(std::nullopt); at.has_value(); ++visited) {
    const auto next = numbers.next(*at);
    ASSERT_OK(numbers.put(*at, static_cast<std::uint32_t>(*at) + 1, BPF_EXIST));
    at = next;
    ASSERT_LE(visited, keys);
  }
  EXPECT_EQ(visited, keys);
  for (std::uint32_t key = 0; key < keys; ++key) ASSERT_EQ(*numbers.get(key), key + 1);
}

TEST_P(HashMapBothWays, KernelTestZeroSeed) {
  std::vector<std::vector<std::uint64_t>> walks;
  for (int i = 0; i < 2; ++i) {
    const Ref<Map> map = make(3, GetParam() | BPF_F_ZERO_SEED);
    NumberMap numbers(*map, slots, caller);
    for (std::uint32_t key = 0; key < 3; ++key) ASSERT_OK(numbers.put(key, key));
    walks.push_back(numbers.walk());
  }
  EXPECT_EQ(walks[0], walks[1]);
  EXPECT_EQ(walks[0].size(), 3u);
}

// With a seed two maps of one runtime iterate differently, and a runtime with the same seed repeats
// them.
TEST_F(HashMapTest, SeedsDifferButRepeat) {
  const auto walk = [&](MapEnvironment with) {
    MapSpec wanted = spec(100);
    const MapType& type = *types.find(BPF_MAP_TYPE_HASH);
    const Ref<Map> map = *type.make(type, wanted, with);
    NumberMap numbers(*map, slots, caller);
    for (std::uint32_t key = 0; key < 100; ++key) EXPECT_OK(numbers.put(key, key));
    return numbers.walk();
  };
  Random again(1, 0);
  const auto first = walk(environment);
  EXPECT_EQ(walk({slots, budget, again}), first);
  EXPECT_NE(walk(environment), first);
}

// "map_large"
TEST_P(HashMapBothWays, KernelTestLargeKeys) {
  constexpr std::uint32_t keys = 4096;  // the kernel's 32768 need 140 MB; the structure is the same
  const Ref<Map> map = *create(spec(keys, GetParam(), 4112, 4));
  NumberMap numbers(*map, slots, caller);
  for (std::uint32_t key = 0; key < keys; ++key) ASSERT_OK(numbers.put(key, key, BPF_NOEXIST));
  EXPECT_ERRNO(numbers.put(keys, 0, BPF_NOEXIST), E2BIG);
  EXPECT_EQ(numbers.walk().size(), keys);
  Bytes altered = numbers.key(7);
  altered[4111] ^= std::byte{1};
  EXPECT_EQ(map->lookup(numbers.slot(), altered.data()), nullptr);
}

// "map_percpu_stats" for this type: the count is what a walk returns.
TEST_P(HashMapBothWays, CountEqualsWalk) {
  const Ref<Map> map = make(1000, GetParam());
  auto& hash = static_cast<HashMap&>(*map);
  {
    NumberMap numbers(*map, slots, caller);
    for (std::uint32_t i = 0; i < 2000; ++i) ASSERT_OK(numbers.put(i % 900, i));
    EXPECT_EQ(hash.element_count(), 900u);
    EXPECT_EQ(numbers.walk().size(), 900u);
    for (std::uint32_t i = 0; i < 300; ++i) ASSERT_OK(numbers.pop(i));
  }
  NumberMap numbers(*map, slots, caller, 1);  // insert on one CPU, delete on another
  for (std::uint32_t i = 300; i < 600; ++i) ASSERT_OK(numbers.program_remove(i));
  EXPECT_EQ(hash.element_count(), 300u);
  std::uint32_t cursor = 0;
  EXPECT_EQ(numbers.batch(cursor, 300, true).count, 300u);
  EXPECT_EQ(hash.element_count(), 0u);
}

// ---- capacity ----

// A single CPU can use every element, wherever the free ones lie.
TEST_P(HashMapBothWays, NeverRefusesWhileAnElementIsFree) {
  constexpr std::uint32_t capacity = 257;
  const Ref<Map> map = make(capacity, GetParam());
  for (int round = 0; round < 6; ++round) {
    const std::uint32_t filler = round % cpus;
    {
      NumberMap numbers(*map, slots, caller, filler);
      for (std::uint32_t key = 0; key < capacity; ++key) {
        ASSERT_OK(key % 3 == 0 ? numbers.put(key, key) : numbers.program_put(key, key));
      }
      EXPECT_ERRNO(numbers.program_put(capacity, 0), E2BIG);
      EXPECT_ERRNO(numbers.put(capacity, 0), E2BIG);
      for (std::uint32_t key = 0; key < capacity; ++key) ASSERT_OK(numbers.program_put(key, 5));
    }
    NumberMap numbers(*map, slots, caller, 1 - filler);
    for (std::uint32_t key = 0; key < capacity; ++key) {
      ASSERT_OK(key % 2 == 0 ? numbers.remove(key) : numbers.program_remove(key));
    }
  }
}

TEST_F(HashMapTest, OnDemandElementsAreChargedAndRefused) {
  MapEnvironment tight{slots, small, random};
  const MapType& type = *types.find(BPF_MAP_TYPE_HASH);
  {
    const Ref<Map> map = *type.make(type, spec(1000, BPF_F_NO_PREALLOC, 8, 4096), tight);
    NumberMap numbers(*map, slots, caller);
    std::uint32_t key = 0;
    Result<void> result = ok();
    while ((result = numbers.put(key, key)).has_value()) ++key;
    EXPECT_EQ(result.error().code, ENOMEM);
    EXPECT_GT(key, 200u);  // most of 1 MiB became elements
    EXPECT_LT(key, 256u);
    // What was given back can be used again, and nothing broke.
    ASSERT_OK(numbers.remove(3));
    EXPECT_OK(numbers.put(5000, 1));
    EXPECT_EQ(numbers.walk().size(), key);
  }
  rcu::barrier();  // gives the memory back
  {
    // A full map says that it is full, even if memory is short as well.
    const Ref<Map> full = *type.make(type, spec(1, BPF_F_NO_PREALLOC, 8, 600000), tight);
    NumberMap numbers(*full, slots, caller);
    ASSERT_OK(numbers.put(1, 1));
    EXPECT_ERRNO(numbers.put(2, 2), E2BIG);
  }
  rcu::barrier();
  EXPECT_EQ(small.used_bytes(), 0u);
}

// ---- replacing and recycling (maps.md 2.4, 2.5; item 12 of section 7) ----

TEST_P(HashMapBothWays, ReplacingKeepsTheOldValueReadable) {
  const Ref<Map> map = make(8, GetParam());
  NumberMap numbers(*map, slots, caller);
  const rcu::ReadGuard rcu;
  ASSERT_OK(numbers.program_put(1, 10));
  std::byte* const old = numbers.find(1);
  ASSERT_OK(numbers.program_put(1, 11));
  EXPECT_NE(numbers.find(1), old);
  EXPECT_EQ(racy_load<std::uint32_t>(old), 10u);
  EXPECT_EQ(racy_load<std::uint32_t>(numbers.find(1)), 11u);
  // The next replacement on this CPU uses that memory.
  ASSERT_OK(numbers.program_put(1, 12));
  EXPECT_EQ(numbers.find(1), old);
}

// Preallocated: an insertion takes from the free list and leaves the replaced value alone; failed
// updates touch nothing.
TEST_F(HashMapTest, OnlyReplacementsUseTheParkedElement) {
  const Ref<Map> map = make(3);
  NumberMap numbers(*map, slots, caller);
  const rcu::ReadGuard rcu;
  ASSERT_OK(numbers.program_put(1, 10));
  std::byte* const old = numbers.find(1);
  ASSERT_OK(numbers.program_put(1, 11));
  ASSERT_OK(numbers.program_put(2, 20));
  ASSERT_OK(numbers.program_put(3, 30));
  EXPECT_ERRNO(numbers.program_put(4, 40), E2BIG);
  EXPECT_ERRNO(numbers.program_put(2, 40, BPF_NOEXIST), EEXIST);
  EXPECT_ERRNO(numbers.program_put(4, 40, BPF_EXIST), ENOENT);
  EXPECT_EQ(racy_load<std::uint32_t>(old), 10u);
}

TEST_P(HashMapBothWays, TheNextInsertionTakesTheDeletedElement) {
  const Ref<Map> map = make(8, GetParam());
  NumberMap numbers(*map, slots, caller);
  const rcu::ReadGuard rcu;
  ASSERT_OK(numbers.program_put(1, 10));
  std::byte* const value = numbers.find(1);
  ASSERT_OK(numbers.program_remove(1));
  EXPECT_EQ(racy_load<std::uint32_t>(value), 10u);
  ASSERT_OK(numbers.program_put(2, 20));
  EXPECT_EQ(numbers.find(2), value);
}

TEST_P(HashMapBothWays, LockedUpdateIsInPlace) {
  MapSpec locked = spec(4, GetParam(), 4, 24);
  add_lock(locked, 8);
  const Ref<Map> map = *create(std::move(locked));
  NumberMap numbers(*map, slots, caller);
  const rcu::ReadGuard rcu;
  ASSERT_OK(numbers.program_put(1, 10, BPF_F_LOCK));
  std::byte* const value = numbers.find(1);
  ASSERT_OK(numbers.program_put(1, 11, BPF_F_LOCK | BPF_EXIST));
  EXPECT_EQ(numbers.find(1), value);
  EXPECT_EQ(racy_load<std::uint32_t>(value), 11u);
  ASSERT_OK(numbers.program_put(1, 12));
  EXPECT_NE(numbers.find(1), value);
  EXPECT_VALUE(numbers.pop(1, BPF_F_LOCK), 12);
}

// A replaced key is the newest of its bucket.
TEST_F(HashMapTest, NewestComesFirstInItsBucket) {
  const Ref<Map> map = *create(spec(3, BPF_F_ZERO_SEED));
  NumberMap numbers(*map, slots, caller);
  for (std::uint32_t key = 0; key < 3; ++key) ASSERT_OK(numbers.put(key, key));
  const auto before = numbers.walk();
  for (const std::uint64_t key : before) {
    const auto walk = numbers.walk();
    ASSERT_OK(numbers.put(key, 9));
    const auto after = numbers.walk();
    const auto at = [](const auto& keys, std::uint64_t k) {
      return std::find(keys.begin(), keys.end(), k) - keys.begin();
    };
    EXPECT_LE(at(after, key), at(walk, key));
  }
}

// ---- for_each (maps.md 2.8) ----

TEST_P(HashMapBothWays, ForEachMayDeleteReplaceAndInsert) {
  const Ref<Map> map = make(400, GetParam());
  NumberMap numbers(*map, slots, caller);
  for (std::uint32_t key = 0; key < 300; ++key) ASSERT_OK(numbers.put(key, key));
  const rcu::ReadGuard rcu;
  std::map<std::uint64_t, int> visits;
  std::uint32_t inserted = 1000;
  const auto visit = [&](const std::byte* raw, std::byte*) {
    const auto key = racy_load<std::uint64_t>(raw);
    ++visits[key];
    if (key >= 1000) return true;
    if (key % 3 == 0) EXPECT_OK(numbers.program_remove(key));
    if (key % 3 == 1) EXPECT_OK(numbers.program_put(key, 7));
    if (key % 3 == 2 && inserted < 1100) EXPECT_OK(numbers.program_put(inserted++, 1));
    return true;
  };
  ASSERT_OK(map->for_each(numbers.slot(), visit));
  for (std::uint32_t key = 0; key < 300; ++key) EXPECT_EQ(visits[key], 1) << key;
  for (const auto& [key, count] : visits) EXPECT_EQ(count, 1) << key;
}

/// The first keys that the first map of the fixture, with 2048 buckets and 8-byte keys, has in one
/// bucket.
std::vector<std::uint64_t> keys_of_one_bucket(std::size_t count, std::uint32_t bucket) {
  Random same(1, 0);  // as the fixture's
  const KeyHash hash(same);
  std::vector<std::uint64_t> keys;
  for (std::uint64_t key = 0; keys.size() < count; ++key)
    if ((hash(reinterpret_cast<const std::byte*>(&key), 8) & 2047) == bucket) keys.push_back(key);
  return keys;
}

// The kernel's nested test: a callback that empties the map is called once, even if all keys share
// a bucket.
TEST_P(HashMapBothWays, ForEachDoesNotShowWhatTheCallbackRemoved) {
  const Ref<Map> map = make(2048, GetParam());
  NumberMap numbers(*map, slots, caller);
  const auto keys = keys_of_one_bucket(100, 3);
  for (const std::uint64_t key : keys) ASSERT_OK(numbers.put(key, 1));
  const rcu::ReadGuard rcu;
  const auto empty = [&](const std::byte*, std::byte*) {
    for (const std::uint64_t key : keys) EXPECT_OK(numbers.program_remove(key));
    return true;
  };
  EXPECT_VALUE(map->for_each(numbers.slot(), empty), 1);
}

// A bucket longer than what for_each notes at a time, while every element goes when it is shown.
TEST_P(HashMapBothWays, ForEachWalksLongChains) {
  const Ref<Map> map = make(2048, GetParam());
  NumberMap numbers(*map, slots, caller);
  const auto chain = keys_of_one_bucket(200, 17);
  for (const std::uint64_t key : chain) ASSERT_OK(numbers.put(key, 1));
  std::uint32_t cursor = 0;
  ASSERT_EQ(numbers.batch(cursor, 199, false).error, ENOSPC);  // they are one chain indeed
  ASSERT_EQ(cursor, 17u);
  const rcu::ReadGuard rcu;
  std::set<std::uint64_t> seen;
  const auto note = [&](const std::byte* raw, std::byte*) {
    const auto key = racy_load<std::uint64_t>(raw);
    seen.insert(key);
    EXPECT_OK(numbers.program_remove(key));
    return true;
  };
  EXPECT_VALUE(map->for_each(numbers.slot(), note), 200);
  EXPECT_EQ(seen.size(), 200u);
  EXPECT_EQ(static_cast<HashMap&>(*map).element_count(), 0u);
}

// ---- batches (maps.md 1.6.3, 6.2) ----

TEST_P(HashMapBothWays, KernelTestBatchOps) {
  const Ref<Map> map = make(10, GetParam());
  NumberMap numbers(*map, slots, caller);
  {
    std::uint32_t cursor = 0;
    const auto empty = numbers.batch(cursor, 10, true);
    EXPECT_EQ(empty.error, ENOENT);
    EXPECT_EQ(empty.count, 0u);
    EXPECT_EQ(cursor, 16u);  // all buckets were looked at
  }
  int complete = 0;
  for (std::uint32_t step = 1; step < 10; ++step) {
    for (const bool erase : {false, true}) {
      for (std::uint32_t key = 1; key <= 10; ++key) ASSERT_OK(numbers.put(key, key + 1));
      std::map<std::uint64_t, std::uint32_t> all;
      std::uint32_t cursor = 0;
      NumberMap::Batch batch;
      do {
        batch = numbers.batch(cursor, step, erase);
        all.merge(batch.items);
      } while (batch.error == 0);
      if (batch.error == ENOSPC) continue;  // a bucket longer than the step
      ASSERT_EQ(batch.error, ENOENT);
      ++complete;
      ASSERT_EQ(all.size(), 10u);
      for (const auto& [key, value] : all) EXPECT_EQ(value, key + 1);
      if (erase) {
        EXPECT_ERRNO(numbers.next(std::nullopt), ENOENT);
      }
    }
  }
  EXPECT_GT(complete, 0);
}

TEST_P(HashMapBothWays, BatchCursorsFollowTheRules) {
  const Ref<Map> map = make(64, GetParam() | BPF_F_ZERO_SEED);
  NumberMap numbers(*map, slots, caller);
  for (std::uint32_t key = 0; key < 64; ++key) ASSERT_OK(numbers.put(key, key));
  // Past the end.
  std::uint32_t cursor = 64;
  auto batch = numbers.batch(cursor, 10, false);
  EXPECT_EQ(batch.error, ENOENT);
  EXPECT_EQ(cursor, 64u);
  EXPECT_EQ(batch.count, 0u);
  // Room for all: the end is ENOENT with a count.
  cursor = 0;
  batch = numbers.batch(cursor, 64, false);
  EXPECT_EQ(batch.error, ENOENT);
  EXPECT_EQ(batch.count, 64u);
  EXPECT_EQ(cursor, 64u);
  // ENOSPC names the bucket that did not fit; from there it goes on with more room.
  cursor = 0;
  std::uint32_t total = 0, no_space = 0;
  do {
    batch = numbers.batch(cursor, 1, false);
    total += batch.count;
    if (batch.error == ENOSPC) {
      ++no_space;
      EXPECT_EQ(batch.count, 0u);
      const std::uint32_t stuck = cursor;
      EXPECT_EQ(numbers.batch(cursor, 1, false).error, ENOSPC);
      EXPECT_EQ(cursor, stuck);
      batch = numbers.batch(cursor, 2, false);
      while (batch.error == ENOSPC) batch = numbers.batch(cursor, 8, false);
      total += batch.count;
      EXPECT_GT(cursor, stuck);
    }
  } while (batch.error == 0);
  EXPECT_EQ(total, 64u);
  EXPECT_GT(no_space, 0u);
}

// The elements of the bucket are gone without having been delivered; the cursor and the rest stay.
TEST_P(HashMapBothWays, BatchFaultLosesOneBucket) {
  const Ref<Map> map = make(64, GetParam());
  NumberMap numbers(*map, slots, caller);
  for (std::uint32_t key = 0; key < 64; ++key) ASSERT_OK(numbers.put(key, key));
  std::uint32_t cursor = 0;
  const auto batch = numbers.batch(cursor, 64, true, 0, true);
  EXPECT_EQ(batch.error, EFAULT);
  EXPECT_EQ(batch.count, 0u);
  const std::size_t left = numbers.walk().size();
  EXPECT_LT(left, 64u);
  EXPECT_GT(left, 50u);
}

TEST_F(HashMapTest, BatchWithLocks) {
  MapSpec locked = spec(16, 0, 4, 24);
  add_lock(locked, 0);
  const Ref<Map> map = *create(std::move(locked));
  NumberMap numbers(*map, slots, caller);
  for (std::uint32_t key = 0; key < 16; ++key) ASSERT_OK(numbers.put(key, key, BPF_F_LOCK));
  std::uint32_t cursor = 0;
  const auto batch = numbers.batch(cursor, 16, true, BPF_F_LOCK);
  ASSERT_EQ(batch.count, 16u);
  for (const auto& [key, value] : batch.items) EXPECT_EQ(value, key);
}

// ---- the model ----

TEST_P(HashMapBothWays, BehavesLikeAModel) {
  for (const std::uint32_t capacity : {1U, 2U, 7U, 64U, 300U}) {
    const Ref<Map> map = make(capacity, GetParam());
    std::map<std::uint64_t, std::uint32_t> model;
    Random random_op(capacity, 9);
    for (int step = 0; step < 20000;) {
      NumberMap numbers(*map, slots, caller, random_op.next_u32() % cpus);
      for (int i = 0; i < 200; ++i, ++step) {
        const std::uint64_t key = random_op.next_u32() % (capacity + capacity / 4 + 2);
        const std::uint32_t value = random_op.next_u32() >> 1;
        const bool present = model.contains(key);
        const bool program = random_op.next_u32() % 2 == 0;
        switch (random_op.next_u32() % 8) {
          case 0:
          case 1:
          case 2:
          case 3: {
            const std::uint64_t flags = random_op.next_u32() % 3;
            const int expected = present && flags == BPF_NOEXIST        ? EEXIST
                                 : !present && flags == BPF_EXIST       ? ENOENT
                                 : !present && model.size() == capacity ? E2BIG
                                                                        : 0;
            const auto result =
                program ? numbers.program_put(key, value, flags) : numbers.put(key, value, flags);
            ASSERT_EQ(result ? 0 : result.error().code, expected);
            if (result) model[key] = value;
            break;
          }
          case 4: {
            const auto result = program ? numbers.program_remove(key) : numbers.remove(key);
            ASSERT_EQ(result.has_value(), model.erase(key) == 1);
            break;
          }
          case 5: {
            const auto result = numbers.pop(key);
            ASSERT_EQ(result.has_value(), present);
            if (present) {
              ASSERT_EQ(*result, model[key]);
            }
            model.erase(key);
            break;
          }
          case 6: {
            std::uint32_t cursor = random_op.next_u32() % static_cast<HashMap&>(*map).buckets();
            const bool erase = random_op.next_u32() % 16 == 0;
            const auto batch = numbers.batch(cursor, 1 + random_op.next_u32() % 8, erase);
            ASSERT_EQ(batch.items.size(), batch.count);
            for (const auto& [k, v] : batch.items) {
              ASSERT_TRUE(model.contains(k));
              ASSERT_EQ(model[k], v);
              if (erase) model.erase(k);
            }
            break;
          }
          default: {
            const auto result = numbers.get(key);
            ASSERT_EQ(result.has_value(), present);
            if (present) {
              ASSERT_EQ(*result, model[key]);
            }
            const rcu::ReadGuard rcu;
            std::byte* const found = numbers.find(key);
            ASSERT_EQ(found != nullptr, present);
          }
        }
        if (step % 1000 == 0) {
          const auto keys = numbers.walk();
          ASSERT_EQ(keys.size(), model.size());
          for (const std::uint64_t k : keys) ASSERT_TRUE(model.contains(k));
        }
      }
    }
  }
}

}  // namespace
}  // namespace skep::testing
