// SPDX-License-Identifier: Apache-2.0
// The tests' way into exec/: `runner exec [--join SOCKET] -- COMMAND...`, `runner serve SOCKET`.
// Says "ready" on stdout when the server can be joined.
#include "exec/exec.hpp"

#include <cstdio>
#include <string>

namespace {

template <class T>
int refuse(const skep::Expected<T>& result) {
  std::fprintf(stderr, "skep: %s\n", result.error().message.c_str());
  if (!result.error().hint.empty()) std::fprintf(stderr, "hint: %s\n", result.error().hint.c_str());
  return 1;
}

int serve(const std::string& socket) {
  const auto result = skep::exec::serve({.socket = socket, .ready = [] {
                                           std::puts("ready");
                                           std::fflush(stdout);
                                         }});
  return result ? 0 : refuse(result);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  if (verb == "serve" && argc == 3) return serve(argv[2]);
  if (verb != "exec") return 2;
  skep::exec::ExecOptions options;
  int at = 2;
  if (at + 1 < argc && std::string(argv[at]) == "--join") {
    options.join = argv[at + 1];
    at += 2;
  }
  if (at < argc && std::string(argv[at]) == "--") ++at;
  options.command.assign(argv + at, argv + argc);
  const auto status = skep::exec::exec_command(options);
  return status ? *status : refuse(status);
}
