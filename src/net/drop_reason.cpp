// SPDX-License-Identifier: Apache-2.0
#include "net/drop_reason.hpp"

#include "result/result.hpp"

#include <array>

namespace skep {
namespace {

// In the order of the enumerators; the test compares both.
constexpr std::array<std::string_view, drop_reasons> names = {
    "xdp_drop",
    "xdp_aborted",
    "xdp_invalid_verdict",
    "xdp_fault",
    "xdp_no_frags",
    "redirect_no_target",
    "redirect_no_device",
    "redirect_empty_slot",
    "redirect_headroom",
    "redirect_unsupported",
    "redirect_target_down",
    "redirect_too_long",
    "redirect_no_memory",
    "redirect_fragments",
    "egress_drop",
    "egress_aborted",
    "egress_invalid_verdict",
    "egress_headroom",
    "tx_unsupported",
    "tx_refused",
    "rx_runt",
    "rx_too_long",
    "rx_no_memory",
    "rx_down",
};
static_assert(!names.back().empty(), "a reason without a name");

}  // namespace

std::string_view name_of(DropReason reason) {
  const auto index = static_cast<std::size_t>(reason);
  ASSERT(index < names.size());
  return names[index];
}

}  // namespace skep
