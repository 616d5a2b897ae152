// SPDX-License-Identifier: Apache-2.0
// Processes of the tests: shell commands with what they said, servers and load in the background.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace skep::testing {

struct Finished {
  int code = -1;       // exit code, or 128 and the signal that ended it
  std::string output;  // stdout and stderr as they came
};

/// A process that is killed when its owner dies.
class Process {
 public:
  /// Its output is kept, its input is empty.
  explicit Process(const std::vector<std::string>& command);
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();

  pid_t id() const { return id_; }
  void signal(int number) const;
  /// Reads output until a line begins with `word`. False if it ended, or said nothing in time.
  bool says(const std::string& word, std::chrono::milliseconds patience = std::chrono::seconds(20));
  /// Waits for its end; kills it if that does not come in time (code 137).
  Finished finish(std::chrono::milliseconds patience = std::chrono::seconds(60));

 private:
  /// Takes what there is to read, waiting until `deadline`. False at the end.
  bool read_until(std::chrono::steady_clock::time_point deadline);

  pid_t id_ = -1;
  int output_fd_ = -1;
  std::string output_;
};

Finished run(const std::vector<std::string>& command);
/// By /bin/sh.
Finished shell(const std::string& script);
/// The same under `skep exec`.
Finished served(const std::string& script);

/// A directory that is removed with all that is in it.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// The programs of the tests, built with them. Everybody can read and run these copies.
struct Programs {
  std::string runner, raw_client, skeleton_client, objects;
  static const Programs& get();
};

/// A command line that runs `command` as an ordinary user without capabilities.
std::vector<std::string> as_ordinary_user(std::vector<std::string> command);
bool is_root();

}  // namespace skep::testing
