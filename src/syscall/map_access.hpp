// SPDX-License-Identifier: Apache-2.0
// What the element commands and the batches share: the map behind a descriptor, with the permission
// to use it.
#pragma once

#include "map/map.hpp"
#include "syscall/command.hpp"

#include <cstdint>
#include <optional>

namespace skep::command {

/// What a command does with the elements.
struct Use {
  bool reads = false;
  bool writes = false;
};

/// A map that a command may use; announces its writes to freezing until it dies.
struct MapAccess {
  Ref<Map> map;
  // The map keeps a user for the length of the command: what is stored in a map whose last
  // descriptor is closed meanwhile is cleared after it, not before.
  UserRef user;
  std::optional<WriteGuard> writing;
};

/// Errors: EBADF, EINVAL (no map), EPERM (the descriptor's mode, frozen).
Result<MapAccess> access_map(Command& command, std::uint32_t fd, Use use);

/// F_LOCK needs a bpf_spin_lock in the value. Errors: EINVAL.
Result<void> check_lock_flag(const Map& map, std::uint64_t flags);

}  // namespace skep::command
