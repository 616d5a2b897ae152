// SPDX-License-Identifier: Apache-2.0
#include "end_to_end/two_kernels.hpp"

#include "object/object.hpp"
#include "runtime/map_text.hpp"
#include "uapi/bpf.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace skep::testing {
namespace {

/// Possible CPUs of the machine: those that per-CPU values of its kernel are for.
std::uint32_t possible_cpus() {
  std::ifstream file("/sys/devices/system/cpu/possible");  // "0-3", or "0"
  std::string range;
  std::getline(file, range);
  const std::size_t dash = range.rfind('-');
  const std::string last = dash == std::string::npos ? range : range.substr(dash + 1);
  return last.empty() ? 1 : static_cast<std::uint32_t>(std::stoul(last)) + 1;
}

template <class Attr>
long call(BpfEntry& kernel, std::uint32_t cmd, Attr& attr) {
  return kernel.bpf(cmd, &attr, sizeof attr);
}

template <class T>
std::uint64_t address_of(T* data) {
  return reinterpret_cast<std::uint64_t>(data);
}

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

bool is_devmap(std::uint32_t type) {
  return type == uapi::BPF_MAP_TYPE_DEVMAP || type == uapi::BPF_MAP_TYPE_DEVMAP_HASH;
}

/// Overwrites with zeros what may differ.
void mask(std::span<const AllowedDifference> allowed, std::string_view object, std::string_view map,
          const std::string& key, std::string& value) {
  std::uint32_t index = 0;
  std::memcpy(&index, key.data(), std::min(sizeof index, key.size()));
  for (const AllowedDifference& difference : allowed) {
    if (difference.object != object || difference.map != map) continue;
    if (key.size() == sizeof index && (index < difference.first_key || index > difference.last_key))
      continue;
    value.replace(difference.offset, difference.bytes, difference.bytes, '\0');
  }
}

}  // namespace

RuntimeKernel::RuntimeKernel() {
  auto world = World::make({.cpus = possible_cpus(), .packet_chunks = 64});
  EXPECT_TRUE(static_cast<bool>(world));
  world_ = std::move(world).take();
}

long RuntimeKernel::bpf(unsigned cmd, void* attr, unsigned size) {
  return skep_result(world_->syscalls.bpf(*world_->caller, cmd, address_of(attr), size));
}

std::string describe(const TestRun& run) {
  if (run.result != 0)
    return fmt::format("errno {}", ::strerrorname_np(static_cast<int>(-run.result)));
  return fmt::format("verdict {}, {} bytes: {}", run.verdict, run.bytes_out, hex(run.bytes));
}

TwoKernels::TwoKernels(const std::string& path, const std::vector<Global>& globals)
    : name_(std::filesystem::path(path).stem().stem().string()) {
  LoadProblem problem;
  const auto open = [&](std::unique_ptr<ObjectFile>& file) {
    auto opened = ObjectFile::open(path, problem);
    if (!opened) return false;
    file = std::move(opened).take();
    for (const Global& global : globals)
      if (!file->set_global(global.section, global.variable, global.value, problem)) return false;
    return true;
  };
  World& world = skep_.world();
  if (!open(skep_file_) || !skep_file_->load(world.syscalls, *world.caller, world.program_types,
                                             world.map_types, problem)) {
    skep_refusal_ = problem.message;
    return;
  }
  if (!open(host_file_) || !host_file_->load_into_host(problem)) {
    host_refusal_ = fmt::format("the host refuses the object: {}", problem.message);
    return;
  }
  for (std::size_t i = 0; i < skep_file_->maps().size(); ++i) {
    const ObjectFile::MapEntry& ours = skep_file_->maps()[i];
    auto object = world.caller->object(ours.fd, ObjectKind::map, nullptr);
    EXPECT_TRUE(static_cast<bool>(object)) << ours.name;
    maps_.push_back({.name = ours.name,
                     .map = ref_cast<Map>(std::move(object).take()),
                     .skep_fd = ours.fd,
                     .host_fd = host_file_->maps()[i].fd});
  }
}

std::vector<std::string> TwoKernels::programs() const {
  std::vector<std::string> names;
  for (const ObjectFile::ProgramEntry& program : skep_file_->programs())
    if (program.fd >= 0 && program.type == uapi::BPF_PROG_TYPE_XDP) names.push_back(program.name);
  return names;
}

void TwoKernels::set_entry(std::string_view map, std::string_view key, std::string_view value) {
  World& world = skep_.world();
  for (const MapPair& pair : maps_) {
    if (pair.name != map) continue;
    const MapContent before = content(skep_, pair.skep_fd, *pair.map);
    const MapNames names{.net_namespace = *world.net_namespace,
                         .program_fd = [](std::string_view) { return -1; },
                         .program_name = [](std::uint32_t) { return std::string(); }};
    const auto set = set_map_entry(world.syscalls, *world.caller, pair.skep_fd, names, key, value);
    EXPECT_TRUE(set.has_value()) << set.error().message;
    for (const auto& [bytes, content_now] : content(skep_, pair.skep_fd, *pair.map)) {
      const auto old = before.find(bytes);
      if (old != before.end() && old->second == content_now) continue;
      EXPECT_EQ(update(host_, pair.host_fd, bytes, content_now), 0) << map;
    }
    return;
  }
  ADD_FAILURE() << "no map " << map;
}

