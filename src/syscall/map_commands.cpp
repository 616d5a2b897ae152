// SPDX-License-Identifier: Apache-2.0
// The commands on single elements, and MAP_FREEZE. Source: maps.md 1.5 and 1.7.
#include "syscall/command.hpp"
#include "syscall/map_access.hpp"

namespace skep::command {
namespace {

/// The key a command was given. Errors: ENOMEM, EFAULT, EINVAL (a key for a type without).
Result<Buffer> read_key(Command& command, const Map& map, std::uint64_t address) {
  const std::uint32_t bytes = map.spec().key_bytes;
  if (bytes == 0 && address != 0) return Errno{EINVAL};
  Buffer key = TRY(Buffer::make(command.syscalls.budget(), bytes));
  TRY(command.caller.read(address, key.span()));
  return key;
}

Result<Buffer> value_buffer(Command& command, const Map& map) {
  return Buffer::make(command.syscalls.budget(), map.command_value_bytes());
}

}  // namespace

Result<MapAccess> access_map(Command& command, std::uint32_t fd, Use use) {
  Access access;
  MapAccess result{
      .map = TRY(command.object<Map>(fd, &access)), .user = {}, .writing = std::nullopt};
  result.user = UserRef(result.map);
  if (use.reads && !access.read) return Errno{EPERM};
  if (use.writes) {
    if (!access.write) return Errno{EPERM};
    TRY(result.map->begin_write());
    result.writing.emplace(*result.map);
  }
  return result;
}

Result<void> check_lock_flag(const Map& map, std::uint64_t flags) {
  if ((flags & uapi::BPF_F_LOCK) != 0 && !map.spec().record.has(FieldKind::spin_lock))
    return Errno{EINVAL};
  return ok();
}

CommandResult map_lookup(Command& command) {
  const auto attr = command.as<uapi::map_elem_attr>();
  if ((attr.flags & ~uapi::BPF_F_LOCK) != 0) return Errno{EINVAL};
  const MapAccess access = TRY(access_map(command, attr.map_fd, {.reads = true}));
  Map& map = *access.map;
  TRY(check_lock_flag(map, attr.flags));
  Buffer key = TRY(read_key(command, map, attr.key));
  Buffer value = TRY(value_buffer(command, map));
  {
    const SlotGuard slot = command.syscalls.slots().enter_control();
    MapCommand on{*slot, command.caller};
    TRY(map.command_lookup(on, key.data(), value.data(), attr.flags));
  }
  TRY(command.caller.write(attr.value, value.span()));
  return 0;
}

CommandResult map_update(Command& command) {
  const auto attr = command.as<uapi::map_elem_attr>();
  const MapAccess access = TRY(access_map(command, attr.map_fd, {.writes = true}));
  Map& map = *access.map;
  TRY(check_lock_flag(map, attr.flags));
  Buffer key = TRY(read_key(command, map, attr.key));
  Buffer value = TRY(value_buffer(command, map));
  TRY(command.caller.read(attr.value, value.span()));
  const SlotGuard slot = command.syscalls.slots().enter_control();
  MapCommand on{*slot, command.caller};
  TRY(map.command_update(on, key.data(), value.data(), attr.flags));
  return 0;
}

CommandResult map_delete(Command& command) {
  const auto attr = command.as<uapi::map_elem_attr>();
  const MapAccess access = TRY(access_map(command, attr.map_fd, {.writes = true}));
  Buffer key = TRY(read_key(command, *access.map, attr.key));
  const SlotGuard slot = command.syscalls.slots().enter_control();
  MapCommand on{*slot, command.caller};
  TRY(access.map->command_erase(on, key.data()));
  return 0;
}

CommandResult map_next_key(Command& command) {
  const auto attr = command.as<uapi::map_elem_attr>();
  const MapAccess access = TRY(access_map(command, attr.map_fd, {.reads = true}));
  Map& map = *access.map;
  std::optional<Buffer> key;
  if (attr.key != 0) key.emplace(TRY(read_key(command, map, attr.key)));
  Buffer next = TRY(Buffer::make(command.syscalls.budget(), map.spec().key_bytes));
  {
    const SlotGuard slot = command.syscalls.slots().enter_control();
    MapCommand on{*slot, command.caller};
    TRY(map.next_key(on, key ? key->data() : nullptr, next.data()));
  }
  TRY(command.caller.write(attr.value, next.span()));
  return 0;
}

CommandResult map_lookup_and_delete(Command& command) {
  const auto attr = command.as<uapi::map_elem_attr>();
  if ((attr.flags & ~uapi::BPF_F_LOCK) != 0) return Errno{EINVAL};
  const MapAccess access = TRY(access_map(command, attr.map_fd, {.reads = true, .writes = true}));
  Map& map = *access.map;
  TRY(check_lock_flag(map, attr.flags));
  Buffer key = TRY(read_key(command, map, attr.key));
  Buffer value = TRY(value_buffer(command, map));
  if (!map.type().lookup_and_delete) return Errno{ENOTSUPP};
  {
    const SlotGuard slot = command.syscalls.slots().enter_control();
    MapCommand on{*slot, command.caller};
    TRY(map.command_lookup_and_erase(on, key.data(), value.data(), attr.flags));
  }
  TRY(command.caller.write(attr.value, value.span()));
  return 0;
}

CommandResult map_freeze(Command& command) {
  const auto attr = command.as<uapi::map_elem_attr>();
  Access access;
  const Ref<Map> map = TRY(command.object<Map>(attr.map_fd, &access));
  if (!map->spec().record.empty()) return Errno{ENOTSUPP};
  if (!access.write) return Errno{EPERM};
  TRY(map->freeze());
  return 0;
}

}  // namespace skep::command
