// SPDX-License-Identifier: Apache-2.0
// A lock of four bytes: bpf_spin_lock inside map values, and the locks of hash buckets and free
// lists, where a whole mutex would not fit. It spins for a moment and then parks: a machine may run
// more threads than it has cores.
//
// Guarantees
// G1  Mutual exclusion; what a holder wrote is seen by the next one (acquire/release on the word).
// G2  A waiter parks in the operating system; unlocking costs no system call unless somebody waits.
// G3  A zero word is an unlocked lock, so zeroed memory needs no constructor. Nothing is lost if
// the word's memory becomes
//     another element of the same layout while somebody holds or awaits it.
#pragma once

#include "sync/locked.hpp"

#include <cstdint>

namespace skep {

namespace detail {
void spin_lock_contended(std::uint32_t* word);
void spin_unlock_wake(std::uint32_t* word);
inline constexpr std::uint32_t spin_lock_free = 0;
inline constexpr std::uint32_t spin_lock_held = 1;
inline constexpr std::uint32_t spin_lock_awaited = 2;  // held, and somebody may be parked
}  // namespace detail

/// Takes the bpf_spin_lock at `word` (4-aligned). A leaf: the holder takes no other lock and runs
/// no helper until it unlocks. Blocks: parks on contention. Not recursive.
inline void spin_lock(void* word) {
  auto* const state = static_cast<std::uint32_t*>(word);
  std::uint32_t expected = detail::spin_lock_free;
  // acquire: pairs with the release in spin_unlock(). relaxed on failure: the slow path looks
  // again.
  if (!__atomic_compare_exchange_n(state, &expected, detail::spin_lock_held, false,
                                   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) [[unlikely]]
    detail::spin_lock_contended(state);
}

/// Gives back what spin_lock() took.
inline void spin_unlock(void* word) {
  auto* const state = static_cast<std::uint32_t*>(word);
  // release: publishes the section's writes to the next holder.
  if (__atomic_exchange_n(state, detail::spin_lock_free, __ATOMIC_RELEASE) ==
      detail::spin_lock_awaited) [[unlikely]]
    detail::spin_unlock_wake(state);
}

/// The same lock for our own structures: its rank is checked in debug builds. Four bytes; zeroed
/// memory is one.
template <LockRank Rank>
class CompactLock {
 public:
  void lock() {
    sync::note_acquire(Rank);
    spin_lock(&word_);
  }
  void unlock() {
    spin_unlock(&word_);
    sync::note_release(Rank);
  }

 private:
  std::uint32_t word_ = 0;
};

}  // namespace skep
