// SPDX-License-Identifier: Apache-2.0
// The BPF file system of a runtime, kept in memory: directories, symbolic links, and pins that keep
// objects in use. It shows itself under one path of the caller's file system; nothing is ever
// written to the real one.
//
// Paths outside of it are not looked up: they have no BPF file system under them.
// Differs: Linux would first say ENOENT or EEXIST about a path outside; here PIN answers EPERM
// whatever stands there.
#pragma once

#include "object/object.hpp"
#include "result/result.hpp"
#include "sync/locked.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace skep {

enum class PinKind : std::uint8_t { directory, symlink, object };

/// What stat(2) would say about a name in the file system.
struct PinStatus {
  PinKind kind;
  std::uint32_t mode;   // permission bits
  std::uint32_t uid;    // who made it
  std::uint32_t links;  // directories: 2 and one for each directory in it; others 1
  std::uint64_t inode;
};

struct PinEntry {
  std::string name;
  PinKind kind;
  std::uint64_t inode;
};

/// Thread: any. All paths are absolute; "." and "..", doubled slashes and symbolic links are
/// followed as path_resolution(7) says. Common errors: ENOENT (empty, or a part is missing),
/// ENOTDIR, ELOOP (more than 40 links), ENAMETOOLONG (a path of 4096 bytes, a name of 256).
class Pins {
 public:
  static constexpr std::string_view default_mount = "/sys/fs/bpf";
  static constexpr std::uint64_t magic = 0xcafe4a11;  // f_type of statfs(2)

  explicit Pins(std::string_view mount = default_mount);
  ~Pins();

  /// Whether the path leads into this file system, existing or not: its operations belong here, not
  /// to the machine.
  bool covers(std::string_view path) const;

  /// The object gains a user until the name is removed. Mode 0600.
  /// Errors: EEXIST (any object has the name), EPERM (a dot in the name; path outside), and the
  /// common ones.
  Result<void> pin(std::string_view path, Ref<Object> object, std::uint32_t uid);
  /// Errors: EACCES (a directory; made by another user while `uid` is not root), ENOENT (also a
  /// path outside).
  Result<Ref<Object>> get(std::string_view path, std::uint32_t uid) const;

  /// Errors: EEXIST, EPERM (a dot in the name; path outside).
  Result<void> mkdir(std::string_view path, std::uint32_t mode, std::uint32_t uid);
  /// Errors: EISDIR, ENOENT.
  Result<void> unlink(std::string_view path);
  /// Errors: ENOTDIR, ENOTEMPTY, EBUSY (the root), EINVAL (the name is "."), ENOENT.
  Result<void> rmdir(std::string_view path);
  /// Replaces what has the new name if rename(2) would. Errors: EISDIR, ENOTDIR, ENOTEMPTY, EINVAL
  /// (into itself), EBUSY (the root), EPERM (a dot in the new name), EXDEV (one path is outside).
  Result<void> rename(std::string_view from, std::string_view to);
  /// `target` is any text. Errors: EEXIST, EPERM (a dot in the name; path outside).
  Result<void> symlink(std::string_view target, std::string_view path, std::uint32_t uid);

  /// Follows a symbolic link at the end. Errors: ENOENT (also a path outside).
  Result<PinStatus> stat(std::string_view path) const;
  /// Does not follow it.
  Result<PinStatus> lstat(std::string_view path) const;
  /// The text of a symbolic link. Errors: EINVAL (not one).
  Result<std::string> readlink(std::string_view path) const;
  /// In order of names. Errors: ENOTDIR.
  Result<std::vector<PinEntry>> list(std::string_view path) const;
  /// Removes everything but the root.
  void clear();
  bool exists(std::string_view path) const { return stat(path).has_value(); }

 private:
  struct Node;
  struct Place;
  struct State;
  enum class Follow : std::uint8_t { yes, no };

  static Result<Place> walk(const State& state, std::string_view path, Follow last);
  static Result<Place> place_for_new(const State& state, std::string_view path);
  static Result<PinStatus> status(const State& state, std::string_view path, Follow last);

  struct Tree;  // Locked<State>, out of line: State needs Node
  std::unique_ptr<Tree> tree_;
};

}  // namespace skep
