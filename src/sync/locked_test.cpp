// SPDX-License-Identifier: Apache-2.0
#include "sync/locked.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace skep {
namespace {

TEST(Locked, WithGivesExclusiveAccessAndReturnsWhatTheBodyReturns) {
  Locked<int, LockRank::ids> counter{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) counter.with([](int& n) { ++n; });
    });
  }
  threads.clear();
  EXPECT_EQ(counter.with([](const int& n) { return n; }), 40'000);
}

TEST(Locked, RanksMayBeTakenUpwards) {
  Locked<int, LockRank::hook> outer{1};
  Locked<int, LockRank::ids> inner{2};
  const int sum = outer.with([&](int& a) { return inner.with([&](int& b) { return a + b; }); });
  EXPECT_EQ(sum, 3);
}

#ifndef NDEBUG
TEST(LockedDeathTest, TakingALowerRankStops) {
  Locked<int, LockRank::hook> low{1};
  Locked<int, LockRank::ids> high{2};
  EXPECT_DEATH(high.with([&](int&) { low.with([](int&) {}); }), "assertion failed");
}
#endif

}  // namespace
}  // namespace skep
