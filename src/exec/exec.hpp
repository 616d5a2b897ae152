// SPDX-License-Identifier: Apache-2.0
// `skep exec` and `skep serve`: bpf(2) of whole process trees served by a runtime of ours.
#pragma once

#include <skep/runtime.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace skep::exec {

struct ExecOptions {
  std::vector<std::string> command;         ///< the program, looked up in PATH, and its arguments
  std::string join;                         ///< socket of a server; empty: a runtime of its own
  std::uint64_t memory_bytes = 1ULL << 30;  ///< budget of a runtime of its own
};

/// Runs the command with its bpf(2), and that of all it starts, served by skep. Without `join` it
/// returns when the last process of the tree has ended, otherwise when the command has. Gives the
/// command's exit code; if a signal ended the command, the same signal ends this process.
/// Thread: the only one of the process. Blocks.
/// Errors: EINVAL (no command), EOPNOTSUPP (the kernel lacks what we need), EBUSY (this process is
/// itself served so), ECONNREFUSED, ENOENT (no server at `join`), EACCES (a server of another
/// user).
Expected<int> exec_command(const ExecOptions& options);

struct ServeOptions {
  std::string socket;  ///< where launchers join; only this user can
  std::uint64_t memory_bytes = 1ULL << 30;
  std::function<void()> ready;  ///< called once when launchers can join; may be empty
};

/// Serves launchers until SIGINT or SIGTERM. Clients that are left then get ENOSYS from bpf(2).
/// Thread: the only one of the process. Blocks.
/// Errors: EADDRINUSE (a server is there already), EEXIST (a file that is no socket is there),
/// EACCES, ENOENT, ENAMETOOLONG, ENOMEM.
Expected<void> serve(const ServeOptions& options);

}  // namespace skep::exec
