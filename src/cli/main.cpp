// SPDX-License-Identifier: Apache-2.0
// The command `skep`. Exit codes: 0 done, 1 refused, 2 misused.
#include "cli/exec_command.hpp"
#include "cli/run_command.hpp"
#include "cli/words.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <exception>
#include <functional>

int main(int argc, char** argv) {
  using namespace skep::cli;
  CLI::App app("Linux BPF networking in user space", "skep");
  app.require_subcommand(0, 1);  // none is refused below: then an unknown word is named
  app.set_version_flag("--version", SKEP_VERSION);
  app.failure_message([](const CLI::App* command, const CLI::Error& error) {
    const bool in_verb = !command->get_subcommands().empty();
    return fmt::format("skep: {}\nhint: skep {}--help lists what there is\n", error.what(),
                       in_verb ? command->get_subcommands().front()->get_name() + " " : "");
  });
  CLI::App *run = nullptr, *exec = nullptr, *serve = nullptr;
  const std::function<int()> carry_out_run = add_run_command(app, run);
  const std::function<int()> carry_out_exec = add_exec_command(app, exec);
  const std::function<int()> carry_out_serve = add_serve_command(app, serve);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Asking for help or the version is no misuse.
    return app.exit(error) == 0 ? done : misused;
  }
  if (app.get_subcommands().empty()) {
    say("no command was given", "skep --help lists what there is");
    return misused;
  }
  try {
    if (exec->parsed()) return carry_out_exec();
    if (serve->parsed()) return carry_out_serve();
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
