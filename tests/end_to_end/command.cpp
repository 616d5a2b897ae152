// SPDX-License-Identifier: Apache-2.0
#include "end_to_end/command.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace skep::testing {
namespace {

namespace fs = std::filesystem;

void link_objects(const fs::path& from, const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(from))
    if (entry.path().extension() == ".o")
      fs::create_symlink(entry.path(), folder / entry.path().filename());
}

}  // namespace

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Workshop::Workshop() {
  std::string name = ::testing::TempDir() + "/skep-end-to-end-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) std::abort();
  folder_ = name;
  for (const char* const objects : {SKEP_EXAMPLE_OBJECTS, SKEP_TEST_OBJECTS, SKEP_OWN_OBJECTS})
    link_objects(objects, folder_);
  // Copies: a command that overwrites its input must not spoil the tree.
  for (const char* const capture : {"client1.pcap", "client2.pcap", "mixed.pcap", "mixed.pcapng"})
    fs::copy_file(fs::path(SKEP_SOURCE_DIR) / "captures" / capture, fs::path(folder_) / capture);
  fs::copy_file(fs::path(SKEP_SOURCE_DIR) / "examples/load_balancer/demo.json",
                fs::path(folder_) / "demo.json");
}

Workshop::~Workshop() {
  std::error_code ignored;  // a leftover in the temporary directory is no failure
  fs::remove_all(folder_, ignored);
}

void Workshop::write(std::string_view name, std::string_view bytes) const {
  std::ofstream file(path(name), std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string Workshop::read(std::string_view name) const { return read_file(path(name)); }

Outcome Workshop::skep(std::string_view line) const {
  std::istringstream stream{std::string(line)};
  return skep(std::vector<std::string>{std::istream_iterator<std::string>(stream), {}});
}

Outcome Workshop::skep(const std::vector<std::string>& words, const std::string& out_path) const {
  std::string command = SKEP_COMMAND;
  std::vector<char*> argv{command.data()};
  std::vector<std::string> copies = words;
  for (std::string& word : copies) argv.push_back(word.data());
  argv.push_back(nullptr);

  const std::string out = out_path.empty() ? path(".stdout") : out_path;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, path(".stderr").c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addchdir_np(&actions, folder_.c_str());
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, command.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  EXPECT_EQ(error, 0) << command << " cannot be started";
  if (error != 0) return {};

  Outcome outcome;
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (out_path.empty()) outcome.out = read(".stdout");
  outcome.err = read(".stderr");
  return outcome;
}

void expect_said(const Workshop& shop, std::string_view line, int exit_code,
                 std::string_view message, std::string_view hint) {
  SCOPED_TRACE(fmt::format("skep {}", line));
  const Outcome outcome = shop.skep(line);
  EXPECT_EQ(outcome.exit_code, exit_code);
  EXPECT_EQ(outcome.err, fmt::format("skep: {}\n{}", message,
                                     hint.empty() ? "" : fmt::format("hint: {}\n", hint)));
  EXPECT_EQ(outcome.out, "");
}

}  // namespace skep::testing
