// SPDX-License-Identifier: Apache-2.0
// The kernel's side of comparisons: objects loaded into the host, programs run there by
// BPF_PROG_TEST_RUN, map entries set there.
#pragma once

#include "bench.hpp"
#include "loader/object_file.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace skep::bench {

/// Why this process cannot use the kernel's BPF, as a note for rows; empty if it can.
std::string host_refusal();

/// The note of rows whose kernel column is empty because of `why`.
std::string no_kernel(std::string_view why);

/// Opens the object at `path` (see beside_program) and loads it into the host's kernel, after
/// `configure`.
Attempt<std::shared_ptr<ObjectFile>> load_into_host(
    std::string_view path,
    const std::function<Result<void>(ObjectFile&, LoadProblem&)>& configure = {});

/// Descriptors by name; `.bss` and its like are the maps of global data. Precondition: the object
/// was loaded and has such a program or map.
int program_fd(const ObjectFile& object, std::string_view name);
int map_fd(const ObjectFile& object, std::string_view name);

/// One BPF_PROG_TEST_RUN.
struct TestRun {
  int program_fd = -1;
  std::span<const std::byte> packet;
  bool live_frames = false;
};
struct TestRunResult {
  // By the kernel's own clock, which stands still while others have the processor and leaves out
  // what comes before the first run and after the last (two grace periods for XDP programs). The
  // kernel gives whole nanoseconds per run, rounded down; half a nanosecond is added to each.
  std::int64_t ns;
  std::uint32_t verdict;  // of the last run; not with live frames
};
/// Runs it `repeat` times in one call.
Attempt<TestRunResult> run_in_host(const TestRun& run, std::uint32_t repeat);

/// BPF_MAP_UPDATE_ELEM in the host. `key` and `value` have the map's sizes.
Attempt<void> update_in_host(int map_fd, const void* key, const void* value);

/// The memory of a global-data map of the host, shared with its programs.
class HostGlobals {
 public:
  static Attempt<std::unique_ptr<HostGlobals>> map(int map_fd, std::size_t bytes);
  ~HostGlobals();
  HostGlobals(const HostGlobals&) = delete;
  HostGlobals& operator=(const HostGlobals&) = delete;
  void* data() const { return data_; }

 private:
  HostGlobals(void* data, std::size_t bytes) : data_(data), bytes_(bytes) {}
  void* const data_;
  const std::size_t bytes_;
};

/// `what: words (ERRNO)` about a system call that failed.
std::string failure(std::string_view what, int error);

}  // namespace skep::bench
