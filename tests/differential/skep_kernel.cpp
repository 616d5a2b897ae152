// SPDX-License-Identifier: Apache-2.0
#include "differential/skep_kernel.hpp"

#include "rcu/rcu.hpp"
#include "xdp/devmap.hpp"

#include <fstream>
#include <string>

namespace skep::testing {

std::uint32_t possible_cpus() {
  std::ifstream file("/sys/devices/system/cpu/possible");  // "0-3", or "0"
  std::string range;
  std::getline(file, range);
  const std::size_t dash = range.rfind('-');
  const std::string last = dash == std::string::npos ? range : range.substr(dash + 1);
  return last.empty() ? 1 : static_cast<std::uint32_t>(std::stoul(last)) + 1;
}

SkepKernel::SkepKernel(std::uint64_t budget_bytes)
    : slots_(possible_cpus(), clock_, 1),
      budget_(budget_bytes),
      random_(1, 0),
      map_environment_{.slots = slots_, .budget = budget_, .random = random_},
      program_environment_{
          .slots = slots_, .budget = budget_, .types = program_types_, .trace = trace_},
      syscalls_(map_types_, program_types_, slots_, map_environment_, program_environment_,
                budget_),
      net_namespace_(make_object<NetNamespace>(slots_)),
      caller_(syscalls_.descriptors(), net_namespace_),
      packets_(PacketPool::make(256, slots_, budget_).take()),
      xdp_(slots_, RunTiming::off),
      xdp_type_(xdp_, *packets_) {
  add_memory_map_types(map_types_);
  add_program_map_types(map_types_);
  add_xdp_map_types(map_types_);
  program_types_.add(socket_filter_type_);
  program_types_.add(xdp_type_);
}

SkepKernel::~SkepKernel() {
  syscalls_.release_objects();
  net_namespace_ = nullptr;
  rcu::barrier();
}

long SkepKernel::bpf(unsigned cmd, void* attr, unsigned size) {
  return skep_result(syscalls_.bpf(caller_, cmd, reinterpret_cast<std::uint64_t>(attr), size));
}

}  // namespace skep::testing
