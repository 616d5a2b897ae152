// SPDX-License-Identifier: Apache-2.0
// What `skep exec --join` and `skep serve` say to each other over the server's socket, and how
// descriptors travel between the processes of a launch.
//
//   server -> launcher   Welcome and the namespaces of the clients
//   launcher -> server   Listener and its descriptor, once the filter stands
//   server -> launcher   Serving: the command may start
#pragma once

#include "result/result.hpp"
#include "syscall/descriptors.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace skep::exec {

enum class MessageKind : std::uint32_t { welcome = 1, listener, serving, refused };

struct Message {
  static constexpr std::uint32_t current_version = 1;
  MessageKind kind;
  std::int32_t code = 0;  // refused: an errno
  std::uint32_t version = current_version;
};

struct Received {
  Message message;
  std::vector<OwnedFd> descriptors;
};

constexpr std::size_t max_descriptors = 4;

/// Errors: EPIPE (the other side is gone), EMFILE, EPROTO.
Result<void> send_message(int socket, const Message& message, const std::vector<int>& descriptors);
/// Blocks. Errors: EPIPE (the other side is gone), EMFILE, EPROTO (not one of our messages).
Result<Received> receive_message(int socket);
/// As above, but anything else than `kind` is an error: the code of a refusal, otherwise EPROTO.
Result<std::vector<OwnedFd>> expect_message(int socket, MessageKind kind);

/// Errors: ENOENT, ECONNREFUSED (nobody serves there), EACCES, ENAMETOOLONG.
Result<OwnedFd> connect_to(const std::string& path);
/// A socket that only this user can connect to. A socket file that a dead server left is replaced.
/// Errors: EADDRINUSE (a server is there), EEXIST (something else is), EACCES, ENOENT,
/// ENAMETOOLONG.
Result<OwnedFd> listen_at(const std::string& path);

}  // namespace skep::exec
