// SPDX-License-Identifier: Apache-2.0
// Why a frame ended without being passed, sent or redirected. Every reason has a name and a counter
// per device.
#pragma once

#include <cstdint>
#include <string_view>

namespace skep {

enum class DropReason : std::uint8_t {
  xdp_drop,              // verdict DROP
  xdp_aborted,           // verdict ABORTED
  xdp_invalid_verdict,   // any number that is not a verdict
  xdp_fault,             // the program was ended by the checked interpreter; counted as ABORTED too
  xdp_no_frags,          // frame with fragments, program without XDP_HAS_FRAGS
  redirect_no_target,    // XDP_REDIRECT without a helper call before (EBADRQC)
  redirect_no_device,    // plain redirect to an ifindex that does not exist (EINVAL)
  redirect_empty_slot,   // devmap without an entry where one was promised (ENOENT)
  redirect_headroom,     // too little headroom for the frame descriptor (EOVERFLOW)
  redirect_unsupported,  // target cannot transmit XDP frames, or not with fragments (EOPNOTSUPP)
  redirect_target_down,  // ENETDOWN
  redirect_too_long,     // longer than the target's MTU allows (EMSGSIZE)
  redirect_no_memory,    // broadcast: no chunk for a clone (ENOMEM)
  redirect_fragments,    // broadcast of a frame with fragments to more than one target (EOPNOTSUPP)
  egress_drop,           // devmap program: DROP
  egress_aborted,        // devmap program: ABORTED
  egress_invalid_verdict,  // devmap program: TX, REDIRECT or no verdict
  egress_headroom,         // devmap program left too little headroom
  tx_unsupported,          // verdict TX on a port that cannot transmit
  tx_refused,              // the port took only a part of the bulk, or failed
  rx_runt,                 // shorter than an Ethernet header
  rx_too_long,             // longer than a frame can be
  rx_no_memory,            // no chunk free
  rx_down,                 // the device is down
  count_
};

inline constexpr std::size_t drop_reasons = static_cast<std::size_t>(DropReason::count_);

/// The enumerator's name, for tables and JSON.
std::string_view name_of(DropReason reason);

}  // namespace skep
