// SPDX-License-Identifier: Apache-2.0
// Program type 1, socket filters, as far as loaders need it: they probe features with tiny filters.
// Nothing runs them yet.
#pragma once

#include "prog/program_type.hpp"

namespace skep {

class SocketFilterType final : public ProgramType {
 public:
  SocketFilterType() : ProgramType(uapi::BPF_PROG_TYPE_SOCKET_FILTER, "socket_filter") {}

  bool needs_net_admin() const override { return false; }
  std::uint32_t context_bytes() const override { return 192; }  // struct __sk_buff
  const Helper* helper(std::uint32_t id) const override;
  bool allows_packet_loads() const override { return true; }
};

}  // namespace skep
