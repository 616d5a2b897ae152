// SPDX-License-Identifier: Apache-2.0
// The composition root: one instance of every room below, registered with each other. The only
// place that knows all.
#pragma once

#include "cpu/clock.hpp"
#include "cpu/random.hpp"
#include "cpu/slot.hpp"
#include "map/map.hpp"
#include "net/device.hpp"
#include "net/packet.hpp"
#include "object/budget.hpp"
#include "object/object.hpp"
#include "prog/program.hpp"
#include "prog/program_type.hpp"
#include "prog/socket_filter.hpp"
#include "result/result.hpp"
#include "runtime/trace_log.hpp"
#include "skep/runtime.hpp"
#include "syscall/caller.hpp"
#include "syscall/commands.hpp"
#include "xdp/devmap.hpp"
#include "xdp/xdp.hpp"
#include "xdp/xdp_type.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace skep {

/// Members are in the order in which they need each other.
class World {
 public:
  /// Errors: EINVAL (a value out of range), ENOMEM (packet memory).
  static Result<std::unique_ptr<World>> make(const RuntimeOptions& options);
  ~World();

  bool is_virtual() const { return options.clock == ClockKind::virtual_time; }

  const RuntimeOptions options;
  VirtualClock virtual_clock;
  RealClock real_clock;
  CpuSlots slots;
  Budget budget;
  Random random;
  TraceLog trace;
  std::unique_ptr<PacketPool> packets;
  MapTypes map_types;
  ProgramTypes program_types;
  MapEnvironment map_environment;
  ProgramEnvironment program_environment;
  Syscalls syscalls;
  Ref<NetNamespace> net_namespace;
  SocketFilterType socket_filter_type;
  // Set by make(); taken down in the destructor, before what they stand on.
  std::optional<LocalCaller> caller;
  std::optional<Xdp> xdp;
  std::optional<XdpType> xdp_type;

 private:
  World(const RuntimeOptions& options);
};

}  // namespace skep
