// SPDX-License-Identifier: Apache-2.0
// HASH under more threads than cores: what the guarantees of hash_map.hpp promise to concurrent
// readers and writers. Run with the thread sanitizer too: keys and values are touched with racy_*
// only, so a report is a bug.
#include "map/hash/hash_map.hpp"
#include "map/map_fixture.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace skep::testing {
namespace {

using namespace uapi;

constexpr std::chrono::milliseconds duration{400};

class HashMapTorture : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  static constexpr std::uint32_t cpus = 8;  // each thread owns a slot of its own

  HashMapTorture() { add_memory_map_types(types); }
  void TearDown() override {
    rcu::barrier();
    EXPECT_EQ(budget.used_bytes(), 0u);
  }
  Ref<Map> make(std::uint32_t max_entries, std::uint32_t key_bytes, std::uint32_t value_bytes,
                bool lock = false) {
    const MapType& type = *types.find(BPF_MAP_TYPE_HASH);
    MapSpec spec{.type = BPF_MAP_TYPE_HASH,
                 .key_bytes = key_bytes,
                 .value_bytes = value_bytes,
                 .max_entries = max_entries,
                 .flags = GetParam()};
    if (lock) {
      BtfBuilder builder;
      const std::uint32_t word = builder.integer("unsigned int", 4);
      const std::uint32_t inner = builder.structure("bpf_spin_lock", 4, {{"val", word, 0}});
      spec.btf_value_type_id = builder.structure("value", value_bytes, {{"lock", inner, 0}});
      spec.btf_key_type_id = word;
      spec.btf = builder.build(budget);
      spec.record = Record::of_value(*spec.btf, spec.btf_value_type_id);
    }
    return *type.make(type, std::move(spec), environment);
  }

  /// Runs `body(slot, stop)` on each of the given CPUs until the time is over or a check failed.
  using Body = std::function<void(Slot& slot, const std::atomic<bool>& stop)>;
  void run(const std::vector<Body>& bodies) {
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (std::uint32_t cpu = 0; cpu < bodies.size(); ++cpu) {
      threads.emplace_back([&, cpu] {
        const SlotGuard slot = slots.enter(cpu);
        bodies[cpu](*slot, stop);
      });
    }
    const auto end = std::chrono::steady_clock::now() + duration;
    while (std::chrono::steady_clock::now() < end && !HasFailure())
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    stop.store(true, std::memory_order_relaxed);
    for (std::thread& thread : threads) thread.join();
  }

  RealClock clock;
  CpuSlots slots{cpus, clock, 1};
  Budget budget{std::uint64_t{1} << 30};
  Random random{1, 0};
  MapCaller caller;
  MapTypes types;
  MapEnvironment environment{slots, budget, random};
};

INSTANTIATE_TEST_SUITE_P(Allocation, HashMapTorture,
                         ::testing::Values(std::uint32_t{0}, BPF_F_NO_PREALLOC),
                         [](const auto& info) {
                           return info.param == 0 ? "InAdvance" : "OnDemand";
                         });

/// Keys and values are made of one number, so that a mixture shows.
struct Wide {
  explicit Wide(std::uint64_t number) {
    for (std::uint64_t& word : words) word = number;
  }
  const std::byte* raw() const { return reinterpret_cast<const std::byte*>(words); }
  std::uint64_t words[4];
};

// G2: keys that are always present are always found while they are replaced and while elements are
// carried from bucket to bucket. The table is tiny, so chains are long and elements travel at once.
TEST_P(HashMapTorture, APresentKeyIsAlwaysFound) {
  constexpr std::uint64_t present = 6;
  const Ref<Map> map = make(24, sizeof(Wide), 8);
  {
    const SlotGuard slot = slots.enter(0);
    for (std::uint64_t key = 0; key < present; ++key)
      ASSERT_OK(map->update(*slot, Wide(key).raw(), Wide(0).raw(), 0));
  }
  std::atomic<std::uint64_t> lookups{0};
  const Body replacer = [&](Slot& slot, const std::atomic<bool>& stop) {
    for (std::uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i)
      EXPECT_OK(map->update(slot, Wide(i % present).raw(), Wide(i).raw(), BPF_EXIST));
  };
  const Body traveller = [&](Slot& slot, const std::atomic<bool>& stop) {
    for (std::uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
      const Wide key(100 + slot.index() * 1000 + i % 50);
      EXPECT_OK(map->update(slot, key.raw(), Wide(i).raw(), BPF_NOEXIST));
      EXPECT_OK(map->erase(slot, key.raw()));
    }
  };
  const Body reader = [&](Slot& slot, const std::atomic<bool>& stop) {
    std::uint64_t count = 0;
    while (!stop.load(std::memory_order_relaxed)) {
      const rcu::ReadGuard rcu;
      for (std::uint64_t key = 0; key < present; ++key, ++count)
        ASSERT_NE(map->lookup(slot, Wide(key).raw()), nullptr) << "key " << key;
    }
    lookups.fetch_add(count);
  };
  run({replacer, replacer, traveller, traveller, reader, reader, reader});
  EXPECT_GT(lookups.load(), 1000u);
}

