// SPDX-License-Identifier: Apache-2.0
// The fuzz targets: each takes any bytes at all and does with them what skep does with a
// stranger's. What must never happen stops the process (ASSERT, a sanitizer), whoever calls:
// libFuzzer (libfuzzer.cpp) or the test that replays the corpora (replay_test.cpp).
#pragma once

#include <cstddef>
#include <span>

namespace skep::fuzz {

using Input = std::span<const std::byte>;

/// Bytes as a capture file: every frame is received, given back and written to a capture of its
/// own, which must hold the same frames.
void capture(Input input);
/// Text as the argument of --map; the map's name chooses the types of key and value (map_text.hpp).
void map_argument(Input input);
/// Text as the file of --map-file; likewise.
void map_file(Input input);
/// Bytes as type information: queries, special fields, and values of every type as text.
void btf(Input input);
/// Bytes as a sequence of bpf(2) commands against a fresh runtime; nothing may be left at the end.
void commands(Input input);
/// Bytes as a program: 8 bytes that choose the surroundings, then instructions; loaded and run.
void program(Input input);
/// Bytes as an ELF object: opened and loaded into a fresh runtime.
void object(Input input);

}  // namespace skep::fuzz
