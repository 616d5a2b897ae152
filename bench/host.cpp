// SPDX-License-Identifier: Apache-2.0
#include "host.hpp"

#include "host/host_kernel.hpp"
#include "uapi/bpf.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace skep::bench {

std::string failure(std::string_view what, int error) {
  const char* const name = ::strerrorname_np(error);
  return fmt::format("{}: {} ({})", what, std::strerror(error),
                     name != nullptr ? name : "unknown error");
}

std::string host_refusal() { return HostKernel().unavailable(); }

std::string no_kernel(std::string_view why) { return fmt::format("no kernel column: {}", why); }

Attempt<std::shared_ptr<ObjectFile>> load_into_host(
    std::string_view path,
    const std::function<Result<void>(ObjectFile&, LoadProblem&)>& configure) {
  LoadProblem problem;
  auto opened = ObjectFile::open(beside_program(path), problem);
  if (!opened) return std::unexpected(problem.message);
  std::shared_ptr<ObjectFile> object = std::move(opened).take();
  if (configure && !configure(*object, problem)) return std::unexpected(problem.message);
  if (!object->load_into_host(problem)) return std::unexpected(problem.message);
  return object;
}

int program_fd(const ObjectFile& object, std::string_view name) {
  for (const ObjectFile::ProgramEntry& program : object.programs())
    if (program.name == name) return program.fd;
  ASSERT(!"the object has a program of that name");
  return -1;
}

int map_fd(const ObjectFile& object, std::string_view name) {
  for (const ObjectFile::MapEntry& map : object.maps())
    if (map.name == name || (name.starts_with('.') && map.name.ends_with(name))) return map.fd;
  ASSERT(!"the object has a map of that name");
  return -1;
}

Attempt<TestRunResult> run_in_host(const TestRun& run, std::uint32_t repeat) {
  uapi::prog_test_run_attr attr{};
  attr.prog_fd = static_cast<std::uint32_t>(run.program_fd);
  attr.data_in = reinterpret_cast<std::uintptr_t>(run.packet.data());
  attr.data_size_in = static_cast<std::uint32_t>(run.packet.size());
  attr.repeat = repeat;
  attr.flags = run.live_frames ? uapi::BPF_F_TEST_XDP_LIVE_FRAMES : 0;
  const long done = HostKernel().bpf(uapi::BPF_PROG_TEST_RUN, &attr, sizeof attr);
  if (done < 0)
    return std::unexpected(
        failure(run.live_frames ? "BPF_PROG_TEST_RUN with live frames" : "BPF_PROG_TEST_RUN",
                static_cast<int>(-done)));
  return TestRunResult{.ns = std::int64_t{attr.duration} * repeat + repeat / 2,
                       .verdict = attr.retval};
}

Attempt<void> update_in_host(int map_fd, const void* key, const void* value) {
  uapi::map_elem_attr attr{};
  attr.map_fd = static_cast<std::uint32_t>(map_fd);
  attr.key = reinterpret_cast<std::uintptr_t>(key);
  attr.value = reinterpret_cast<std::uintptr_t>(value);
  const long done = HostKernel().bpf(uapi::BPF_MAP_UPDATE_ELEM, &attr, sizeof attr);
  if (done < 0) return std::unexpected(failure("BPF_MAP_UPDATE_ELEM", static_cast<int>(-done)));
  return {};
}

Attempt<std::unique_ptr<HostGlobals>> HostGlobals::map(int map_fd, std::size_t bytes) {
  void* const data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
  if (data == MAP_FAILED) return std::unexpected(failure("mmap of global data", errno));
  return std::unique_ptr<HostGlobals>(new HostGlobals(data, bytes));
}

HostGlobals::~HostGlobals() { ::munmap(data_, bytes_); }

}  // namespace skep::bench
