// SPDX-License-Identifier: Apache-2.0
#include "cli/map_arguments.hpp"
#include "cli/words.hpp"
#include "fuzz/map_text.hpp"
#include "fuzz/target.hpp"
#include "result/result.hpp"

#include <string>
#include <string_view>

namespace skep::fuzz {

void map_argument(Input input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  try {
    const cli::MapAssignment assignment = cli::parse_map_argument(text);
    // Nothing of the text is lost.
    ASSERT(assignment.map + '[' + assignment.key + "]=" + assignment.value == text);
    set_entry(assignment);
  } catch (const cli::Misuse& misuse) {
    ASSERT(!misuse.message.empty());
  }
}

}  // namespace skep::fuzz