void TwoKernels::set_devices(std::span<const std::uint32_t> keys) {
  for (const MapPair& pair : maps_) {
    const MapSpec& spec = pair.map->spec();
    if (!is_devmap(spec.type)) continue;
    for (const std::uint32_t key : keys) {
      if (key >= spec.max_entries) continue;
      const std::string key_bytes(reinterpret_cast<const char*>(&key), sizeof key);
      std::string value(spec.value_bytes, '\0');
      value[0] = 1;  // the ifindex of lo; no program
      EXPECT_EQ(update(skep_, pair.skep_fd, key_bytes, value), 0) << pair.name;
      EXPECT_EQ(update(host_, pair.host_fd, key_bytes, value), 0) << pair.name;
    }
  }
}

std::string TwoKernels::run(std::string_view program, std::string_view packet) {
  for (std::size_t i = 0; i < skep_file_->programs().size(); ++i) {
    if (skep_file_->programs()[i].name != program) continue;
    const TestRun ours = test_run(skep_, skep_file_->programs()[i].fd, packet);
    const TestRun hosts = test_run(host_, host_file_->programs()[i].fd, packet);
    if (ours == hosts) return {};
    return fmt::format("{} on {} bytes {}\n  host: {}\n  skep: {}\n", program, packet.size(),
                       hex(packet), describe(hosts), describe(ours));
  }
  return fmt::format("no program {}", program);
}

std::string TwoKernels::compare_maps(std::span<const AllowedDifference> allowed) {
  std::string differences;
  for (const MapPair& pair : maps_) {
    if (pair.map->spec().type == uapi::BPF_MAP_TYPE_PROG_ARRAY) continue;
    // libbpf names the maps of global variables after the object; all other names are equal.
    MapContent ours = content(skep_, pair.skep_fd, *pair.map);
    MapContent hosts = content(host_, pair.host_fd, *pair.map);
    for (MapContent* const side : {&ours, &hosts})
      for (auto& [key, value] : *side) mask(allowed, name_, pair.name, key, value);
    if (ours == hosts) continue;
    if (ours.size() != hosts.size())
      differences += fmt::format("map {}: host has {} entries, skep {}\n", pair.name, hosts.size(),
                                 ours.size());
    for (const auto& [key, value] : hosts) {
      const auto found = ours.find(key);
      const std::string on_skep = found == ours.end() ? "nothing" : hex(found->second);
      if (on_skep != hex(value))
        differences += fmt::format("map {}[{}]:\n  host: {}\n  skep: {}\n", pair.name, hex(key),
                                   hex(value), on_skep);
    }
  }
  return differences;
}

TestRun TwoKernels::test_run(BpfEntry& kernel, int fd, std::string_view packet) {
  std::string out(8192, '\xcc');
  std::string in(packet);
  uapi::prog_test_run_attr attr{};
  attr.prog_fd = static_cast<std::uint32_t>(fd);
  attr.data_in = address_of(in.data());
  attr.data_size_in = static_cast<std::uint32_t>(in.size());
  attr.data_out = address_of(out.data());
  attr.data_size_out = static_cast<std::uint32_t>(out.size());
  attr.repeat = 1;
  TestRun run;
  run.result = call(kernel, uapi::BPF_PROG_TEST_RUN, attr);
  if (run.result != 0) return run;
  run.verdict = attr.retval;
  run.bytes_out = attr.data_size_out;
  EXPECT_LE(run.bytes_out, out.size());
  run.bytes = out.substr(0, run.bytes_out);
  EXPECT_EQ(out.find_first_not_of('\xcc', run.bytes_out), std::string::npos)
      << "bytes behind the packet were written";
  return run;
}

MapContent TwoKernels::content(BpfEntry& kernel, int fd, const Map& map) {
  MapContent entries;
  std::string key(map.spec().key_bytes, '\0'), next = key;
  std::string value(map.command_value_bytes(), '\0');
  uapi::map_elem_attr attr{};
  attr.map_fd = static_cast<std::uint32_t>(fd);
  for (bool first = true;; first = false) {
    attr.key = first ? 0 : address_of(key.data());
    attr.value = address_of(next.data());
    const long walked = kernel.bpf(uapi::BPF_MAP_GET_NEXT_KEY, &attr, 24);
    if (walked == -ENOENT) return entries;
    EXPECT_EQ(walked, 0);
    if (walked != 0) return entries;
    key = next;
    attr.key = address_of(key.data());
    attr.value = address_of(value.data());
    const long read = call(kernel, uapi::BPF_MAP_LOOKUP_ELEM, attr);
    if (read == -ENOENT) continue;  // an empty slot of a devmap
    EXPECT_EQ(read, 0);
    entries[key] = value;
  }
}

long TwoKernels::update(BpfEntry& kernel, int fd, const std::string& key,
                        const std::string& value) {
  uapi::map_elem_attr attr{};
  attr.map_fd = static_cast<std::uint32_t>(fd);
  attr.key = address_of(const_cast<char*>(key.data()));
  attr.value = address_of(const_cast<char*>(value.data()));
  return call(kernel, uapi::BPF_MAP_UPDATE_ELEM, attr);
}

}  // namespace skep::testing
