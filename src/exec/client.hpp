// SPDX-License-Identifier: Apache-2.0
// What we can do with a client that waits in a call: read and write its memory, look at its
// descriptors, follow its paths.
//
// Everything is named by the number of the waiting thread. While the thread waits its number cannot
// be used again, so a number is good as long as Listener::is_waiting() says so.
#pragma once

#include "result/result.hpp"
#include "syscall/descriptors.hpp"

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace skep::exec {

/// Copies all of it. Errors: EFAULT; EPERM (the client's memory is closed to us: its binary is not
/// readable, or ptrace is restricted).
Result<void> read_memory(pid_t thread, std::uint64_t address, std::span<std::byte> into);
Result<void> write_memory(pid_t thread, std::uint64_t address, std::span<const std::byte> from);
/// Copies what is there up to the first bad address. Errors: EFAULT (nothing is), EPERM.
Result<std::size_t> read_some(pid_t thread, std::uint64_t address, std::span<std::byte> into);
/// A piece of a client's memory and where it goes.
struct Piece {
  std::uint64_t address = 0;
  std::span<std::byte> into;
};
/// Copies the pieces in order, in one system call, up to the first bad address; the bytes copied.
/// Errors: EFAULT (nothing is), EPERM.
Result<std::size_t> read_pieces(pid_t thread, std::span<const Piece, 3> pieces);
/// The text before the NUL. Errors: EFAULT, EPERM, ENAMETOOLONG (no NUL within `max_bytes`).
Result<std::string> read_text(pid_t thread, std::uint64_t address, std::size_t max_bytes);

/// The threads that lately called, each with a descriptor of the operating system that names
/// exactly it: a cache, without which every look at a client's descriptors would cost twice as
/// much. Thread: one at a time.
class ClientThreads {
 public:
  /// A copy of the client's descriptor in this process.
  /// Errors: EBADF (not open there), EMFILE, EPERM, ESRCH (the client is gone).
  Result<OwnedFd> copy_descriptor(pid_t thread, int fd);
  /// The effective user of the client. Errors: ESRCH.
  Result<uid_t> user(pid_t thread);

  /// Where a thread had the key and the value of its last call. Only a guess at the next one: most
  /// loops use the same variables.
  struct Habit {
    std::array<std::uint64_t, 2> addresses{};
    std::array<std::uint32_t, 2> bytes{};
  };
  Habit& habit(pid_t thread) { return entry(thread).habit; }

 private:
  struct Entry {
    pid_t thread = 0;
    OwnedFd pidfd;
    Habit habit;
  };
  Entry& entry(pid_t thread) {
    return entries_[static_cast<std::size_t>(thread) % entries_.size()];
  }
  Result<int> pidfd(pid_t thread);

  std::array<Entry, 16> entries_;
};

/// Where a client's paths start.
struct PathBase {
  pid_t thread;
  int directory;  // our descriptor of the directory for relative paths; negative: the working
                  // directory of the client
};

enum class LastLink : std::uint8_t { follow, keep };

/// An O_PATH descriptor of what the path names, as the client would find it: below its root,
/// through its mounts. Errors: those of path resolution; EXDEV, ELOOP (through a magic link of
/// /proc).
Result<OwnedFd> open_path(const PathBase& base, std::string_view path, LastLink last);

/// The directory in which the last name of a path is, or would be.
struct NamedPlace {
  OwnedFd directory;
  std::string name;  // empty: the path names a root, or ends in ".", ".." or a slash
};
Result<NamedPlace> open_parent(const PathBase& base, std::string_view path);

}  // namespace skep::exec
