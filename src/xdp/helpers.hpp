// SPDX-License-Identifier: Apache-2.0
// The helpers that only XDP programs have. (Behaviour: devmap-xdp.md 2.2, 3.4.)
#pragma once

#include "prog/program_type.hpp"

#include <cstdint>

namespace skep {

/// The XDP helper `id`, or null. fib_lookup and perf_event_output are not among them: there are no
/// routes and no perf event maps yet.
const Helper* xdp_helper(std::uint32_t id);

}  // namespace skep
