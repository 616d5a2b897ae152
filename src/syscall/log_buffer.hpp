// SPDX-License-Identifier: Apache-2.0
// How much of a verification log reaches the caller, and what becomes of the command's result then
// (program-load.md 2.5).
#pragma once

#include "object/budget.hpp"
#include "object/caller.hpp"
#include "result/log.hpp"
#include "result/result.hpp"

#include <cstdint>

namespace skep {

/// The log attributes of one PROG_LOAD or BTF_LOAD.
class LogBuffer {
 public:
  static constexpr std::uint32_t max_bytes = 0x3fffffff;

  /// Errors: EINVAL (unknown level bits; buffer without size, size without buffer, buffer without
  /// level; size above max_bytes), ENOMEM (budget).
  static Result<LogBuffer> make(std::uint32_t level, std::uint64_t address, std::uint32_t bytes,
                                Budget& budget);

  std::uint32_t level() const { return level_; }

  /// Copies the first (level bit `fixed`) or the last bytes that fit to the caller, NUL-terminated.
  /// `true_bytes` becomes what the whole log needs, NUL included, also when this fails; 0 at level
  /// 0. Errors: EFAULT (buffer unwritable), ENOSPC (the log did not fit). Either takes the place of
  /// the command's own result.
  Result<void> deliver(Caller& caller, const Log& log, std::uint32_t& true_bytes) const;

 private:
  LogBuffer(std::uint32_t level, std::uint64_t address, std::uint32_t bytes, Charge charge)
      : level_(level), bytes_(bytes), address_(address), charge_(std::move(charge)) {}

  std::uint32_t level_, bytes_;
  std::uint64_t address_;
  Charge charge_;  // of the text that is kept until it is delivered
};

}  // namespace skep
