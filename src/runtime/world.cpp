// SPDX-License-Identifier: Apache-2.0
#include "runtime/world.hpp"

#include "rcu/rcu.hpp"

#include <utility>

namespace skep {

World::World(const RuntimeOptions& given)
    : options(given),
      slots(given.cpus, is_virtual() ? static_cast<const Clock&>(virtual_clock) : real_clock,
            given.seed),
      budget(given.memory_bytes),
      random(given.seed, 0),
      map_environment{.slots = slots, .budget = budget, .random = random},
      program_environment{.slots = slots,
                          .budget = budget,
                          .types = program_types,
                          .trace = trace,
                          .instruction_budget = given.instruction_budget},
      syscalls(map_types, program_types, slots, map_environment, program_environment, budget),
      net_namespace(make_object<NetNamespace>(slots)) {}

Result<std::unique_ptr<World>> World::make(const RuntimeOptions& options) {
  // Every slot may keep some chunks to itself; with fewer a queue could wait for them for ever.
  const unsigned least_chunks = 4 * (options.cpus + CpuSlots::control_slots);
  if (options.cpus < 1 || options.cpus > CpuSlots::max_cpus ||
      options.packet_chunks < least_chunks || options.instruction_budget == 0) {
    return Errno{EINVAL};
  }
  std::unique_ptr<World> world(new World(options));
  world->packets = TRY(PacketPool::make(options.packet_chunks, world->slots, world->budget));
  world->caller.emplace(world->syscalls.descriptors(), world->net_namespace);
  world->xdp.emplace(world->slots, world->is_virtual() ? RunTiming::off : RunTiming::on);
  world->xdp_type.emplace(*world->xdp, *world->packets);
  add_memory_map_types(world->map_types);
  add_program_map_types(world->map_types);
  add_xdp_map_types(world->map_types);
  world->program_types.add(world->socket_filter_type);
  world->program_types.add(*world->xdp_type);
  return world;
}

World::~World() {
  // Whatever holds objects lets go of them: attachments, descriptors and pins, devices. What dies
  // then is destroyed after a grace period and may let go of more; all of it needs the ids, slots
  // and budget that still stand.
  xdp.reset();
  syscalls.release_objects();
  caller.reset();
  // Maps may hold the namespace, and programs that hold those maps: only without devices are they
  // let go of.
  net_namespace->remove_all_devices();
  net_namespace = nullptr;
  rcu::barrier();
}

}  // namespace skep
