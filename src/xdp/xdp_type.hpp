// SPDX-License-Identifier: Apache-2.0
// The program type XDP: its context, its helpers, its test run.
#pragma once

#include "net/packet.hpp"
#include "prog/program_type.hpp"
#include "xdp/xdp.hpp"

#include <cstdint>

namespace skep {

/// One per runtime; outlives its programs. Test runs take their packets from `packets` and redirect
/// through `xdp`.
class XdpType final : public ProgramType {
 public:
  XdpType(Xdp& xdp, PacketPool& packets)
      : ProgramType(uapi::BPF_PROG_TYPE_XDP, "xdp"), xdp_(xdp), packets_(packets) {}

  std::uint32_t context_bytes() const override { return sizeof(uapi::xdp_md); }
  const Helper* helper(std::uint32_t id) const override;
  /// Source: devmap-xdp.md 4. Differs: no signal ends a run (there is none to see in this process).
  Result<void> test_run(Caller& caller, Program& program, uapi::prog_test_run_attr& attr,
                        bool& write_back) override;

 private:
  Xdp& xdp_;
  PacketPool& packets_;
};

}  // namespace skep
