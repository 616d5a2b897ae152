// SPDX-License-Identifier: Apache-2.0
// In whose name a command runs: descriptors, capabilities, network namespace and memory. Rooms
// below syscall/ see a caller only through this interface.
#pragma once

#include "object/object.hpp"
#include "result/result.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace skep {

class NetNamespace;

enum class Capability : std::uint8_t { bpf, net_admin, perfmon, sys_admin };

/// How a descriptor was opened, as bpf(2) sees it.
struct Access {
  bool read = true;
  bool write = true;
};

/// Pins whose names stand in the file systems of a caller, and are looked up there. `directory` is
/// a descriptor of the caller for relative paths; negative: its working directory.
class PinPaths {
 public:
  virtual ~PinPaths() = default;

  /// The object gains a user until its last name is removed. Errors: EEXIST, EPERM (a dot in the
  /// name; no BPF file system there), EACCES, those of path resolution.
  virtual Result<void> pin(std::string_view path, int directory, Ref<Object> object) = 0;
  /// Errors: EACCES (no pin; its mode forbids it), those of path resolution.
  virtual Result<Ref<Object>> get(std::string_view path, int directory, Access access) = 0;
};

class Caller {
 public:
  virtual ~Caller() = default;

  /// CAP_SYS_ADMIN implies all others.
  virtual bool capable(Capability capability) const = 0;

  /// The object behind a descriptor of the caller. Errors: EBADF (not open), EINVAL (open, but no
  /// object of that kind).
  virtual Result<Ref<Object>> object(int fd, ObjectKind kind, Access* access = nullptr) = 0;

  /// Hands a descriptor of this process over to the caller and gives its number there. Takes `fd`
  /// over, also when it fails. The default serves callers inside this process. Errors: EMFILE.
  virtual Result<int> receive(int fd) { return fd; }

  /// Where the caller's pins are; null: in the runtime's own BPF file system.
  virtual PinPaths* pin_paths() { return nullptr; }

  /// The network namespace in which ifindexes are looked up.
  virtual NetNamespace& net_namespace() = 0;

  /// Copies from / to the caller's memory. Errors: EFAULT; nothing or a prefix may have been
  /// written then.
  virtual Result<void> read(std::uint64_t address, std::span<std::byte> into) = 0;
  virtual Result<void> write(std::uint64_t address, std::span<const std::byte> from) = 0;

  /// Whether nobody waits for the answer any more: long work may stop. Costs a system call.
  virtual bool is_gone() const { return false; }

  /// Who asks, for object info.
  virtual std::uint32_t uid() const = 0;
};

}  // namespace skep
