// SPDX-License-Identifier: Apache-2.0
// Which flow a frame belongs to, as a number: what a network card's receive hash is for its queues.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace skep {

/// A fixed hash of addresses, protocol and ports (through up to two VLAN tags; ports only of whole
/// TCP, UDP and SCTP packets), of the Ethernet header for anything else. Frames of one flow and
/// direction agree; the two directions do not. Never changes between runs or machines. Thread: any.
std::uint32_t flow_hash(std::span<const std::byte> frame);

/// The queue, 0 … queues-1, that a hash selects.
inline std::uint32_t queue_of(std::uint32_t hash, std::uint32_t queues) {
  return static_cast<std::uint32_t>(std::uint64_t{hash} * queues >> 32);
}

}  // namespace skep
