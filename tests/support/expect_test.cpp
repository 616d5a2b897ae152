// SPDX-License-Identifier: Apache-2.0
#include "support/expect.hpp"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <memory>

namespace skep::testing {
namespace {

Result<std::unique_ptr<int>> made() { return std::make_unique<int>(1); }
Result<void> refused(int code) { return Errno{code}; }

TEST(Expect, SuccessSatisfiesExpectOk) {
  EXPECT_OK(made());
  EXPECT_OK(ok());
}

TEST(Expect, AnErrnoFailsExpectOkAndIsNamed) {
  EXPECT_NONFATAL_FAILURE(EXPECT_OK(refused(EEXIST)), "refused(17) failed with EEXIST (17)");
  EXPECT_FATAL_FAILURE(ASSERT_OK(refused(EEXIST)), "failed with EEXIST (17)");
}

TEST(Expect, OnlyTheSameErrnoSatisfiesExpectErrno) {
  EXPECT_ERRNO(refused(ENOENT), ENOENT);
  EXPECT_NONFATAL_FAILURE(EXPECT_ERRNO(refused(ENOENT), EEXIST),
                          "failed with ENOENT (2), but should with EEXIST (17)");
  EXPECT_NONFATAL_FAILURE(EXPECT_ERRNO(made(), EEXIST), "succeeded, but should fail with EEXIST");
}

TEST(Expect, AnErrnoUnknownToLibcIsShownAsItsNumber) { EXPECT_EQ(errno_text(ENOTSUPP), "524"); }

}  // namespace
}  // namespace skep::testing
