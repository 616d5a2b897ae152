// SPDX-License-Identifier: Apache-2.0
// Data under a lock, and the one place that says in which order locks are taken.
#pragma once

#include <cstdint>
#include <mutex>
#include <utility>

namespace skep {

/// Lock order: a thread may only take a rank above every rank it holds. Checked in debug builds.
enum class LockRank : std::uint8_t {
  runtime = 10,       // ports, attachments and workers of one runtime; held across commands
  map_creation = 15,  // one map is created at a time: hash seeds come from one generator
  device_list = 20,   // register, unregister, move between namespaces; plays the part of rtnl
  hook = 30,          // writers of one attach point
  pins = 40,          // the in-memory bpffs
  descriptors = 50,   // descriptor table: resolving takes references on objects
  map_writers = 60,   // writers of a map that publish whole new states (PROG_ARRAY, DEVMAP)
  map_owner = 65,     // the first program a map met
  map_bucket = 70,    // hash buckets; no allocation and no callbacks while held
  free_list = 80,     // element free lists: a leaf below buckets
  ids = 90,           // id tables: published and removed under any lock above
  port = 100,         // a port's own queues and files
  packet_pool = 105,  // chunks that no slot has: taken and given back under a port's lock
  trace = 110,        // the trace log (bpf_printk)
  rcu_reclaim = 120,  // the reclaim queue: anything may retire
};

namespace sync {

/// Notes in debug builds that this thread takes or drops a lock of `rank`; stops on a wrong order.
#ifndef NDEBUG
void note_acquire(LockRank rank);
void note_release(LockRank rank);
#else
inline void note_acquire(LockRank /*rank*/) {}
inline void note_release(LockRank /*rank*/) {}
#endif

/// A mutex with a rank. For a lock per bucket, where `Locked` cannot be used; otherwise prefer
/// `Locked`.
class RankedMutex {
 public:
  explicit RankedMutex(LockRank rank) : rank_(rank) {}
  RankedMutex(const RankedMutex&) = delete;
  RankedMutex& operator=(const RankedMutex&) = delete;

  void lock() {
    note_acquire(rank_);
    mutex_.lock();
  }
  void unlock() {
    mutex_.unlock();
    note_release(rank_);
  }

 private:
  std::mutex mutex_;
  LockRank rank_;
};

}  // namespace sync

/// A `T` reached only while its lock is held. Blocks: parks on contention.
template <class T, LockRank Rank>
class Locked {
 public:
  template <class... Args>
  explicit Locked(Args&&... args) : value_{std::forward<Args>(args)...} {}
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

  /// Runs `body(T&)` with the lock held and returns what it returns. `body` must not leak the
  /// reference.
  template <class Body>
  decltype(auto) with(Body&& body) {
    const std::lock_guard guard(mutex_);
    return std::forward<Body>(body)(value_);
  }
  template <class Body>
  decltype(auto) with(Body&& body) const {
    const std::lock_guard guard(mutex_);
    return std::forward<Body>(body)(value_);
  }

 private:
  mutable sync::RankedMutex mutex_{Rank};
  T value_;
};

}  // namespace skep
