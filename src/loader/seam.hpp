// SPDX-License-Identifier: Apache-2.0
// The seam between libbpf and skep. libbpf's archive is linked with the system calls it makes
// renamed to ours (see CMakeLists.txt). While a thread is inside a `Seam`, those calls are served
// by a runtime in the name of a caller; outside they go to the operating system, so that the same
// libbpf can load into the real kernel.
//
// Renamed are the calls whose answer must differ: bpf(2) itself, the file that lists the possible
// CPUs, the bpf file system, the memory limit, and netlink sockets (a program must never be
// attached to a device of the host by accident). close, dup, mmap, epoll and the like stay native:
// skep's descriptors are real ones.
#pragma once

#include "object/caller.hpp"
#include "syscall/commands.hpp"

#include <string>

namespace skep {

/// What libbpf said while a thread was inside a Seam.
struct SeamMessages {
  std::string warnings;  // one per line, without libbpf's own prefix
};

/// Serves the calling thread's libbpf for as long as it lives. Does not nest.
class Seam {
 public:
  /// Calls go to `syscalls` in the name of `caller`.
  Seam(Syscalls& syscalls, Caller& caller, SeamMessages& messages);
  /// Calls go to the operating system; only the messages are collected.
  explicit Seam(SeamMessages& messages);
  ~Seam();
  Seam(const Seam&) = delete;
  Seam& operator=(const Seam&) = delete;

  /// State of the seam as the renamed calls see it (seam.cpp).
  struct State {
    Syscalls* syscalls = nullptr;
    Caller* caller = nullptr;
    SeamMessages* messages = nullptr;
  };

 private:
  State state_;
};

}  // namespace skep
