// SPDX-License-Identifier: Apache-2.0
#include "exec/served_world.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

namespace skep::exec {
namespace {

/// Programs that serve per-CPU values size them with this file. "0-1" are two; gaps count.
unsigned possible_cpus() {
  std::ifstream file("/sys/devices/system/cpu/possible");
  std::string text;
  std::getline(file, text);
  const std::size_t last = text.find_last_of(",-");
  const std::string number = last == std::string::npos ? text : text.substr(last + 1);
  const long highest = std::strtol(number.c_str(), nullptr, 10);
  return static_cast<unsigned>(std::clamp<long>(highest + 1, 1, CpuSlots::max_cpus));
}

}  // namespace

Result<std::unique_ptr<ServedWorld>> ServedWorld::make(std::uint64_t memory_bytes,
                                                       ClientView* view) {
  RuntimeOptions options;
  options.cpus = possible_cpus();
  options.clock = ClockKind::real_time;
  options.memory_bytes = memory_bytes;
  std::unique_ptr<World> world = TRY(World::make(options));
  std::unique_ptr<PinDirectory> pins;
  if (view != nullptr) pins = TRY(PinDirectory::make(std::move(view->bpf_file_system)));
  return std::unique_ptr<ServedWorld>(new ServedWorld(std::move(world), std::move(pins)));
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace skep::exec
