// SPDX-License-Identifier: Apache-2.0
// pipeline/PROGRAM/64B: frames of 64 bytes on their whole way through the public library, gen port
// → program → null port, in real time on one CPU. The kernel's side runs the same object on an
// equal packet by BPF_PROG_TEST_RUN with repeat: it has the program only, no frames to make, send
// or free.
#include "bench.hpp"
#include "cpu/slot.hpp"
#include "host.hpp"
#include "net/device.hpp"
#include "net/port/gen_port.hpp"
#include "net_namespace.hpp"
#include "object/budget.hpp"
#include "skep/runtime.hpp"
#include "uapi/bpf.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skep::bench {
namespace {

constexpr unsigned frame_bytes = 64;
constexpr const char* note =
    "skep makes, runs and gives back every frame; the kernel's figure is the program alone, "
    "repeated "
    "on one equal packet (BPF_PROG_TEST_RUN)";

struct Entry {
  const char *map, *key, *value;
};
/// What runs, and how it is set up.
struct Setup {
  const char* name;
  const char* object;  // beside_program()
  const char* program;
  std::uint32_t verdict;  // of every frame
  // Made in one pass: a few milliseconds' worth, so that starting a thread does not count and yet
  // an undisturbed reading can be had on a busy machine.
  unsigned frames = 32'768;
  std::vector<GlobalValue> globals = {};
  std::vector<Entry> entries = {};
};

/// The balancer answers for the address and port that gen writes to, UDP. It rewrites MAC addresses
/// only: the kernel repeats the program on the same packet, which must still be for the service.
std::vector<Setup> setups() {
  return {{.name = "pass",
           .object = "bench/bpf/bench_verdicts.bpf.o",
           .program = "pass",
           .verdict = uapi::XDP_PASS},
          {.name = "drop",
           .object = "bench/bpf/bench_verdicts.bpf.o",
           .program = "drop",
           .verdict = uapi::XDP_DROP},
          {.name = "counter",
           .object = "examples/counter.bpf.o",
           .program = "count",
           .verdict = uapi::XDP_PASS},
          {.name = "load_balancer",
           .object = "examples/load_balancer.bpf.o",
           .program = "balance",
           .verdict = uapi::XDP_REDIRECT,
           .frames = 2048,
           .globals = {{".rodata", "direct_server_return", "true"}},
           .entries = {{"services", "{address=198.18.0.1,port=80,protocol=17}",
                        "{first_backend=0,backend_count=2}"},
                       {"backends", "0",
                        "{address=10.11.0.11,mac=02:00:00:00:11:11,source_mac=02:00:00:00:11:01,"
                        "output_port=0,state=BACKEND_UP}"},
                       {"backends", "1",
                        "{address=10.11.0.12,mac=02:00:00:00:11:12,source_mac=02:00:00:00:11:01,"
                        "output_port=0,state=BACKEND_UP}"}}}};
}

// ---- skep ----

struct SkepSide {
  Runtime runtime;
  LoadedObject object;
  std::uint64_t received = 0;  // frames so far
};

Expected<std::shared_ptr<SkepSide>> set_up(const Setup& setup) {
  auto runtime = Runtime::make({.cpus = 1, .clock = ClockKind::real_time});
  if (!runtime) return std::unexpected(runtime.error());
  const PortOptions ports[] = {
      {.name = "in", .spec = fmt::format("gen:frames={},bytes={}", setup.frames, frame_bytes)},
      {.name = "out", .spec = "null"}};
  for (const PortOptions& port : ports)
    if (auto added = runtime->add_port(port); !added) return std::unexpected(added.error());
  auto object = runtime->load_object(beside_program(setup.object), {.globals = setup.globals});
  if (!object) return std::unexpected(object.error());
  std::vector<Entry> entries = setup.entries;
  if (setup.verdict == uapi::XDP_REDIRECT) entries.push_back({"ports", "0", "out"});
  for (const Entry& entry : entries) {
    auto set = runtime->set_map_entry(*object, entry.map, entry.key, entry.value);
    if (!set) return std::unexpected(set.error());
  }
  if (auto attached = runtime->attach_xdp("in", *object, setup.program); !attached)
    return std::unexpected(attached.error());
  return std::make_shared<SkepSide>(SkepSide{std::move(*runtime), std::move(*object)});
}

/// Frames that got `verdict`, since the start.
std::uint64_t with_verdict(const PortReport& port, std::uint32_t verdict) {
  switch (verdict) {
    case uapi::XDP_PASS:
      return port.passed;
    case uapi::XDP_DROP:
      return port.dropped;
    default:
      return port.redirected;
  }
}

/// Plays the input as often as it takes, at least once.
Attempt<Sample> play(SkepSide& side, const Setup& setup, std::uint64_t items) {
  const auto passes =
      static_cast<unsigned>(std::clamp<std::uint64_t>(items / setup.frames, 1, 1'000'000));
  // Once more: the first turn finds the input where the last reading left it, at its end.
  const std::int64_t cpu_start = cpu_time_ns();
  auto report = side.runtime.run({.repeat = passes + 1});
  const std::int64_t cpu_ns = cpu_time_ns() - cpu_start;
  if (!report) return std::unexpected(report.error().message);
  const PortReport& in = report->ports.front();
  const std::uint64_t frames = in.received - std::exchange(side.received, in.received);
  if (with_verdict(in, setup.verdict) != in.received)
    return std::unexpected(fmt::format("{} of {} frames got the verdict that the row is about",
                                       with_verdict(in, setup.verdict), in.received));
  // The worker is busy from its first to its last frame. Where the processor was not, the worker
  // waited for it; starting a thread and hearing of its end takes some percent.
  const auto ns = static_cast<std::int64_t>(report->seconds * 1e9);
  return Sample{.items = frames, .ns = ns, .disturbed = cpu_ns < ns / 10 * 9};
}

// ---- the kernel ----

struct KernelSide {
  std::shared_ptr<ObjectFile> object;
  std::unique_ptr<HostNamespace> net_namespace;  // of the device in devmaps; may be null
  std::vector<std::byte> packet;
};

/// A frame as the gen port makes it.
Attempt<std::vector<std::byte>> generated_frame() {
  const RealClock clock;
  CpuSlots slots(1, clock, 1);
  Budget budget(std::uint64_t{1} << 24);
  auto packets = PacketPool::make(64, slots, budget);
  if (!packets) return std::unexpected(failure("packet memory", packets.error().code));
  std::string why;
  auto port = GenPort::make({.frame_bytes = frame_bytes}, **packets, why);
  if (!port) return std::unexpected(why);
  const SlotGuard slot = slots.enter(0);
  std::array<Buff*, 1> frames{};
  if ((*port)->receive(*slot, 0, UINT64_MAX, frames) != 1)
    return std::unexpected("the gen port has no frames");
  std::vector<std::byte> bytes(frame_bytes);
  (*packets)->copy_out(*frames[0], 0, bytes);
  (*packets)->give_back(*slot, frames[0]);
  return bytes;
}

/// Gives the map `name` of `object` in the host all entries that skep's map has, byte by byte.
Attempt<void> copy_map(SkepSide& from, const ObjectFile& object, std::string_view name) {
  MapSummary shape;
  for (MapSummary& map : from.object.maps())
    if (map.name == name) shape = std::move(map);
  std::vector<std::byte> key(shape.key_bytes), next(shape.key_bytes), value(shape.value_bytes);
  uapi::map_elem_attr attr{};
  attr.map_fd = static_cast<std::uint32_t>(from.object.map_fd(name));
  for (bool first = true;; first = false) {
    attr.key = first ? 0 : reinterpret_cast<std::uintptr_t>(key.data());
    attr.value = reinterpret_cast<std::uintptr_t>(next.data());
    const long found = from.runtime.bpf(uapi::BPF_MAP_GET_NEXT_KEY, &attr, sizeof attr);
    if (found == -ENOENT) return {};
    if (found < 0)
      return std::unexpected(failure("BPF_MAP_GET_NEXT_KEY", static_cast<int>(-found)));
    key = next;
    attr.key = reinterpret_cast<std::uintptr_t>(key.data());
    attr.value = reinterpret_cast<std::uintptr_t>(value.data());
    const long read = from.runtime.bpf(uapi::BPF_MAP_LOOKUP_ELEM, &attr, sizeof attr);
    if (read < 0) return std::unexpected(failure("BPF_MAP_LOOKUP_ELEM", static_cast<int>(-read)));
    if (auto set = update_in_host(map_fd(object, name), key.data(), value.data()); !set) return set;
  }
}

Attempt<std::shared_ptr<KernelSide>> set_up_kernel(const Setup& setup, SkepSide& skep) {
  if (std::string why = host_refusal(); !why.empty()) return std::unexpected(std::move(why));
  auto side = std::make_shared<KernelSide>();
  auto packet = generated_frame();
  if (!packet) return std::unexpected(packet.error());
  side->packet = std::move(*packet);
  auto object =
      load_into_host(setup.object, [&](ObjectFile& file, LoadProblem& problem) -> Result<void> {
        for (const GlobalValue& global : setup.globals)
          TRY(file.set_global(global.section, global.variable, global.value, problem));
        return ok();
      });
  if (!object) return std::unexpected(object.error());
  side->object = std::move(*object);
  std::set<std::string_view> maps;
  for (const Entry& entry : setup.entries) maps.insert(entry.map);
  for (const std::string_view map : maps)
    if (auto copied = copy_map(skep, *side->object, map); !copied)
      return std::unexpected(copied.error());
  if (setup.verdict == uapi::XDP_REDIRECT) {
    // A device has to be found, but without live frames nothing is sent there.
    auto net_namespace = HostNamespace::make();
    if (!net_namespace) return std::unexpected(net_namespace.error());
    side->net_namespace = std::move(*net_namespace);
    const HostNamespace::Visit visit(*side->net_namespace);
    const std::uint32_t key = 0;
    const uapi::bpf_devmap_val loopback{.ifindex = NetNamespace::loopback_ifindex, .bpf_prog = 0};
    if (auto set = update_in_host(map_fd(*side->object, "ports"), &key, &loopback); !set)
      return std::unexpected(set.error());
  }
  return side;
}

Attempt<Sample> repeat(const KernelSide& side, const Setup& setup, std::uint64_t items) {
  const auto times = static_cast<std::uint32_t>(std::min<std::uint64_t>(items, UINT32_MAX));
  const auto run = run_in_host(
      {.program_fd = program_fd(*side.object, setup.program), .packet = side.packet}, times);
  if (!run) return std::unexpected(run.error());
  if (run->verdict != setup.verdict)
    return std::unexpected(fmt::format("the program gave {}, not {}", run->verdict, setup.verdict));
  return Sample{.items = times, .ns = run->ns};
}

Attempt<Sides> prepare(const Setup& setup, const Effort& effort) {
  auto made = set_up(setup);
  if (!made) return std::unexpected(made.error().message);
  const std::shared_ptr<SkepSide> skep = std::move(*made);
  Sides sides{
      .skep = timed([skep, setup](std::uint64_t items) { return play(*skep, setup, items); },
                    frames_per_second, effort),
      .kernel = {},
      .note = note};
  auto kernel = set_up_kernel(setup, *skep);
  if (kernel) {
    sides.kernel =
        timed([side = *kernel, setup](std::uint64_t items) { return repeat(*side, setup, items); },
              frames_per_second, effort);
  } else {
    sides.note = no_kernel(kernel.error());
  }
  return sides;
}

}  // namespace

std::vector<Case> pipeline_cases() {
  std::vector<Case> cases;
  for (const Setup& setup : setups()) {
    cases.push_back({.name = fmt::format("pipeline/{}/{}B", setup.name, frame_bytes),
                     .unit = frames_per_second,
                     .prepare = [setup](const Effort& effort) { return prepare(setup, effort); }});
  }
  return cases;
}

}  // namespace skep::bench
