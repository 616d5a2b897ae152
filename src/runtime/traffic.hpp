// SPDX-License-Identifier: Apache-2.0
// Plays the input of all ports through their devices until none has any left.
//
// With the virtual clock one thread takes the frames of all ports in the order of their time stamps
// and sets the clock to the stamp of each batch; nothing depends on how fast the machine is. With
// the real clock every CPU slot has a thread that polls its queue of every port.
#pragma once

#include "runtime/world.hpp"

#include <cstdint>

namespace skep {

/// Plays everything once. Virtual time goes on from `start_ns` after the runtime's start; returns
/// where it ended. Blocks. One at a time for each world.
std::uint64_t play_traffic(World& world, std::uint64_t start_ns);

}  // namespace skep
