// SPDX-License-Identifier: Apache-2.0
#include "xdp/xdp_type.hpp"

#include "prog/run.hpp"
#include "xdp/helpers.hpp"
#include "xdp/test_run.hpp"

namespace skep {

const Helper* XdpType::helper(std::uint32_t id) const {
  if (const Helper* own = xdp_helper(id)) return own;
  return base_helper(id);
}

Result<void> XdpType::test_run(Caller& caller, Program& program, uapi::prog_test_run_attr& attr,
                               bool& write_back) {
  return XdpTestRun(xdp_, packets_, caller, program, attr).run(write_back);
}

}  // namespace skep
