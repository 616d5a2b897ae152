// SPDX-License-Identifier: Apache-2.0
// What one frame costs in the XDP hook: the checked interpreter with programs of two to four
// instructions, the verdict, and the way to a port that takes everything. One slot, nothing shared.
#include "xdp/xdp.hpp"

#include "net/port/null_port.hpp"
#include "prog/program.hpp"
#include "rcu/rcu.hpp"
#include "xdp/devmap.hpp"
#include "xdp/program_testing.hpp"
#include "xdp/xdp_type.hpp"

#include <benchmark/benchmark.h>

#include <array>
#include <memory>

namespace skep::testing {
namespace {

constexpr std::size_t poll_frames = 64;

/// A world with null ports. The caller and the loader are those of the tests.
struct BenchWorld {
  explicit BenchWorld(const RunTiming timing = RunTiming::off) : xdp(slots, timing) {
    program_types.add(xdp_type);
    add_xdp_map_types(map_types);
  }
  Ref<Device> add_port(const char* name) {
    return *net_namespace->add_device(name, {}, std::make_unique<NullPort>());
  }
  Ref<Map> make_devmap(std::uint32_t entries) {
    const MapType& type = *map_types.find(uapi::BPF_MAP_TYPE_DEVMAP);
    return *type.make(
        type, {.type = type.number, .key_bytes = 4, .value_bytes = 8, .max_entries = entries},
        map_environment);
  }
  void set(Map& map, std::uint32_t key, const Device& device, int program_fd = 0) {
    const SlotGuard slot = slots.enter_control();
    MapCommand command{*slot, caller};
    const uapi::bpf_devmap_val value{.ifindex = device.ifindex(), .bpf_prog = program_fd};
    ASSERT(map.command_update(command, reinterpret_cast<const std::byte*>(&key),
                              reinterpret_cast<const std::byte*>(&value), 0));
  }
  Ref<Program> load(Instructions instructions, std::uint32_t attach_type = 0) {
    ProgramSpec spec;
    spec.type = &xdp_type;
    spec.license = "GPL";
    spec.expected_attach_type = attach_type;
    spec.instructions = std::move(instructions);
    Log log;
    return *Program::load(std::move(spec), caller, program_environment, log);
  }

  /// Polls of 64 frames of 64 bytes, which are made anew each time: that is part of the price.
  void run(benchmark::State& state, const Instructions& instructions) {
    ASSERT(xdp.attach(*in, load(instructions)));
    const SlotGuard slot = slots.enter(0);
    const std::array<std::byte, 64> packet{};
    std::array<Buff*, poll_frames> frames;
    for (auto _ : state) {
      const rcu::ReadGuard guard;
      for (Buff*& frame : frames) frame = packets->take_copy(*slot, packet);
      in->receive(*slot, frames);
    }
    state.SetItemsProcessed(state.iterations() * poll_frames);
  }

  RealClock clock;
  CpuSlots slots{1, clock, 1};
  Budget budget{64U << 20};
  Random random{1, 0};
  SilentTrace trace;
  std::unique_ptr<PacketPool> packets = *PacketPool::make(1024, slots, budget);
  MapTypes map_types;
  ProgramTypes program_types;
  MapEnvironment map_environment{.slots = slots, .budget = budget, .random = random};
  ProgramEnvironment program_environment{
      .slots = slots, .budget = budget, .types = program_types, .trace = trace};
  // What the members below let go of is destroyed after a grace period, and needs those above.
  struct GraceAtEnd {
    ~GraceAtEnd() { rcu::barrier(); }
  } grace;
  Ref<NetNamespace> net_namespace = make_object<NetNamespace>(slots);
  Ref<Device> in = add_port("in"), out = add_port("out");
  Xdp xdp;
  XdpType xdp_type{xdp, *packets};
  TestCaller caller{net_namespace};
};

void xdp_drop(benchmark::State& state) {
  BenchWorld world;
  world.run(state, return_value(uapi::XDP_DROP));
}
BENCHMARK(xdp_drop);

void xdp_drop_timed(benchmark::State& state) {
  BenchWorld world(RunTiming::on);
  world.run(state, return_value(uapi::XDP_DROP));
}
BENCHMARK(xdp_drop_timed);

void xdp_tx(benchmark::State& state) {
  BenchWorld world;
  world.run(state, return_value(uapi::XDP_TX));
}
BENCHMARK(xdp_tx);

void xdp_redirect(benchmark::State& state) {
  BenchWorld world;
  world.run(state, mov(1, world.out->ifindex()) + mov(2, 0) + call(redirect_id) + exit_program());
}
BENCHMARK(xdp_redirect);

Instructions through(int map_fd, std::int64_t flags) {
  return map_address(1, map_fd) + mov(2, 0) + mov(3, flags) + call(redirect_map_id) +
         exit_program();
}

void xdp_redirect_map(benchmark::State& state) {
  BenchWorld world;
  const Ref<Map> map = world.make_devmap(8);
  world.set(*map, 0, *world.out);
  world.run(state, through(world.caller.open(map), 0));
}
BENCHMARK(xdp_redirect_map);

/// The same with a program in the entry.
void xdp_redirect_map_egress(benchmark::State& state) {
  BenchWorld world;
  const Ref<Map> map = world.make_devmap(8);
  const int egress =
      world.caller.open(world.load(return_value(uapi::XDP_PASS), uapi::BPF_XDP_DEVMAP));
  world.set(*map, 0, *world.out, egress);
  world.run(state, through(world.caller.open(map), 0));
}
BENCHMARK(xdp_redirect_map_egress);

/// To three ports: two clones and the frame itself. One item is one frame that came in.
void xdp_broadcast_3(benchmark::State& state) {
  BenchWorld world;
  const Ref<Map> map = world.make_devmap(3);
  world.set(*map, 0, *world.out);
  world.set(*map, 1, *world.add_port("second"));
  world.set(*map, 2, *world.add_port("third"));
  world.run(state, through(world.caller.open(map), uapi::BPF_F_BROADCAST));
}
BENCHMARK(xdp_broadcast_3);

}  // namespace
}  // namespace skep::testing
