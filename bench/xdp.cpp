// SPDX-License-Identifier: Apache-2.0
// xdp/CASE/1c: frames of 64 bytes that come in at a device with a program, on one CPU. skep's side
// makes each frame anew and gives polls of 64 to the hook of a device; targets are null ports. The
// kernel's side is BPF_PROG_TEST_RUN with live frames; targets are veth devices in a network
// namespace of its own, whose peers drop what arrives, so its figure holds that arrival too.
#include "bench.hpp"
#include "host.hpp"
#include "net/port/null_port.hpp"
#include "net_namespace.hpp"
#include "rcu/rcu.hpp"
#include "runtime/world.hpp"
#include "uapi/bpf.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

namespace skep::bench {
namespace {

constexpr const char* object_path = "bench/bpf/bench_xdp.bpf.o";
constexpr std::size_t poll_frames = 64;  // also what live frames take at a time
constexpr std::uint32_t targets = 4;
constexpr std::array<std::byte, 64> packet{};
constexpr const char* note =
    "skep redirects to ports that take everything; the kernel's live frames are received and "
    "dropped by the peers of veth devices";

struct Entry {
  const char* map;
  std::uint32_t key;
};
/// Every entry of the object's maps; the key is the number of the target too.
constexpr Entry entries[] = {
    {"one", 0}, {"one_with_program", 0}, {"four", 0}, {"four", 1}, {"four", 2}, {"four", 3}};

/// What an entry says on either side; the target is device `ifindex`.
uapi::bpf_devmap_val value_of(const Entry& entry, std::uint32_t ifindex, const ObjectFile& object) {
  uapi::bpf_devmap_val value{.ifindex = ifindex, .bpf_prog = 0};
  if (std::string_view(entry.map) == "one_with_program")
    value.bpf_prog = program_fd(object, "egress");
  return value;
}

// ---- skep ----

/// Members are in the order in which they need each other.
struct SkepSide {
  std::unique_ptr<World> world;
  std::unique_ptr<ObjectFile> object;
  Ref<Device> in;
  std::array<Ref<Device>, targets> out;
};

Result<Ref<Device>> add_null_port(World& world, const std::string& name) {
  return world.net_namespace->add_device(name, {}, std::make_unique<NullPort>());
}

Result<void> set_entry(World& world, int map, std::uint32_t key,
                       const uapi::bpf_devmap_val& value) {
  uapi::map_elem_attr attr{};
  attr.map_fd = static_cast<std::uint32_t>(map);
  attr.key = reinterpret_cast<std::uintptr_t>(&key);
  attr.value = reinterpret_cast<std::uintptr_t>(&value);
  TRY(world.syscalls.bpf(*world.caller, uapi::BPF_MAP_UPDATE_ELEM,
                         reinterpret_cast<std::uintptr_t>(&attr), sizeof attr));
  return ok();
}

Result<void> set_up(SkepSide& side, const std::string& program, LoadProblem& problem) {
  // In virtual time programs are not timed, as the kernel does not time them either.
  side.world = TRY(World::make({.clock = ClockKind::virtual_time, .packet_chunks = 1024}));
  World& world = *side.world;
  side.object = TRY(ObjectFile::open(beside_program(object_path), problem));
  TRY(side.object->load(world.syscalls, *world.caller, world.program_types, world.map_types,
                        problem));
  side.in = TRY(add_null_port(world, "in"));
  for (std::uint32_t i = 0; i < targets; ++i)
    side.out[i] = TRY(add_null_port(world, fmt::format("out{}", i)));
  for (const Entry& entry : entries)
    TRY(set_entry(world, map_fd(*side.object, entry.map), entry.key,
                  value_of(entry, side.out[entry.key]->ifindex(), *side.object)));
  const int fd = program_fd(*side.object, program);
  const Ref<Object> attached = TRY(world.caller->object(fd, ObjectKind::prog, nullptr));
  return world.xdp->attach(*side.in, ref_cast<Program>(attached));
}

Attempt<Sample> poll(SkepSide& side, std::uint64_t items) {
  World& world = *side.world;
  const SlotGuard slot = world.slots.enter(0);
  std::array<Buff*, poll_frames> frames;
  const std::uint64_t polls = items / poll_frames + 1;
  const std::int64_t start = now_ns();
  for (std::uint64_t i = 0; i < polls; ++i) {
    const rcu::ReadGuard guard;
    for (Buff*& frame : frames) frame = world.packets->take_copy(*slot, packet);
    side.in->receive(*slot, frames);
  }
  return Sample{.items = polls * poll_frames, .ns = now_ns() - start};
}

// ---- the kernel ----

/// Members are in the order in which they need each other.
struct KernelSide {
  std::shared_ptr<ObjectFile> object;
  std::unique_ptr<HostNamespace> net_namespace;
  std::array<HostNamespace::VethPair, targets> out;
};

Attempt<std::shared_ptr<KernelSide>> set_up_kernel() {
  if (std::string why = host_refusal(); !why.empty()) return std::unexpected(std::move(why));
  auto side = std::make_shared<KernelSide>();
  auto object = load_into_host(object_path);
  if (!object) return std::unexpected(object.error());
  side->object = std::move(*object);
  auto net_namespace = HostNamespace::make();
  if (!net_namespace) return std::unexpected(net_namespace.error());
  side->net_namespace = std::move(*net_namespace);
  for (HostNamespace::VethPair& pair : side->out) {
    auto made = side->net_namespace->add_veth_pair(program_fd(*side->object, "drop"));
    if (!made) return std::unexpected(made.error());
    pair = std::move(*made);
  }
  const HostNamespace::Visit visit(*side->net_namespace);  // devices are looked up where we are
  for (const Entry& entry : entries) {
    const auto value = value_of(entry, side->out[entry.key].ifindex, *side->object);
    auto set = update_in_host(map_fd(*side->object, entry.map), &entry.key, &value);
    if (!set) return std::unexpected(set.error());
  }
  return side;
}

Attempt<TestRunResult> send_live(const KernelSide& side, const std::string& program,
                                 std::uint64_t items) {
  const HostNamespace::Visit visit(*side.net_namespace);
  return run_in_host(
      {.program_fd = program_fd(*side.object, program), .packet = packet, .live_frames = true},
      static_cast<std::uint32_t>(std::min<std::uint64_t>(items, UINT32_MAX)));
}

/// Whether the frames of `program` arrive: sends some and looks at the devices' counters.
Attempt<void> check_arrival(const KernelSide& side, const std::string& program,
                            std::uint32_t receivers) {
  constexpr std::uint64_t sent = 16 * poll_frames;
  std::uint64_t before = 0, after = 0;
  for (std::uint64_t* const sum : {&before, &after}) {
    for (const HostNamespace::VethPair& pair : side.out) {
      auto received = side.net_namespace->received_frames(pair.peer);
      if (!received) return std::unexpected(received.error());
      *sum += *received;
    }
    if (sum == &after) break;
    auto done = send_live(side, program, sent);
    if (!done) return std::unexpected(done.error());
  }
  const std::uint64_t expected = sent * receivers, arrived = after - before;
  // Some may still be under way; an idle device may receive a frame of its own.
  if (arrived < expected / 10 * 9)
    return std::unexpected(
        fmt::format("only {} of {} frames arrived at the veth devices", arrived, expected));
  return {};
}

Attempt<Reading> kernel_reading(const std::string& program, std::uint32_t receivers, Unit unit,
                                const Effort& effort) {
  auto made = set_up_kernel();
  if (!made) return std::unexpected(made.error());
  const std::shared_ptr<KernelSide> side = std::move(*made);
  if (auto arrived = check_arrival(*side, program, receivers); !arrived)
    return std::unexpected(arrived.error());
  return timed(
      [side, program](std::uint64_t items) -> Attempt<Sample> {
        const std::uint64_t frames =
            std::clamp<std::uint64_t>(items, poll_frames, std::uint64_t{1} << 30);
        const auto took = send_live(*side, program, frames);
        if (!took) return std::unexpected(took.error());
        return Sample{.items = frames, .ns = took->ns};
      },
      unit, effort);
}

Attempt<Sides> prepare(const std::string& program, std::uint32_t receivers, const Effort& effort) {
  auto side = std::make_shared<SkepSide>();
  LoadProblem problem;
  if (auto done = set_up(*side, program, problem); !done)
    return std::unexpected(problem.message.empty() ? failure("a runtime", done.error().code)
                                                   : problem.message);
  Sides sides{.skep = timed([side](std::uint64_t items) { return poll(*side, items); },
                            frames_per_second, effort),
              .kernel = {},
              .note = note};
  auto kernel = kernel_reading(program, receivers, frames_per_second, effort);
  if (kernel)
    sides.kernel = std::move(*kernel);
  else
    sides.note = no_kernel(kernel.error());
  return sides;
}

}  // namespace

std::vector<Case> xdp_cases() {
  // Names of the programs, and how many devices receive each frame.
  static constexpr std::pair<const char*, std::uint32_t> programs[] = {
      {"drop", 0}, {"redirect", 1}, {"redirect_egress", 1}, {"broadcast4", targets}};
  std::vector<Case> cases;
  for (const auto& [program, receivers] : programs) {
    cases.push_back({.name = fmt::format("xdp/{}/1c", program),
                     .unit = frames_per_second,
                     .prepare = [program, receivers](const Effort& effort) {
                       return prepare(program, receivers, effort);
                     }});
  }
  return cases;
}

}  // namespace skep::bench
