// SPDX-License-Identifier: Apache-2.0
// Time as programs and ports see it: the machine's clocks, or one that only moves when it is told
// to.
#pragma once

#include <atomic>
#include <cstdint>

namespace skep {

/// The clocks of one runtime. Thread: any. Blocks: never.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Nanoseconds since boot, not counting sleep (bpf_ktime_get_ns).
  virtual std::uint64_t monotonic_ns() const = 0;
  /// Nanoseconds since boot, counting sleep (bpf_ktime_get_boot_ns, load times).
  virtual std::uint64_t boottime_ns() const = 0;
  /// Nanoseconds since 1970 in international atomic time (bpf_ktime_get_tai_ns).
  virtual std::uint64_t tai_ns() const = 0;
  /// Nanoseconds since 1970 in UTC: stamps of packets that a port makes itself.
  virtual std::uint64_t realtime_ns() const = 0;
};

class RealClock final : public Clock {
 public:
  std::uint64_t monotonic_ns() const override;
  std::uint64_t boottime_ns() const override;
  std::uint64_t tai_ns() const override;
  std::uint64_t realtime_ns() const override;
};

/// Stands still until `advance_to`. Starts at one second after boot, at 2020-01-01 00:00:00 UTC, so
/// that programs that take 0 for "never" behave. All four clocks move together.
class VirtualClock final : public Clock {
 public:
  static constexpr std::uint64_t start_monotonic_ns = 1'000'000'000;
  static constexpr std::uint64_t start_realtime_ns = 1'577'836'800'000'000'000;
  static constexpr std::uint64_t tai_offset_ns = 37'000'000'000;

  std::uint64_t monotonic_ns() const override;
  std::uint64_t boottime_ns() const override { return monotonic_ns(); }
  std::uint64_t tai_ns() const override { return realtime_ns() + tai_offset_ns; }
  std::uint64_t realtime_ns() const override;

  /// Moves to `elapsed_ns` after the start; an earlier time than now changes nothing (clocks do not
  /// go back).
  void advance_to(std::uint64_t elapsed_ns);

 private:
  // relaxed everywhere: a clock reading orders nothing.
  std::atomic<std::uint64_t> elapsed_ns_{0};
};

}  // namespace skep
