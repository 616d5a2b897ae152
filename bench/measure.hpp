// SPDX-License-Identifier: Apache-2.0
// The one measuring loop: both sides of a case are read turn by turn in the same run, and the
// medians are compared.
#pragma once

#include "bench.hpp"

#include <optional>
#include <string>

namespace skep::bench {

/// Median and extremes of readings or of quotients of readings.
struct Spread {
  double median = 0, min = 0, max = 0;
};

/// One line of the result.
struct Row {
  std::string name;
  Unit unit;
  Spread skep;
  std::optional<Spread> kernel;
  /// How many times better than the kernel skep is: above 1 is a win, whatever the unit. The median
  /// is that of the columns; the extremes are those of single turns.
  std::optional<Spread> ratio;
  unsigned runs = 0;
  unsigned disturbed =
      0;             // readings that were kept although the processor was lost in each attempt
  std::string note;  // or empty
};

/// Measures one case. The error is a sentence without the case's name.
Attempt<Row> measure(const Case& bench_case, const Effort& effort);

}  // namespace skep::bench
