// SPDX-License-Identifier: Apache-2.0
// A port that takes everything and gives nothing: where frames go that nobody wants to look at.
#pragma once

#include "net/port/port.hpp"

namespace skep {

class NullPort final : public Port {
 public:
  explicit NullPort(std::uint32_t queues = 1) : queues_(queues) {}

  std::string_view kind() const override { return "null"; }
  std::uint64_t xdp_features() const override { return software_xdp_features; }
  std::uint32_t rx_queues() const override { return queues_; }
  std::optional<std::uint64_t> next_arrival_ns(Slot& slot, std::uint32_t queue) override;
  std::size_t receive(Slot& slot, std::uint32_t queue, std::uint64_t until_ns,
                      std::span<Buff*> out) override;
  Result<std::size_t> transmit(Slot& slot, std::span<Buff* const> frames, bool flush) override;
  void to_host(Slot& slot, std::span<Buff* const> frames) override;
  void finish() override {}

 private:
  const std::uint32_t queues_;
};

}  // namespace skep
