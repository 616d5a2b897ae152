// SPDX-License-Identifier: Apache-2.0
// What a benchmark of skep is: a named case with one way of doing a piece of work by skep and,
// where the host's kernel can do the same work, one by the kernel. measure.hpp reads both turn by
// turn.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace skep::bench {

/// A value, or one sentence that says why there is none.
template <class T>
using Attempt = std::expected<T, std::string>;

/// What a figure counts, and whether more of it is better.
struct Unit {
  enum class Better : std::uint8_t { more, less };
  std::string_view name;
  Better better;
};
inline constexpr Unit frames_per_second{"frames/s", Unit::Better::more};
inline constexpr Unit ns_per_operation{"ns/op", Unit::Better::less};

/// How much is spent on one row.
struct Effort {
  unsigned runs;             // readings of each side; the medians are shown
  std::uint64_t reading_ns;  // length of a reading that takes time
  unsigned attempts;         // readings taken for one that was not disturbed
};

/// A reading in the case's unit.
struct Figure {
  double value;
  bool disturbed = false;  // others had the processor meanwhile
};
/// Takes one reading. Thread: the one that measures.
using Reading = std::function<Attempt<Figure>()>;

/// Both ways of doing the work of a case, set up and ready to be read.
struct Sides {
  Reading skep;
  Reading kernel;    // empty: the kernel refuses or has no equal; `note` says why
  std::string note;  // what a reader of the row must know; shown once for all rows that share it
};

struct Case {
  std::string name;  // suite/case/parameters
  Unit unit;
  /// Sets both sides up, after the case was chosen. Fails only if skep cannot do the work.
  std::function<Attempt<Sides>(const Effort&)> prepare;
};

/// What was done in a reading, and how long it took without what belongs to the benchmark.
struct Sample {
  std::uint64_t items;
  std::int64_t ns;
  bool disturbed = false;  // known to the work itself; lost processors are noticed anyway
};
/// Does at least one item of work, and about as many as asked for.
using Work = std::function<Attempt<Sample>(std::uint64_t items)>;

/// A reading of `effort.reading_ns` made of as many items as that takes, found out the first time.
Reading timed(Work work, Unit unit, const Effort& effort);

/// All cases, in the order in which --list shows them. The suites are files of their own.
std::vector<Case> all_cases();
std::vector<Case> pipeline_cases();
std::vector<Case> hash_cases();
std::vector<Case> xdp_cases();
std::vector<Case> ports_cases();

/// The path of an object that the build made, given relative to the directory of this program:
/// `bench/bpf/bench_xdp.bpf.o`.
std::string beside_program(std::string_view path);

/// CLOCK_MONOTONIC.
std::int64_t now_ns();
/// Processor time of all threads, those that ended included.
std::int64_t cpu_time_ns();

}  // namespace skep::bench
