// SPDX-License-Identifier: Apache-2.0
// skep behind the interface of the host's bpf(2), built from the rooms without the runtime: one
// complete bpf(2), a namespace with loopback only, all capabilities, as many CPUs as the machine
// has.
#pragma once

#include "cpu/clock.hpp"
#include "cpu/random.hpp"
#include "cpu/slot.hpp"
#include "host/host_kernel.hpp"
#include "map/map.hpp"
#include "net/device.hpp"
#include "net/packet.hpp"
#include "object/budget.hpp"
#include "prog/program.hpp"
#include "prog/program_type.hpp"
#include "prog/socket_filter.hpp"
#include "syscall/caller.hpp"
#include "syscall/commands.hpp"
#include "xdp/xdp.hpp"
#include "xdp/xdp_type.hpp"

#include <cstdint>
#include <memory>
#include <string_view>

namespace skep::testing {

/// Possible CPUs of the machine: those that per-CPU values of its kernel are for.
std::uint32_t possible_cpus();

class SkepKernel final : public BpfEntry {
 public:
  explicit SkepKernel(std::uint64_t budget_bytes = std::uint64_t{1} << 30);
  ~SkepKernel() override;

  long bpf(unsigned cmd, void* attr, unsigned size) override;

  Syscalls& syscalls() { return syscalls_; }
  LocalCaller& caller() { return caller_; }

 private:
  class Silence final : public TraceSink {
    void write(std::string_view, std::uint32_t, std::uint64_t, std::string_view) override {}
  };

  RealClock clock_;
  CpuSlots slots_;
  Budget budget_;
  Random random_;
  Silence trace_;
  MapTypes map_types_;
  ProgramTypes program_types_;
  MapEnvironment map_environment_;
  ProgramEnvironment program_environment_;
  Syscalls syscalls_;
  Ref<NetNamespace> net_namespace_;
  LocalCaller caller_;
  std::unique_ptr<PacketPool> packets_;
  Xdp xdp_;
  SocketFilterType socket_filter_type_;
  XdpType xdp_type_;
};

}  // namespace skep::testing
