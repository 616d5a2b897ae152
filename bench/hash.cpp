// SPDX-License-Identifier: Apache-2.0
// hash/OPERATION/KIND/kKvV/CAPACITY/1t: what one operation of a program on a HASH costs. A map of n
// entries holds 15/16 n keys, absent keys are never resident, an insertion counts together with the
// deletion after it. skep's side is the library call that every helper makes, the kernel's a
// compiled program; on both the same loop without the operation is measured too and taken off.
#include "bench.hpp"
#include "bpf/hash_state.h"
#include "host.hpp"
#include "map/map.hpp"
#include "rcu/rcu.hpp"
#include "runtime/world.hpp"
#include "sync/racy.hpp"
#include "uapi/bpf.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <utility>

namespace skep::bench {
namespace {

enum class Operation : std::uint8_t { lookup_hit, lookup_miss, update, insert_delete };

struct Table {
  Operation operation;
  unsigned key_bytes;
  std::uint32_t capacity;
};

constexpr unsigned value_bytes = 8;
constexpr std::uint64_t seed = 0x5eed;
constexpr const char* note =
    "skep's figure is the call of the library, as helpers make it; the kernel's is an operation in "
    "a compiled program";

std::uint32_t resident_keys(const Table& table) { return table.capacity / 16 * 15; }

/// Numbers that the operation draws: resident ones, or as many that never are, apart from the
/// moment between an insertion and its deletion.
std::uint32_t first_key(const Table& table) {
  const bool absent =
      table.operation == Operation::lookup_miss || table.operation == Operation::insert_delete;
  return absent ? table.capacity : 0;
}

hash_state first_state(const Table& table) {
  return {.random = seed,
          .keys = resident_keys(table),
          .first_key = first_key(table),
          .found = 0,
          .failures = 0};
}

/// Calls `put(number)` once for each resident key, in an order without runs: in a table of chains
/// that hold their newest element first, filling in order would favour late keys.
template <class Put>
auto fill(const Table& table, Put put) -> decltype(put(0U)) {
  constexpr std::uint64_t prime = 2654435761;  // so no number comes twice
  const std::uint32_t keys = resident_keys(table);
  for (std::uint64_t i = 0; i < keys; ++i)
    if (auto done = put(static_cast<std::uint32_t>(i * prime % keys)); !done) return done;
  return {};
}

template <unsigned words>
std::array<std::uint32_t, words> key_of(std::uint32_t number) {
  std::array<std::uint32_t, words> key;
  key.fill(HASH_FILLER);
  hash_write_key(key.data(), words, number);
  return key;
}

const std::byte* raw(const void* memory) { return static_cast<const std::byte*>(memory); }

// ---- skep ----

struct SkepTable {
  std::unique_ptr<World> world;
  Ref<Map> map;
  hash_state state;
};

Attempt<std::shared_ptr<SkepTable>> make_skep_table(const Table& table) {
  auto world = World::make({.clock = ClockKind::real_time, .packet_chunks = 64});
  if (!world) return std::unexpected(failure("a runtime", world.error().code));
  const MapType& type = *(*world)->map_types.find(uapi::BPF_MAP_TYPE_HASH);
  auto map = type.make(type,
                       {.type = type.number,
                        .key_bytes = table.key_bytes,
                        .value_bytes = value_bytes,
                        .max_entries = table.capacity},
                       (*world)->map_environment);
  if (!map) return std::unexpected(failure("a map", map.error().code));
  return std::make_shared<SkepTable>(SkepTable{
      .world = std::move(world).take(), .map = std::move(map).take(), .state = first_state(table)});
}

/// Calls `operation(key, number)` in `runs` read sections of as many operations as one run of the
/// kernel's program has, and gives the time.
template <unsigned words, class Operate>
std::int64_t time_of(hash_state& state, std::uint64_t runs, Operate operate) {
  auto key = key_of<words>(0);
  __u64 random = state.random;
  const std::int64_t start = now_ns();
  for (std::uint64_t run = 0; run < runs; ++run) {
    const rcu::ReadGuard guard;
    for (int i = 0; i < HASH_OPERATIONS_PER_RUN; ++i) {
      const auto number =
          static_cast<std::uint32_t>(state.first_key) + hash_draw(&random, state.keys);
      hash_write_key(key.data(), words, number);
      // The key is in memory, as a program's stack is, when the operation begins.
      asm volatile("" : : "r"(key.data()) : "memory");
      operate(raw(key.data()), std::uint64_t{number});
    }
  }
  const std::int64_t took = now_ns() - start;
  state.random = random;
  return took;
}

template <unsigned words>
std::int64_t time_of_operation(Operation operation, Map& map, Slot& slot, hash_state& state,
                               std::uint64_t runs) {
  switch (operation) {
    case Operation::lookup_hit:
    case Operation::lookup_miss:
      return time_of<words>(state, runs, [&](const std::byte* key, std::uint64_t number) {
        const std::byte* const value = map.lookup(slot, key);
        if (value != nullptr) state.found += racy_load<std::uint64_t>(value) == number;
      });
    case Operation::update:
      return time_of<words>(state, runs, [&](const std::byte* key, std::uint64_t number) {
        if (!map.update(slot, key, raw(&number), uapi::BPF_EXIST)) ++state.failures;
      });
    case Operation::insert_delete:
      break;
  }
  return time_of<words>(state, runs, [&](const std::byte* key, std::uint64_t number) {
    if (!map.update(slot, key, raw(&number), uapi::BPF_NOEXIST)) ++state.failures;
    if (!map.erase(slot, key)) ++state.failures;
  });
}

/// Runs before the time is taken, so that the other side's reading does not decide what is in the
/// caches: about as many operations as the table has keys.
std::uint64_t warming_runs(const Table& table) {
  return resident_keys(table) / HASH_OPERATIONS_PER_RUN + 1;
}

/// Whether the operations of one side did what they should.
Attempt<void> check(const Table& table, std::uint64_t failures, std::uint64_t found,
                    std::uint64_t operations) {
  if (failures != 0) return std::unexpected(fmt::format("{} operations failed", failures));
  const std::uint64_t expected = table.operation == Operation::lookup_hit ? operations : 0;
  if (found != expected)
    return std::unexpected(
        fmt::format("{} of {} lookups found their value, not {}", found, operations, expected));
  return {};
}

template <unsigned words>
Attempt<Work> skep_work(const Table& table) {
  auto made = make_skep_table(table);
  if (!made) return std::unexpected(made.error());
  SkepTable& skep = **made;
  {
    const SlotGuard slot = skep.world->slots.enter(0);
    const rcu::ReadGuard guard;
    const auto filled = fill(table, [&](std::uint32_t number) -> Result<void> {
      const auto key = key_of<words>(number);
      const std::uint64_t value = number;
      return skep.map->update(*slot, raw(key.data()), raw(&value), uapi::BPF_NOEXIST);
    });
    if (!filled) return std::unexpected(failure("filling the map", filled.error().code));
  }
  return [table, made = *made](std::uint64_t items) -> Attempt<Sample> {
    SkepTable& skep = *made;
    const SlotGuard slot = skep.world->slots.enter(0);
    const std::uint64_t runs = items / HASH_OPERATIONS_PER_RUN + 1;
    const std::uint64_t found_before = skep.state.found;
    const std::int64_t empty =
        time_of<words>(skep.state, runs, [](const std::byte*, std::uint64_t) {});
    const auto time = [&](std::uint64_t count) {
      return time_of_operation<words>(table.operation, *skep.map, *slot, skep.state, count);
    };
    const std::uint64_t warming = warming_runs(table);
    time(warming);
    const std::int64_t took = time(runs);
    auto right = check(table, skep.state.failures, skep.state.found - found_before,
                       (warming + runs) * HASH_OPERATIONS_PER_RUN);
    if (!right) return std::unexpected(right.error());
    return Sample{.items = runs * HASH_OPERATIONS_PER_RUN, .ns = took - empty};
  };
}

// ---- the kernel ----

struct KernelTable {
  std::shared_ptr<ObjectFile> object;
  std::unique_ptr<HostGlobals> globals;  // a hash_state
};

const char* program_of(Operation operation) {
  switch (operation) {
    case Operation::lookup_hit:
    case Operation::lookup_miss:
      return "lookup";
    case Operation::update:
      return "update";
    case Operation::insert_delete:
      break;
  }
  return "insert_delete";
}

template <unsigned words>
Attempt<Work> kernel_work(const Table& table) {
  if (std::string why = host_refusal(); !why.empty()) return std::unexpected(std::move(why));
  auto loaded =
      load_into_host(fmt::format("bench/bpf/bench_hash_k{}v{}.bpf.o", table.key_bytes, value_bytes),
                     [&](ObjectFile& object, LoadProblem& problem) {
                       return object.set_max_entries("map", table.capacity, problem);
                     });
  if (!loaded) return std::unexpected(loaded.error());
  const std::shared_ptr<ObjectFile> object = *loaded;
  const auto filled = fill(table, [&](std::uint32_t number) {
    const auto key = key_of<words>(number);
    const std::uint64_t value = number;
    return update_in_host(map_fd(*object, "map"), key.data(), &value);
  });
  if (!filled) return std::unexpected(filled.error());

  auto globals = HostGlobals::map(map_fd(*object, ".bss"), sizeof(hash_state));
  if (!globals) return std::unexpected(globals.error());
  *static_cast<hash_state*>((*globals)->data()) = first_state(table);
  const auto made = std::make_shared<const KernelTable>(KernelTable{object, std::move(*globals)});
  return [table, made](std::uint64_t items) -> Attempt<Sample> {
    static constexpr std::array<std::byte, 64> packet{};
    const ObjectFile& object = *made->object;
    // Volatile: programs write it, by another mapping.
    const auto& state = *static_cast<const volatile hash_state*>(made->globals->data());
    const auto runs = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(items / HASH_OPERATIONS_PER_RUN + 1, UINT32_MAX));
    const std::uint64_t found_before = state.found;
    const auto empty =
        run_in_host({.program_fd = program_fd(object, "none"), .packet = packet}, runs);
    if (!empty) return std::unexpected(empty.error());
    const TestRun operation{.program_fd = program_fd(object, program_of(table.operation)),
                            .packet = packet};
    const std::uint64_t warming = warming_runs(table);
    const auto warmed = run_in_host(operation, static_cast<std::uint32_t>(warming));
    if (!warmed) return std::unexpected(warmed.error());
    const auto took = run_in_host(operation, runs);
    if (!took) return std::unexpected(took.error());
    auto right = check(table, state.failures, state.found - found_before,
                       (warming + runs) * HASH_OPERATIONS_PER_RUN);
    if (!right) return std::unexpected(right.error());
    return Sample{.items = std::uint64_t{runs} * HASH_OPERATIONS_PER_RUN,
                  .ns = took->ns - empty->ns};
  };
}

template <unsigned words>
Attempt<Sides> prepare(const Table& table, const Effort& effort) {
  auto skep = skep_work<words>(table);
  if (!skep) return std::unexpected(skep.error());
  Sides sides{
      .skep = timed(std::move(*skep), ns_per_operation, effort), .kernel = {}, .note = note};
  auto kernel = kernel_work<words>(table);
  if (kernel)
    sides.kernel = timed(std::move(*kernel), ns_per_operation, effort);
  else
    sides.note = no_kernel(kernel.error());
  return sides;
}

}  // namespace

std::vector<Case> hash_cases() {
  static constexpr std::pair<Operation, const char*> operations[] = {
      {Operation::lookup_hit, "lookup_hit"},
      {Operation::lookup_miss, "lookup_miss"},
      {Operation::update, "update"},
      {Operation::insert_delete, "insert_delete"}};
  static constexpr std::pair<std::uint32_t, const char*> capacities[] = {{1U << 10, "1k"},
                                                                         {1U << 16, "64k"}};
  std::vector<Case> cases;
  for (const auto& [operation, operation_name] : operations) {
    for (const unsigned key_bytes : {4U, 16U}) {
      for (const auto& [capacity, capacity_name] : capacities) {
        const Table table{operation, key_bytes, capacity};
        cases.push_back({.name = fmt::format("hash/{}/hash/k{}v{}/{}/1t", operation_name, key_bytes,
                                             value_bytes, capacity_name),
                         .unit = ns_per_operation,
                         .prepare = [table](const Effort& effort) {
                           return table.key_bytes == 4 ? prepare<1>(table, effort)
                                                       : prepare<4>(table, effort);
                         }});
      }
    }
  }
  return cases;
}

}  // namespace skep::bench
