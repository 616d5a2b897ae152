// SPDX-License-Identifier: Apache-2.0
// The public library (include/skep/runtime.hpp, include/skep/skep.h) on top of a World.
#include "skep/runtime.hpp"

#include "loader/object_file.hpp"
#include "net/port/port.hpp"
#include "net/port/port_spec.hpp"
#include "rcu/rcu.hpp"
#include "result/errno_name.hpp"
#include "runtime/map_text.hpp"
#include "runtime/traffic.hpp"
#include "runtime/world.hpp"
#include "uapi/bpf.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

struct skep_runtime {
  std::unique_ptr<skep::World> world;
};

namespace skep {
namespace {

std::unexpected<Error> refuse(int code, std::string message, std::string hint = {},
                              std::string log = {}) {
  if (code != 0) message = fmt::format("{} ({})", message, errno_name(code));
  return std::unexpected(Error{
      .code = code, .message = std::move(message), .hint = std::move(hint), .log = std::move(log)});
}

std::unexpected<Error> refuse(const Errno error, LoadProblem problem) {
  // The sentence names the errno already.
  return std::unexpected(Error{.code = error.code,
                               .message = std::move(problem.message),
                               .hint = std::move(problem.hint),
                               .log = std::move(problem.log)});
}

/// Sentences of lower rooms bring their hint on a second line.
std::pair<std::string, std::string> split_hint(const std::string& text) {
  constexpr std::string_view mark = "\nhint: ";
  const std::size_t at = text.find(mark);
  if (at == std::string::npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + mark.size())};
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

}  // namespace

struct LoadedObject::Internals {
  World& world;
  std::unique_ptr<ObjectFile> file;
};

LoadedObject::LoadedObject(std::unique_ptr<Internals> internals)
    : internals_(std::move(internals)) {}
LoadedObject::LoadedObject(LoadedObject&&) noexcept = default;
LoadedObject& LoadedObject::operator=(LoadedObject&&) noexcept = default;
LoadedObject::~LoadedObject() = default;

std::vector<ProgramSummary> LoadedObject::programs() const {
  std::vector<ProgramSummary> out;
  for (const ObjectFile::ProgramEntry& program : internals_->file->programs()) {
    const ProgramType* const type = internals_->world.program_types.find(program.type);
    out.push_back({.name = program.name,
                   .section = program.section,
                   .type = type != nullptr ? std::string(type->name()) : std::string(),
                   .loaded = program.fd >= 0,
                   .optional = program.is_optional,
                   .skipped_because = program.skipped_because});
  }
  return out;
}

std::vector<MapSummary> LoadedObject::maps() const {
  std::vector<MapSummary> out;
  for (const ObjectFile::MapEntry& entry : internals_->file->maps()) {
    auto object = internals_->world.caller->object(entry.fd, ObjectKind::map, nullptr);
    if (!object) continue;  // its descriptor was closed behind our back
    const Ref<Map> map = ref_cast<Map>(std::move(object).take());
    const MapSpec& spec = map->spec();
    out.push_back({.name = entry.name,
                   .type = map->type().name,
                   .id = map->id(),
                   .key_bytes = spec.key_bytes,
                   .value_bytes = spec.value_bytes,
                   .max_entries = spec.max_entries});
  }
  return out;
}

int LoadedObject::program_fd(std::string_view name) const {
  for (const ObjectFile::ProgramEntry& program : internals_->file->programs())
    if (program.name == name) return program.fd;
  return -1;
}

int LoadedObject::map_fd(std::string_view name) const {
  for (const ObjectFile::MapEntry& map : internals_->file->maps())
    if (map.name == name) return map.fd;
  return -1;
}

struct Runtime::Internals {
  std::unique_ptr<World> world;
  std::vector<std::string> ports;  // names, in order of addition
  std::uint64_t played_until_ns = 0;

  /// How entries of `object`'s maps name ports and programs.
  MapNames names(const LoadedObject& object) const {
    return {.net_namespace = *world->net_namespace,
            .program_fd = [&object](std::string_view name) { return object.program_fd(name); },
            .program_name =
                [this](std::uint32_t id) {
                  auto found = world->syscalls.prog_ids().find(id);
                  if (!found) return std::string();
                  return std::string(ref_cast<Program>(std::move(found).take())->full_name());
                }};
  }

