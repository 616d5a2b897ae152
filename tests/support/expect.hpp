// SPDX-License-Identifier: Apache-2.0
// GoogleTest assertions about `Result<T>`: EXPECT_OK, ASSERT_OK and EXPECT_ERRNO. A failure names
// the expression and the errno that came back.
#pragma once

#include "result/result.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace skep::testing {

/// "EEXIST (17)"; the number alone when libc does not know it.
inline std::string errno_text(int code) {
  const char* name = ::strerrorname_np(code);
  return name ? std::string(name) + " (" + std::to_string(code) + ")" : std::to_string(code);
}

struct IsOk {
  template <typename R>
  ::testing::AssertionResult operator()(const char* text, const R& result) const {
    if (static_cast<bool>(result)) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure()
           << text << " failed with " << errno_text(result.error().code);
  }
};
inline constexpr IsOk is_ok;

struct HasErrno {
  template <typename R>
  ::testing::AssertionResult operator()(const char* text, const char*, const R& result,
                                        int code) const {
    if (static_cast<bool>(result))
      return ::testing::AssertionFailure()
             << text << " succeeded, but should fail with " << errno_text(code);
    if (result.error().code == code) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure()
           << text << " failed with " << errno_text(result.error().code) << ", but should with "
           << errno_text(code);
  }
};
inline constexpr HasErrno has_errno;

}  // namespace skep::testing

#define EXPECT_OK(expr) EXPECT_PRED_FORMAT1(::skep::testing::is_ok, expr)
#define ASSERT_OK(expr) ASSERT_PRED_FORMAT1(::skep::testing::is_ok, expr)
#define EXPECT_ERRNO(expr, code) EXPECT_PRED_FORMAT2(::skep::testing::has_errno, expr, code)
#define ASSERT_ERRNO(expr, code) ASSERT_PRED_FORMAT2(::skep::testing::has_errno, expr, code)
