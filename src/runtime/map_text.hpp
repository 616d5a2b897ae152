// SPDX-License-Identifier: Apache-2.0
// Map entries as words: sets and lists entries through the command table, with keys and values
// typed by the map's BTF, port names in devmaps and program names in program arrays.
#pragma once

#include "map/map.hpp"
#include "net/device.hpp"
#include "object/caller.hpp"
#include "result/result.hpp"
#include "skep/runtime.hpp"
#include "syscall/commands.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace skep {

/// How words name what is not in the map itself.
struct MapNames {
  NetNamespace& net_namespace;
  /// The descriptor of a program, or -1.
  std::function<int(std::string_view)> program_fd;
  /// The name of a program id; empty if unknown.
  std::function<std::string(std::uint32_t)> program_name;
};

/// Sets one entry of the map behind `fd`.
Expected<void> set_map_entry(Syscalls& syscalls, Caller& caller, int fd, const MapNames& names,
                             std::string_view key, std::string_view value);

/// All entries of the map behind `fd`, in order of their keys (arrays: of the index; else of the
/// key's bytes).
Expected<std::vector<MapEntry>> dump_map(Syscalls& syscalls, Caller& caller, int fd,
                                         const MapNames& names);

}  // namespace skep
