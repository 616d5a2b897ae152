// SPDX-License-Identifier: Apache-2.0
// The descriptors that commands hand out: real ones of the operating system, so that close, dup,
// fork, passing over sockets and exec need no help. An object lives as long as any copy of its
// descriptor does.
//
// Most objects get the write end of a FIFO of their own; its read end, kept here, hangs up when the
// last copy is closed. A mmapable array gets its memfd, opened anew each time, with a shared flock:
// an exclusive one succeeds exactly when the last descriptor and the last mapping are gone. What a
// descriptor stands for is found by device and inode number, never by its number: dup3 and close
// are invisible to us.
#pragma once

#include "object/caller.hpp"
#include "object/object.hpp"
#include "result/result.hpp"
#include "sync/locked.hpp"

#include <sys/types.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

namespace skep {

/// A descriptor of this process that is closed when its owner dies.
class [[nodiscard]] OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OwnedFd();

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  /// Lets go of it without closing.
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

/// What a descriptor refers to, whatever its number and whoever holds it.
struct DescriptorIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  friend auto operator<=>(const DescriptorIdentity&, const DescriptorIdentity&) = default;
};

/// All descriptors that one runtime handed out. Thread: any.
class DescriptorTable {
 public:
  DescriptorTable() = default;
  /// Objects lose the users that their descriptors were; the descriptors themselves stay open and
  /// become meaningless.
  ~DescriptorTable() = default;

  /// A new close-on-exec descriptor for `object`, which gains a user until the last copy is closed.
  /// Errors: EMFILE, ENFILE, ENOMEM (anything else that the machine refuses).
  Result<OwnedFd> open(Ref<Object> object, Access access);

  /// What descriptor `fd` of this process stands for. Errors: EBADF (not open), EINVAL (not of that
  /// kind).
  Result<Ref<Object>> find(int fd, ObjectKind kind, Access* access) const;

  /// Notices descriptors whose last copy was closed: their objects lose a user. Blocks: never.
  /// Cheap if there are none.
  void reap();

  /// Forgets all descriptors: their objects lose the users that they were.
  void clear();

  /// Objects that descriptors of ours keep in use.
  std::size_t size() const;

 private:
  struct Entry {
    UserRef user;
    Access access;       // FIFO: as handed out. Memory: each copy has its own, in its open flags
    OwnedFd read_end;    // FIFO only
    int memory_fd = -1;  // memory only; the map's own, so it lives as long as `user`
  };
  struct State {
    OwnedFd epoll;          // of all read ends
    pid_t epoll_owner = 0;  // the process that made it: after fork the child needs one of its own
    std::map<DescriptorIdentity, Entry> entries;
  };
  using EntryNode = std::map<DescriptorIdentity, Entry>::value_type;

  static Result<OwnedFd> open_fifo(State& state, Ref<Object> object, Access access);
  static Result<OwnedFd> open_memory(State& state, Ref<Object> object, int memory_fd,
                                     Access access);
  static Result<void> prepare_epoll(State& state);

  Locked<State, LockRank::descriptors> state_;
};

}  // namespace skep
