// SPDX-License-Identifier: Apache-2.0
// What the command says when something is refused or misused.
#pragma once

#include <skep/runtime.hpp>

#include <string>

namespace skep::cli {

/// Exit codes of the command.
enum ExitCode : int { done = 0, refused = 1, misused = 2 };

/// The command line was wrong: thrown while arguments are taken apart, ends the command with
/// `misused`.
struct Misuse {
  std::string message;
  std::string hint;
};

/// The runtime said no: thrown to end the command with `refused`.
struct Refusal {
  Error error;
};

/// The value, or a Refusal.
template <class T>
T take(Expected<T> result) {
  if (!result) throw Refusal{std::move(result.error())};
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// Writes `skep: MESSAGE` and `hint: …` to stderr.
void say(const std::string& message, const std::string& hint);

}  // namespace skep::cli
