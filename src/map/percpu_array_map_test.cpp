// SPDX-License-Identifier: Apache-2.0
#include "map/percpu_array_map.hpp"

#include "map/map_fixture.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace skep::testing {
namespace {

using namespace uapi;

class PercpuArrayMapTest : public MapFixture {
 protected:
  static MapSpec spec(std::uint32_t max_entries, std::uint32_t value_bytes = 8) {
    return {.type = BPF_MAP_TYPE_PERCPU_ARRAY,
            .key_bytes = 4,
            .value_bytes = value_bytes,
            .max_entries = max_entries};
  }
  static const std::byte* bytes(const std::uint32_t& key) {
    return reinterpret_cast<const std::byte*>(&key);
  }
};

// The kernel's own "arraymap_percpu" and "_many_keys".
TEST_F(PercpuArrayMapTest, KernelTestPercpuManyKeys) {
  constexpr std::uint32_t keys = 2000;
  const Ref<Map> map = *create(spec(keys));
  const SlotGuard control = slots.enter_control();
  MapCommand command{*control, caller};
  std::vector<std::uint64_t> values(cpus);
  for (std::uint32_t cpu = 0; cpu < cpus; ++cpu) values[cpu] = cpu + 10;
  auto* const raw = reinterpret_cast<std::byte*>(values.data());
  for (std::uint32_t key = 0; key < keys; ++key)
    ASSERT_OK(map->command_update(command, bytes(key), raw, 0));
  for (std::uint32_t key = 0; key < keys; ++key) {
    std::fill(values.begin(), values.end(), 0);
    ASSERT_OK(map->command_lookup(command, bytes(key), raw, 0));
    for (std::uint32_t cpu = 0; cpu < cpus; ++cpu) ASSERT_EQ(values[cpu], cpu + 10);
  }
}

TEST_F(PercpuArrayMapTest, AProgramSeesAndWritesItsOwnCopy) {
  const Ref<Map> map = *create(spec(4));
  for (std::uint32_t cpu = 0; cpu < cpus; ++cpu) {
    NumberMap numbers(*map, slots, caller, cpu);
    ASSERT_OK(numbers.program_put(1, 100 + cpu));
  }
  const SlotGuard slot = slots.enter(1);
  const std::uint32_t key = 1, absent = 4;
  EXPECT_EQ(racy_load<std::uint32_t>(map->lookup(*slot, bytes(key))), 101u);
  EXPECT_EQ(racy_load<std::uint32_t>(map->lookup_percpu(*slot, bytes(key), 0)), 100u);
  EXPECT_EQ(map->lookup_percpu(*slot, bytes(key), cpus), nullptr);
  EXPECT_EQ(map->lookup_percpu(*slot, bytes(absent), 0), nullptr);
  // A control slot has no copy of its own and shows CPU 0.
  const SlotGuard control = slots.enter_control();
  EXPECT_EQ(map->lookup(*control, bytes(key)), map->lookup_percpu(*slot, bytes(key), 0));
}

// maps.md 2.4: the padding of a command's buffer comes back unchanged; a program writes value_bytes
// only.
TEST_F(PercpuArrayMapTest, CommandsKeepThePadding) {
  const Ref<Map> map = *create(spec(1, 5));
  ASSERT_EQ(map->command_value_bytes(), 8u * cpus);
  const SlotGuard control = slots.enter_control();
  MapCommand command{*control, caller};
  const std::uint32_t key = 0;
  std::vector<std::uint64_t> in(cpus, 0x1122334455667788), out(cpus);
  auto* const raw = reinterpret_cast<std::byte*>(out.data());
  ASSERT_OK(map->command_update(command, bytes(key), reinterpret_cast<std::byte*>(in.data()), 0));
  ASSERT_OK(map->command_lookup(command, bytes(key), raw, 0));
  EXPECT_EQ(in, out);
  const SlotGuard slot = slots.enter(1);
  const std::uint64_t zero = 0;
  ASSERT_OK(map->update(*slot, bytes(key), reinterpret_cast<const std::byte*>(&zero), 0));
  ASSERT_OK(map->command_lookup(command, bytes(key), raw, 0));
  EXPECT_EQ(out[0], 0x1122334455667788u);
  EXPECT_EQ(out[1], 0x1122330000000000u);
}

TEST_F(PercpuArrayMapTest, ValuesEndAt32KiB) {
  EXPECT_OK(create(spec(1, 32768)));
  EXPECT_ERRNO(create(spec(1, 32769)), E2BIG);
  EXPECT_ERRNO(create(spec(0, 32769)), EINVAL);
}

TEST_F(PercpuArrayMapTest, MemoryFiguresOfLinux) {
  EXPECT_EQ((*create(spec(10, 12)))->memory_bytes(), 312u + 8 * 10 + 16 * cpus * 10);
}

}  // namespace
}  // namespace skep::testing
