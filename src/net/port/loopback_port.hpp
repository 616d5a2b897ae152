// SPDX-License-Identifier: Apache-2.0
// The port of "lo": no packets from outside, no XDP transmit. As on Linux it can only be looked up
// and attached to.
#pragma once

#include "net/port/port.hpp"

namespace skep {

class LoopbackPort final : public Port {
 public:
  std::string_view kind() const override { return "loopback"; }
  std::uint64_t xdp_features() const override { return 0; }
  std::uint32_t rx_queues() const override { return 1; }
  std::optional<std::uint64_t> next_arrival_ns(Slot& /*slot*/, std::uint32_t /*queue*/) override {
    return std::nullopt;
  }
  std::size_t receive(Slot& /*slot*/, std::uint32_t /*queue*/, std::uint64_t /*until_ns*/,
                      std::span<Buff*> /*out*/) override {
    return 0;
  }
  /// Errors: EOPNOTSUPP.
  Result<std::size_t> transmit(Slot& /*slot*/, std::span<Buff* const> /*frames*/,
                               bool /*flush*/) override {
    return Errno{EOPNOTSUPP};
  }
  void to_host(Slot& slot, std::span<Buff* const> frames) override {
    for (Buff* frame : frames) frame->pool->give_back(slot, frame);
  }
  void finish() override {}
};

}  // namespace skep
