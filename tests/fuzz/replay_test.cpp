// SPDX-License-Identifier: Apache-2.0
// Every input that the repository keeps, through its target: what fuzzing found once stays fixed in
// every build.
#include "fuzz/target.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace skep::fuzz {
namespace {

struct Target {
  const char* name;
  void (*run)(Input input);
};

class Replay : public ::testing::TestWithParam<Target> {};

TEST_P(Replay, CorpusIsHandled) {
  const auto directory = std::filesystem::path(SKEP_FUZZ_CORPUS) / GetParam().name;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    paths.push_back(entry.path());
  ASSERT_FALSE(paths.empty());
  std::ranges::sort(paths);
  for (const auto& path : paths) {
    // What stops the process cannot be reported later.
    std::fprintf(stderr, "%s\n", path.c_str());
    std::ifstream file(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    GetParam().run(std::as_bytes(std::span(text)));
  }
}

// Whatever comes, a target takes it: no byte, and one of every value.
TEST_P(Replay, ShortInputsAreHandled) {
  GetParam().run({});
  for (int value = 0; value <= 255; value += 5) {
    const auto byte = static_cast<std::byte>(value);
    GetParam().run({&byte, 1});
  }
}

INSTANTIATE_TEST_SUITE_P(Fuzz, Replay,
                         ::testing::Values(Target{"capture", capture},
                                           Target{"map_argument", map_argument},
                                           Target{"map_file", map_file}, Target{"btf", btf},
                                           Target{"commands", commands}, Target{"program", program},
                                           Target{"object", object}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace skep::fuzz
