// SPDX-License-Identifier: Apache-2.0
// The command `skep-bench`: every benchmark of the project, beside the kernel where it can do the
// same work. Exit codes: 0 done, 1 a row failed, 2 misused.
#include "bench.hpp"
#include "measure.hpp"
#include "report.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <regex>
#include <string>
#include <vector>

namespace skep::bench {
namespace {

enum ExitCode : int { done = 0, failed = 1, misused = 2 };

constexpr Effort full{.runs = 7, .reading_ns = 2'000'000, .attempts = 25};
constexpr Effort quick{.runs = 3, .reading_ns = 1'000'000, .attempts = 10};

struct Options {
  bool list = false, be_quick = false, json = false;
  std::string filter;
};

void say(const std::string& message, const char* hint) {
  fmt::print(stderr, "skep-bench: {}\nhint: {}\n", message, hint);
}

std::size_t longest_name(const std::vector<Case>& cases) {
  std::size_t width = 0;
  for (const Case& one : cases) width = std::max(width, one.name.size());
  return width;
}

int run(const std::vector<Case>& cases, const Options& options) {
  const std::size_t width = longest_name(cases);
  if (!options.json) fmt::print("{}", table_heading(width));
  std::vector<Row> rows;
  int code = done;
  for (const Case& one : cases) {
    std::fflush(stdout);  // a row may take seconds
    const Attempt<Row> row = measure(one, options.be_quick ? quick : full);
    if (!row) {
      fmt::print(stderr, "skep-bench: {}: {}\n", one.name, row.error());
      code = failed;
      continue;
    }
    rows.push_back(*row);
    if (!options.json) fmt::print("{}", table_line(*row, width));
  }
  fmt::print("{}", options.json ? as_json(rows) : notes(rows));
  return code;
}

int carry_out(const Options& options) {
  std::vector<Case> cases = all_cases();
  if (!options.filter.empty()) {
    const std::regex filter(options.filter, std::regex::extended);
    std::erase_if(cases, [&](const Case& one) { return !std::regex_search(one.name, filter); });
  }
  if (cases.empty()) {
    say(fmt::format("--filter {}: no row has such a name", options.filter),
        "skep-bench --list shows the names");
    return misused;
  }
  if (!options.list) return run(cases, options);
  for (const Case& one : cases) fmt::print("{}\n", one.name);
  return done;
}

}  // namespace
}  // namespace skep::bench

int main(int argc, char** argv) {
  using namespace skep::bench;
  CLI::App app("Benchmarks of skep beside the kernel", "skep-bench");
  Options options;
  app.add_flag("--list", options.list, "print the names of the rows and measure nothing");
  app.add_option("--filter", options.filter, "rows whose name this regular expression is found in");
  app.add_flag("--quick", options.be_quick,
               "shorter and fewer readings: to see that it works, not to compare");
  app.add_flag("--json", options.json, "print one JSON document instead of a table");
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return fmt::format("skep-bench: {}\nhint: skep-bench --help lists what there is\n",
                       error.what());
  });
  int code = done;
  try {
    app.parse(argc, argv);
    code = carry_out(options);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? done : misused;
  } catch (const std::regex_error& error) {
    say(fmt::format("--filter {}: is not a regular expression: {}", options.filter, error.what()),
        "write an extended one, for example --filter '^hash/lookup'");
    return misused;
  }
  if (std::fflush(stdout) != 0) {
    say("the report cannot be written", "see whether the disk is full");
    return failed;
  }
  return code;
}
