// SPDX-License-Identifier: Apache-2.0
// main() of every test binary: runs the tests and fails when they left file descriptors open.

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <vector>

namespace {

/// Open descriptors and what each refers to.
std::map<int, std::string> open_descriptors() {
  std::vector<std::filesystem::path> links;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    links.push_back(entry.path());
  // Only now: the directory's own descriptor was listed too and is closed again, so it drops out.
  std::map<int, std::string> open;
  for (const auto& link : links) {
    std::error_code gone;
    const auto target = std::filesystem::read_symlink(link, gone);
    if (!gone) open.emplace(std::stoi(link.filename().string()), target.string());
  }
  return open;
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const auto before = open_descriptors();
  int status = RUN_ALL_TESTS();
  for (const auto& [fd, target] : open_descriptors()) {
    if (before.contains(fd)) continue;
    std::fprintf(stderr, "leaked file descriptor %d: %s\n", fd, target.c_str());
    status = 1;
  }
  return status;
}
