// SPDX-License-Identifier: Apache-2.0
#include "map/spin_lock.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace skep {
namespace {

// More threads than cores; the counters are plain, so a hole in the lock is lost counts or a
// sanitizer report.
TEST(SpinLock, ExcludesMoreThreadsThanCores) {
  constexpr int threads = 12, rounds = 5000;
  struct {
    std::uint32_t lock = 0;
    int first = 0, second = 0;
  } value;
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i) {
    workers.emplace_back([&] {
      for (int round = 0; round < rounds; ++round) {
        spin_lock(&value.lock);
        ++value.first;
        if (round % 64 == 0) std::this_thread::yield();  // lose the core while holding it
        ++value.second;
        spin_unlock(&value.lock);
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(value.first, threads * rounds);
  EXPECT_EQ(value.second, threads * rounds);
  EXPECT_EQ(value.lock, 0u);
}

// Waiters sleep: ten of them burn next to nothing while the holder takes its time.
TEST(SpinLock, WaitersPark) {
  std::uint32_t lock = 0;
  const auto cpu_us = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000L + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
  };
  spin_lock(&lock);
  std::vector<std::thread> waiters;
  for (int i = 0; i < 10; ++i) {
    waiters.emplace_back([&] {
      spin_lock(&lock);
      spin_unlock(&lock);
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // let all of them arrive
  const long before = cpu_us();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(cpu_us() - before, 150'000);  // ten spinning threads would take 300 ms of each core
  spin_unlock(&lock);
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_EQ(lock, 0u);
}

#ifndef NDEBUG
TEST(CompactLockDeathTest, KnowsItsRank) {
  CompactLock<LockRank::map_bucket> bucket;
  CompactLock<LockRank::free_list> list;
  {
    const std::lock_guard first(bucket);
    const std::lock_guard second(list);
  }
  EXPECT_DEATH(
      {
        list.lock();
        bucket.lock();
      },
      "assertion failed");
}
#endif

}  // namespace
}  // namespace skep
