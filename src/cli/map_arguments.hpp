// SPDX-License-Identifier: Apache-2.0
// Map entries from the command line: `--map 'NAME[KEY]=VALUE'` and `--map-file FILE.json`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace skep::cli {

/// One entry to set, as text. Key and value are typed by the map's BTF later.
struct MapAssignment {
  std::string map, key, value;
  /// `map` is a section of global variables (".rodata") and `key` a variable: set before the object
  /// is loaded.
  bool is_global() const { return map.starts_with('.'); }
};

/// Takes `NAME[KEY]=VALUE` apart. Brackets inside KEY must balance; quotes protect them. Throws
/// Misuse.
MapAssignment parse_map_argument(std::string_view text);

/// Reads `{"NAME": [{"key": KEY, "value": VALUE}, …], …}`; KEY and VALUE are JSON numbers, strings,
/// objects (fields by name) or arrays. Throws Misuse with the place in the file.
std::vector<MapAssignment> parse_map_file(const std::string& path);

/// The same from text; `name` stands for the file in messages.
std::vector<MapAssignment> parse_map_json(std::string_view text, const std::string& name);

}  // namespace skep::cli
