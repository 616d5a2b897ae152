// SPDX-License-Identifier: Apache-2.0
// The result of a run, as tables for people and as JSON for programs.
#pragma once

#include <skep/runtime.hpp>

#include <string>
#include <vector>

namespace skep::cli {

struct MapContent {
  MapSummary map;
  std::vector<MapEntry> entries;
  std::string error;  // why it cannot be listed, or empty
};

struct Report {
  RunReport run;
  std::vector<MapContent> maps;  // only if asked for
};

std::string as_text(const Report& report);
/// One JSON document with a newline at its end.
std::string as_json(const Report& report);

}  // namespace skep::cli
