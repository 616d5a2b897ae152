// SPDX-License-Identifier: Apache-2.0
#include "xdp/test_run.hpp"

#include "cpu/slot.hpp"
#include "rcu/rcu.hpp"
#include "sync/racy.hpp"
#include "xdp/context.hpp"
#include "xdp/redirect.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace skep {
namespace {

constexpr std::uint32_t loopback_ifindex = 1;
constexpr std::uint32_t page_bytes = 4096;
constexpr std::uint32_t max_meta_bytes = headroom_bytes - frame_area_bytes;  // 216

/// Where runs happen: a possible CPU, because programs may use its per-CPU values. Linux takes the
/// caller's.
constexpr std::uint32_t test_cpu = 0;

}  // namespace

XdpTestRun::~XdpTestRun() {
  if (frame_ == nullptr && spare_.empty()) return;
  const SlotGuard slot = xdp_.slots().enter_control();
  if (frame_ != nullptr) packets_.give_back(*slot, frame_);
  for (Buff* const frame : spare_) packets_.give_back(*slot, frame);
}

Result<void> XdpTestRun::run(bool& write_back) {
  write_back = false;
  TRY(check_attributes());
  TRY(read_context());
  TRY(check_sizes());
  TRY(make_frame());
  TRY(find_device());
  TRY(add_fragments());

  const std::uint32_t repeat = attr_.repeat == 0 ? 1 : attr_.repeat;
  if (is_live()) {
    TRY(run_live());
  } else {
    TRY(run_on_one_frame());
  }
  attr_.duration = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(time_ns_ / repeat, std::numeric_limits<std::uint32_t>::max()));
  TRY(write_packet(write_back));
  return write_context();
}

Result<void> XdpTestRun::check_attributes() {
  if ((attr_.ctx_size_in != 0) != (attr_.ctx_in != 0)) return Errno{EINVAL};
  if ((attr_.ctx_size_out != 0) != (attr_.ctx_out != 0)) return Errno{EINVAL};
  const std::uint32_t attach_type = program_.spec().expected_attach_type;
  if (attach_type == uapi::BPF_XDP_DEVMAP || attach_type == uapi::BPF_XDP_CPUMAP)
    return Errno{EINVAL};
  if ((attr_.flags & ~uapi::BPF_F_TEST_XDP_LIVE_FRAMES) != 0) return Errno{EINVAL};
  if (is_live()) {
    batch_ = attr_.batch_size == 0 ? default_batch : attr_.batch_size;
    if (batch_ > max_batch) return Errno{E2BIG};
  } else if (attr_.batch_size != 0) {
    return Errno{EINVAL};
  }
  return ok();
}

Result<void> XdpTestRun::read_context() {
  if (!has_context()) return ok();
  if (attr_.ctx_size_in > page_bytes) return Errno{E2BIG};
  std::array<std::byte, page_bytes> given{};  // missing bytes are zero
  if (attr_.ctx_size_in != 0) {
    const std::span<std::byte> bytes(given.data(), attr_.ctx_size_in);
    TRY(caller_.read(attr_.ctx_in, bytes));
    if (bytes.size() > sizeof(context_) &&
        std::ranges::any_of(bytes.subspan(sizeof(context_)),
                            [](std::byte b) { return b != std::byte{0}; }))
      return Errno{E2BIG};
  }
  std::memcpy(&context_, given.data(), sizeof(context_));
  if (context_.data_meta != 0 || context_.data_end > attr_.data_size_in ||
      context_.data > context_.data_end)
    return Errno{EINVAL};
  if (is_live() && (attr_.data_out != 0 || attr_.ctx_out != 0)) return Errno{EINVAL};
  return ok();
}

Result<void> XdpTestRun::check_sizes() {
  const std::uint32_t meta_bytes = context_.data;
  if (meta_bytes % 4 != 0 || meta_bytes > max_meta_bytes) return Errno{EINVAL};
  const std::uint32_t max_bytes =
      max_linear_bytes - (is_live() ? live_record_bytes : 0) + meta_bytes;
  linear_bytes_ = std::min(has_context() ? context_.data_end : attr_.data_size_in, max_bytes);
  if (is_live() && attr_.data_size_in > linear_bytes_) return Errno{EINVAL};
  if (attr_.data_size_in < meta_bytes + ethernet_header_bytes) return Errno{EINVAL};
  return ok();
}

