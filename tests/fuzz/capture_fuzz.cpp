// SPDX-License-Identifier: Apache-2.0
#include "cpu/clock.hpp"
#include "cpu/slot.hpp"
#include "fuzz/memory_file.hpp"
#include "fuzz/must.hpp"
#include "fuzz/target.hpp"
#include "net/packet.hpp"
#include "net/port/pcap_port.hpp"
#include "object/budget.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <string>

namespace skep::fuzz {
namespace {

/// Slots and packet memory; kept from input to input, because they have no state but free chunks.
struct Bench {
  VirtualClock clock;
  CpuSlots slots{1, clock, 1};
  Budget budget{16U << 20};
  // Frames of the largest size fill it before a burst is whole: then frames wait in the file.
  std::unique_ptr<PacketPool> pool = must(PacketPool::make(64, slots, budget));
};

struct Played {
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;
  friend bool operator==(const Played&, const Played&) = default;
};

/// Receives all frames of all queues and transmits them. Every frame costs at least a byte of the
/// file: `limit` is a bound.
Played play(PcapPort& port, Bench& bench, std::size_t limit) {
  Played played;
  const SlotGuard slot = bench.slots.enter(0);
  for (std::uint32_t queue = 0; queue < port.rx_queues(); ++queue) {
    std::uint64_t last_ns = 0;
    while (const auto due_ns = port.next_arrival_ns(*slot, queue)) {
      ASSERT(*due_ns >= last_ns);
      last_ns = *due_ns;
      std::array<Buff*, 8> frames;
      const std::size_t received = port.receive(*slot, queue, *due_ns, frames);
      ASSERT(received <= frames.size());
      for (std::size_t i = 0; i < received; ++i) {
        ASSERT(frames[i]->rx_queue == queue);
        ASSERT(frames[i]->frame_bytes() <= max_frame_bytes);
        played.bytes += frames[i]->frame_bytes();
      }
      played.frames += received;
      ASSERT(played.frames <= limit);
      const std::size_t taken = port.transmit(*slot, {frames.data(), received}, true).value_or(0);
      for (std::size_t i = taken; i < received; ++i) bench.pool->give_back(*slot, frames[i]);
    }
  }
  ASSERT(bench.pool->in_use() == 0);
  return played;
}

}  // namespace

void capture(Input input) {
  static Bench bench;
  const MemoryFile file(input), copy;
  std::string why;
  Played whole;
  {
    const auto port = PcapPort::open({.in = file.path(), .out = copy.path()}, *bench.pool, why);
    if (!port) {
      ASSERT(!why.empty());
      return;
    }
    whole = play(**port, bench, input.size());
    ASSERT((*port)->rewind().has_value());
    (*port)->finish();
  }
  // What was written can be read again.
  const auto again = PcapPort::open({.in = copy.path()}, *bench.pool, why);
  ASSERT(again.has_value());
  ASSERT(play(**again, bench, input.size()) == whole);
  // Queues share the frames out: none twice, none lost.
  const auto split = PcapPort::open({.in = file.path(), .queues = 3}, *bench.pool, why);
  ASSERT(split.has_value());
  ASSERT(play(**split, bench, input.size()) == whole);
}

}  // namespace skep::fuzz
