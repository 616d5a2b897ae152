// SPDX-License-Identifier: Apache-2.0
#include "net/packet.hpp"

#include "net/net_fixture.hpp"
#include "sync/locked.hpp"
#include "sync/racy.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <set>
#include <thread>

// Counts what is allocated in this binary: the data path must not. The thread sanitizer brings its
// own operator new.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SKEP_CANNOT_COUNT_ALLOCATIONS 1
#endif
#endif
#ifndef SKEP_CANNOT_COUNT_ALLOCATIONS
namespace {
std::atomic<std::uint64_t> allocations{0};
}
void* operator new(std::size_t bytes) {
  // relaxed: a counter that one thread compares with itself.
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* const memory = std::malloc(bytes != 0 ? bytes : 1);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace skep {
namespace {

using testing::Bytes;
using testing::contents;
using testing::NetBench;
using testing::pattern;

std::vector<Buff*> take_all(PacketPool& pool, Slot& slot) {
  std::vector<Buff*> frames;
  while (Buff* frame = pool.take(slot)) frames.push_back(frame);
  return frames;
}

void give_all(PacketPool& pool, Slot& slot, std::vector<Buff*>& frames) {
  for (Buff* frame : frames) pool.give_back(slot, frame);
  frames.clear();
}

TEST(PacketPool, AFreshFrameIsEmptyBehindItsHeadroom) {
  NetBench bench;
  const SlotGuard slot = bench.slots.enter(0);
  Buff* const frame = bench.pool->take(*slot);
  ASSERT_NE(frame, nullptr);
  EXPECT_EQ(frame->data - frame->hard_start(), 256);
  EXPECT_EQ(frame->data, frame->data_meta);
  EXPECT_EQ(frame->data, frame->data_end);
  EXPECT_EQ(frame->hard_end() - frame->hard_start(), 4096 - 320);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(frame->hard_start()) % 4096, 0U);
  EXPECT_EQ(frame->pool, bench.pool.get());
  EXPECT_EQ(frame->rx_device, nullptr);
  EXPECT_EQ(frame->timestamp_ns, 0U);
  EXPECT_EQ(frame->rx_queue, 0U);
  EXPECT_FALSE(frame->has_fragments());
  bench.pool->give_back(*slot, frame);
}

TEST(PacketPool, EveryChunkCanBeTakenByOneSlotAndComesBack) {
  NetBench bench(1000);
  const SlotGuard slot = bench.slots.enter(0);
  for (int round = 0; round < 3; ++round) {
    std::vector<Buff*> frames = take_all(*bench.pool, *slot);
    EXPECT_EQ(frames.size(), 1000U);
    EXPECT_EQ(std::set<Buff*>(frames.begin(), frames.end()).size(), 1000U);
    EXPECT_EQ(bench.pool->in_use(), 1000U);
    give_all(*bench.pool, *slot, frames);
    EXPECT_EQ(bench.pool->in_use(), 0U);
  }
}

// G2: chunks given back by other slots do not pile up there.
TEST(PacketPool, OtherSlotsKeepBackAtMostHalf) {
  for (const std::uint32_t chunks : {64U, 1000U, 4096U}) {
    NetBench bench(chunks);
    for (std::uint32_t cpu = 0; cpu + 1 < NetBench::cpus; ++cpu) {
      const SlotGuard taker = bench.slots.enter(NetBench::cpus - 1);
      const SlotGuard giver = bench.slots.enter(cpu);
      std::vector<Buff*> frames = take_all(*bench.pool, *taker);
      give_all(*bench.pool, *giver, frames);
    }
    const SlotGuard slot = bench.slots.enter(NetBench::cpus - 1);
    std::vector<Buff*> frames = take_all(*bench.pool, *slot);
    EXPECT_GE(frames.size(), chunks / 2) << chunks;
    give_all(*bench.pool, *slot, frames);
  }
}

TEST(PacketPool, MemoryIsChargedFirstAndReturned) {
  VirtualClock clock;
  CpuSlots slots(1, clock, 1);
  Budget budget(100 * chunk_bytes);
  EXPECT_ERRNO(PacketPool::make(100, slots, budget), ENOMEM);  // the list of free chunks counts too
  EXPECT_ERRNO(PacketPool::make(UINT32_MAX, slots, budget), ENOMEM);
  EXPECT_ERRNO(PacketPool::make(0, slots, budget), EINVAL);
  EXPECT_EQ(budget.used_bytes(), 0U);
  {
    const auto pool = PacketPool::make(90, slots, budget);
    ASSERT_OK(pool);
    EXPECT_GE(budget.used_bytes(), 90 * chunk_bytes);
  }
  EXPECT_EQ(budget.used_bytes(), 0U);
}

TEST(PacketPool, CopiesOfEveryLengthComeOutAsTheyWentIn) {
  NetBench bench;
  const SlotGuard slot = bench.slots.enter(0);
  for (const std::size_t bytes : {0UL, 1UL, 60UL, 3519UL, 3520UL, 3521UL, 3520UL + 4096,
                                  3520UL + 4097, 65535UL, 73151UL, 73152UL}) {
    const Bytes in = pattern(bytes);
    Buff* const frame = bench.pool->take_copy(*slot, in);
    ASSERT_NE(frame, nullptr);
    EXPECT_EQ(frame->frame_bytes(), bytes);
    EXPECT_EQ(frame->linear_bytes(), std::min<std::size_t>(bytes, 3520));
    const std::size_t fragments = bytes <= 3520 ? 0 : (bytes - 3520 + 4095) / 4096;
    EXPECT_EQ(frame->frags().size(), fragments);
    EXPECT_EQ(bench.pool->in_use(), 1 + fragments);
    EXPECT_EQ(contents(*frame), in);
    bench.pool->give_back(*slot, frame);
    EXPECT_EQ(bench.pool->in_use(), 0U);
  }
}

TEST(PacketPool, ACopyThatFindsTooFewChunksLeavesNoneBehind) {
  NetBench bench(17);
  const SlotGuard slot = bench.slots.enter(0);
  EXPECT_EQ(bench.pool->take_copy(*slot, pattern(max_frame_bytes)), nullptr);
  EXPECT_EQ(bench.pool->in_use(), 0U);
  Buff* const frame = bench.pool->take_copy(*slot, pattern(max_frame_bytes - chunk_bytes));
  ASSERT_NE(frame, nullptr);
  EXPECT_EQ(bench.pool->in_use(), 17U);
  EXPECT_EQ(bench.pool->take(*slot), nullptr);
  EXPECT_EQ(bench.pool->add_fragment(*slot, *frame), nullptr);
  bench.pool->give_back(*slot, frame);
}

TEST(PacketPool, RangesAcrossFragmentBordersAreReadAndWritten) {
  NetBench bench;
  const SlotGuard slot = bench.slots.enter(0);
  Bytes model = pattern(3520 + 4096 + 100);
  Buff* const frame = bench.pool->take_copy(*slot, model);
  // A fragment that starts inside its chunk, as adjust_tail and reassembly may leave it.
  frame->frags()[0].offset = 96;
  frame->frags()[0].bytes = 4000;
  model.erase(model.begin() + 3520, model.begin() + 3520 + 96);
  ASSERT_EQ(contents(*frame), model);

  const std::size_t borders[] = {0, 3520, 3520 + 4000, model.size()};
  for (const std::size_t border : borders) {
    for (std::size_t start = border < 3 ? 0 : border - 3; start <= border; ++start) {
      for (const std::size_t length : {0UL, 1UL, 5UL, 4100UL}) {
        if (start + length > model.size()) continue;
        const Bytes patch = pattern(length, static_cast<std::uint8_t>(start));
        bench.pool->copy_in(*frame, start, patch);
        std::copy(patch.begin(), patch.end(), model.begin() + static_cast<std::ptrdiff_t>(start));
        Bytes out(length);
        bench.pool->copy_out(*frame, start, out);
        EXPECT_EQ(out, patch);
        EXPECT_EQ(contents(*frame), model);
      }
    }
  }
  bench.pool->give_back(*slot, frame);
}

TEST(PacketPool, AFrameHoldsSeventeenFragments) {
  NetBench bench;
  const SlotGuard slot = bench.slots.enter(0);
  Buff* const frame = bench.pool->take(*slot);
  for (std::size_t i = 0; i < 17; ++i) {
    Buff::Fragment* const fragment = bench.pool->add_fragment(*slot, *frame);
    ASSERT_NE(fragment, nullptr);
    EXPECT_EQ(fragment->offset, 0U);
    EXPECT_EQ(fragment->bytes, 0U);
    fragment->bytes = 10;
  }
  EXPECT_EQ(bench.pool->add_fragment(*slot, *frame), nullptr);
  EXPECT_EQ(frame->fragment_bytes(), 170U);
  bench.pool->drop_fragment(*slot, *frame);
  EXPECT_EQ(frame->frame_bytes(), 160U);
  EXPECT_EQ(bench.pool->in_use(), 17U);
  bench.pool->give_back(*slot, frame);
  EXPECT_EQ(bench.pool->in_use(), 0U);
}

TEST(PacketPool, ACloneHasItsOwnBytesAndTheSameFields) {
  NetBench bench;
  const SlotGuard slot = bench.slots.enter(0);
  const Bytes payload = pattern(100);
  Buff* const frame = bench.pool->take_copy(*slot, payload);
  frame->data -= 10;       // as adjust_head
  frame->data_meta -= 26;  // and adjust_meta do
  racy_store<std::uint32_t>(frame->data_meta, 0xfeedU);
  racy_store<std::uint32_t>(frame->hard_start() + 40, 0xbeefU);
  frame->timestamp_ns = 5;
  frame->rx_queue = 3;
  Buff* const copy = bench.pool->clone(*slot, *frame);
  ASSERT_NE(copy, nullptr);
  EXPECT_EQ(copy->data - copy->hard_start(), 246);
  EXPECT_EQ(copy->meta_bytes(), 16U);
  EXPECT_EQ(copy->timestamp_ns, 5U);
  EXPECT_EQ(copy->rx_queue, 3U);
  EXPECT_EQ(contents(*copy), contents(*frame));
  EXPECT_EQ(racy_load<std::uint32_t>(copy->data_meta), 0xfeedU);
  EXPECT_EQ(racy_load<std::uint32_t>(copy->hard_start() + 40), 0xbeefU);
  racy_store<std::uint8_t>(copy->data, std::uint8_t{0xee});
  EXPECT_NE(contents(*copy), contents(*frame));
  bench.pool->give_back(*slot, copy);
  bench.pool->give_back(*slot, frame);
}

TEST(PacketPool, FramesWithFragmentsAreNotCloned) {
  NetBench bench;
  const SlotGuard slot = bench.slots.enter(0);
  Buff* const frame = bench.pool->take_copy(*slot, pattern(5000));
  EXPECT_EQ(bench.pool->clone(*slot, *frame), nullptr);
  EXPECT_EQ(bench.pool->in_use(), 2U);
  bench.pool->give_back(*slot, frame);
}

// In every build: a frame given back twice would later belong to two owners.
TEST(PacketPoolDeathTest, GivingBackTwiceStops) {
  NetBench bench;
  const SlotGuard slot = bench.slots.enter(0);
  Buff* const frame = bench.pool->take(*slot);
  bench.pool->give_back(*slot, frame);
  EXPECT_DEATH(bench.pool->give_back(*slot, frame), "pool == this|use-after-poison");
}

TEST(PacketPoolDeathTest, DestroyingAPoolWithFramesOutStops) {
  EXPECT_DEATH(
      {
        NetBench bench;
        const SlotGuard slot = bench.slots.enter(0);
        (void)bench.pool->take(*slot);
        bench.pool.reset();
      },
      "in_use\\(\\) == 0");
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
TEST(PacketPoolDeathTest, TouchingAFreeChunkIsReported) {
  NetBench bench;
  const SlotGuard slot = bench.slots.enter(0);
  Buff* const frame = bench.pool->take_copy(*slot, pattern(64));
  std::byte* const data = frame->data;
  bench.pool->give_back(*slot, frame);
  EXPECT_DEATH((void)racy_load<std::uint8_t>(data), "use-after-poison");
}
#endif
#endif

#ifndef SKEP_CANNOT_COUNT_ALLOCATIONS
// The promise that nothing is allocated on the way through.
TEST(PacketPool, TakingCopyingCloningAndGivingBackNeverAllocates) {
  NetBench bench(600);
  const SlotGuard here = bench.slots.enter(0), there = bench.slots.enter(1);
  const Bytes small = pattern(1000), large = pattern(20000);
  std::array<Buff*, 300> frames{};
  const std::uint64_t before = allocations.load();
  for (int round = 0; round < 50; ++round) {
    std::size_t count = 0;
    while (count + 2 < frames.size()) {
      frames[count++] = bench.pool->take_copy(*here, small);
      frames[count++] = bench.pool->clone(*here, *frames[count - 1]);
    }
    frames[count++] = bench.pool->take_copy(*here, large);
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_NE(frames[i], nullptr);
      bench.pool->give_back(*there, frames[i]);
    }
  }
  EXPECT_EQ(allocations.load(), before);
  EXPECT_EQ(bench.pool->in_use(), 0U);
}
#endif

// G3: frames wander between four threads through one mailbox; bytes stay with their frame. More
// threads than cores.
TEST(PacketPool, FramesTakenOnOneSlotMayBeGivenBackOnAnother) {
  NetBench bench(300);
  struct Mailbox {
    std::vector<Buff*> frames;
  };
  Locked<Mailbox, LockRank::port> mailbox;
  std::atomic<std::uint64_t> checked{0};
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t cpu = 0; cpu < NetBench::cpus; ++cpu) {
      threads.emplace_back([&, cpu] {
        const SlotGuard slot = bench.slots.enter(cpu);
        for (std::uint32_t i = 0; i < 5000; ++i) {
          if (Buff* const mine = bench.pool->take(*slot)) {
            racy_store<std::uint32_t>(mine->data, i * 4 + cpu);
            mine->data_end += 4;
            mine->timestamp_ns = i * 4 + cpu;
            mailbox.with([&](Mailbox& box) { box.frames.push_back(mine); });
          }
          Buff* const other = mailbox.with([&](Mailbox& box) -> Buff* {
            if (box.frames.size() < 40) return nullptr;
            Buff* const oldest = box.frames.front();
            box.frames.erase(box.frames.begin());
            return oldest;
          });
          if (other == nullptr) continue;
          EXPECT_EQ(racy_load<std::uint32_t>(other->data), other->timestamp_ns);
          checked.fetch_add(1, std::memory_order_relaxed);
          bench.pool->give_back(*slot, other);
        }
      });
    }
  }
  EXPECT_GT(checked.load(), 1000U);
  mailbox.with([&](Mailbox& box) {
    EXPECT_EQ(bench.pool->in_use(), box.frames.size());
    const SlotGuard slot = bench.slots.enter(0);
    for (Buff* frame : box.frames) bench.pool->give_back(*slot, frame);
  });
  EXPECT_EQ(bench.pool->in_use(), 0U);
}

}  // namespace
}  // namespace skep
