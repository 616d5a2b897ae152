// SPDX-License-Identifier: Apache-2.0
#include "syscall/log_buffer.hpp"

#include "net/device.hpp"
#include "rcu/rcu.hpp"
#include "support/expect.hpp"
#include "syscall/caller.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace skep {
namespace {

/// Waits when it dies: what the members after it let go of is destroyed while those before it live.
struct GracePeriod {
  ~GracePeriod() { rcu::barrier(); }
};

class LogDelivery : public ::testing::Test {
 protected:
  LogDelivery() : slots_(1, clock_, 1), caller_(table_, make_object<NetNamespace>(slots_)) {}

  /// Delivers the text "abcdef\n" (8 bytes with its NUL) into `bytes` bytes; what is not written
  /// stays '#'.
  Result<void> deliver(std::uint32_t level, std::uint32_t bytes) {
    buffer_.assign(16, '#');
    LogBuffer log_buffer = TRY(
        LogBuffer::make(level, reinterpret_cast<std::uint64_t>(buffer_.data()), bytes, budget_));
    Log log(level);
    log.line("abcdef");
    return log_buffer.deliver(caller_, log, true_bytes_);
  }

  VirtualClock clock_;
  CpuSlots slots_;
  GracePeriod grace_period_;
  DescriptorTable table_;
  LocalCaller caller_;
  Budget budget_{1 << 20};
  std::string buffer_;
  std::uint32_t true_bytes_ = 0;
};

TEST_F(LogDelivery, ATextThatFitsIsWholeAndNothingElseIsTouched) {
  EXPECT_OK(deliver(1, 8));
  EXPECT_EQ(buffer_, std::string("abcdef\n\0########", 16));
  EXPECT_EQ(true_bytes_, 8u);
}

TEST_F(LogDelivery, TheLastBytesAreKeptUnlessTheBufferIsFixed) {
  EXPECT_ERRNO(deliver(1, 4), ENOSPC);
  EXPECT_EQ(buffer_.substr(0, 5), std::string("ef\n\0#", 5));
  EXPECT_EQ(true_bytes_, 8u);
  EXPECT_ERRNO(deliver(1 | 8, 4), ENOSPC);
  EXPECT_EQ(buffer_.substr(0, 5), std::string("abc\0#", 5));
  EXPECT_ERRNO(deliver(1, 1), ENOSPC);
  EXPECT_EQ(buffer_.substr(0, 2), std::string("\0#", 2));
}

TEST_F(LogDelivery, WithoutABufferTheSizeIsStillReported) {
  const LogBuffer log_buffer = LogBuffer::make(1, 0, 0, budget_).take();
  Log log(1);
  log.line("abcdef");
  EXPECT_OK(log_buffer.deliver(caller_, log, true_bytes_));
  EXPECT_EQ(true_bytes_, 8u);
}

TEST_F(LogDelivery, LevelZeroSaysNothing) {
  const LogBuffer log_buffer = LogBuffer::make(0, 0, 0, budget_).take();
  true_bytes_ = 99;
  EXPECT_OK(log_buffer.deliver(caller_, Log(0), true_bytes_));
  EXPECT_EQ(true_bytes_, 0u);
}

TEST_F(LogDelivery, AnUnwritableBufferIsEfault) {
  const LogBuffer log_buffer = LogBuffer::make(1, 8, 4, budget_).take();
  Log log(1);
  log.line("abcdef");
  EXPECT_ERRNO(log_buffer.deliver(caller_, log, true_bytes_), EFAULT);
  EXPECT_EQ(true_bytes_, 8u);
}

TEST_F(LogDelivery, AttributesThatContradictAreEinval) {
  EXPECT_ERRNO(LogBuffer::make(1, 1, 0, budget_), EINVAL);
  EXPECT_ERRNO(LogBuffer::make(1, 0, 1, budget_), EINVAL);
  EXPECT_ERRNO(LogBuffer::make(0, 1, 1, budget_), EINVAL);
  EXPECT_ERRNO(LogBuffer::make(16, 0, 0, budget_), EINVAL);
  EXPECT_ERRNO(LogBuffer::make(1, 1, LogBuffer::max_bytes + 1, budget_), EINVAL);
}

TEST_F(LogDelivery, TheTextIsChargedToTheBudget) {
  EXPECT_ERRNO(LogBuffer::make(1, 1, 1 << 21, budget_), ENOMEM);
  EXPECT_EQ(budget_.used_bytes(), 0u);
}

}  // namespace
}  // namespace skep
