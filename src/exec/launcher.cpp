// SPDX-License-Identifier: Apache-2.0
#include "exec/launcher.hpp"

#include "exec/client_filter.hpp"
#include "exec/join.hpp"

#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace skep::exec {
namespace {

/// Signals that a user, a shell or a service manager sends to the process it started: us.
constexpr std::array forwarded_signals = {SIGHUP,  SIGINT,  SIGQUIT,  SIGTERM,
                                          SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};

/// What the child says to us before it goes on, in the code of a message.
constexpr int step_shift = 16;

[[noreturn]] void become(const std::vector<std::string>& command, const ClientView* view,
                         OwnedFd socket) {
  const auto fail = [&](LaunchStep step, int code) {
    const Message message{.kind = MessageKind::refused,
                          .code = (static_cast<int>(step) << step_shift) | code};
    (void)send_message(socket.get(), message, {});
    ::_exit(126);
  };
  if (view != nullptr) {
    const Result<void> entered = view->enter();
    if (!entered) fail(LaunchStep::enter_view, entered.error().code);
  }
  Result<OwnedFd> listener = install_client_filter();
  if (!listener) fail(LaunchStep::install_filter, listener.error().code);
  const Result<void> sent =
      send_message(socket.get(), {.kind = MessageKind::listener}, {listener->get()});
  {
    OwnedFd closed(std::move(*listener));
  }
  if (!sent || !expect_message(socket.get(), MessageKind::serving)) ::_exit(126);

  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  const int code = errno;
  ::dprintf(STDERR_FILENO, "skep: %s: %s (%s)\n", arguments[0], ::strerrordesc_np(code),
            ::strerrorname_np(code));
  ::_exit(code == ENOENT ? 127 : 126);
}

}  // namespace

Result<Launch> Launch::prepare(const std::vector<std::string>& command, const ClientView* view) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return Errno{errno};
  OwnedFd ours(ends[0]);
  OwnedFd its(ends[1]);
  const pid_t process = ::fork();
  if (process < 0) return Errno{errno};
  if (process == 0) {
    {
      OwnedFd closed(std::move(ours));
    }
    become(command, view, std::move(its));
  }
  return Launch(process, std::move(ours));
}

Result<OwnedFd> Launch::take_listener(LaunchStep& failed) {
  failed = LaunchStep::done;
  Received received = TRY(receive_message(socket_.get()));
  if (received.message.kind == MessageKind::refused) {
    failed = static_cast<LaunchStep>(received.message.code >> step_shift);
    return Errno{received.message.code & ((1 << step_shift) - 1)};
  }
  if (received.descriptors.size() != 1) return Errno{EPROTO};
  return std::move(received.descriptors.front());
}

Result<void> Launch::go() {
  return send_message(socket_.get(), {.kind = MessageKind::serving}, {});
}

Result<CommandWait> CommandWait::make() {
  sigset_t set, before;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGCHLD);
  for (const int number : forwarded_signals) ::sigaddset(&set, number);
  if (::pthread_sigmask(SIG_BLOCK, &set, &before) != 0) return Errno{ENOMEM};
  OwnedFd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.is_open()) {
    const int code = errno;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return Errno{code};
  }
  return CommandWait(std::move(signals), before);
}

CommandWait::CommandWait(CommandWait&& other) noexcept
    : signals_(std::move(other.signals_)), before_(other.before_) {}

CommandWait::~CommandWait() {
  if (signals_.is_open()) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

std::optional<int> CommandWait::step(pid_t process) {
  signalfd_siginfo signal{};
  while (::read(signals_.get(), &signal, sizeof signal) == sizeof signal) {
    const int number = static_cast<int>(signal.ssi_signo);
    // What the terminal sends goes to the command as well: it is in our process group.
    const bool from_a_process = signal.ssi_code <= 0;
    if (number != SIGCHLD && from_a_process) ::kill(process, number);
  }
  int status = 0;
  while (::waitpid(process, &status, WNOHANG | WUNTRACED) == process) {
    if (!WIFSTOPPED(status)) return status;
    // So that the shell sees the job stop; whoever lets us go on lets the command go on.
    ::raise(SIGSTOP);
    ::kill(process, SIGCONT);
  }
  return std::nullopt;
}

int end_like(int status) {
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  const int number = WTERMSIG(status);
  // The command has left a core file if it was to leave one.
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::signal(number, SIG_DFL);
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, number);
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  ::raise(number);
  return 128 + number;
}

}  // namespace skep::exec
