// SPDX-License-Identifier: Apache-2.0
// The pins of clients. A pin is an empty file in the clients' own file system (client_view.hpp);
// its inode is the key to the object. Names belong to the kernel: links, renames and removals are
// its business, and we are told when the last name of an inode is gone.
//
// Differs: what is not a pin may be made there too (Linux: EACCES), names of directories may have
// dots, and opening a pin gives an empty file (Linux: EIO, or the map's elements as text).
#pragma once

#include "object/caller.hpp"
#include "object/object.hpp"
#include "result/result.hpp"
#include "sync/locked.hpp"
#include "syscall/descriptors.hpp"

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace skep::exec {

/// Thread: any.
class PinDirectory {
 public:
  static constexpr std::uint32_t magic = 0xcafe4a11;  // f_type of statfs(2)

  /// `root` is a directory of a file system that nobody else uses. Errors: EMFILE, EBADF.
  static Result<std::unique_ptr<PinDirectory>> make(OwnedFd root);

  /// Whether a descriptor of ours, O_PATH will do, refers to something in here.
  bool contains(int fd) const;

  /// Makes `name` in `directory`, mode 0600; the object gains a user until its last name is gone.
  /// Errors: EEXIST, EPERM (a dot in the name, a directory outside), EACCES, ENOSPC, ENOMEM.
  Result<void> pin(int directory, const std::string& name, Ref<Object> object);

  /// The object whose pin the O_PATH descriptor refers to. Errors: EACCES (no pin, or its mode
  /// forbids this).
  Result<Ref<Object>> get(int fd, Access access) const;

  /// Notices names that were removed. Cheap if there are none.
  void reap();

  std::size_t size() const;

 private:
  struct Pin {
    UserRef user;
    OwnedFd file;  // O_PATH; keeps the inode's number from being used again
    int watch = -1;
  };
  struct State {
    std::map<ino_t, Pin> pins;
    std::unordered_map<int, ino_t> watches;
  };

  PinDirectory(OwnedFd root, dev_t device, OwnedFd notices)
      : root_(std::move(root)), device_(device), notices_(std::move(notices)) {}

  const OwnedFd root_;  // keeps the file system
  const dev_t device_;
  const OwnedFd notices_;  // inotify, non-blocking
  Locked<State, LockRank::pins> state_;
  std::atomic<std::size_t> count_{0};
};

}  // namespace skep::exec
