// SPDX-License-Identifier: Apache-2.0
#include "process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <utility>

namespace skep::testing {

using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

Process::Process(const std::vector<std::string>& command) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  id_ = ::fork();
  if (id_ == 0) {
    ::dup2(ends[1], 1);
    ::dup2(ends[1], 2);
    const int nothing = ::open("/dev/null", O_RDONLY);
    ::dup2(nothing, 0);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  output_fd_ = ends[0];
}

Process::Process(Process&& other) noexcept
    : id_(std::exchange(other.id_, -1)),
      output_fd_(std::exchange(other.output_fd_, -1)),
      output_(std::move(other.output_)) {}

Process& Process::operator=(Process&& other) noexcept {
  std::swap(id_, other.id_);
  std::swap(output_fd_, other.output_fd_);
  std::swap(output_, other.output_);
  return *this;
}

Process::~Process() {
  if (id_ > 0) {
    ::kill(id_, SIGKILL);
    ::waitpid(id_, nullptr, 0);
  }
  if (output_fd_ >= 0) ::close(output_fd_);
}

void Process::signal(int number) const { ::kill(id_, number); }

bool Process::read_until(Clock::time_point deadline) {
  pollfd fd{output_fd_, POLLIN, 0};
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  if (::poll(&fd, 1, static_cast<int>(std::max<long>(left.count(), 0))) <= 0) return false;
  std::array<char, 4096> buffer;
  const ssize_t bytes = ::read(output_fd_, buffer.data(), buffer.size());
  if (bytes <= 0) return false;
  output_.append(buffer.data(), static_cast<std::size_t>(bytes));
  return true;
}

bool Process::says(const std::string& word, std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  while (!output_.starts_with(word) && output_.find("\n" + word) == std::string::npos)
    if (!read_until(deadline)) return false;
  return true;
}

Finished Process::finish(std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  int status = 0;
  // The end of the process counts, not that of its output: others may have inherited it.
  while (::waitpid(id_, &status, WNOHANG) == 0) {
    if (Clock::now() >= deadline) {
      ::kill(id_, SIGKILL);
      ::waitpid(id_, &status, 0);
      break;
    }
    const auto soon = Clock::now() + std::chrono::milliseconds(10);
    if (!read_until(soon)) std::this_thread::sleep_until(soon);
  }
  while (read_until(Clock::now())) {
  }
  id_ = -1;
  return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .output = std::move(output_)};
}

Finished run(const std::vector<std::string>& command) { return Process(command).finish(); }

Finished shell(const std::string& script) { return run({"/bin/sh", "-c", script}); }

Finished served(const std::string& script) {
  return run({Programs::get().runner, "exec", "--", "/bin/sh", "-c", script});
}

ScratchDirectory::ScratchDirectory() {
  std::string path = (fs::temp_directory_path() / "skep-exec-test-XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr) std::abort();
  fs::permissions(path, fs::perms::owner_all | fs::perms::group_read | fs::perms::group_exec |
                            fs::perms::others_read | fs::perms::others_exec);
  path_ = path;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

const Programs& Programs::get() {
  // Copied, because a build directory may be below a home that others cannot enter.
  static const ScratchDirectory directory;
  static const Programs programs = [] {
    const auto copy = [](const char* from) {
      const fs::path to = fs::path(directory.path()) / fs::path(from).filename();
      fs::copy_file(from, to);
      return to.string();
    };
    for (const char* object : {SKEP_TEST_GLOBALS, SKEP_TEST_COUNTER, SKEP_TEST_TAIL_CALLS})
      (void)copy(object);
    return Programs{copy(SKEP_TEST_RUNNER), copy(SKEP_TEST_RAW_CLIENT),
                    copy(SKEP_TEST_SKELETON_CLIENT), directory.path()};
  }();
  return programs;
}

std::vector<std::string> as_ordinary_user(std::vector<std::string> command) {
  if (!is_root()) return command;
  std::vector<std::string> whole = {"setpriv",        "--reuid",        "12321",
                                    "--regid",        "12321",          "--clear-groups",
                                    "--no-new-privs", "--bounding-set", "-all"};
  whole.insert(whole.end(), command.begin(), command.end());
  return whole;
}

bool is_root() { return ::geteuid() == 0; }

}  // namespace skep::testing
