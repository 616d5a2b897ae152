// SPDX-License-Identifier: Apache-2.0
#include "xdp/redirect.hpp"

#include "uapi/bpf.hpp"
#include "xdp/context.hpp"
#include "xdp/devmap.hpp"

#include <algorithm>
#include <span>

namespace skep {
namespace {

/// A tag may be pushed on the way: a frame may be longer than MTU and header by this much.
constexpr std::size_t vlan_header_bytes = 4;

/// Why `target` cannot take `frame`, if so. The order of checks is visible.
std::optional<DropReason> refusal(const Device& target, const Buff& frame) {
  const std::uint64_t features = target.xdp_features();
  if ((features & uapi::NETDEV_XDP_ACT_NDO_XMIT) == 0) return DropReason::redirect_unsupported;
  if (frame.has_fragments() && (features & uapi::NETDEV_XDP_ACT_NDO_XMIT_SG) == 0)
    return DropReason::redirect_unsupported;
  if (!target.is_up()) return DropReason::redirect_target_down;
  if (frame.frame_bytes() > vlan_header_bytes + target.mtu() + target.hard_header_bytes())
    return DropReason::redirect_too_long;
  return std::nullopt;
}

/// Linux keeps a descriptor in the headroom of a frame that travels on.
bool has_room_for_descriptor(Buff& frame) {
  return frame.data_meta - frame.hard_start() >= std::ptrdiff_t{frame_area_bytes} &&
         frame.data_end <= frame.hard_end();
}

XdpFigures::Verdict verdict_of(std::uint32_t value) {
  return value < XdpFigures::invalid ? static_cast<XdpFigures::Verdict>(value)
                                     : XdpFigures::invalid;
}

}  // namespace

void XdpFigures::add(const XdpFigures& other) {
  runs += other.runs;
  faults += other.faults;
  time_ns += other.time_ns;
  for (std::size_t i = 0; i < verdicts.size(); ++i) verdicts[i] += other.verdicts[i];
}

/// Frames on their way to one target. In use from its first frame to the flush.
struct Redirector::BulkQueue {
  Device* target;
  // Of the first frame since the last flush; those that follow share them, whatever entry they came
  // through.
  Device* ingress;
  const Program* program;
  std::uint32_t count;
  std::uint32_t position;  // in SlotState::positions
  std::array<Buff*, bulk_max_frames> frames;
};

/// What one slot's owner has.
struct Redirector::SlotState {
  struct Egress {
    const Program* program;
    std::uint32_t prog_id;
    std::string name;
    XdpFigures figures;
  };

