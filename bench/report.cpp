// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

namespace skep::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr int unit_width = 8, figure_width = 12, ratio_width = 8, runs_width = 4;

std::string line(std::string_view name, std::size_t name_width, std::string_view unit,
                 std::string_view skep, std::string_view kernel, std::string_view ratio,
                 std::string_view min, std::string_view max, std::string_view runs) {
  return fmt::format("{:<{}}  {:<{}}  {:>{}}  {:>{}}  {:>{}}  {:>{}}  {:>{}}  {:>{}}\n", name,
                     name_width, unit, unit_width, skep, figure_width, kernel, figure_width, ratio,
                     ratio_width, min, ratio_width, max, ratio_width, runs, runs_width);
}

/// Four digits that count.
std::string figure(double value) {
  if (value >= 1000) return fmt::format("{:.0f}", value);
  return fmt::format("{:.{}f}", value, value >= 100 ? 1 : value >= 10 ? 2 : 3);
}

/// The sentence that tells how far a row can be trusted; empty if nothing went wrong.
std::string disturbance(const Row& row) {
  if (row.disturbed == 0) return {};
  return fmt::format(
      "the processor was lost in all attempts at {} of {} readings: the machine is "
      "too busy for this figure",
      row.disturbed, row.kernel ? 2 * row.runs : row.runs);
}

using Note = std::pair<std::string, std::vector<std::string>>;  // sentence, rows

std::vector<Note> collected_notes(const std::vector<Row>& rows) {
  std::vector<Note> notes;
  for (const Row& row : rows) {
    for (const std::string& sentence : {row.note, disturbance(row)}) {
      if (sentence.empty()) continue;
      auto found = std::ranges::find(notes, sentence, &Note::first);
      if (found == notes.end()) found = notes.insert(found, {sentence, {}});
      found->second.push_back(row.name);
    }
  }
  return notes;
}

template <class Figure>
Json number_or_null(const std::optional<Spread>& spread, Figure figure) {
  return spread ? Json((*spread).*figure) : Json(nullptr);
}

Json row_json(const Row& row) {
  return {{"name", row.name},
          {"unit", row.unit.name},
          {"skep", row.skep.median},
          {"kernel", number_or_null(row.kernel, &Spread::median)},
          {"ratio", number_or_null(row.ratio, &Spread::median)},
          {"min", number_or_null(row.ratio, &Spread::min)},
          {"max", number_or_null(row.ratio, &Spread::max)},
          {"runs", row.runs},
          {"skep_min", row.skep.min},
          {"skep_max", row.skep.max},
          {"kernel_min", number_or_null(row.kernel, &Spread::min)},
          {"kernel_max", number_or_null(row.kernel, &Spread::max)},
          {"disturbed", row.disturbed}};
}

}  // namespace

std::string table_heading(std::size_t name_width) {
  return line("name", name_width, "unit", "skep", "kernel", "ratio", "min", "max", "runs");
}

std::string table_line(const Row& row, std::size_t name_width) {
  const auto ratio = [&](double Spread::* which) {
    return row.ratio ? fmt::format("{:.3f}", (*row.ratio).*which) : std::string();
  };
  return line(row.name, name_width, row.unit.name, figure(row.skep.median),
              row.kernel ? figure(row.kernel->median) : std::string(), ratio(&Spread::median),
              ratio(&Spread::min), ratio(&Spread::max), fmt::format("{}", row.runs));
}

std::string notes(const std::vector<Row>& rows) {
  std::string out;
  for (const auto& [sentence, names] : collected_notes(rows))
    out += fmt::format("note: {} ({})\n", sentence, fmt::join(names, ", "));
  return out;
}

std::string as_json(const std::vector<Row>& rows) {
  Json document{{"rows", Json::array()}, {"notes", Json::array()}};
  for (const Row& row : rows) document["rows"].push_back(row_json(row));
  for (const auto& [sentence, names] : collected_notes(rows))
    document["notes"].push_back({{"note", sentence}, {"rows", names}});
  return document.dump(2) + "\n";
}

}  // namespace skep::bench
