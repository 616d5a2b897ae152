// SPDX-License-Identifier: Apache-2.0
// `skep exec` and `skep serve`: bpf(2) of unmodified programs, served by skep.
#pragma once

#include <CLI/App.hpp>

#include <functional>

namespace skep::cli {

/// Add the verbs to `app`. The returned functions carry them out after parsing; they return an exit
/// code or throw Misuse or Refusal. `skep exec` gives the exit code of the command that it ran.
std::function<int()> add_exec_command(CLI::App& app, CLI::App*& command);
std::function<int()> add_serve_command(CLI::App& app, CLI::App*& command);

}  // namespace skep::cli
