// SPDX-License-Identifier: Apache-2.0
#include "host/host_kernel.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>

namespace skep {
namespace {

TEST(HostKernel, ErrorsAreNegativeErrnos) {
  HostKernel kernel;
  std::array<std::uint64_t, 4> attr{};
  const long result = kernel.bpf(99999, attr.data(), sizeof attr);
  // EPERM where a sandbox refuses the call before its command is looked at, ENOSYS without BPF.
  EXPECT_TRUE(result == -EINVAL || result == -EPERM || result == -ENOSYS) << result;
}

TEST(HostKernel, SaysWhyItCannotBeUsedOrCanBeUsed) {
  HostKernel kernel;
  const std::string reason = kernel.unavailable();
  if (!reason.empty()) GTEST_SKIP() << reason;
  std::array<std::uint32_t, 4> attr{2, 4, 4, 1};
  const long fd = kernel.bpf(0, attr.data(), sizeof attr);
  ASSERT_GE(fd, 0);
  ::close(static_cast<int>(fd));
}

TEST(HostKernel, VersionsCompareByNumber) {
  EXPECT_TRUE(HostKernel::is_at_least(2, 6));
  EXPECT_FALSE(HostKernel::is_at_least(1000, 0));
  EXPECT_FALSE(HostKernel::is_at_least(999, 4000000000U));
}

}  // namespace
}  // namespace skep
