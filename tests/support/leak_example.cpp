// SPDX-License-Identifier: Apache-2.0
// A test that passes but leaves a descriptor open: its binary must fail (see CMakeLists.txt).

#include <fcntl.h>
#include <gtest/gtest.h>

TEST(LeakExample, LeavesADescriptorOpen) {
  EXPECT_GE(::open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
}