void XdpTestRun::place(Buff& frame) const {
  const std::uint32_t record_bytes = is_live() ? live_record_bytes : 0;
  frame.data = frame.hard_start() + record_bytes + headroom_bytes;
  frame.data_meta = frame.data - context_.data;
  frame.data_end = frame.data_meta + linear_bytes_;
  frame.rx_device = device_.get();
  frame.rx_queue = context_.rx_queue_index;
}

Result<void> XdpTestRun::make_frame() {
  {
    const SlotGuard slot = xdp_.slots().enter_control();
    frame_ = packets_.take(*slot);
  }
  if (frame_ == nullptr) return Errno{ENOMEM};
  place(*frame_);
  // What programs find in headroom and tail is not what other packets left there.
  racy_zero(frame_->hard_start(),
            static_cast<std::size_t>(frame_->hard_end() - frame_->hard_start()));
  return caller_.read(attr_.data_in, {frame_->data_meta, linear_bytes_});
}

Result<void> XdpTestRun::find_device() {
  if (context_.egress_ifindex != 0) return Errno{EINVAL};
  if (context_.rx_queue_index != 0 && context_.ingress_ifindex == 0) return Errno{EINVAL};
  const std::uint32_t ifindex =
      context_.ingress_ifindex != 0 ? context_.ingress_ifindex : loopback_ifindex;
  device_ = TRY(caller_.net_namespace().device(ifindex));
  if (context_.rx_queue_index >= std::max(device_->rx_queues(), 1U)) return Errno{EINVAL};
  frame_->rx_device = device_.get();
  return ok();
}

Result<void> XdpTestRun::add_fragments() {
  for (std::uint32_t done = linear_bytes_; done < attr_.data_size_in;) {
    Buff::Fragment* fragment;
    {
      const SlotGuard slot = xdp_.slots().enter_control();
      fragment = packets_.add_fragment(*slot, *frame_);
    }
    if (fragment == nullptr) return Errno{ENOMEM};
    const std::uint32_t bytes = std::min(attr_.data_size_in - done, page_bytes);
    TRY(caller_.read(attr_.data_in + done, {packets_.fragment_data(*fragment), bytes}));
    fragment->bytes = static_cast<std::uint16_t>(bytes);
    done += bytes;
  }
  return ok();
}

Result<void> XdpTestRun::run_on_one_frame() {
  const XdpOrigin origin{
      .ingress = *device_, .rx_queue = context_.rx_queue_index, .fragment_bytes = chunk_bytes};
  std::uint32_t left = attr_.repeat == 0 ? 1 : attr_.repeat;
  while (left != 0) {
    const SlotGuard slot = xdp_.slots().enter(test_cpu);
    const std::uint64_t start_ns = slot->clock().monotonic_ns();
    const std::uint32_t turn = std::min(left, runs_per_turn);
    for (std::uint32_t i = 0; i < turn; ++i) {
      const rcu::ReadGuard guard;
      RedirectInfo redirect;  // each run is a section of its own; nothing is redirected
      XdpContext context(*frame_, origin, redirect);
      attr_.retval = static_cast<std::uint32_t>(program_.run(*slot, context).value);
    }
    time_ns_ += slot->clock().monotonic_ns() - start_ns;
    left -= turn;
    if (left != 0 && caller_.is_gone()) return Errno{EINTR};
  }
  return ok();
}

Result<void> XdpTestRun::run_live() {
  spare_.reserve(batch_);
  std::uint32_t left = attr_.repeat == 0 ? 1 : attr_.repeat;
  while (left != 0) {
    const std::uint32_t count = std::min(left, batch_);
    TRY(run_live_batch(count));
    left -= count;
    if (left != 0 && caller_.is_gone()) return Errno{EINTR};
  }
  attr_.retval = 0;
  return ok();
}

