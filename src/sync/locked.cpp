// SPDX-License-Identifier: Apache-2.0
#include "sync/locked.hpp"

#include "result/result.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

#ifndef NDEBUG
namespace skep::sync {
namespace {

// The ranks that this thread holds, lowest first. Hidden thread-locals are allowed here and in rcu/
// only.
constexpr std::size_t max_held = 16;
struct Held {
  std::array<LockRank, max_held> ranks;
  std::size_t count = 0;
};
thread_local Held held;

}  // namespace

void note_acquire(LockRank rank) {
  ASSERT(held.count < max_held);
  ASSERT(held.count == 0 || held.ranks[held.count - 1] < rank);  // a lock out of order can deadlock
  held.ranks[held.count++] = rank;
}

void note_release(LockRank rank) {
  auto* const end = held.ranks.begin() + held.count;
  auto* const found = std::find(held.ranks.begin(), end, rank);
  ASSERT(found != end);
  std::copy(found + 1, end, found);
  --held.count;
}
}  // namespace skep::sync
#endif
