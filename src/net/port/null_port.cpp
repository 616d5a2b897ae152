// SPDX-License-Identifier: Apache-2.0
#include "net/port/null_port.hpp"

namespace skep {

std::optional<std::uint64_t> NullPort::next_arrival_ns(Slot& /*slot*/, std::uint32_t /*queue*/) {
  return std::nullopt;
}

std::size_t NullPort::receive(Slot& /*slot*/, std::uint32_t /*queue*/, std::uint64_t /*until_ns*/,
                              std::span<Buff*> /*out*/) {
  return 0;
}

Result<std::size_t> NullPort::transmit(Slot& slot, std::span<Buff* const> frames, bool /*flush*/) {
  for (Buff* frame : frames) frame->pool->give_back(slot, frame);
  return frames.size();
}

void NullPort::to_host(Slot& slot, std::span<Buff* const> frames) {
  for (Buff* frame : frames) frame->pool->give_back(slot, frame);
}

}  // namespace skep
