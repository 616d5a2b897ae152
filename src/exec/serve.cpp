// SPDX-License-Identifier: Apache-2.0
// `skep serve`: one runtime for the process trees of many launchers.
#include "exec/exec.hpp"
#include "exec/join.hpp"
#include "exec/served_world.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace skep::exec {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds reap_interval{20};
constexpr milliseconds patience{2000};

std::unexpected<Error> refuse(int code, std::string message, std::string hint = {}) {
  return std::unexpected(Error{.code = code,
                               .message = fmt::format("{} ({})", message, ::strerrorname_np(code)),
                               .hint = std::move(hint),
                               .log = {}});
}

/// SIGINT and SIGTERM as a descriptor; the signals are as before again when it dies.
class EndSignals {
 public:
  EndSignals() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGINT);
    ::sigaddset(&set, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &set, &before_);
    fd_ = OwnedFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  ~EndSignals() {
    // What was sent is taken, or it would end the process now.
    signalfd_siginfo signal{};
    while (::read(fd_.get(), &signal, sizeof signal) > 0) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  EndSignals(const EndSignals&) = delete;
  EndSignals& operator=(const EndSignals&) = delete;
  int fd() const { return fd_.get(); }

 private:
  OwnedFd fd_;
  sigset_t before_;
};

/// Removes the socket's file when the server ends.
struct SocketFile {
  const std::string& path;
  ~SocketFile() { ::unlink(path.c_str()); }
};

/// Whether a launcher is of our own user.
bool is_own_user(int connection) {
  ucred peer{};
  socklen_t bytes = sizeof peer;
  return ::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
         peer.uid == ::geteuid();
}

class Server {
 public:
  Server(OwnedFd socket, ServedWorld& world, const ClientView* view)
      : socket_(std::move(socket)), world_(world), view_(view) {}

  /// Until `end` is readable.
  void run(int end);
  /// False if a thread did not come back.
  [[nodiscard]] bool stop();

 private:
  void accept();
  /// A launcher said something, or hung up. False: its connection is done with.
  bool listen_to(int connection);

  OwnedFd socket_;
  ServedWorld& world_;
  const ClientView* const view_;
  std::vector<OwnedFd> connections_;               // launchers that have not sent a listener yet
  std::vector<std::unique_ptr<Receivers>> trees_;  // one for each process tree
};

void Server::accept() {
  OwnedFd connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection.is_open()) return;
  if (!is_own_user(connection.get())) {
    (void)send_message(connection.get(), {.kind = MessageKind::refused, .code = EACCES}, {});
    return;
  }
  std::vector<int> namespaces;
  if (view_ != nullptr) {
    namespaces.push_back(view_->mount_namespace.get());
    if (view_->user_namespace.is_open()) namespaces.push_back(view_->user_namespace.get());
  }
  if (send_message(connection.get(), {.kind = MessageKind::welcome}, namespaces))
    connections_.push_back(std::move(connection));
}

bool Server::listen_to(int connection) {
  auto descriptors = expect_message(connection, MessageKind::listener);
  if (!descriptors || descriptors->size() != 1) return false;
  const auto refused = [&](int code) {
    (void)send_message(connection, {.kind = MessageKind::refused, .code = code}, {});
    return false;
  };
  Result<Listener> listener = Listener::adopt(std::move(descriptors->front()));
  if (!listener) return refused(listener.error().code);
  auto tree = std::make_unique<Receivers>(std::move(*listener), world_.service());
  if (!tree->start()) return refused(EAGAIN);
  trees_.push_back(std::move(tree));
  (void)send_message(connection, {.kind = MessageKind::serving}, {});
  return false;
}

void Server::run(int end) {
  while (true) {
    std::vector<pollfd> fds = {{end, POLLIN, 0}, {socket_.get(), POLLIN, 0}};
    for (const OwnedFd& connection : connections_) fds.push_back({connection.get(), POLLIN, 0});
    for (const auto& tree : trees_) fds.push_back({tree->listener().fd(), 0, 0});
    const std::size_t first_tree = 2 + connections_.size();
    (void)::poll(fds.data(), fds.size(), static_cast<int>(reap_interval.count()));
    if (fds[0].revents != 0) return;
    // From the end, so that what is removed does not move what is still to be looked at.
    for (std::size_t i = fds.size(); i-- > first_tree;) {
      if ((fds[i].revents & POLLHUP) == 0) continue;
      const auto tree = trees_.begin() + static_cast<std::ptrdiff_t>(i - first_tree);
      if ((*tree)->stop(patience)) trees_.erase(tree);
    }
    for (std::size_t i = first_tree; i-- > 2;) {
      if (fds[i].revents == 0 || listen_to(fds[i].fd)) continue;
      connections_.erase(connections_.begin() + static_cast<std::ptrdiff_t>(i - 2));
    }
    if (fds[1].revents != 0) accept();
    for (const auto& tree : trees_) tree->tick();
    world_.service().reap();
  }
}

bool Server::stop() {
  bool all = true;
  for (auto tree = trees_.begin(); tree != trees_.end();) {
    if ((*tree)->stop(patience)) {
      tree = trees_.erase(tree);
    } else {
      all = false;
      ++tree;
    }
  }
  return all;
}

}  // namespace

Expected<void> serve(const ServeOptions& options) {
  Result<OwnedFd> socket = listen_at(options.socket);
  if (!socket) {
    const int code = socket.error().code;
    if (code == EADDRINUSE)
      return refuse(code, fmt::format("serve: a server is at {} already", options.socket),
                    fmt::format("skep exec --join {} -- COMMAND", options.socket));
    return refuse(code, fmt::format("serve: cannot listen at {}", options.socket));
  }
  const SocketFile file{options.socket};
  const EndSignals end;
  if (end.fd() < 0) return refuse(EMFILE, "serve: cannot watch for signals");
  raise_descriptor_limit();
  Result<ClientView> view = ClientView::make();
  ClientView* const clients = view ? &*view : nullptr;
  Result<std::unique_ptr<ServedWorld>> world = ServedWorld::make(options.memory_bytes, clients);
  if (!world)
    return refuse(world.error().code, fmt::format("serve: a runtime with {} bytes cannot be made",
                                                  options.memory_bytes));
  Server server(std::move(*socket), **world, clients);
  if (options.ready) options.ready();
  server.run(end.fd());
  if (!server.stop()) {
    // A thread is held up in the memory of a client; nothing that it uses may go away.
    ::unlink(options.socket.c_str());
    ::_exit(0);
  }
  return {};
}

}  // namespace skep::exec
