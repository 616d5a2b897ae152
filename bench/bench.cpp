// SPDX-License-Identifier: Apache-2.0
#include "bench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

namespace skep::bench {
namespace {

constexpr std::uint64_t most_growth = 16;  // of the items from one try to the next

std::int64_t read_clock(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

std::int64_t now_ns() { return read_clock(CLOCK_MONOTONIC); }
std::int64_t cpu_time_ns() { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

namespace {

/// How many items fill a reading. The time of the work counts, without what surrounds it; but no
/// more than the processor time of all threads, which does not grow while others have the
/// processor. Ends because more items take longer.
Attempt<std::uint64_t> items_per_reading(const Work& work, std::uint64_t reading_ns) {
  std::uint64_t items = 1;
  for (;;) {
    const std::int64_t start = cpu_time_ns();
    const Attempt<Sample> sample = work(items);
    if (!sample) return std::unexpected(sample.error());
    const auto took = static_cast<std::uint64_t>(
        std::max<std::int64_t>(1, std::min(sample->ns, cpu_time_ns() - start)));
    if (took >= reading_ns / 2) return std::max<std::uint64_t>(1, items * reading_ns / took);
    items *= std::clamp<std::uint64_t>(reading_ns / took, 2, most_growth);
  }
}

}  // namespace

Reading timed(Work work, Unit unit, const Effort& effort) {
  return [work = std::move(work), unit, reading_ns = effort.reading_ns,
          items = std::uint64_t{0}]() mutable -> Attempt<Figure> {
    if (items == 0) {
      const Attempt<std::uint64_t> found = items_per_reading(work, reading_ns);
      if (!found) return std::unexpected(found.error());
      items = *found;
    }
    const Attempt<Sample> sample = work(items);
    if (!sample) return std::unexpected(sample.error());
    if (sample->ns <= 0)
      return std::unexpected(
          fmt::format("{} items took no longer than the empty loop: the "
                      "machine is too busy to measure",
                      sample->items));
    const auto done = static_cast<double>(sample->items);
    const auto ns = static_cast<double>(sample->ns);
    return Figure{.value = unit.better == Unit::Better::more ? done * 1e9 / ns : ns / done,
                  .disturbed = sample->disturbed};
  };
}

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (auto* const suite : {pipeline_cases, xdp_cases, hash_cases, ports_cases})
    std::ranges::move(suite(), std::back_inserter(all));
  return all;
}

std::string beside_program(std::string_view path) {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return (program.parent_path() / path).string();
}

}  // namespace skep::bench
