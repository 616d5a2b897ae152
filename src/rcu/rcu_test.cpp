// SPDX-License-Identifier: Apache-2.0
#include "rcu/rcu.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace skep {
namespace {

using namespace std::chrono_literals;

struct Counted {
  explicit Counted(std::atomic<int>& alive) : alive(alive) { ++alive; }
  ~Counted() { --alive; }
  std::atomic<int>& alive;
};

TEST(Rcu, RetiredObjectLivesUntilOpenSectionsEnd) {
  std::atomic<int> alive{0};
  int lock = 0;  // stands for the writer's lock
  rcu::Ptr<Counted> published(std::make_unique<Counted>(alive));
  {
    const rcu::ReadGuard reader;
    std::jthread writer([&] { rcu::retire(published.exchange(nullptr, lock)); });
    writer.join();
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(alive, 1) << "destroyed while a section was open";  // G3
  }
  rcu::barrier();
  EXPECT_EQ(alive, 0);  // G4
}

TEST(Rcu, BarrierAlsoWaitsForWhatDestructorsRetire) {
  static std::atomic<int> destroyed;
  destroyed = 0;
  struct Inner {
    ~Inner() { ++destroyed; }
  };
  struct Outer {
    ~Outer() {
      rcu::retire(new Inner, [](void* p) { delete static_cast<Inner*>(p); });
      ++destroyed;
    }
  };
  rcu::retire(new Outer, [](void* p) { delete static_cast<Outer*>(p); });
  rcu::barrier();
  EXPECT_EQ(destroyed, 2);
}

// Torture: the writer marks each object dead in its destructor and leaves its memory alone for the
// test's length; a reader that ever sees a dead one was failed by the grace period. More threads
// than cores.
TEST(RcuTorture, ReadersNeverSeeADestroyedObject) {
  struct Block {
    std::atomic<int> state{1};
  };
  struct Handle {
    Block* block;
    ~Handle() { block->state.store(0, std::memory_order_relaxed); }
  };
  constexpr int blocks = 4096;
  std::vector<Block> arena(blocks);
  int lock = 0;
  rcu::Ptr<Handle> published(std::make_unique<Handle>(&arena[0]));
  std::atomic<bool> stop{false};
  std::atomic<long> bad{0}, reads{0};
  std::vector<std::jthread> readers;
  for (int t = 0; t < 4; ++t) {
    readers.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        const rcu::ReadGuard guard;
        const Handle* handle = published.read(guard);
        for (int i = 0; i < 50; ++i)
          if (handle->block->state.load(std::memory_order_relaxed) != 1) ++bad;
        ++reads;
      }
    });
  }
  for (int i = 1; i < blocks; ++i) {
    rcu::retire(published.exchange(std::make_unique<Handle>(&arena[i]), lock));
    if (i % 64 == 0) std::this_thread::yield();
  }
  while (reads < 1000) std::this_thread::yield();
  stop = true;
  readers.clear();
  rcu::barrier();
  EXPECT_EQ(bad, 0);
}

}  // namespace
}  // namespace skep
