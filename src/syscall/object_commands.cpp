// SPDX-License-Identifier: Apache-2.0
// What all objects share: walking ids, descriptors by id, pins. Source: maps.md 1.8 and 1.9.
#include "syscall/command.hpp"

#include <string>
#include <utility>

namespace skep::command {
namespace {

constexpr std::uint32_t first_bad_start = 0x7fffffff;
constexpr std::uint32_t access_flags = uapi::BPF_F_RDONLY | uapi::BPF_F_WRONLY;
constexpr std::size_t max_path_chars = 4096;

CommandResult next_id(Command& command, const IdTable& ids) {
  const auto attr = command.as<uapi::get_id_attr>();
  if (attr.id >= first_bad_start) return Errno{EINVAL};
  TRY(command.require(Capability::sys_admin));
  TRY(command.write_field(offsetof(uapi::get_id_attr, next_id), TRY(ids.next(attr.id))));
  return 0;
}

/// Errors: EINVAL (both flags).
Result<Access> access_of(std::uint32_t flags) {
  if ((flags & access_flags) == access_flags) return Errno{EINVAL};
  return Access{.read = (flags & uapi::BPF_F_WRONLY) == 0,
                .write = (flags & uapi::BPF_F_RDONLY) == 0};
}

CommandResult fd_by_id(Command& command, const IdTable& ids) {
  const auto attr = command.as<uapi::get_id_attr>();
  TRY(command.require(Capability::sys_admin));
  return command.hand_out(TRY(ids.find(attr.id)), {});
}

struct PinPath {
  std::string text;
  int directory;  // the caller's descriptor for relative paths; negative: its working directory
};

/// Errors: EINVAL (path_fd without its flag), EFAULT, ENAMETOOLONG.
Result<PinPath> pin_path(Command& command, const uapi::obj_attr& attr) {
  const bool from_directory = (attr.file_flags & uapi::BPF_F_PATH_FD) != 0;
  if (!from_directory && attr.path_fd != 0) return Errno{EINVAL};
  std::string text = TRY(read_string(command.caller, attr.pathname, max_path_chars));
  if (text.size() == max_path_chars) return Errno{ENAMETOOLONG};
  return PinPath{std::move(text), from_directory ? static_cast<int>(attr.path_fd) : -1};
}

/// In the caller's own file systems, or in the runtime's. Relative paths lead out of the latter.
Result<void> pin_object(Command& command, const PinPath& path, Ref<Object> object) {
  if (PinPaths* const paths = command.caller.pin_paths())
    return paths->pin(path.text, path.directory, std::move(object));
  return command.syscalls.pins().pin(path.text, std::move(object), command.caller.uid());
}

Result<Ref<Object>> pinned_object(Command& command, const PinPath& path, Access access) {
  if (PinPaths* const paths = command.caller.pin_paths())
    return paths->get(path.text, path.directory, access);
  return command.syscalls.pins().get(path.text, command.caller.uid());
}

}  // namespace

CommandResult map_next_id(Command& command) { return next_id(command, command.syscalls.map_ids()); }

CommandResult prog_next_id(Command& command) {
  return next_id(command, command.syscalls.prog_ids());
}

CommandResult btf_next_id(Command& command) { return next_id(command, command.syscalls.btf_ids()); }

CommandResult link_next_id(Command& command) { return next_id(command, IdTable()); }

CommandResult map_fd_by_id(Command& command) {
  const auto attr = command.as<uapi::get_id_attr>();
  if ((attr.open_flags & ~access_flags) != 0) return Errno{EINVAL};
  TRY(command.require(Capability::sys_admin));
  const Access access = TRY(access_of(attr.open_flags));
  return command.hand_out(TRY(command.syscalls.map_ids().find(attr.id)), access);
}

CommandResult prog_fd_by_id(Command& command) {
  return fd_by_id(command, command.syscalls.prog_ids());
}

CommandResult btf_fd_by_id(Command& command) {
  const auto attr = command.as<uapi::btf_get_fd_by_id_attr>();
  if ((attr.get.open_flags & ~uapi::BPF_F_TOKEN_FD) != 0) return Errno{EINVAL};
  if ((attr.get.open_flags & uapi::BPF_F_TOKEN_FD) != 0)
    TRY(check_token(command, static_cast<std::uint32_t>(attr.token_fd)));
  return fd_by_id(command, command.syscalls.btf_ids());
}

CommandResult link_fd_by_id(Command& command) { return fd_by_id(command, IdTable()); }

CommandResult obj_pin(Command& command) {
  const auto attr = command.as<uapi::obj_attr>();
  if ((attr.file_flags & ~uapi::BPF_F_PATH_FD) != 0) return Errno{EINVAL};
  if ((attr.file_flags & uapi::BPF_F_PATH_FD) == 0 && attr.path_fd != 0) return Errno{EINVAL};
  const int fd = static_cast<int>(attr.bpf_fd);
  for (const ObjectKind kind : {ObjectKind::map, ObjectKind::prog}) {
    Result<Ref<Object>> object = command.caller.object(fd, kind);
    if (!object) continue;
    TRY(pin_object(command, TRY(pin_path(command, attr)), std::move(*object)));
    return 0;
  }
  return Errno{EINVAL};  // also for a closed descriptor
}

CommandResult obj_get(Command& command) {
  const auto attr = command.as<uapi::obj_attr>();
  if (attr.bpf_fd != 0 || (attr.file_flags & ~(access_flags | uapi::BPF_F_PATH_FD)) != 0)
    return Errno{EINVAL};
  if ((attr.file_flags & uapi::BPF_F_PATH_FD) == 0 && attr.path_fd != 0) return Errno{EINVAL};
  const Access access = TRY(access_of(attr.file_flags));
  Ref<Object> object = TRY(pinned_object(command, TRY(pin_path(command, attr)), access));
  return command.hand_out(std::move(object), access);
}

}  // namespace skep::command
