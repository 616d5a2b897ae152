// SPDX-License-Identifier: Apache-2.0
#include "cpu/clock.hpp"

#include <time.h>

namespace skep {
namespace {

std::uint64_t read_clock(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

std::uint64_t RealClock::monotonic_ns() const { return read_clock(CLOCK_MONOTONIC); }
std::uint64_t RealClock::boottime_ns() const { return read_clock(CLOCK_BOOTTIME); }
std::uint64_t RealClock::tai_ns() const { return read_clock(CLOCK_TAI); }
std::uint64_t RealClock::realtime_ns() const { return read_clock(CLOCK_REALTIME); }

std::uint64_t VirtualClock::monotonic_ns() const {
  return start_monotonic_ns + elapsed_ns_.load(std::memory_order_relaxed);
}

std::uint64_t VirtualClock::realtime_ns() const {
  return start_realtime_ns + elapsed_ns_.load(std::memory_order_relaxed);
}

void VirtualClock::advance_to(std::uint64_t elapsed_ns) {
  std::uint64_t now = elapsed_ns_.load(std::memory_order_relaxed);
  while (elapsed_ns > now &&
         !elapsed_ns_.compare_exchange_weak(now, elapsed_ns, std::memory_order_relaxed)) {
  }
}

}  // namespace skep