  RedirectInfo info;
  // Queues in use, in the order in which they became so: queues[0 .. used).
  std::array<BulkQueue, max_queues> queues;
  std::uint32_t used = 0;
  BulkQueue* last = nullptr;  // where the frame before went: most frames go there too
  // Open addressing by target; 1 + index in queues, 0: free. Twice as long as needed at most.
  std::array<std::uint16_t, 2 * max_queues> positions{};
  // Few; searched once per bulk. Grows once for each program that ever ran here.
  std::vector<Egress> egress;
};

Redirector::Redirector(CpuSlots& slots, RunTiming timing) : timing_(timing), slots_(slots) {
  slots_.for_each([](std::unique_ptr<SlotState>& state) { state = std::make_unique<SlotState>(); });
}

Redirector::~Redirector() {
  slots_.for_each([](std::unique_ptr<SlotState>& state) { ASSERT(state->used == 0); });
}

RedirectInfo& Redirector::begin_section(Slot& slot) {
  SlotState& state = *slots_[slot];
  ASSERT(state.used == 0);  // the section before was flushed
  state.info = {};
  return state.info;
}

std::optional<DropReason> Redirector::redirect(Slot& slot, const rcu::ReadGuard& guard,
                                               Device& ingress, Buff* frame, RedirectInfo& info) {
  const RedirectInfo::Kind kind = std::exchange(info.kind, RedirectInfo::Kind::none);
  const Devmap* const all_of = std::exchange(info.broadcast, nullptr);
  const bool exclude_ingress = std::exchange(info.exclude_ingress, false);
  if (!has_room_for_descriptor(*frame)) return DropReason::redirect_headroom;

  switch (kind) {
    case RedirectInfo::Kind::none:
      return DropReason::redirect_no_target;
    case RedirectInfo::Kind::plain: {
      Device* const target =
          ingress.net_namespace().find(static_cast<std::uint32_t>(info.index), guard);
      if (target == nullptr) return DropReason::redirect_no_device;
      return enqueue(slot, ingress, *target, nullptr, frame);
    }
    case RedirectInfo::Kind::devmap:
      if (all_of != nullptr)
        return broadcast(slot, guard, ingress, *all_of, exclude_ingress, frame);
      return enqueue(slot, ingress, *info.target->device, info.target->program.get(), frame);
  }
  return DropReason::redirect_no_target;
}

std::optional<DropReason> Redirector::enqueue(Slot& slot, Device& ingress, Device& target,
                                              const Program* program, Buff* frame) {
  if (const auto reason = refusal(target, *frame)) return reason;
  append(slot, ingress, target, program, frame);
  return std::nullopt;
}

// Every target but the last gets a clone, the last the frame itself; so each is served when the
// next one is found.
std::optional<DropReason> Redirector::broadcast(Slot& slot, const rcu::ReadGuard& guard,
                                                Device& ingress, const Devmap& map,
                                                bool exclude_ingress, Buff* frame) {
  const DevmapEntry* last = nullptr;
  std::optional<DropReason> failure;
  map.for_each_target(guard, [&](const DevmapEntry& entry) {
    // Devices have no upper devices yet: ingress itself is all there is to exclude.
    if (exclude_ingress && entry.device->ifindex() == ingress.ifindex()) return true;
    if (refusal(*entry.device, *frame)) return true;
    if (last != nullptr) {
      if (frame->has_fragments()) {
        failure = DropReason::redirect_fragments;
        return false;
      }
      Buff* const copy = frame->pool->clone(slot, *frame);
      if (copy == nullptr) {
        failure = DropReason::redirect_no_memory;
        return false;
      }
      append(slot, ingress, *last->device, last->program.get(), copy);
    }
    last = &entry;
    return true;
  });
  if (failure) return failure;
  if (last == nullptr) {
    // A success on Linux, where the frame vanishes without a word.
    ingress.drop(slot, frame, DropReason::redirect_empty_slot);
    return std::nullopt;
  }
  append(slot, ingress, *last->device, last->program.get(), frame);
  return std::nullopt;
}

void Redirector::append(Slot& slot, Device& ingress, Device& target, const Program* program,
                        Buff* frame) {
  BulkQueue& queue = queue_of(slot, target);
  if (queue.count == bulk_max_frames) transmit(slot, queue, false);
  if (queue.ingress == nullptr) {
    queue.ingress = &ingress;
    queue.program = program;
  }
  queue.frames[queue.count++] = frame;
}

Redirector::BulkQueue& Redirector::queue_of(Slot& slot, Device& target) {
  SlotState& state = *slots_[slot];
  if (state.last != nullptr && state.last->target == &target) return *state.last;
  if (state.used == max_queues) flush(slot);
  // Devices are allocated objects: the low bits say nothing. Fibonacci hashing spreads the rest.
  std::uint64_t hash = (reinterpret_cast<std::uintptr_t>(&target) >> 6) * 0x9e3779b97f4a7c15ULL;
  std::uint32_t position = hash >> (64 - 9);
  static_assert(std::tuple_size_v<decltype(state.positions)> == 1 << 9);
  // Bounded: at most half of the positions are taken.
  for (;; position = (position + 1) % state.positions.size()) {
    const std::uint16_t taken = state.positions[position];
    if (taken == 0) break;
    BulkQueue& queue = state.queues[taken - 1];
    if (queue.target == &target) {
      state.last = &queue;
      return queue;
    }
  }
  BulkQueue& queue = state.queues[state.used++];
  state.positions[position] = static_cast<std::uint16_t>(state.used);
  queue.target = &target;
  queue.ingress = nullptr;
  queue.program = nullptr;
  queue.count = 0;
  queue.position = position;
  state.last = &queue;
  return queue;
}

void Redirector::flush(Slot& slot) {
  SlotState& state = *slots_[slot];
  while (state.used != 0) {
    BulkQueue& queue = state.queues[state.used - 1];
    transmit(slot, queue, true);
    state.positions[queue.position] = 0;
    --state.used;
  }
  state.last = nullptr;
}

void Redirector::transmit(Slot& slot, BulkQueue& queue, bool flush) {
  Device& target = *queue.target;
  if (queue.count == 0) return;
  const std::size_t count = queue.program == nullptr ? queue.count : run_egress(slot, queue);
  queue.count = 0;
  if (count == 0) return;
  const std::span<Buff* const> frames(queue.frames.data(), count);
  const auto result = target.transmit(slot, frames, flush);
  const std::size_t sent = result ? *result : 0;
  if (sent != 0) queue.ingress->count_redirected(slot, target.ifindex(), sent);
  for (Buff* const frame : frames.subspan(sent)) target.drop(slot, frame, DropReason::tx_refused);
}

/// Runs the queue's program on each frame; survivors move to the front. Returns their number.
std::size_t Redirector::run_egress(Slot& slot, BulkQueue& queue) {
  SlotState& state = *slots_[slot];
  Device& target = *queue.target;
  const Program& program = *queue.program;

  auto egress = std::ranges::find_if(state.egress, [&](const SlotState::Egress& e) {
    return e.program == &program && e.prog_id == program.id();
  });
  if (egress == state.egress.end()) {
    state.egress.push_back({&program, program.id(), std::string(program.full_name()), {}});
    egress = state.egress.end() - 1;
  }
  XdpFigures& figures = egress->figures;

  // A program on the way out has no fragment size: it cannot grow a frame with fragments.
  const XdpOrigin origin{.ingress = *queue.ingress, .rx_queue = 0, .egress = &target};
  const std::uint64_t start_ns = timing_ == RunTiming::on ? slot.clock().monotonic_ns() : 0;
  std::size_t kept = 0;
  for (Buff* const frame : std::span(queue.frames.data(), queue.count)) {
    // Its helpers write to the section's own info, as on Linux.
    XdpContext context(*frame, origin, state.info);
    const Outcome outcome = program.run(slot, context);
    const auto verdict = verdict_of(static_cast<std::uint32_t>(outcome.value));
    ++figures.runs;
    ++figures.verdicts[verdict];
    figures.faults += outcome.faulted ? 1 : 0;
    switch (verdict) {
      case XdpFigures::pass:
        if (has_room_for_descriptor(*frame)) {
          queue.frames[kept++] = frame;
        } else {
          target.drop(slot, frame, DropReason::egress_headroom);
        }
        break;
      case XdpFigures::drop:
        target.drop(slot, frame, DropReason::egress_drop);
        break;
      case XdpFigures::aborted:
        target.drop(slot, frame, DropReason::egress_aborted);
        break;
      default:
        target.drop(slot, frame, DropReason::egress_invalid_verdict);
    }
  }
  if (timing_ == RunTiming::on) figures.time_ns += slot.clock().monotonic_ns() - start_ns;
  return kept;
}

std::vector<Redirector::EgressReport> Redirector::egress_report() const {
  std::vector<EgressReport> report;
  slots_.for_each([&](const std::unique_ptr<SlotState>& state) {
    for (const SlotState::Egress& egress : state->egress) {
      auto found = std::ranges::find(report, egress.prog_id, &EgressReport::prog_id);
      if (found == report.end())
        found = report.insert(report.end(), {egress.prog_id, egress.name, {}});
      found->figures.add(egress.figures);
    }
  });
  std::ranges::sort(report, {}, &EgressReport::prog_id);
  return report;
}

}  // namespace skep
