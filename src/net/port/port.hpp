// SPDX-License-Identifier: Apache-2.0
// Where real packets come in and go out. A port belongs to one device; the data path calls it with
// the slot it runs on.
#pragma once

#include "cpu/slot.hpp"
#include "net/drop_reason.hpp"
#include "net/packet.hpp"
#include "result/result.hpp"
#include "uapi/bpf.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace skep {

/// NETDEV_XDP_ACT_* bits of a port that is all software: everything but zero copy and hardware
/// offload.
inline constexpr std::uint64_t software_xdp_features =
    uapi::NETDEV_XDP_ACT_BASIC | uapi::NETDEV_XDP_ACT_REDIRECT | uapi::NETDEV_XDP_ACT_NDO_XMIT |
    uapi::NETDEV_XDP_ACT_RX_SG | uapi::NETDEV_XDP_ACT_NDO_XMIT_SG;

class Port {
 public:
  virtual ~Port() = default;

  /// "pcap", "null", "gen", "loopback".
  virtual std::string_view kind() const = 0;
  /// NETDEV_XDP_ACT_* bits.
  virtual std::uint64_t xdp_features() const = 0;
  virtual std::uint32_t rx_queues() const = 0;

  /// When the next frame of `queue` is due (nanoseconds, see counts_from_zero); nullopt if none
  /// will ever come. Frames with equal hash go to the same queue.
  virtual std::optional<std::uint64_t> next_arrival_ns(Slot& slot, std::uint32_t queue) = 0;
  /// Receives up to out.size() frames of `queue` that are due at or before `until_ns`, in order;
  /// returns their number. Fewer than asked for: none due now.
  virtual std::size_t receive(Slot& slot, std::uint32_t queue, std::uint64_t until_ns,
                              std::span<Buff*> out) = 0;

  /// Whether arrivals count from 0 (made-up traffic) instead of from 1970 (captures).
  virtual bool counts_from_zero() const { return false; }
  /// Plays the input again from its start. Call while no slot receives. Errors: ESPIPE (a pipe), as
  /// open(2).
  virtual Result<void> rewind() { return ok(); }

  /// Takes over a prefix of `frames` and returns its length; the rest stays with the caller.
  /// Errors: EOPNOTSUPP (cannot transmit), ENXIO, EIO (output failed; see error()).
  virtual Result<std::size_t> transmit(Slot& slot, std::span<Buff* const> frames, bool flush) = 0;
  /// Takes over frames that go up to the host side.
  virtual void to_host(Slot& slot, std::span<Buff* const> frames) = 0;

  /// Writes out what is buffered. Idempotent.
  virtual void finish() = 0;
  /// Frames that the port itself had to refuse on input since it was opened: rx_too_long,
  /// rx_no_memory. The device adds them to what it received and dropped. Thread: any.
  virtual std::uint64_t refused(DropReason /*reason*/) const { return 0; }
  /// What went wrong for good, as one sentence for the user; empty if nothing. What was processed
  /// before stays.
  virtual std::string error() const { return {}; }
};

}  // namespace skep
