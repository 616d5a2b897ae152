// SPDX-License-Identifier: Apache-2.0
// Starts a command under the filter, in the clients' view, with everything else as it was: standard
// streams, signals, limits, environment.
#pragma once

#include "exec/client_view.hpp"
#include "result/result.hpp"
#include "syscall/descriptors.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace skep::exec {

/// Why a command did not start, said by the child; then it exits.
enum class LaunchStep : std::int32_t { enter_view, install_filter, done };

class Launch {
 public:
  /// Forks. The child prepares itself and waits. Call before this process has other threads.
  /// `view` is null if clients have no view of their own. Errors: EAGAIN, EMFILE, ENOMEM.
  static Result<Launch> prepare(const std::vector<std::string>& command, const ClientView* view);
  /// A child that was not let go exits.
  ~Launch() = default;
  Launch(Launch&&) = default;

  /// The listener of the child's filter. Blocks until it stands. `failed` tells what went wrong.
  /// Errors: those of ClientView::enter() and install_client_filter(); EPIPE (the child died).
  Result<OwnedFd> take_listener(LaunchStep& failed);
  /// The child becomes the command. If it cannot, it says why on stderr and exits with 127 (not
  /// found) or 126.
  Result<void> go();

  pid_t process() const { return process_; }

 private:
  Launch(pid_t process, OwnedFd socket) : process_(process), socket_(std::move(socket)) {}
  pid_t process_;
  OwnedFd socket_;
};

/// Waits for a command: hands on signals that were sent to us alone, stops and goes on with it.
class CommandWait {
 public:
  /// Blocks the signals that fd() reports, for this thread and those that it starts. Errors:
  /// EMFILE, ENOMEM.
  static Result<CommandWait> make();
  /// The signals are as before again.
  ~CommandWait();
  CommandWait(CommandWait&& other) noexcept;

  /// Readable when there is something to do.
  int fd() const { return signals_.get(); }
  /// Does what there is to do. The status as waitpid(2) gives it, once the command has ended.
  std::optional<int> step(pid_t process);

 private:
  CommandWait(OwnedFd signals, const sigset_t& before)
      : signals_(std::move(signals)), before_(before) {}
  OwnedFd signals_;
  sigset_t before_;
};

/// Ends this process as the command ended, by the same signal if it was one; otherwise gives the
/// exit code.
int end_like(int status);

}  // namespace skep::exec