Result<void> XdpTestRun::run_live_batch(std::uint32_t count) {
  const SlotGuard slot = xdp_.slots().enter(test_cpu);
  const rcu::ReadGuard guard;
  Redirector& redirector = xdp_.redirector();
  RedirectInfo& info = redirector.begin_section(*slot);
  const XdpOrigin origin{.ingress = *device_,
                         .rx_queue = context_.rx_queue_index,
                         .fragment_bytes = chunk_bytes,
                         .reserved_bytes = live_record_bytes};
  const std::uint64_t start_ns = slot->clock().monotonic_ns();
  std::array<Buff*, max_batch> passed;
  std::uint32_t passed_count = 0;
  bool out_of_memory = false;

  for (std::uint32_t i = 0; i < count && !out_of_memory; ++i) {
    Buff* const frame = next_live_frame(*slot);
    if (frame == nullptr) {
      out_of_memory = true;
      break;
    }
    XdpContext context(*frame, origin, info);
    const Outcome outcome = program_.run(*slot, context);
    std::optional<DropReason> reason;
    switch (static_cast<std::uint32_t>(outcome.value)) {
      case uapi::XDP_PASS:
        passed[passed_count++] = frame;
        break;
      case uapi::XDP_TX:
        info.index = device_->ifindex();
        info.kind = RedirectInfo::Kind::plain;
        [[fallthrough]];
      case uapi::XDP_REDIRECT:
        reason = redirector.redirect(*slot, guard, *device_, frame, info);
        break;
      case uapi::XDP_DROP:
        reason = DropReason::xdp_drop;
        break;
      case uapi::XDP_ABORTED:
        reason = outcome.faulted ? DropReason::xdp_fault : DropReason::xdp_aborted;
        break;
      default:
        reason = DropReason::xdp_invalid_verdict;
    }
    if (reason) {
      device_->count_drop(*slot, *reason);
      spare_.push_back(frame);
    }
  }

  redirector.flush(*slot);
  if (passed_count != 0) device_->pass(*slot, {passed.data(), passed_count});
  time_ns_ += slot->clock().monotonic_ns() - start_ns;
  if (out_of_memory) return Errno{ENOMEM};
  return ok();
}

// A frame that came back is used again with its bounds restored, not its content: programs can see
// that on Linux too.
Buff* XdpTestRun::next_live_frame(Slot& slot) {
  Buff* frame;
  if (!spare_.empty()) {
    frame = spare_.back();
    spare_.pop_back();
    place(*frame);
  } else {
    frame = packets_.take(slot);
    if (frame == nullptr) return nullptr;
    place(*frame);
    racy_copy(frame->data_meta, frame_->data_meta, linear_bytes_);
  }
  frame->timestamp_ns = slot.clock().realtime_ns();
  return frame;
}

Result<void> XdpTestRun::write_packet(bool& write_back) {
  const std::size_t fragment_bytes = frame_->fragment_bytes();
  const std::size_t total = frame_->meta_bytes() + frame_->frame_bytes();
  // What may be copied; 0 as a limit means none.
  const std::size_t limit =
      attr_.data_size_out == 0 ? total : std::min<std::size_t>(total, attr_.data_size_out);
  const bool truncated = limit < total;
  if (attr_.data_out != 0) {
    // Linux cuts the linear part, not the end, and gives up if that is too short.
    if (limit < fragment_bytes) return Errno{ENOSPC};
    const std::size_t linear = limit - fragment_bytes;
    // A buffer that is too short is noticed before one that cannot be written.
    const Errno unwritable{truncated ? ENOSPC : EFAULT};
    if (!caller_.write(attr_.data_out, {frame_->data_meta, linear})) return unwritable;
    std::uint64_t address = attr_.data_out + linear;
    for (const Buff::Fragment& fragment : frame_->frags()) {
      if (!caller_.write(address, {packets_.fragment_data(fragment), fragment.bytes}))
        return unwritable;
      address += fragment.bytes;
    }
  }
  attr_.data_size_out = static_cast<std::uint32_t>(total);
  write_back = true;
  if (truncated) return Errno{ENOSPC};
  return ok();
}

Result<void> XdpTestRun::write_context() {
  if (attr_.ctx_out == 0) return ok();
  uapi::xdp_md out = context_;
  out.data_meta = 0;
  out.data = static_cast<std::uint32_t>(frame_->meta_bytes());
  out.data_end = static_cast<std::uint32_t>(frame_->data_end - frame_->data_meta);
  const std::size_t bytes = std::min<std::size_t>(attr_.ctx_size_out, sizeof(out));
  TRY(caller_.write(attr_.ctx_out, std::as_bytes(std::span(&out, 1)).first(bytes)));
  attr_.ctx_size_out = sizeof(out);
  if (bytes < sizeof(out)) return Errno{ENOSPC};
  return ok();
}

}  // namespace skep