  /// `port` is empty for programs of devmap entries.
  ProgramReport program_report(const std::string& name, const std::string& port, std::uint32_t id,
                               const XdpFigures& figures) const {
    ProgramReport report{
        .name = name, .port = port, .id = id, .runs = figures.runs, .faults = figures.faults};
    if (!world->is_virtual() && figures.runs != 0)
      report.ns_per_packet =
          static_cast<double>(figures.time_ns) / static_cast<double>(figures.runs);
    if (auto found = world->syscalls.prog_ids().find(id)) {
      const auto fault = ref_cast<Program>(std::move(found).take())->last_fault();
      if (fault) report.last_fault = fault->describe();
    }
    return report;
  }

  Expected<Ref<Device>> port(std::string_view name) const {
    auto device = world->net_namespace->device(name);
    if (!device) {
      return refuse(
          ENODEV, fmt::format("there is no port {}", name),
          ports.empty() ? "add one first" : fmt::format("the ports are {}", joined(ports)));
    }
    return std::move(device).take();
  }
};

Runtime::Runtime(std::unique_ptr<Internals> internals) : internals_(std::move(internals)) {}
Runtime::Runtime(Runtime&&) noexcept = default;
Runtime& Runtime::operator=(Runtime&&) noexcept = default;
Runtime::~Runtime() = default;

Expected<Runtime> Runtime::make(const RuntimeOptions& options) {
  auto world = World::make(options);
  if (!world) {
    if (world.error().code == ENOMEM) {
      return refuse(ENOMEM,
                    fmt::format("{} chunks of packet memory do not fit the budget of {} bytes",
                                options.packet_chunks, options.memory_bytes),
                    "raise the memory budget or ask for fewer packet chunks");
    }
    return refuse(
        world.error().code,
        fmt::format("cpus={}, packet_chunks={}, instruction_budget={}: out of range", options.cpus,
                    options.packet_chunks, options.instruction_budget),
        "cpus is 1 to 256, packet_chunks at least 4 * (cpus + 4), instruction_budget at least 1");
  }
  auto internals = std::make_unique<Internals>();
  internals->world = std::move(world).take();
  return Runtime(std::move(internals));
}

long Runtime::bpf(int cmd, void* attr, unsigned size) {
  World& world = *internals_->world;
  return skep_result(world.syscalls.bpf(*world.caller, static_cast<std::uint32_t>(cmd),
                                        reinterpret_cast<std::uint64_t>(attr), size));
}

Expected<void> Runtime::add_port(const PortOptions& options) {
  World& world = *internals_->world;
  constexpr unsigned least_mtu = 68, most_mtu = 65535;  // as Linux has it for Ethernet
  if (options.mtu < least_mtu || options.mtu > most_mtu)
    return refuse(EINVAL, fmt::format("port {}: mtu {} is out of range", options.name, options.mtu),
                  fmt::format("an mtu is {} to {} bytes", least_mtu, most_mtu));
  std::string why;
  auto port = make_port(options.spec,
                        {.pool = *world.packets,
                         .name = options.name,
                         .out_dir = options.out_dir,
                         .queues = world.slots.cpus(),
                         .seed = world.options.seed},
                        why);
  if (!port) {
    const auto [message, hint] = split_hint(why);
    return refuse(0, fmt::format("port {}: {}", options.name, message), hint);
  }
  // Locally administered addresses that tell the ports apart: 02:00:00:00:NN:NN.
  const std::size_t number = internals_->ports.size() + 1;
  const MacAddress mac = {
      2, 0, 0, 0, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
  auto device = world.net_namespace->add_device(options.name, {.mtu = options.mtu, .mac = mac},
                                                std::move(port).take());
  if (!device) {
    const int code = device.error().code;
    return refuse(code,
                  code == EEXIST ? fmt::format("there is a port {} already", options.name)
                                 : fmt::format("{} is not a port name", options.name),
                  code == EEXIST ? "give each port a name of its own"
                                 : "a name has 1 to 15 characters, without blanks and slashes");
  }
  internals_->ports.push_back(options.name);
  return {};
}

Expected<LoadedObject> Runtime::load_object(const std::string& path, const LoadOptions& options) {
  World& world = *internals_->world;
  LoadProblem problem;
  auto file = ObjectFile::open(path, problem);
  if (!file) return refuse(file.error(), std::move(problem));
  for (const GlobalValue& global : options.globals) {
    auto set = (*file)->set_global(global.section, global.variable, global.value, problem);
    if (!set) return refuse(set.error(), std::move(problem));
  }
  for (const std::string& program : options.programs) (*file)->want(program);
  auto loaded =
      (*file)->load(world.syscalls, *world.caller, world.program_types, world.map_types, problem);
  if (!loaded) return refuse(loaded.error(), std::move(problem));
  return LoadedObject(std::unique_ptr<LoadedObject::Internals>(
      new LoadedObject::Internals{.world = world, .file = std::move(file).take()}));
}

Expected<void> Runtime::attach_xdp(std::string_view port, const LoadedObject& object,
                                   std::string_view program) {
  World& world = *internals_->world;
  auto device = internals_->port(port);
  if (!device) return std::unexpected(device.error());
  std::vector<std::string> known;
  const ProgramSummary* chosen = nullptr;
  const std::vector<ProgramSummary> programs = object.programs();
  std::size_t in_section = 0;
  for (const ProgramSummary& candidate : programs) {
    if (candidate.type == "xdp") known.push_back(candidate.name);
    if (candidate.section != program) continue;
    ++in_section;
    chosen = &candidate;
  }
  for (const ProgramSummary& candidate : programs)
    if (candidate.name == program) chosen = &candidate;
  if (chosen != nullptr && chosen->name != program && in_section > 1) {
    return refuse(EINVAL,
                  fmt::format("port {}: section {} has {} programs", port, program, in_section),
                  fmt::format("name one of {}", joined(known)));
  }
  if (chosen == nullptr) {
    return refuse(ENOENT, fmt::format("port {}: there is no program {}", port, program),
                  known.empty() ? "the object has no XDP programs"
                                : fmt::format("its XDP programs are {}", joined(known)));
  }
  if (!chosen->loaded)
    return refuse(EINVAL,
                  fmt::format("port {}: program {}: {}", port, program, chosen->skipped_because));
  auto found = world.caller->object(object.program_fd(chosen->name), ObjectKind::prog, nullptr);
  if (!found) return refuse(found.error().code, fmt::format("program {} is gone", program));
  auto attached = world.xdp->attach(**device, ref_cast<Program>(std::move(found).take()));
  if (!attached) {
    const int code = attached.error().code;
    return refuse(code, fmt::format("port {}: program {} cannot be attached", port, program),
                  code == EINVAL
                      ? "programs for devmap and cpumap entries run from their map: give them with "
                        "--map 'MAP[KEY]={port=PORT,program=PROGRAM}'"
                      : "");
  }
  return {};
}

Expected<void> Runtime::set_map_entry(const LoadedObject& object, std::string_view map,
                                      std::string_view key, std::string_view value) {
  World& world = *internals_->world;
  const int fd = object.map_fd(map);
  if (fd < 0) {
    std::vector<std::string> known;
    for (const MapSummary& candidate : object.maps()) known.push_back(candidate.name);
    return refuse(ENOENT, fmt::format("there is no map {}", map),
                  fmt::format("the object's maps are {}", joined(known)));
  }
  return skep::set_map_entry(world.syscalls, *world.caller, fd, internals_->names(object), key,
                             value);
}

Expected<std::vector<MapEntry>> Runtime::dump_map(const LoadedObject& object,
                                                  std::string_view map) const {
  World& world = *internals_->world;
  const int fd = object.map_fd(map);
  if (fd < 0) return refuse(ENOENT, fmt::format("there is no map {}", map));
  return skep::dump_map(world.syscalls, *world.caller, fd, internals_->names(object));
}

namespace {

PortReport port_report(const NetNamespace& net_namespace, Device& device) {
  const DeviceCounters counters = device.counters();
  PortReport report{.name = device.name(),
                    .kind = std::string(device.port().kind()),
                    .ifindex = device.ifindex(),
                    .received = counters.rx_frames,
                    .received_bytes = counters.rx_bytes,
                    .passed = counters.passed,
                    .transmitted = counters.tx_frames,
                    .transmitted_bytes = counters.tx_bytes,
                    .xdp_tx = counters.xdp_tx,
                    .redirected = counters.redirected,
                    .error = device.port().error()};
  for (const auto& [ifindex, count] : counters.redirected_to) {
    const auto target = net_namespace.device(ifindex);
    report.redirected_to.push_back(
        {target ? (*target)->name() : fmt::format("ifindex {}", ifindex), count});
  }
  for (std::size_t i = 0; i < drop_reasons; ++i) {
    if (counters.drops[i] == 0) continue;
    const auto reason = static_cast<DropReason>(i);
    report.drops.push_back({std::string(name_of(reason)), counters.drops[i]});
    const bool aborted = reason == DropReason::xdp_aborted || reason == DropReason::xdp_fault;
    (aborted ? report.aborted : report.dropped) += counters.drops[i];
  }
  return report;
}

}  // namespace

Expected<RunReport> Runtime::run(const RunOptions& options) {
  World& world = *internals_->world;
  world.syscalls.reap();
  const std::uint64_t started_ns = world.slots.clock().monotonic_ns();
  if (options.repeat == 0)
    return refuse(EINVAL, "repeat 0: there is nothing to do", "repeat at least once");
  for (unsigned pass = 0; pass < options.repeat; ++pass) {
    // Asked before the first pass too: what cannot be repeated is refused before anything is
    // played.
    for (const Ref<Device>& device : world.net_namespace->devices()) {
      if (options.repeat == 1) break;
      if (auto rewound = device->port().rewind(); !rewound) {
        return refuse(rewound.error().code,
                      fmt::format("port {}: its input cannot be played again", device->name()),
                      "save it to a file first");
      }
    }
    internals_->played_until_ns = play_traffic(world, internals_->played_until_ns);
  }
  for (const Ref<Device>& device : world.net_namespace->devices()) device->port().finish();

  RunReport report;
  report.seconds = static_cast<double>(world.slots.clock().monotonic_ns() - started_ns) / 1e9;
  for (const Ref<Device>& device : world.net_namespace->devices()) {
    if (device->port().kind() == "loopback") continue;
    report.ports.push_back(port_report(*world.net_namespace, *device));
    report.frames += report.ports.back().received;
  }
  const XdpReport xdp = world.xdp->report();
  for (const XdpReport::Attached& program : xdp.attached)
    report.programs.push_back(
        internals_->program_report(program.prog, program.device, program.prog_id, program.figures));
  for (const Redirector::EgressReport& program : xdp.egress)
    report.programs.push_back(
        internals_->program_report(program.prog, "", program.prog_id, program.figures));
  TraceLog::Lines trace = world.trace.take();
  report.trace = std::move(trace.lines);
  report.trace_lost = trace.lost;
  return report;
}

}  // namespace skep

skep_runtime* skep_runtime_new(const skep_runtime_options* given) {
  skep::RuntimeOptions options;
  if (given != nullptr) {
    // A caller built against an older header gives a shorter struct: what it lacks is 0.
    skep_runtime_options known{};
    if (given->size < sizeof(given->size) || given->size > sizeof(known)) {
      errno = EINVAL;
      return nullptr;
    }
    std::memcpy(&known, given, given->size);
    if (known.cpus != 0) options.cpus = known.cpus;
    if (known.real_clock != 0) options.clock = skep::ClockKind::real_time;
    if (known.packet_chunks != 0) options.packet_chunks = known.packet_chunks;
    if (known.seed != 0) options.seed = known.seed;
    if (known.memory_bytes != 0) options.memory_bytes = known.memory_bytes;
    if (known.instruction_budget != 0) options.instruction_budget = known.instruction_budget;
  }
  auto world = skep::World::make(options);
  if (!world) {
    errno = world.error().code;
    return nullptr;
  }
  return new skep_runtime{std::move(world).take()};
}

void skep_runtime_free(skep_runtime* runtime) { delete runtime; }

long skep_bpf(skep_runtime* runtime, int cmd, void* attr, unsigned size) {
  skep::World& world = *runtime->world;
  return skep::skep_result(world.syscalls.bpf(*world.caller, static_cast<std::uint32_t>(cmd),
                                              reinterpret_cast<std::uint64_t>(attr), size));
}
