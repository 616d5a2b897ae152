// SPDX-License-Identifier: Apache-2.0
#include "rcu/rcu.hpp"

#include <urcu/urcu-memb.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define SKEP_TSAN 1
#endif
#endif

namespace skep::rcu {
namespace {

// liburcu keeps the state of a grace period where the thread sanitizer cannot see it. Every
// section's end is told to it as a release of this byte, every grace period's end as an acquire.
[[maybe_unused]] char grace_period_mark;

void tell_section_end() {
#ifdef SKEP_TSAN
  __tsan_release(&grace_period_mark);
#endif
}

void tell_grace_period_end() {
#ifdef SKEP_TSAN
  __tsan_acquire(&grace_period_mark);
#endif
}

/// liburcu needs every reading thread registered until it ends.
struct Registration {
  Registration() { urcu_memb_register_thread(); }
  ~Registration() { urcu_memb_unregister_thread(); }
  void use() const {}
};
thread_local Registration registration;

/// Collects what is retired and destroys it batch by batch, one grace period each. Lives until the
/// process ends: threads may retire until their very last destructor.
class Reclaimer {
 public:
  static Reclaimer& instance() {
    static auto* const reclaimer = new Reclaimer;  // never destroyed, by intent
    return *reclaimer;
  }

  void add(void* object, void (*destroy)(void*)) {
    {
      const std::lock_guard guard(mutex_);
      queue_.push_back({object, destroy});
      ++retired_;
      if (!started_) {
        started_ = true;
        std::thread([this] { run(); }).detach();
      }
    }
    wake_.notify_one();
  }

  void barrier() {
    std::unique_lock lock(mutex_);
    // A destructor may retire more; wait for those too.
    done_.wait(lock, [this] { return destroyed_ == retired_; });
  }

 private:
  struct Item {
    void* object;
    void (*destroy)(void*);
  };

  [[noreturn]] void run() {
    std::vector<Item> batch;
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return !queue_.empty(); });
        batch.swap(queue_);
      }
      synchronize();
      for (const Item& item : batch) item.destroy(item.object);
      {
        const std::lock_guard guard(mutex_);
        destroyed_ += batch.size();
      }
      done_.notify_all();
      batch.clear();
    }
  }

  std::mutex mutex_;  // leaf: rank rcu_reclaim; below every other lock
  std::condition_variable wake_, done_;
  std::vector<Item> queue_;         // guarded by mutex_
  unsigned long long retired_ = 0;  // guarded by mutex_
  unsigned long long destroyed_ = 0;
  bool started_ = false;
};

}  // namespace

ReadGuard::ReadGuard() {
  registration.use();
  urcu_memb_read_lock();
}

ReadGuard::~ReadGuard() {
  tell_section_end();
  urcu_memb_read_unlock();
}

void synchronize() {
  urcu_memb_synchronize_rcu();
  tell_grace_period_end();
}

void retire(void* object, void (*destroy)(void*)) { Reclaimer::instance().add(object, destroy); }

void barrier() { Reclaimer::instance().barrier(); }

}  // namespace skep::rcu
