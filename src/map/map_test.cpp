// SPDX-License-Identifier: Apache-2.0
// Freezing and the registration of types.
#include "map/map.hpp"

#include "map/map_fixture.hpp"

#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

namespace skep::testing {
namespace {

using namespace uapi;

class MapFreeze : public MapFixture {
 protected:
  Ref<Map> make() {
    return *create(
        {.type = BPF_MAP_TYPE_ARRAY, .key_bytes = 4, .value_bytes = 8, .max_entries = 1});
  }
};

TEST_F(MapFreeze, SecondFreezeIsRefused) {
  const Ref<Map> map = make();
  EXPECT_FALSE(map->frozen());
  EXPECT_OK(map->freeze());
  EXPECT_TRUE(map->frozen());
  EXPECT_ERRNO(map->freeze(), EPERM);
}

TEST_F(MapFreeze, AWriteInProgressIsBusy) {
  const Ref<Map> map = make();
  ASSERT_OK(map->begin_write());
  {
    const WriteGuard guard(*map);
    EXPECT_ERRNO(map->freeze(), EBUSY);
    ASSERT_OK(map->begin_write());  // writes do not exclude each other
    map->end_write();
    EXPECT_ERRNO(map->freeze(), EBUSY);
  }
  EXPECT_OK(map->freeze());
}

TEST_F(MapFreeze, AFrozenMapRefusesCommandsButNotPrograms) {
  const Ref<Map> map = make();
  NumberMap numbers(*map, slots, caller);
  ASSERT_OK(map->freeze());
  EXPECT_ERRNO(map->begin_write(), EPERM);
  EXPECT_OK(numbers.program_put(0, 7));
  EXPECT_VALUE(numbers.get(0), 7);
}

// Who sees a map frozen sees its final content. Each writer counts in a plain variable: without the
// order that freeze() and end_write() give, this is a report of the thread sanitizer and a changing
// count.
TEST_F(MapFreeze, ContentIsFinalOnceFrozen) {
  constexpr int writers = 3;
  for (int round = 0; round < 30; ++round) {
    const Ref<Map> map = make();
    std::array<int, writers> written{};
    std::vector<std::thread> threads;
    for (int& count : written) {
      threads.emplace_back([&] {
        while (map->begin_write().has_value()) {
          const WriteGuard guard(*map);
          ++count;
        }
      });
    }
    for (;;) {
      const Result<void> frozen = map->freeze();
      if (frozen) break;
      ASSERT_EQ(frozen.error().code, EBUSY);
      std::this_thread::yield();
    }
    const std::array<int, writers> final_counts = written;
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(written, final_counts);
  }
}

TEST(MapTypesTable, KnowsTheTypesOfThisRoomOnly) {
  MapTypes types;
  add_memory_map_types(types);
  EXPECT_STREQ(types.find(BPF_MAP_TYPE_HASH)->name, "hash");
  EXPECT_STREQ(types.find(BPF_MAP_TYPE_ARRAY)->name, "array");
  EXPECT_STREQ(types.find(BPF_MAP_TYPE_PERCPU_ARRAY)->name, "percpu_array");
  EXPECT_EQ(types.find(BPF_MAP_TYPE_UNSPEC), nullptr);
  EXPECT_EQ(types.find(BPF_MAP_TYPE_DEVMAP), nullptr);
}

}  // namespace
}  // namespace skep::testing
