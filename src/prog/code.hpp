// SPDX-License-Identifier: Apache-2.0
// What a loaded program runs: decoded instructions and what they refer to. Immutable after load.
#pragma once

#include "prog/grants.hpp"
#include "prog/instruction.hpp"
#include "prog/program.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace skep {

struct Program::Code {
  /// A 16-byte load that names a map.
  struct MapLoad {
    std::uint32_t pc;
    std::uint32_t map;  // index into used_maps_
    bool value;         // the address of a value, not the map
  };

  std::vector<Instruction> instructions;
  std::vector<MapLoad> map_loads;        // ascending by pc
  std::vector<Region> direct_values;     // whole values whose addresses 16-byte loads give
  std::vector<std::uint32_t> callbacks;  // first instructions of callbacks, ascending

  bool is_callback(std::uint64_t pc) const {
    return std::ranges::binary_search(callbacks, pc, {}, [](std::uint64_t first) { return first; });
  }
};

/// The region of one value of `map`, with the rights that programs have on it.
Region value_region(const Map& map, const std::byte* value);

// Numbers that stand for things that are not memory. They are no addresses of any process (not
// canonical on x86-64 and arm64), so no load or store through them, or near them, can reach
// anything.
inline constexpr std::uint64_t context_address = 0xc0de'0000'0000'0000ULL;
inline constexpr std::uint64_t callback_address = 0xca11'0000'0000'0000ULL;  // plus the first pc

}  // namespace skep
