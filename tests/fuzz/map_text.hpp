// SPDX-License-Identifier: Apache-2.0
// One `--map` assignment as skep would set it, without the map: the map's name stands for its
// types. "flow:integers" has keys of the type `flow` and values of the type `integers` of
// rich_types.bpf.c; a name that is no type stands for that many bytes without type information,
// counted by its length.
#pragma once

#include "cli/map_arguments.hpp"

namespace skep::fuzz {

void set_entry(const cli::MapAssignment& assignment);

}  // namespace skep::fuzz