// G2 without replacements: a reader that is carried into another bucket notices. A key that stays
// stands behind elements that hop between its bucket and another one, so that every walk to it
// crosses all of them.
TEST_P(HashMapTorture, ReadersCarriedAwayComeBack) {
  const Ref<Map> map = make(64, 8, 8);
  Random same(1, 0);  // as the fixture's
  const KeyHash hash(same);
  std::vector<std::uint64_t> here, there;  // keys of buckets 0 and 1
  for (std::uint64_t key = 0; here.size() < 41 || there.size() < 41; ++key) {
    const std::uint32_t bucket = hash(reinterpret_cast<const std::byte*>(&key), 8) & 63;
    if (bucket == 0) here.push_back(key);
    if (bucket == 1) there.push_back(key);
  }
  const std::uint64_t staying = here[40];
  const auto raw = [](const std::uint64_t& key) {
    return reinterpret_cast<const std::byte*>(&key);
  };
  {
    const SlotGuard slot = slots.enter(0);
    ASSERT_OK(map->update(*slot, raw(staying), Wide(0).raw(), 0));
  }
  const Body hopper = [&](Slot& slot, const std::atomic<bool>& stop) {
    const std::size_t first = slot.index() * 20;
    while (!stop.load(std::memory_order_relaxed)) {
      for (const auto& keys : {here, there}) {
        for (std::size_t i = 0; i < 20; ++i)
          EXPECT_OK(map->update(slot, raw(keys[first + i]), Wide(i).raw(), BPF_NOEXIST));
        for (std::size_t i = 0; i < 20; ++i) EXPECT_OK(map->erase(slot, raw(keys[first + i])));
      }
    }
  };
  const Body reader = [&](Slot& slot, const std::atomic<bool>& stop) {
    while (!stop.load(std::memory_order_relaxed)) {
      const rcu::ReadGuard rcu;
      ASSERT_NE(map->lookup(slot, raw(staying)), nullptr);
    }
  };
  run({hopper, hopper, reader, reader, reader, reader});
}

// The same for commands: a copied value is never a mixture and never another key's.
TEST_P(HashMapTorture, CommandsCopyWholeValuesOfTheirKey) {
  const Ref<Map> map = make(16, 8, sizeof(Wide));
  const auto value_of = [](std::uint64_t key, std::uint64_t i) { return Wide(key << 32 | i); };
  const Body writer = [&](Slot& slot, const std::atomic<bool>& stop) {
    for (std::uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
      const std::uint64_t key = i % 12;
      const auto* const raw = reinterpret_cast<const std::byte*>(&key);
      EXPECT_OK(map->update(slot, raw, value_of(key, i & 0xffffffff).raw(), 0));
      if (i % 5 == 0) (void)map->erase(slot, raw);
    }
  };
  const Body reader = [&](Slot& slot, const std::atomic<bool>& stop) {
    MapCommand command{slot, caller};
    for (std::uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
      const std::uint64_t key = i % 12;
      Wide out(0);
      const auto result = map->command_lookup(command, reinterpret_cast<const std::byte*>(&key),
                                              reinterpret_cast<std::byte*>(out.words), 0);
      if (!result) continue;
      ASSERT_EQ(out.words[0] >> 32, key);
      for (const std::uint64_t word : out.words) ASSERT_EQ(word, out.words[0]);
    }
  };
  run({writer, writer, writer, reader, reader, reader});
}

// "concurrent_update": several threads update the only key of a map for one. No errors, and no
// second element.
TEST_P(HashMapTorture, OneKeyInAMapForOne) {
  const Ref<Map> map = make(1, 8, 8);
  const Body writer = [&](Slot& slot, const std::atomic<bool>& stop) {
    for (std::uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
      const std::uint64_t key = 1;
      ASSERT_OK(map->update(slot, reinterpret_cast<const std::byte*>(&key), Wide(i).raw(), 0));
    }
  };
  run({writer, writer, writer, writer, writer, writer});
  EXPECT_EQ(static_cast<HashMap&>(*map).element_count(), 1u);
}

