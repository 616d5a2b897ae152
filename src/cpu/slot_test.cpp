// SPDX-License-Identifier: Apache-2.0
#include "cpu/slot.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace skep {
namespace {

TEST(CpuSlots, ASlotHasOneOwnerAtATime) {
  const VirtualClock clock;
  CpuSlots slots(2, clock, 1);
  long plain = 0;  // no atomics: G1 must order the accesses (the thread sanitizer judges)
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2'000; ++i) {
        const SlotGuard slot = slots.enter(1);
        ++plain;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(plain, 8'000);
}

TEST(CpuSlots, CommandsNeverWaitForABusyWorker) {
  const VirtualClock clock;
  CpuSlots slots(1, clock, 1);
  const SlotGuard worker = slots.enter(0);
  const SlotGuard command = slots.enter_control();
  EXPECT_TRUE(command->is_control());
  EXPECT_EQ(command->cpu(), 0u);
  EXPECT_NE(command->index(), worker->index());
}

TEST(CpuSlots, EnterControlWaitsWhileAllAreTaken) {
  const VirtualClock clock;
  CpuSlots slots(1, clock, 1);
  std::vector<SlotGuard> taken;
  for (std::uint32_t i = 0; i < CpuSlots::control_slots; ++i)
    taken.push_back(slots.enter_control());
  std::atomic<bool> entered{false};
  std::jthread waiter([&] {
    const SlotGuard slot = slots.enter_control();
    entered = true;
  });
  EXPECT_FALSE(entered);
  taken.pop_back();
  waiter.join();
  EXPECT_TRUE(entered);
}

TEST(Random, SameSeedSameNumbersOtherStreamOthers) {
  Random a(7, 1), b(7, 1), c(7, 2);
  const std::uint64_t first = a.next_u64();
  EXPECT_EQ(first, b.next_u64());
  EXPECT_NE(first, c.next_u64());
}

TEST(VirtualClock, MovesOnlyWhenToldAndNeverBack) {
  VirtualClock clock;
  const std::uint64_t start = clock.monotonic_ns();
  clock.advance_to(500);
  EXPECT_EQ(clock.monotonic_ns(), start + 500);
  clock.advance_to(100);
  EXPECT_EQ(clock.monotonic_ns(), start + 500);
  EXPECT_EQ(clock.tai_ns() - clock.realtime_ns(), VirtualClock::tai_offset_ns);
}

TEST(RealClock, MonotonicDoesNotGoBack) {
  const RealClock clock;
  const std::uint64_t first = clock.monotonic_ns();
  EXPECT_LE(first, clock.monotonic_ns());
  EXPECT_GE(clock.boottime_ns(), first / 2);
}

}  // namespace
}  // namespace skep
