// SPDX-License-Identifier: Apache-2.0
#include "exec/exec.hpp"

#include "exec/join.hpp"
#include "exec/launcher.hpp"
#include "exec/served_world.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

namespace skep::exec {
namespace {

using std::chrono::milliseconds;

/// How often closed descriptors are looked for while clients say nothing.
constexpr milliseconds reap_interval{20};
/// How long calls in work may take to end when the clients are gone.
constexpr milliseconds patience{2000};

std::unexpected<Error> refuse(int code, std::string message, std::string hint = {}) {
  return std::unexpected(Error{.code = code,
                               .message = fmt::format("{} ({})", message, ::strerrorname_np(code)),
                               .hint = std::move(hint),
                               .log = {}});
}

std::unexpected<Error> refuse_launch(LaunchStep step, int code) {
  if (step == LaunchStep::enter_view)
    return refuse(code, "exec: cannot enter the file systems of the clients",
                  "start from a directory that the server sees too");
  if (step == LaunchStep::install_filter) {
    switch (code) {
      case EBUSY:
        return refuse(code, "exec: a supervisor serves this process already",
                      "run it outside of the other `skep exec` or of the container manager");
      case EOPNOTSUPP:
        return refuse(code, "exec: this kernel cannot hand system calls to us",
                      "Linux 5.19 or later with seccomp filters is needed");
      case ENOSYS:
        return refuse(code, "exec: only x86-64 machines are supported");
      default:
        return refuse(code, "exec: the seccomp filter was refused");
    }
  }
  return refuse(code, "exec: the command could not be started");
}

/// Waits for the command while its calls are served, and then for what it left running.
int serve_until_done(CommandWait& wait, Receivers& receivers, const Service& service,
                     pid_t process) {
  std::optional<int> status;
  while (true) {
    pollfd fds[] = {{wait.fd(), POLLIN, 0}, {receivers.listener().fd(), 0, 0}};
    // The listener only hangs up: its calls are the receivers' business.
    (void)::poll(fds, 2, static_cast<int>(reap_interval.count()));
    if (!status) status = wait.step(process);
    if (status && receivers.listener().is_abandoned()) return *status;
    receivers.tick();
    service.reap();
  }
}

Expected<int> exec_alone(const ExecOptions& options) {
  Result<ClientView> view = ClientView::make();
  ClientView* const clients = view ? &*view : nullptr;
  Result<Launch> launch = Launch::prepare(options.command, clients);
  if (!launch) return refuse(launch.error().code, "exec: cannot start a process");
  Result<CommandWait> wait = CommandWait::make();
  if (!wait) return refuse(wait.error().code, "exec: cannot watch for signals");
  raise_descriptor_limit();
  // Meanwhile the child installs its filter.
  Result<std::unique_ptr<ServedWorld>> world = ServedWorld::make(options.memory_bytes, clients);
  if (!world)
    return refuse(world.error().code, fmt::format("exec: a runtime with {} bytes cannot be made",
                                                  options.memory_bytes));
  LaunchStep step = LaunchStep::done;
  Result<OwnedFd> fd = launch->take_listener(step);
  if (!fd) return refuse_launch(step, fd.error().code);
  Result<Listener> listener = Listener::adopt(std::move(*fd));
  if (!listener) return refuse_launch(LaunchStep::install_filter, listener.error().code);

  Receivers receivers(std::move(*listener), (*world)->service());
  if (!receivers.start()) return refuse(EAGAIN, "exec: cannot start a thread");
  if (!launch->go()) {
    ASSERT(receivers.stop(patience));  // the child is dead, and made no call
    return refuse(EPIPE, "exec: the command could not be started");
  }
  const int status = serve_until_done(*wait, receivers, (*world)->service(), launch->process());
  // A client that was killed may have left a long test run behind: it is not waited for, and
  // nothing that it uses may go away.
  if (!receivers.stop(patience)) ::_exit(end_like(status));
  world->reset();
  return end_like(status);
}

Expected<int> exec_joined(const ExecOptions& options) {
  const auto refuse_join = [&](int code) {
    if (code == ENOENT || code == ECONNREFUSED)
      return refuse(code, fmt::format("exec: nobody serves at {}", options.join),
                    fmt::format("skep serve --socket {}", options.join));
    if (code == EACCES || code == EPERM)
      return refuse(code, fmt::format("exec: the server at {} is another user's", options.join));
    return refuse(code, fmt::format("exec: cannot join {}", options.join));
  };
  Result<OwnedFd> server = connect_to(options.join);
  if (!server) return refuse_join(server.error().code);
  auto namespaces = expect_message(server->get(), MessageKind::welcome);
  if (!namespaces) return refuse_join(namespaces.error().code);
  // The mount namespace comes first, then the user namespace if there is one.
  ClientView view;
  if (!namespaces->empty()) view.mount_namespace = std::move((*namespaces)[0]);
  if (namespaces->size() > 1) view.user_namespace = std::move((*namespaces)[1]);
  Result<Launch> launch =
      Launch::prepare(options.command, view.mount_namespace.is_open() ? &view : nullptr);
  if (!launch) return refuse(launch.error().code, "exec: cannot start a process");
  Result<CommandWait> wait = CommandWait::make();
  if (!wait) return refuse(wait.error().code, "exec: cannot watch for signals");
  LaunchStep step = LaunchStep::done;
  {
    Result<OwnedFd> listener = launch->take_listener(step);
    if (!listener) return refuse_launch(step, listener.error().code);
    const auto sent =
        send_message(server->get(), {.kind = MessageKind::listener}, {listener->get()});
    if (!sent) return refuse_join(sent.error().code);
  }
  const auto serving = expect_message(server->get(), MessageKind::serving);
  if (!serving) return refuse_join(serving.error().code);
  if (!launch->go()) return refuse(EPIPE, "exec: the command could not be started");

  std::optional<int> status;
  while (!status) {
    pollfd signals{wait->fd(), POLLIN, 0};
    (void)::poll(&signals, 1, -1);
    status = wait->step(launch->process());
  }
  return end_like(*status);
}

}  // namespace

Expected<int> exec_command(const ExecOptions& options) {
  if (options.command.empty())
    return refuse(EINVAL, "exec: there is no command", "skep exec -- bpftool prog list");
  return options.join.empty() ? exec_alone(options) : exec_joined(options);
}

}  // namespace skep::exec
