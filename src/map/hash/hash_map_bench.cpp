// SPDX-License-Identifier: Apache-2.0
// What one lookup or update of a HASH costs. Figures and the machine they were taken on:
// docs/performance.md.
#include "map/hash/hash_map.hpp"

#include "rcu/rcu.hpp"

#include <benchmark/benchmark.h>

#include <cstdint>

namespace skep {
namespace {

constexpr std::uint32_t entries = 1 << 16;
constexpr std::uint32_t max_threads = 16;
constexpr int poll_packets =
    64;  // one read section per so many operations, as one poll of a queue would have

/// A table with 8-byte keys 0 … filled-1 and 8-byte values, shared by the threads of a benchmark.
struct Table {
  Table(std::uint32_t max_entries, std::uint32_t filled) {
    add_memory_map_types(types);
    const MapType& type = *types.find(uapi::BPF_MAP_TYPE_HASH);
    MapSpec spec{.type = type.number, .key_bytes = 8, .value_bytes = 8, .max_entries = max_entries};
    map = *type.make(type, std::move(spec), environment);
    const SlotGuard slot = slots.enter_control();
    for (std::uint64_t key = 0; key < filled; ++key) {
      const auto* const raw = reinterpret_cast<const std::byte*>(&key);
      ASSERT(map->update(*slot, raw, raw, uapi::BPF_ANY).has_value());
    }
  }

  RealClock clock;
  CpuSlots slots{max_threads, clock, 1};
  Budget budget{std::uint64_t{1} << 30};
  Random random{1, 0};
  MapTypes types;
  MapEnvironment environment{slots, budget, random};
  Ref<Map> map;
};

/// Uniform keys of [from, from + count), one stream per thread.
class KeyStream {
 public:
  KeyStream(int thread, std::uint32_t from, std::uint32_t count)
      : random_(7, static_cast<std::uint64_t>(thread)), from_(from), count_(count) {}
  const std::byte* next() {
    key_ = from_ + random_.next_u32() % count_;
    return reinterpret_cast<const std::byte*>(&key_);
  }

 private:
  Random random_;
  const std::uint32_t from_, count_;
  std::uint64_t key_ = 0;
};

void lookup(benchmark::State& state, std::uint32_t from) {
  static Table table(entries, entries / 2);
  const SlotGuard slot = table.slots.enter(static_cast<std::uint32_t>(state.thread_index()));
  KeyStream keys(state.thread_index(), from, entries / 2);
  for (auto _ : state) {
    const rcu::ReadGuard rcu;
    for (int i = 0; i < poll_packets; ++i)
      benchmark::DoNotOptimize(table.map->lookup(*slot, keys.next()));
  }
  state.SetItemsProcessed(state.iterations() * poll_packets);
}

/// Lookup of present keys, uniform over half of a 65536-entry table shared by all threads: known
/// flows of a load balancer.
void hash_lookup_hit(benchmark::State& state) { lookup(state, 0); }
BENCHMARK(hash_lookup_hit)->ThreadRange(1, max_threads)->UseRealTime();

/// Lookup of absent keys in the same table: packets checked against a block list.
void hash_lookup_miss(benchmark::State& state) { lookup(state, entries); }
BENCHMARK(hash_lookup_miss)->ThreadRange(1, max_threads)->UseRealTime();

/// Replacement of present keys, uniform over the filled half of a 65536-entry table shared by all
/// threads: per-flow state.
void hash_update_replace(benchmark::State& state) {
  static Table table(entries, entries / 2);
  const SlotGuard slot = table.slots.enter(static_cast<std::uint32_t>(state.thread_index()));
  KeyStream keys(state.thread_index(), 0, entries / 2);
  for (auto _ : state) {
    const rcu::ReadGuard rcu;
    for (int i = 0; i < poll_packets; ++i) {
      const std::byte* const key = keys.next();
      benchmark::DoNotOptimize(table.map->update(*slot, key, key, uapi::BPF_EXIST));
    }
  }
  state.SetItemsProcessed(state.iterations() * poll_packets);
}
BENCHMARK(hash_update_replace)->ThreadRange(1, max_threads)->UseRealTime();

/// Insertion and deletion of a key of the thread's own: flows that come and go. One item is a pair.
void hash_insert_delete(benchmark::State& state) {
  static Table table(entries, entries / 2);
  const SlotGuard slot = table.slots.enter(static_cast<std::uint32_t>(state.thread_index()));
  KeyStream keys(state.thread_index(),
                 entries * (2 + static_cast<std::uint32_t>(state.thread_index())), entries);
  for (auto _ : state) {
    const rcu::ReadGuard rcu;
    for (int i = 0; i < poll_packets; ++i) {
      const std::byte* const key = keys.next();
      benchmark::DoNotOptimize(table.map->update(*slot, key, key, uapi::BPF_NOEXIST));
      benchmark::DoNotOptimize(table.map->erase(*slot, key));
    }
  }
  state.SetItemsProcessed(state.iterations() * poll_packets);
}
BENCHMARK(hash_insert_delete)->ThreadRange(1, max_threads)->UseRealTime();

/// Update of an absent key in a full table, a key of its own per thread: the cost of E2BIG (the
/// kernel's "hashmap_full_update").
void hash_update_full(benchmark::State& state) {
  static Table table(1000, 1000);
  const SlotGuard slot = table.slots.enter(static_cast<std::uint32_t>(state.thread_index()));
  const std::uint64_t key = 5000 + static_cast<std::uint64_t>(state.thread_index());
  const auto* const raw = reinterpret_cast<const std::byte*>(&key);
  for (auto _ : state) {
    const rcu::ReadGuard rcu;
    for (int i = 0; i < poll_packets; ++i)
      benchmark::DoNotOptimize(table.map->update(*slot, raw, raw, uapi::BPF_ANY));
  }
  state.SetItemsProcessed(state.iterations() * poll_packets);
}
BENCHMARK(hash_update_full)->ThreadRange(1, max_threads)->UseRealTime();

}  // namespace
}  // namespace skep
