// SPDX-License-Identifier: Apache-2.0
// One bpf(2) command on its way: its attribute block, already copied and checked for a zero tail,
// and the way back to the caller. The handlers stand one family to a file; commands.cpp holds the
// table.
#pragma once

#include "map/map.hpp"
#include "object/caller.hpp"
#include "object/object.hpp"
#include "prog/program.hpp"
#include "result/result.hpp"
#include "syscall/caller_memory.hpp"
#include "syscall/commands.hpp"
#include "uapi/bpf.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace skep {

struct Command {
  Syscalls& syscalls;
  Caller& caller;
  std::uint64_t attr_address;  // of the caller's block: fields go back there
  std::uint32_t attr_bytes;    // as the caller gave them; may be fewer than the command uses
  std::array<std::byte, uapi::attr_bytes> attr{};

  /// The block as the command's own struct.
  template <class Attr>
  Attr as() const {
    static_assert(sizeof(Attr) <= uapi::attr_bytes);
    Attr value;
    std::memcpy(&value, attr.data(), sizeof value);
    return value;
  }

  /// Writes one field of the caller's block. Errors: EFAULT.
  template <class T>
  Result<void> write_field(std::size_t offset, const T& value) {
    return write_value(caller, attr_address + offset, value);
  }

  /// The object behind a descriptor in the attributes. Errors: EBADF, EINVAL.
  template <class T>
  Result<Ref<T>> object(std::uint32_t fd, Access* access = nullptr) {
    return ref_cast<T>(TRY(caller.object(static_cast<int>(fd), T::object_kind, access)));
  }

  /// Errors: EPERM.
  Result<void> require(Capability capability) const {
    if (!caller.capable(capability)) return Errno{EPERM};
    return ok();
  }

  /// Gives the caller a new descriptor for `object`. Errors: EMFILE, ENFILE, ENOMEM.
  Result<std::uint64_t> hand_out(Ref<Object> object, Access access);
};

/// What a command gives back: a descriptor, 0, or an error.
using CommandResult = Result<std::uint64_t>;

/// A 16-byte name field: the text before the NUL. Errors: EINVAL (a character that is not allowed,
/// no NUL).
Result<std::string> object_name(const char (&field)[uapi::BPF_OBJ_NAME_LEN]);

/// BPF_F_TOKEN_FD. There are no tokens here, so no descriptor is one. Errors: EBADF, EINVAL.
Result<void> check_token(Command& command, std::uint32_t fd);

namespace command {

// map_create.cpp
CommandResult map_create(Command& command);
// map_commands.cpp
CommandResult map_lookup(Command& command);
CommandResult map_update(Command& command);
CommandResult map_delete(Command& command);
CommandResult map_next_key(Command& command);
CommandResult map_lookup_and_delete(Command& command);
CommandResult map_freeze(Command& command);
// batch_commands.cpp
CommandResult map_lookup_batch(Command& command);
CommandResult map_lookup_and_delete_batch(Command& command);
CommandResult map_update_batch(Command& command);
CommandResult map_delete_batch(Command& command);
// prog_commands.cpp
CommandResult prog_load(Command& command);
CommandResult prog_test_run(Command& command);
CommandResult prog_bind_map(Command& command);
CommandResult enable_stats(Command& command);
// btf_commands.cpp
CommandResult btf_load(Command& command);
// object_commands.cpp
CommandResult map_next_id(Command& command);
CommandResult prog_next_id(Command& command);
CommandResult btf_next_id(Command& command);
CommandResult link_next_id(Command& command);
CommandResult map_fd_by_id(Command& command);
CommandResult prog_fd_by_id(Command& command);
CommandResult btf_fd_by_id(Command& command);
CommandResult link_fd_by_id(Command& command);
CommandResult obj_pin(Command& command);
CommandResult obj_get(Command& command);
// object_info.cpp
CommandResult obj_info(Command& command);

}  // namespace command
}  // namespace skep
