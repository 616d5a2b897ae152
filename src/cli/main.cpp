// SPDX-License-Identifier: Apache-2.0
// The command `skep`. Exit codes: 0 done, 1 refused, 2 misused.
#include "cli/run_command.hpp"
#include "cli/words.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <exception>
#include <functional>

int main(int argc, char** argv) {
  using namespace skep::cli;
  CLI::App app("Linux BPF networking in user space", "skep");
  app.require_subcommand(1);
  app.set_version_flag("--version", SKEP_VERSION);
  CLI::App* run = nullptr;
  const std::function<int()> carry_out_run = add_run_command(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Asking for help or the version is no misuse.
    return app.exit(error) == 0 ? done : misused;
  }
  try {
    return carry_out_run();
  } catch (const Misuse& misuse) {
    say(misuse.message, misuse.hint);
    return misused;
  } catch (const Refusal& refusal) {
    say(refusal.error.message, refusal.error.hint);
    return refused;
  } catch (const std::exception& error) {
    say(error.what(), {});
    return refused;
  }
}