// G5 and "map_parallel": every thread has its own part of a map that all together fill exactly; no
// insertion is refused although elements wander between the CPUs' free lists all the time.
TEST_P(HashMapTorture, AFullMapNeverRefusesWhatFits) {
  constexpr std::uint64_t threads = 7, each = 9;
  const Ref<Map> map = make(threads * each, 8, 8);
  const Body body = [&](Slot& slot, const std::atomic<bool>& stop) {
    while (!stop.load(std::memory_order_relaxed)) {
      for (std::uint64_t i = 0; i < each; ++i) {
        const std::uint64_t key = slot.index() * each + i;
        const auto* const raw = reinterpret_cast<const std::byte*>(&key);
        ASSERT_OK(map->update(slot, raw, Wide(i).raw(), BPF_NOEXIST));
        ASSERT_OK(map->update(slot, raw, Wide(i).raw(), BPF_EXIST));
      }
      for (std::uint64_t i = 0; i < each; ++i) {
        const std::uint64_t key = slot.index() * each + i;
        ASSERT_OK(map->erase(slot, reinterpret_cast<const std::byte*>(&key)));
      }
    }
  };
  run(std::vector<Body>(threads, body));
  EXPECT_EQ(static_cast<HashMap&>(*map).element_count(), 0u);
}

// G5: whoever holds one of `capacity` permits may insert, and gives the permit back after another
// thread has deleted what it inserted. So every insertion fits, while free elements hop between the
// lists of all CPUs.
TEST_P(HashMapTorture, WhatIsFreeIsFoundWhereverItHops) {
  constexpr int capacity = 2;
  const Ref<Map> map = make(capacity, 8, 8);
  std::atomic<int> permits{capacity};
  std::array<std::atomic<std::uint64_t>, capacity> inserted{};  // keys to delete; 0: none
  const Body body = [&](Slot& slot, const std::atomic<bool>& stop) {
    for (std::uint64_t i = 1; !stop.load(std::memory_order_relaxed); ++i) {
      int seen = permits.load(std::memory_order_relaxed);
      if (seen > 0 && permits.compare_exchange_strong(seen, seen - 1)) {
        const std::uint64_t key = i << 8 | (slot.index() + 1);
        const auto result =
            map->update(slot, reinterpret_cast<const std::byte*>(&key), Wide(i).raw(), 0);
        ASSERT_OK(result);
        for (std::uint64_t none = 0; !inserted[i % capacity].compare_exchange_strong(none, key);
             none = 0)
          ++i;
      }
      if (const std::uint64_t key = inserted[i % capacity].exchange(0)) {
        ASSERT_OK(map->erase(slot, reinterpret_cast<const std::byte*>(&key)));
        permits.fetch_add(1);
      }
    }
  };
  run(std::vector<Body>(7, body));
}

// Exactly `capacity` of all keys get in, whoever inserts them.
TEST_P(HashMapTorture, ConcurrentInsertionIsExact) {
  constexpr std::uint64_t capacity = 100, threads = 6;
  for (int round = 0; round < 30; ++round) {
    const Ref<Map> map = make(capacity, 8, 8);
    std::atomic<std::uint64_t> inserted{0};
    const Body body = [&](Slot& slot, const std::atomic<bool>& /*stop*/) {
      for (std::uint64_t i = 0; i < 40; ++i) {
        const std::uint64_t key = slot.index() * 1000 + i;
        const auto result =
            map->update(slot, reinterpret_cast<const std::byte*>(&key), Wide(i).raw(), BPF_NOEXIST);
        if (result) {
          inserted.fetch_add(1);
        } else {
          EXPECT_EQ(result.error().code, E2BIG);
        }
      }
    };
    std::vector<std::thread> workers;
    const std::atomic<bool> never{false};
    for (std::uint32_t cpu = 0; cpu < threads; ++cpu) {
      workers.emplace_back([&, cpu] {
        const SlotGuard slot = slots.enter(cpu);
        body(*slot, never);
      });
    }
    for (std::thread& worker : workers) worker.join();
    ASSERT_EQ(inserted.load(), capacity);
    ASSERT_EQ(static_cast<HashMap&>(*map).element_count(), capacity);
  }
}

