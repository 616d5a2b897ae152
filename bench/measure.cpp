// SPDX-License-Identifier: Apache-2.0
#include "measure.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

namespace skep::bench {
namespace {

/// How often threads of this process, those that ended included, had the processor taken away. (A
/// program that the kernel repeats gives way by itself; the kernel's clock stands still meanwhile.)
long lost_processor() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nivcsw;
}

/// A reading during which no thread lost its processor, or, after so many attempts, the last one
/// that gave a figure.
Attempt<double> undisturbed(const Reading& reading, const Effort& effort, unsigned& disturbed) {
  Attempt<Figure> last = std::unexpected("it was not read");
  for (unsigned i = 0; i < effort.attempts; ++i) {
    // Who slept is given the processor for longer.
    if (i != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const long before = lost_processor();
    Attempt<Figure> figure = reading();
    const bool lost = lost_processor() != before;
    if (figure && !figure->disturbed && !lost) return figure->value;
    if (figure || !last) last = std::move(figure);
  }
  ++disturbed;
  if (!last) return std::unexpected(last.error());
  return last->value;
}

double median(std::vector<double> figures) {
  std::ranges::sort(figures);
  const std::size_t middle = figures.size() / 2;
  return figures.size() % 2 == 1 ? figures[middle] : (figures[middle - 1] + figures[middle]) / 2;
}

Spread spread(const std::vector<double>& figures) {
  const auto [min, max] = std::ranges::minmax(figures);
  return {.median = median(figures), .min = min, .max = max};
}

double times_better(const Unit& unit, double skep, double kernel) {
  return unit.better == Unit::Better::more ? skep / kernel : kernel / skep;
}

}  // namespace

Attempt<Row> measure(const Case& bench_case, const Effort& effort) {
  Attempt<Sides> sides = bench_case.prepare(effort);
  if (!sides) return std::unexpected(sides.error());
  Row row{.name = bench_case.name,
          .unit = bench_case.unit,
          .skep = {},
          .kernel = std::nullopt,
          .ratio = std::nullopt,
          .runs = effort.runs,
          .disturbed = 0,
          .note = std::move(sides->note)};
  std::vector<double> skep, kernel, ratio;
  // The first turn warms up and finds out how long a reading has to be; it does not count.
  for (unsigned turn = 0; turn <= effort.runs; ++turn) {
    unsigned disturbed = 0;
    const auto read_skep = [&] { return undisturbed(sides->skep, effort, disturbed); };
    const auto read_kernel = [&] { return undisturbed(sides->kernel, effort, disturbed); };
    // Who comes first changes, so that a machine that becomes faster or slower favours nobody.
    Attempt<double> of_kernel = 0;
    if (sides->kernel && turn % 2 == 1) of_kernel = read_kernel();
    const Attempt<double> of_skep = read_skep();
    if (sides->kernel && turn % 2 == 0) of_kernel = read_kernel();
    if (!of_skep) return std::unexpected(of_skep.error());
    if (!of_kernel) return std::unexpected(fmt::format("kernel: {}", of_kernel.error()));
    if (turn == 0) continue;
    row.disturbed += disturbed;
    skep.push_back(*of_skep);
    if (!sides->kernel) continue;
    kernel.push_back(*of_kernel);
    ratio.push_back(times_better(row.unit, *of_skep, *of_kernel));
  }
  row.skep = spread(skep);
  if (sides->kernel) {
    row.kernel = spread(kernel);
    row.ratio = spread(ratio);
    row.ratio->median = times_better(row.unit, row.skep.median, row.kernel->median);
  }
  return row;
}

}  // namespace skep::bench
