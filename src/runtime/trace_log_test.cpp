// SPDX-License-Identifier: Apache-2.0
#include "runtime/trace_log.hpp"

#include <gtest/gtest.h>

#include <string>

namespace skep {
namespace {

TEST(TraceLog, LinesNameCpuTimeAndProgram) {
  TraceLog log;
  log.write("count", 3, 12'000'345'678, "hello 7");
  const TraceLog::Lines taken = log.take();
  ASSERT_EQ(taken.lines.size(), 1u);
  EXPECT_EQ(taken.lines[0], "[003] 12.000345: count: hello 7");
  EXPECT_TRUE(log.take().lines.empty()) << "taking empties the log";
}

TEST(TraceLog, WhatDoesNotFitIsCounted) {
  TraceLog log;
  const std::string text(64 << 10, 'x');
  for (int i = 0; i < 20; ++i) log.write("p", 0, 0, text);
  const TraceLog::Lines taken = log.take();
  EXPECT_EQ(taken.lines.size() + taken.lost, 20u);
  EXPECT_GT(taken.lost, 0u);
  EXPECT_LE(taken.bytes, TraceLog::max_bytes);
}

}  // namespace
}  // namespace skep
