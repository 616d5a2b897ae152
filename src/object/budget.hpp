// SPDX-License-Identifier: Apache-2.0
// The byte budget of a runtime: memory is charged before it is touched, so that a request for 50 GB
// answers ENOMEM.
#pragma once

#include "result/result.hpp"

#include <atomic>
#include <cstdint>
#include <utility>

namespace skep {

class Budget;

/// Bytes taken from a budget; given back when it dies.
class [[nodiscard]] Charge {
 public:
  Charge() = default;
  Charge(Charge&& other) noexcept
      : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Charge& operator=(Charge&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Charge();
  std::uint64_t bytes() const { return bytes_; }

 private:
  friend class Budget;
  Charge(Budget& budget, std::uint64_t bytes) : budget_(&budget), bytes_(bytes) {}
  Budget* budget_ = nullptr;
  std::uint64_t bytes_ = 0;
};

/// Thread: any. Outlives its charges.
class Budget {
 public:
  explicit Budget(std::uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  /// Errors: ENOMEM (the limit would be passed).
  Result<Charge> charge(std::uint64_t bytes) {
    // relaxed: a counter; nobody infers other state from it.
    std::uint64_t used = used_bytes_.load(std::memory_order_relaxed);
    do {
      if (bytes > limit_bytes_ || used > limit_bytes_ - bytes) return Errno{ENOMEM};
    } while (!used_bytes_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return Charge(*this, bytes);
  }

  std::uint64_t used_bytes() const { return used_bytes_.load(std::memory_order_relaxed); }
  std::uint64_t limit_bytes() const { return limit_bytes_; }

 private:
  friend class Charge;
  const std::uint64_t limit_bytes_;
  std::atomic<std::uint64_t> used_bytes_{0};
};

inline Charge::~Charge() {
  if (budget_ != nullptr) budget_->used_bytes_.fetch_sub(bytes_, std::memory_order_relaxed);
}

}  // namespace skep
