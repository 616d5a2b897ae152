// SPDX-License-Identifier: Apache-2.0
#include "cli/exec_command.hpp"

#include "cli/words.hpp"
#include "exec/exec.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace skep::cli {

std::function<int()> add_exec_command(CLI::App& app, CLI::App*& command) {
  auto options = std::make_shared<exec::ExecOptions>();
  CLI::App* const verb =
      app.add_subcommand("exec", "Run a command whose bpf(2) is served by skep, without root");
  verb->add_option("--join", options->join, "socket of a running `skep serve`");
  verb->add_option("command", options->command, "the command and its arguments, after --");
  command = verb;
  return [options] {
    if (options->command.empty())
      throw Misuse{"no command to run", "write skep exec -- COMMAND [ARGUMENT]..."};
    return take(exec::exec_command(*options));
  };
}

std::function<int()> add_serve_command(CLI::App& app, CLI::App*& command) {
  auto options = std::make_shared<exec::ServeOptions>();
  command = app.add_subcommand("serve", "Keep a runtime alive that `skep exec --join` enters");
  command->add_option("--socket", options->socket, "where launchers join")->required();
  return [options] {
    options->ready = [socket = options->socket] {
      fmt::print("serving at {}\n", socket);
      std::fflush(stdout);
    };
    take(exec::serve(*options));
    return int{done};
  };
}

}  // namespace skep::cli
