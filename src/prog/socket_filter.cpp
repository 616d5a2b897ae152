// SPDX-License-Identifier: Apache-2.0
#include "prog/socket_filter.hpp"

#include "prog/run.hpp"

namespace skep {

const Helper* SocketFilterType::helper(std::uint32_t id) const {
  constexpr std::uint32_t csum_diff = 28;  // a helper for XDP and tc only
  return id == csum_diff ? nullptr : base_helper(id);
}

}  // namespace skep
