// SPDX-License-Identifier: Apache-2.0
#include "cli/words.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace skep::cli {

void say(const std::string& message, const std::string& hint) {
  fmt::print(stderr, "skep: {}\n", message);
  if (!hint.empty()) fmt::print(stderr, "hint: {}\n", hint);
}

}  // namespace skep::cli
