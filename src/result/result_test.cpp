// SPDX-License-Identifier: Apache-2.0
#include "result/result.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace skep {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return Errno{EINVAL};
  return n / 2;
}

Result<int> quarter(int n) { return TRY(half(TRY(half(n)))); }

Result<void> check_even(int n) {
  TRY(half(n));
  return ok();
}

Result<std::unique_ptr<int>> boxed(int n) { return std::make_unique<int>(TRY(half(n))); }

TEST(Result, TryYieldsTheValueOrHandsTheErrnoOn) {
  EXPECT_EQ(quarter(8).value(), 2);
  EXPECT_EQ(quarter(6).error().code, EINVAL);
}

TEST(Result, VoidResultsCarryOnlySuccess) {
  EXPECT_TRUE(check_even(2));
  EXPECT_EQ(check_even(3).error().code, EINVAL);
}

TEST(Result, MoveOnlyValuesPass) {
  auto box = boxed(4);
  ASSERT_TRUE(box);
  std::unique_ptr<int> value = std::move(box).take();
  EXPECT_EQ(*value, 2);
}

TEST(ResultDeathTest, AssertStopsWithTheExpression) {
  EXPECT_DEATH(ASSERT(1 + 1 == 3), "assertion failed: 1 \\+ 1 == 3");
}

}  // namespace
}  // namespace skep
