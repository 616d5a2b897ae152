// SPDX-License-Identifier: Apache-2.0
#include "syscall/commands.hpp"

#include "syscall/caller_memory.hpp"
#include "syscall/command.hpp"
#include "uapi/bpf.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

namespace skep {
namespace {

/// A page: no attribute block is larger, whatever it holds.
constexpr std::uint32_t max_attr_bytes = 4096;

struct CommandRow {
  std::uint32_t number;
  std::uint32_t used_bytes;  // end of the last field that the command uses
  bool sees_closed;  // could tell that a descriptor was closed: closed ones are noticed first
  CommandResult (*handler)(Command& command);
};

// Last fields: maps.md 1.0, program-load.md 2 and 9. Element commands cannot tell whether some
// object is still there.
constexpr CommandRow command_table[] = {
    {uapi::BPF_MAP_CREATE, 92, true, command::map_create},
    {uapi::BPF_MAP_LOOKUP_ELEM, 32, false, command::map_lookup},
    {uapi::BPF_MAP_UPDATE_ELEM, 32, false, command::map_update},
    {uapi::BPF_MAP_DELETE_ELEM, 16, false, command::map_delete},
    {uapi::BPF_MAP_GET_NEXT_KEY, 24, false, command::map_next_key},
    {uapi::BPF_PROG_LOAD, 168, true, command::prog_load},
    {uapi::BPF_OBJ_PIN, 20, true, command::obj_pin},
    {uapi::BPF_OBJ_GET, 20, true, command::obj_get},
    {uapi::BPF_PROG_TEST_RUN, 76, true, command::prog_test_run},
    {uapi::BPF_PROG_GET_NEXT_ID, 8, true, command::prog_next_id},
    {uapi::BPF_MAP_GET_NEXT_ID, 8, true, command::map_next_id},
    {uapi::BPF_PROG_GET_FD_BY_ID, 4, true, command::prog_fd_by_id},
    {uapi::BPF_MAP_GET_FD_BY_ID, 12, true, command::map_fd_by_id},
    {uapi::BPF_OBJ_GET_INFO_BY_FD, 16, true, command::obj_info},
    {uapi::BPF_BTF_LOAD, 40, true, command::btf_load},
    {uapi::BPF_BTF_GET_FD_BY_ID, 16, true, command::btf_fd_by_id},
    {uapi::BPF_MAP_LOOKUP_AND_DELETE_ELEM, 32, false, command::map_lookup_and_delete},
    {uapi::BPF_MAP_FREEZE, 4, false, command::map_freeze},
    {uapi::BPF_BTF_GET_NEXT_ID, 8, true, command::btf_next_id},
    {uapi::BPF_MAP_LOOKUP_BATCH, 56, false, command::map_lookup_batch},
    {uapi::BPF_MAP_LOOKUP_AND_DELETE_BATCH, 56, false, command::map_lookup_and_delete_batch},
    {uapi::BPF_MAP_UPDATE_BATCH, 56, false, command::map_update_batch},
    {uapi::BPF_MAP_DELETE_BATCH, 56, false, command::map_delete_batch},
    {uapi::BPF_LINK_GET_FD_BY_ID, 4, true, command::link_fd_by_id},
    {uapi::BPF_LINK_GET_NEXT_ID, 8, true, command::link_next_id},
    {uapi::BPF_ENABLE_STATS, 4, true, command::enable_stats},
    {uapi::BPF_PROG_BIND_MAP, 12, true, command::prog_bind_map},
};

const CommandRow* find_row(std::uint32_t number) {
  const auto* const row = std::ranges::find(command_table, number, &CommandRow::number);
  return row == std::end(command_table) ? nullptr : row;
}

/// The characters that names may have: letters and digits as Latin-1 has them, "_" and "."
/// (maps.md 1.3).
bool is_name_character(char character) {
  const auto c = static_cast<unsigned char>(character);
  return c == '.' || c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
         (c >= 'a' && c <= 'z') || (c >= 0xc0 && c != 0xd7 && c != 0xf7);
}

}  // namespace

Result<std::uint64_t> Syscalls::bpf(Caller& caller, std::uint32_t number,
                                    std::uint64_t attr_address, std::uint32_t bytes) {
  if (bytes > max_attr_bytes) return Errno{E2BIG};
  if (bytes > uapi::attr_bytes)
    TRY(expect_zero(caller, attr_address + uapi::attr_bytes, bytes - uapi::attr_bytes));
  Command command{
      .syscalls = *this, .caller = caller, .attr_address = attr_address, .attr_bytes = bytes};
  TRY(caller.read(attr_address, std::span(command.attr).first(std::min(bytes, uapi::attr_bytes))));

  const CommandRow* const row = find_row(number);
  if (row == nullptr) return Errno{EINVAL};
  for (std::size_t i = row->used_bytes; i < command.attr.size(); ++i)
    if (command.attr[i] != std::byte{0}) return Errno{EINVAL};
  if (row->sees_closed) reap();
  return row->handler(command);
}

Result<Ref<Map>> Syscalls::make_map(const MapType& type, MapSpec spec) {
  return creation_.with(
      [&](Creation&) { return type.make(type, std::move(spec), map_environment_); });
}

Result<std::uint64_t> Command::hand_out(Ref<Object> object, Access access) {
  OwnedFd fd = TRY(syscalls.descriptors().open(std::move(object), access));
  return static_cast<std::uint64_t>(TRY(caller.receive(fd.release())));
}

Result<std::string> object_name(const char (&field)[uapi::BPF_OBJ_NAME_LEN]) {
  const char* const end = std::find(std::begin(field), std::end(field), '\0');
  if (end == std::end(field)) return Errno{EINVAL};
  if (!std::all_of(std::begin(field), end, is_name_character)) return Errno{EINVAL};
  return std::string(std::begin(field), end);
}

Result<void> check_token(Command& command, std::uint32_t fd) {
  const auto object = command.caller.object(static_cast<int>(fd), ObjectKind::map);
  return Errno{!object && object.error().code == EBADF ? EBADF : EINVAL};
}

}  // namespace skep
