// SPDX-License-Identifier: Apache-2.0
// Rows as a table that grows line by line, or as one JSON document.
#pragma once

#include "measure.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace skep::bench {

/// The heading, for names of at most `name_width` characters.
std::string table_heading(std::size_t name_width);
std::string table_line(const Row& row, std::size_t name_width);

/// What a reader must know, each sentence once, with the rows that it is about.
std::string notes(const std::vector<Row>& rows);

/// `{"rows": […], "notes": […]}`; a row has name, unit, skep, kernel, ratio, min, max, runs, where
/// kernel, ratio, min and max are null without a kernel figure; min and max are of the ratio. What
/// follows is the spread of either side.
std::string as_json(const std::vector<Row>& rows);

}  // namespace skep::bench
