// SPDX-License-Identifier: Apache-2.0
// What clients see of the machine: everything as it is, but for a file system of their own on
// /sys/fs/bpf. It is a tmpfs in a mount namespace, which an ordinary user may make inside a user
// namespace: mkdir, ls, stat, mv and rm work on pins without our help.
//
// We ourselves stay outside, so that we know other users by their true ids.
#pragma once

#include "result/result.hpp"
#include "syscall/descriptors.hpp"

#include <string>

namespace skep::exec {

struct ClientView {
  OwnedFd user_namespace;  // not open: clients stay in ours
  OwnedFd mount_namespace;
  OwnedFd bpf_file_system;  // its root; not open in a process that only enters the view

  static constexpr const char* mount_point = "/sys/fs/bpf";

  /// Builds the namespaces; they last as long as the descriptors. Blocks: until a child has done
  /// it. Errors: EPERM (user namespaces are forbidden here), ENOENT (no /sys/fs/bpf), EMFILE,
  /// EAGAIN.
  static Result<ClientView> make();

  /// Moves this process, which has one thread, into the view; the working directory stays.
  /// Errors: EPERM, ENOENT (the working directory is not there).
  Result<void> enter() const;
};

}  // namespace skep::exec
