// SPDX-License-Identifier: Apache-2.0
#include "xdp/xdp_hook.hpp"

#include "uapi/bpf.hpp"
#include "xdp/context.hpp"

#include <array>
#include <cstddef>
#include <utility>

namespace skep {
namespace {

/// Frames that collect on their way to one place.
template <std::size_t Size>
class Batch {
 public:
  void add(Buff* frame) { frames_[count_++] = frame; }
  bool full() const { return count_ == Size; }
  /// What collected; the batch is empty afterwards, the frames stay readable until the next add().
  std::span<Buff* const> take() { return {frames_.data(), std::exchange(count_, 0)}; }

 private:
  std::array<Buff*, Size> frames_;
  std::size_t count_ = 0;
};

}  // namespace

/// What one call of receive() carries along.
struct XdpHook::Poll {
  static constexpr std::size_t bulk_max_frames = Redirector::bulk_max_frames;

  Slot& slot;
  Device& device;
  Batch<bulk_max_frames> to_host{}, to_self{};

  void pass(Buff* frame) {
    to_host.add(frame);
    if (to_host.full()) device.pass(slot, to_host.take());
  }

  void transmit(Buff* frame) {
    if ((device.xdp_features() & uapi::NETDEV_XDP_ACT_NDO_XMIT) == 0) {
      device.drop(slot, frame, DropReason::tx_unsupported);
      return;
    }
    if (to_self.full()) send_to_self(false);
    to_self.add(frame);
  }

  void send_to_self(bool flush) {
    const std::span<Buff* const> frames = to_self.take();
    if (frames.empty()) return;
    const auto result = device.transmit(slot, frames, flush);
    const std::size_t sent = result ? *result : 0;
    device.count_xdp_tx(slot, sent);
    for (Buff* const frame : frames.subspan(sent)) device.drop(slot, frame, DropReason::tx_refused);
  }
};

XdpHook::XdpHook(CpuSlots& slots, Redirector& redirector, RunTiming timing, Ref<Program> program)
    : slots_(slots),
      redirector_(redirector),
      timing_(timing),
      attached_(std::make_unique<Attached>(std::move(program), slots)) {}

void XdpHook::receive(Slot& slot, Device& device, std::span<Buff* const> frames) {
  const rcu::ReadGuard guard;  // nests in the caller's section
  Attached& attached = *attached_.read(guard);
  const Program& program = *attached.program;
  XdpFigures& figures = attached.figures[slot];
  RedirectInfo& info = redirector_.begin_section(slot);
  const std::uint64_t start_ns = timing_ == RunTiming::on ? slot.clock().monotonic_ns() : 0;
  Poll poll{.slot = slot, .device = device};

  XdpOrigin origin{.ingress = device, .rx_queue = 0, .fragment_bytes = chunk_bytes};
  for (Buff* const frame : frames) {
    if (frame->has_fragments() && !program.has_frags()) [[unlikely]] {
      device.drop(slot, frame, DropReason::xdp_no_frags);
      continue;
    }
    origin.rx_queue = frame->rx_queue;
    XdpContext context(*frame, origin, info);
    const Outcome outcome = program.run(slot, context);
    ++figures.runs;
    if (outcome.faulted) [[unlikely]] {
      ++figures.faults;
      ++figures.verdicts[XdpFigures::aborted];
      device.drop(slot, frame, DropReason::xdp_fault);
      continue;
    }
    switch (static_cast<std::uint32_t>(outcome.value)) {
      case uapi::XDP_PASS:
        ++figures.verdicts[XdpFigures::pass];
        poll.pass(frame);
        break;
      case uapi::XDP_DROP:
        ++figures.verdicts[XdpFigures::drop];
        device.drop(slot, frame, DropReason::xdp_drop);
        break;
      case uapi::XDP_TX:
        ++figures.verdicts[XdpFigures::tx];
        poll.transmit(frame);
        break;
      case uapi::XDP_REDIRECT:
        ++figures.verdicts[XdpFigures::redirect];
        if (const auto reason = redirector_.redirect(slot, guard, device, frame, info))
          device.drop(slot, frame, *reason);
        break;
      case uapi::XDP_ABORTED:
        ++figures.verdicts[XdpFigures::aborted];
        device.drop(slot, frame, DropReason::xdp_aborted);
        break;
      default:
        ++figures.verdicts[XdpFigures::invalid];
        device.drop(slot, frame, DropReason::xdp_invalid_verdict);
    }
  }

  if (timing_ == RunTiming::on) figures.time_ns += slot.clock().monotonic_ns() - start_ns;
  if (const auto rest = poll.to_host.take(); !rest.empty()) device.pass(slot, rest);
  redirector_.flush(slot);
  poll.send_to_self(true);
}

}  // namespace skep
