// SPDX-License-Identifier: Apache-2.0
#include "runtime/traffic.hpp"

#include "net/port/port.hpp"
#include "rcu/rcu.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <span>
#include <thread>
#include <vector>

namespace skep {
namespace {

constexpr std::size_t batch_max_frames = 64;  // as one poll of a network card
// Frames that arrive this close together may share a batch, and so a reading of the clock.
constexpr std::uint64_t batch_window_ns = 20'000;
constexpr std::uint64_t forever = std::numeric_limits<std::uint64_t>::max();

/// One receive queue of one device.
struct Source {
  Ref<Device> device;
  std::uint32_t queue;
  std::optional<std::uint64_t> due;  // when its next frame arrives
};

std::vector<Source> sources_of(World& world) {
  std::vector<Source> sources;
  for (const Ref<Device>& device : world.net_namespace->devices())
    for (std::uint32_t queue = 0; queue < device->rx_queues(); ++queue)
      sources.push_back({.device = device, .queue = queue, .due = {}});
  return sources;
}

/// Receives one batch and runs it to its end. Returns the number of frames.
std::size_t poll(Slot& slot, const Source& source, std::uint64_t until_ns) {
  std::array<Buff*, batch_max_frames> batch;
  const std::size_t count = source.device->port().receive(slot, source.queue, until_ns, batch);
  if (count != 0) {
    const rcu::ReadGuard guard;
    source.device->receive(slot, std::span(batch.data(), count));
  }
  return count;
}

/// Keeps when the next frame of each source arrives, counted from the start of the traffic:
/// captures begin together at the earliest stamp in any of them, made-up traffic at 0.
class Schedule {
 public:
  explicit Schedule(World& world) : world_(world), sources_(sources_of(world)) {
    for (Source& source : sources_) {
      const SlotGuard slot = slot_of(source);
      source.due = source.device->port().next_arrival_ns(*slot, source.queue);
      if (source.due && !source.device->port().counts_from_zero())
        first_stamp_ = std::min(first_stamp_, *source.due);
    }
    for (Source& source : sources_)
      if (source.due) *source.due -= origin(source);
  }

  /// The source whose frame comes next, of equals that with the lowest ifindex and queue; null at
  /// the end of all.
  Source* next() {
    const auto found =
        std::min_element(sources_.begin(), sources_.end(), [](const Source& a, const Source& b) {
          return a.due.value_or(forever) < b.due.value_or(forever);
        });
    return found != sources_.end() && found->due ? &*found : nullptr;
  }

  /// Receives and runs the frames of `next` that come close together and before those of any other
  /// source.
  void play(Source& next) {
    const std::uint64_t due = *next.due;
    std::uint64_t until = due + std::min(batch_window_ns, forever - due);
    for (const Source& other : sources_)
      if (&other != &next && other.due) until = std::min(until, *other.due);
    const std::uint64_t origin_ns = origin(next);
    const SlotGuard slot = slot_of(next);
    poll(*slot, next, until + std::min(origin_ns, forever - until));
    next.due = next.device->port().next_arrival_ns(*slot, next.queue);
    if (next.due) *next.due -= origin_ns;
  }

 private:
  SlotGuard slot_of(const Source& source) {
    return world_.slots.enter(source.queue % world_.slots.cpus());
  }
  std::uint64_t origin(const Source& source) const {
    return source.device->port().counts_from_zero() ? 0 : first_stamp_;
  }

  World& world_;
  std::vector<Source> sources_;
  std::uint64_t first_stamp_ = forever;
};

std::uint64_t play_in_virtual_time(World& world, std::uint64_t start_ns) {
  Schedule schedule(world);
  std::uint64_t now_ns = start_ns;
  while (Source* const next = schedule.next()) {
    // A capture may go back in time; the clock does not.
    now_ns = std::max(now_ns, start_ns + *next->due);
    world.virtual_clock.advance_to(now_ns);
    schedule.play(*next);
  }
  return now_ns;
}

void play_in_real_time(World& world) {
  const std::vector<Source> sources = sources_of(world);
  std::vector<std::jthread> workers;
  for (std::uint32_t cpu = 0; cpu < world.slots.cpus(); ++cpu) {
    workers.emplace_back([&world, &sources, cpu] {
      bool more = true;
      while (more) {
        more = false;
        for (const Source& source : sources) {
          if (source.queue % world.slots.cpus() != cpu) continue;
          // Handed over between batches: a test run, for one, may want the slot.
          const SlotGuard slot = world.slots.enter(cpu);
          if (poll(*slot, source, forever) != 0 ||
              source.device->port().next_arrival_ns(*slot, source.queue))
            more = true;
        }
      }
    });
  }
}

}  // namespace

std::uint64_t play_traffic(World& world, std::uint64_t start_ns) {
  if (world.is_virtual()) return play_in_virtual_time(world, start_ns);
  play_in_real_time(world);
  return 0;
}

}  // namespace skep
