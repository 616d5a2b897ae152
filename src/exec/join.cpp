// SPDX-License-Identifier: Apache-2.0
#include "exec/join.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

namespace skep::exec {
namespace {

constexpr int backlog = 128;

union ControlBuffer {
  cmsghdr alignment;
  std::array<char, CMSG_SPACE(sizeof(int) * max_descriptors)> bytes;
};

Errno socket_error(int code) {
  return Errno{code == ECONNRESET || code == ENOTCONN ? EPIPE : code};
}

/// Errors: ENAMETOOLONG.
Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Errno{ENAMETOOLONG};
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

Result<OwnedFd> new_socket() {
  OwnedFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return Errno{errno};
  return socket;
}

}  // namespace

Result<void> send_message(int socket, const Message& message, const std::vector<int>& descriptors) {
  ASSERT(descriptors.size() <= max_descriptors);
  iovec part{const_cast<Message*>(&message), sizeof message};
  ControlBuffer control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  const std::size_t bytes = descriptors.size() * sizeof(int);
  if (bytes != 0) {
    header.msg_control = control.bytes.data();
    header.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(rights), descriptors.data(), bytes);
  }
  if (::sendmsg(socket, &header, MSG_NOSIGNAL) != sizeof message) return socket_error(errno);
  return ok();
}

Result<Received> receive_message(int socket) {
  Received received{};
  iovec part{&received.message, sizeof received.message};
  ControlBuffer control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.bytes.data();
  header.msg_controllen = control.bytes.size();
  ssize_t bytes = 0;
  do {
    bytes = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (bytes < 0 && errno == EINTR);
  if (bytes < 0) return socket_error(errno);
  for (cmsghdr* at = CMSG_FIRSTHDR(&header); at != nullptr; at = CMSG_NXTHDR(&header, at)) {
    if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t i = 0; i < (at->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(at) + i * sizeof(int), sizeof fd);
      received.descriptors.emplace_back(fd);
    }
  }
  if (bytes == 0) return Errno{EPIPE};
  if ((header.msg_flags & MSG_CTRUNC) != 0) return Errno{EMFILE};
  if (bytes != sizeof received.message || (header.msg_flags & MSG_TRUNC) != 0 ||
      received.message.version != Message::current_version)
    return Errno{EPROTO};
  return received;
}

Result<std::vector<OwnedFd>> expect_message(int socket, MessageKind kind) {
  Received received = TRY(receive_message(socket));
  if (received.message.kind == MessageKind::refused && received.message.code > 0)
    return Errno{received.message.code};
  if (received.message.kind != kind) return Errno{EPROTO};
  return std::move(received.descriptors);
}

Result<OwnedFd> connect_to(const std::string& path) {
  const sockaddr_un address = TRY(address_of(path));
  OwnedFd socket = TRY(new_socket());
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return Errno{errno};
  return socket;
}

Result<OwnedFd> listen_at(const std::string& path) {
  const sockaddr_un address = TRY(address_of(path));
  OwnedFd socket = TRY(new_socket());
  struct stat status{};
  if (::lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) return Errno{EEXIST};
    const auto other = connect_to(path);
    if (other) return Errno{EADDRINUSE};
    if (other.error().code != ECONNREFUSED) return Errno{other.error().code};
    if (::unlink(path.c_str()) != 0) return Errno{errno};
  }
  const mode_t before = ::umask(0177);
  const int bound =
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int code = errno;
  ::umask(before);
  if (bound != 0) return Errno{code};
  if (::listen(socket.get(), backlog) != 0) return Errno{errno};
  return socket;
}

}  // namespace skep::exec
