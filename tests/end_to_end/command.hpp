// SPDX-License-Identifier: Apache-2.0
// Runs the built command in a folder of its own, as somebody at a shell would, and gives back what
// it said.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace skep::testing {

/// What a command left behind.
struct Outcome {
  int exit_code = -1;  // 128 + signal if it was killed
  std::string out, err;
};

/// A folder with the examples' objects, the test programs' objects and the captures, each under its
/// plain name, so that sentences about them are the same on every machine. Removed at the end.
class Workshop {
 public:
  Workshop();
  ~Workshop();
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;

  /// `skep` with the words of `line`, which are parted by blanks.
  Outcome skep(std::string_view line) const;
  /// The same with words that may hold blanks. `out_path` receives stdout if it is not empty.
  Outcome skep(const std::vector<std::string>& words, const std::string& out_path = {}) const;

  std::string path(std::string_view name) const { return folder_ + "/" + std::string(name); }
  void write(std::string_view name, std::string_view bytes) const;
  std::string read(std::string_view name) const;

 private:
  std::string folder_;
};

/// All of a file; empty if it cannot be read.
std::string read_file(const std::string& path);

/// Checks that `line` ends with `exit_code` and says exactly `message` and, if given, `hint`.
void expect_said(const Workshop& shop, std::string_view line, int exit_code,
                 std::string_view message, std::string_view hint = {});

}  // namespace skep::testing
