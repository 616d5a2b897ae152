// SPDX-License-Identifier: Apache-2.0
// The supervisor's end of a seccomp filter: system calls of clients arrive here one by one and are
// answered one by one.
#pragma once

#include "result/result.hpp"
#include "syscall/descriptors.hpp"

#include <sys/types.h>

#include <array>
#include <cstdint>

namespace skep::exec {

/// A system call that a client waits in.
struct Call {
  std::uint64_t id;
  pid_t thread;  // in our pid namespace; 0 if the client is outside of it
  std::uint32_t architecture;
  int number;
  std::array<std::uint64_t, 6> arguments;
};

/// Thread: any; each call is answered once.
class Listener {
 public:
  /// Errors: EINVAL (no listener of a seccomp filter), EOPNOTSUPP (a kernel whose notifications are
  /// longer than we know).
  static Result<Listener> adopt(OwnedFd fd);

  /// The next call. Blocks.
  /// Errors: ENOENT (the client died before we took its call, or all clients are gone: see
  /// is_abandoned()), EINTR.
  Result<Call> receive() const;
  /// Whether the client still waits. What was read from its memory before a "yes" was its own.
  bool is_waiting(std::uint64_t id) const;
  /// Whether no process is left under the filter.
  bool is_abandoned() const;

  // Answers. A client that died meanwhile does not hear them.
  void give_value(std::uint64_t id, std::int64_t value) const;
  void give_error(std::uint64_t id, int code) const;
  /// Opens `fd` in the client, close-on-exec, and gives its number there, in one step.
  void give_descriptor(std::uint64_t id, int fd) const;
  /// Lets the kernel carry the call out.
  void let_through(std::uint64_t id) const;

  int fd() const { return fd_.get(); }

 private:
  explicit Listener(OwnedFd fd) : fd_(std::move(fd)) {}
  OwnedFd fd_;
};

}  // namespace skep::exec
