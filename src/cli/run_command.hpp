// SPDX-License-Identifier: Apache-2.0
// `skep run`: sends captures or made-up traffic through XDP programs and tells where every packet
// went.
#pragma once

#include <CLI/App.hpp>

#include <functional>

namespace skep::cli {

/// Adds the verb to `app`. The returned function carries it out after parsing; it returns an exit
/// code or throws Misuse or Refusal.
std::function<int()> add_run_command(CLI::App& app, CLI::App*& command);

}  // namespace skep::cli
