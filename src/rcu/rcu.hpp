// SPDX-License-Identifier: Apache-2.0
// Read-copy-update: readers run without locks, writers publish whole new states and reclaim the old
// ones after a grace period. liburcu (memb) below; one domain for the process; a reclaim thread
// that is started at the first need.
//
// Guarantees
// G1  A reader never waits: entering and leaving a section writes one word of its own.
// G2  What `Ptr::read` gives stays valid until the guard that was shown is gone.
// G3  What was retired is destroyed once every section that was open at the time of `retire` has
// ended, not before. G4  `barrier()` returns after everything that this thread retired before has
// been destroyed.
#pragma once

#include "result/result.hpp"

#include <atomic>
#include <memory>
#include <utility>

namespace skep::rcu {

/// A read section. Nests. The thread is registered at its first one. Thread: any. Blocks: never.
class ReadGuard {
 public:
  ReadGuard();
  ~ReadGuard();
  ReadGuard(const ReadGuard&) = delete;
  ReadGuard& operator=(const ReadGuard&) = delete;
};

/// Waits until every read section open now has ended. Blocks. Must not be called inside a section.
void synchronize();

/// Destroys `object` with `destroy` after a grace period, on the reclaim thread. Blocks: never.
void retire(void* object, void (*destroy)(void*));

/// Waits until all that was retired before the call has been destroyed, and what that retired in
/// turn. Blocks.
void barrier();

/// What a writer took out of a `Ptr`; only `retire` accepts it.
template <class T>
class [[nodiscard]] Retired {
 public:
  explicit Retired(T* object) : object_(object) {}
  Retired(Retired&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Retired& operator=(Retired&&) = delete;
  ~Retired() { ASSERT(object_ == nullptr); }

 private:
  template <class U>
  friend void retire(Retired<U> retired);
  T* object_;
};

/// Deletes what was taken out after a grace period.
template <class T>
void retire(Retired<T> retired) {
  T* const object = std::exchange(retired.object_, nullptr);
  if (object != nullptr) {
    retire(const_cast<void*>(static_cast<const void*>(object)),
           [](void* p) { delete static_cast<T*>(p); });
  }
}

/// A published pointer that owns what it points to. Readers show a guard, writers show what their
/// lock protects.
template <class T>
class Ptr {
 public:
  explicit Ptr(std::unique_ptr<T> initial = nullptr) : pointer_(initial.release()) {}
  Ptr(const Ptr&) = delete;
  Ptr& operator=(const Ptr&) = delete;
  // Nobody may read any more: the owner itself died after a grace period.
  ~Ptr() { delete pointer_.load(std::memory_order_relaxed); }

  T* read(const ReadGuard& /*proof*/) const {
    // acquire: pairs with the release in exchange(); what it points to was complete before.
    return pointer_.load(std::memory_order_acquire);
  }

  /// The current state as a writer sees it: only writers change it, and they exclude each other.
  template <class Writer>
  T* peek(Writer& /*proof*/) const {
    // relaxed: this writer or an earlier holder of its lock stored it.
    return pointer_.load(std::memory_order_relaxed);
  }

  template <class Writer>
  Retired<T> exchange(std::unique_ptr<T> next, Writer& /*proof*/) {
    // acq_rel: publishes `next` to read(); the old state came from a writer whose lock we took
    // over.
    return Retired<T>(pointer_.exchange(next.release(), std::memory_order_acq_rel));
  }

 private:
  std::atomic<T*> pointer_;
};

}  // namespace skep::rcu