// G4: keys that stay are met exactly once by batches and for_each, whatever happens around them.
TEST_P(HashMapTorture, WalksMeetWhatStaysOnce) {
  constexpr std::uint64_t staying = 40;
  const Ref<Map> map = make(80, 8, 8);
  {
    const SlotGuard slot = slots.enter(0);
    for (std::uint64_t key = 0; key < staying; ++key)
      ASSERT_OK(map->update(*slot, reinterpret_cast<const std::byte*>(&key), Wide(0).raw(), 0));
  }
  const Body churn = [&](Slot& slot, const std::atomic<bool>& stop) {
    for (std::uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
      const std::uint64_t key = 1000 + slot.index() * 100 + i % 13;
      const auto* const raw = reinterpret_cast<const std::byte*>(&key);
      EXPECT_OK(map->update(slot, raw, Wide(i).raw(), 0));
      EXPECT_OK(map->erase(slot, raw));
    }
  };
  const Body walker = [&](Slot& slot, const std::atomic<bool>& stop) {
    while (!stop.load(std::memory_order_relaxed)) {
      std::vector<int> by_batch(staying), by_callback(staying);
      MapCommand command{slot, caller};
      const auto deliver = [&](std::span<const std::byte> keys, std::span<const std::byte>,
                               std::uint32_t count) -> Result<void> {
        for (std::uint32_t i = 0; i < count; ++i) {
          const auto key = racy_load<std::uint64_t>(&keys[i * 8]);
          if (key < staying) ++by_batch[key];
        }
        return ok();
      };
      BucketBatch batch{0, 1000000, false, 0, deliver};
      std::uint32_t delivered = 0;
      const auto result = map->batch_buckets(command, batch, delivered);
      ASSERT_FALSE(result.has_value());
      ASSERT_EQ(result.error().code, ENOENT);
      const rcu::ReadGuard rcu;
      const auto visit = [&](const std::byte* raw, std::byte*) {
        const auto key = racy_load<std::uint64_t>(raw);
        if (key < staying) ++by_callback[key];
        return true;
      };
      ASSERT_OK(map->for_each(slot, visit));
      for (std::uint64_t key = 0; key < staying; ++key) {
        ASSERT_EQ(by_batch[key], 1);
        ASSERT_EQ(by_callback[key], 1);
      }
    }
  };
  run({churn, churn, churn, walker, walker});
}

// "htab_reuse" and "map_lock": locks live on in recycled elements, and locked copies are whole.
TEST_P(HashMapTorture, LocksSurviveRecycling) {
  constexpr std::uint32_t words = 500;
  const Ref<Map> map = make(2, 4, 4 + words * 4, true);
  const Body writer = [&](Slot& slot, const std::atomic<bool>& stop) {
    std::uint32_t value[1 + words];
    for (std::uint32_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
      const std::uint32_t key = i % 2 == 0 ? 7 : 24;
      const auto* const raw = reinterpret_cast<const std::byte*>(&key);
      for (std::uint32_t& word : value) word = i;
      EXPECT_OK(map->update(slot, raw, reinterpret_cast<const std::byte*>(value), BPF_F_LOCK));
      if (i % 3 == 0) (void)map->erase(slot, raw);
    }
  };
  const Body reader = [&](Slot& slot, const std::atomic<bool>& stop) {
    MapCommand command{slot, caller};
    std::uint32_t out[1 + words];
    for (std::uint32_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
      const std::uint32_t key = i % 2 == 0 ? 7 : 24;
      const auto result = map->command_lookup(command, reinterpret_cast<const std::byte*>(&key),
                                              reinterpret_cast<std::byte*>(out), BPF_F_LOCK);
      if (!result) continue;
      ASSERT_EQ(out[0], 0u);
      for (std::uint32_t word = 2; word <= words; ++word) ASSERT_EQ(out[word], out[1]);
    }
  };
  run({writer, writer, reader, reader, reader, reader});
}

// A stale value pointer of a program may be locked and unlocked while its element is recycled.
TEST_P(HashMapTorture, StaleLocksDoNoHarm) {
  const Ref<Map> map = make(2, 4, 8, true);
  const Body body = [&](Slot& slot, const std::atomic<bool>& stop) {
    const std::uint32_t key = 1 + slot.index() % 2;
    const auto* const raw = reinterpret_cast<const std::byte*>(&key);
    for (std::uint32_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
      const rcu::ReadGuard rcu;
      if (i % 4 == 0) (void)map->erase(slot, raw);
      EXPECT_OK(map->update(slot, raw, Wide(i).raw(), 0));
      std::byte* const value = map->lookup(slot, raw);
      if (value == nullptr) continue;
      spin_lock(value);
      racy_store(value + 4, i);
      spin_unlock(value);
    }
  };
  run(std::vector<Body>(6, body));
}

}  // namespace
}  // namespace skep::testing
