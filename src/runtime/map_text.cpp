// SPDX-License-Identifier: Apache-2.0
#include "runtime/map_text.hpp"

#include "btf/text.hpp"
#include "object/object.hpp"
#include "result/errno_name.hpp"
#include "uapi/bpf.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

namespace skep {
namespace {

using Bytes = std::vector<std::byte>;

bool is_devmap(std::uint32_t type) {
  return type == uapi::BPF_MAP_TYPE_DEVMAP || type == uapi::BPF_MAP_TYPE_DEVMAP_HASH;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

template <class T>
void put(std::span<std::byte> out, std::size_t offset, T value) {
  std::memcpy(out.data() + offset, &value, sizeof(value));
}

template <class T>
T get(std::span<const std::byte> in, std::size_t offset) {
  T value;
  std::memcpy(&value, in.data() + offset, sizeof(value));
  return value;
}

/// Parses and prints entries of one map.
class Entries {
 public:
  Entries(Map& map, const MapNames& names) : map_(map), spec_(map.spec()), names_(names) {}

  Result<void> parse_key(std::string_view text, Bytes& out, std::string& why) const {
    out.resize(spec_.key_bytes);
    if (spec_.btf && spec_.btf_key_type_id != 0)
      return parse_value(*spec_.btf, spec_.btf_key_type_id, text, out, why);
    return parse_bytes(text, out, why);
  }

  Result<void> parse_map_value(std::string_view text, Bytes& out, std::string& why) const {
    out.assign(map_.command_value_bytes(), std::byte{0});
    if (is_devmap(spec_.type)) return parse_device(trimmed(text), out, why);
    if (spec_.type == uapi::BPF_MAP_TYPE_PROG_ARRAY) return parse_program(trimmed(text), out, why);
    const std::span<std::byte> first(out.data(), spec_.value_bytes);
    TRY(typed() ? parse_value(*spec_.btf, spec_.btf_value_type_id, text, first, why)
                : parse_bytes(text, first, why));
    for (std::size_t at = stride(); at < out.size();
         at += stride())  // per-CPU: the same everywhere
      std::memcpy(out.data() + at, first.data(), first.size());
    return ok();
  }

  MapEntry describe(const Bytes& key, const Bytes& value) const {
    MapEntry entry;
    if (spec_.btf && spec_.btf_key_type_id != 0) {
      entry.key = format_value(*spec_.btf, spec_.btf_key_type_id, key);
      entry.key_json = format_json(*spec_.btf, spec_.btf_key_type_id, key);
    } else {
      entry.key = format_bytes(key);
      entry.key_json = format_bytes_json(key);
    }
    entry.zero =
        std::all_of(value.begin(), value.end(), [](std::byte b) { return b == std::byte{0}; });
    if (is_devmap(spec_.type)) {
      describe_device(value, entry);
    } else if (spec_.type == uapi::BPF_MAP_TYPE_PROG_ARRAY) {
      entry.value = program_name(get<std::uint32_t>(value, 0));
      entry.value_json = fmt::format("\"{}\"", entry.value);
    } else {
      describe_value(value, entry);
    }
    return entry;
  }

 private:
  bool typed() const { return spec_.btf && spec_.btf_value_type_id != 0; }
  /// Distance of the copies of a per-CPU value; a plain value is its only copy.
  std::size_t stride() const { return map_.command_value_bytes() / copies(); }
  std::size_t copies() const { return is_per_cpu() ? map_.cpus() : 1; }
  bool is_per_cpu() const {
    return spec_.type == uapi::BPF_MAP_TYPE_PERCPU_ARRAY ||
           spec_.type == uapi::BPF_MAP_TYPE_PERCPU_HASH ||
           spec_.type == uapi::BPF_MAP_TYPE_LRU_PERCPU_HASH;
  }

  /// `lan1`, `3` (an ifindex) or `{port=lan1,program=egress}`.
  Result<void> parse_device(std::string_view text, Bytes& out, std::string& why) const {
    std::string_view port = text, program;
    if (text.starts_with('{') && text.ends_with('}')) {
      port = {};
      std::string_view rest = text.substr(1, text.size() - 2);
      while (!rest.empty()) {
        const std::size_t comma = rest.find(',');
        const std::string_view field = rest.substr(0, comma);
        rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
        const std::size_t equals = field.find('=');
        const std::string_view name = trimmed(field.substr(0, equals));
        const std::string_view given = equals == std::string_view::npos
                                           ? std::string_view{}
                                           : trimmed(field.substr(equals + 1));
        if (name == "port" || name == "ifindex") {
          port = given;
        } else if (name == "program") {
          program = given;
        } else {
          why = fmt::format("{} has no field {}: give port and program", text, name);
          return Errno{EINVAL};
        }
      }
    }
    std::uint32_t ifindex = 0;
    if (auto device = names_.net_namespace.device(port)) {
      ifindex = (*device)->ifindex();
    } else if (const auto given = number(port)) {
      ifindex = *given;
    } else {
      why = fmt::format("there is no port {} (there are: {})", port, port_names());
      return Errno{EINVAL};
    }
    put(out, 0, ifindex);
    if (program.empty()) return ok();
    if (spec_.value_bytes < sizeof(uapi::bpf_devmap_val)) {
      why =
          "values of this devmap have no room for a program (value size 4): use struct "
          "bpf_devmap_val";
      return Errno{EINVAL};
    }
    const int fd = names_.program_fd(program);
    if (fd < 0) {
      why = fmt::format("the object has no loaded program {}", program);
      return Errno{EINVAL};
    }
    put(out, 4, fd);
    return ok();
  }

  Result<void> parse_program(std::string_view text, Bytes& out, std::string& why) const {
    const int fd = names_.program_fd(text);
    if (fd < 0) {
      why = fmt::format("the object has no loaded program {}", text);
      return Errno{EINVAL};
    }
    put(out, 0, fd);
    return ok();
  }

  std::string port_names() const {
    std::string names;
    for (const Ref<Device>& device : names_.net_namespace.devices())
      if (device->ifindex() != NetNamespace::loopback_ifindex)
        names += (names.empty() ? "" : ", ") + device->name();
    return names.empty() ? "none" : names;
  }

  std::string program_name(std::uint32_t id) const {
    std::string name = names_.program_name(id);
    return name.empty() ? fmt::format("id {}", id) : name;
  }

  void describe_device(const Bytes& value, MapEntry& entry) const {
    const auto ifindex = get<std::uint32_t>(value, 0);
    const auto device = names_.net_namespace.device(ifindex);
    const std::string port = device ? (*device)->name() : fmt::format("ifindex {}", ifindex);
    const std::uint32_t program = value.size() >= 8 ? get<std::uint32_t>(value, 4) : 0;
    if (program == 0) {
      entry.value = port;
      entry.value_json = fmt::format("{{\"port\":\"{}\"}}", port);
    } else {
      entry.value = fmt::format("{{port={},program={}}}", port, program_name(program));
      entry.value_json =
          fmt::format("{{\"port\":\"{}\",\"program\":\"{}\"}}", port, program_name(program));
    }
  }

  void describe_value(const Bytes& value, MapEntry& entry) const {
    const std::size_t all = copies();
    for (std::size_t cpu = 0; cpu < all; ++cpu) {
      const std::span<const std::byte> one(value.data() + cpu * stride(), spec_.value_bytes);
      const std::string text =
          typed() ? format_value(*spec_.btf, spec_.btf_value_type_id, one) : format_bytes(one);
      const std::string json =
          typed() ? format_json(*spec_.btf, spec_.btf_value_type_id, one) : format_bytes_json(one);
      entry.value += (cpu == 0 ? "" : ",") + text;
      entry.value_json += (cpu == 0 ? "" : ",") + json;
    }
    if (is_per_cpu()) {
      entry.value = fmt::format("[{}]", entry.value);
      entry.value_json = fmt::format("[{}]", entry.value_json);
    }
  }

  Map& map_;
  const MapSpec& spec_;
  const MapNames& names_;
};

Expected<Ref<Map>> map_of(Caller& caller, int fd) {
  auto object = caller.object(fd, ObjectKind::map);
  if (!object) {
    return std::unexpected(Error{.code = object.error().code,
                                 .message = fmt::format("descriptor {} is not a map ({})", fd,
                                                        errno_name(object.error().code)),
                                 .hint = {},
                                 .log = {}});
  }
  return ref_cast<Map>(std::move(object).take());
}

Error refusal(int code, std::string message, std::string hint = {}) {
  return {.code = code,
          .message = fmt::format("{} ({})", message, errno_name(code)),
          .hint = std::move(hint),
          .log = {}};
}

/// Why an update was refused, in words that fit the map.
std::pair<std::string, std::string> update_words(int code, const Map& map) {
  const MapSpec& spec = map.spec();
  const bool indexed =
      spec.type == uapi::BPF_MAP_TYPE_ARRAY || spec.type == uapi::BPF_MAP_TYPE_PERCPU_ARRAY ||
      spec.type == uapi::BPF_MAP_TYPE_PROG_ARRAY || spec.type == uapi::BPF_MAP_TYPE_DEVMAP;
  switch (code) {
    case E2BIG:
      if (indexed)
        return {fmt::format("the index is beyond the last entry, {}", spec.max_entries - 1),
                "raise max_entries in the program or use a lower index"};
      return {fmt::format("the map is full ({} entries)", spec.max_entries),
              "raise max_entries in the program"};
    case EPERM:
      return {"the map is frozen: commands may no longer write it",
              "a .rodata variable is set before loading: --map '.rodata[NAME]=VALUE'"};
    case EINVAL:
      if (is_devmap(spec.type) || map.type().holds_programs)
        return {"the map does not take that value",
                "the port must exist, and a program must fit the map: XDP programs in a devmap are "
                "SEC(\"xdp/devmap\")"};
      return {"the map does not take that value", {}};
    case ENOMEM:
      return {"the runtime's memory budget is used up", "give the runtime more memory"};
    default:
      return {std::strerror(code), {}};
  }
}

}  // namespace

Expected<void> set_map_entry(Syscalls& syscalls, Caller& caller, int fd, const MapNames& names,
                             std::string_view key, std::string_view value) {
  auto found = map_of(caller, fd);
  if (!found) return std::unexpected(found.error());
  Map& map = **found;
  const Entries entries(map, names);
  const auto where = [&] { return fmt::format("map {}[{}]", map.spec().name, key); };

  Bytes key_bytes, value_bytes;
  std::string why;
  if (auto parsed = entries.parse_key(key, key_bytes, why); !parsed)
    return std::unexpected(refusal(parsed.error().code, fmt::format("{}: key: {}", where(), why)));
  if (auto parsed = entries.parse_map_value(value, value_bytes, why); !parsed)
    return std::unexpected(refusal(parsed.error().code, fmt::format("{}: {}", where(), why)));

  uapi::map_elem_attr attr{};
  attr.map_fd = static_cast<std::uint32_t>(fd);
  attr.key = reinterpret_cast<std::uint64_t>(key_bytes.data());
  attr.value = reinterpret_cast<std::uint64_t>(value_bytes.data());
  const auto updated = syscalls.bpf(caller, uapi::BPF_MAP_UPDATE_ELEM,
                                    reinterpret_cast<std::uint64_t>(&attr), sizeof(attr));
  if (updated) return {};
  auto [words, hint] = update_words(updated.error().code, map);
  return std::unexpected(
      refusal(updated.error().code, fmt::format("{}: {}", where(), words), std::move(hint)));
}

Expected<std::vector<MapEntry>> dump_map(Syscalls& syscalls, Caller& caller, int fd,
                                         const MapNames& names) {
  auto found = map_of(caller, fd);
  if (!found) return std::unexpected(found.error());
  Map& map = **found;
  const Entries entries(map, names);
  const bool array = map.spec().type == uapi::BPF_MAP_TYPE_ARRAY ||
                     map.spec().type == uapi::BPF_MAP_TYPE_PERCPU_ARRAY;

  std::vector<std::pair<Bytes, MapEntry>> sorted;
  Bytes key(map.spec().key_bytes), next(map.spec().key_bytes), value(map.command_value_bytes());
  bool first = true;
  for (;;) {
    uapi::map_elem_attr attr{};
    attr.map_fd = static_cast<std::uint32_t>(fd);
    attr.key = first ? 0 : reinterpret_cast<std::uint64_t>(key.data());
    attr.value = reinterpret_cast<std::uint64_t>(next.data());
    const auto walked = syscalls.bpf(caller, uapi::BPF_MAP_GET_NEXT_KEY,
                                     reinterpret_cast<std::uint64_t>(&attr), 24);
    if (!walked && walked.error().code == ENOENT) break;
    if (!walked)
      return std::unexpected(
          refusal(walked.error().code, fmt::format("map {}: cannot be walked", map.spec().name)));
    first = false;
    key = next;
    attr.key = reinterpret_cast<std::uint64_t>(key.data());
    attr.value = reinterpret_cast<std::uint64_t>(value.data());
    const auto read = syscalls.bpf(caller, uapi::BPF_MAP_LOOKUP_ELEM,
                                   reinterpret_cast<std::uint64_t>(&attr), sizeof(attr));
    if (read)
      sorted.emplace_back(key,
                          entries.describe(key, value));  // else an empty slot, or gone meanwhile
  }
  if (!array) {
    std::sort(sorted.begin(), sorted.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
  }
  std::vector<MapEntry> out;
  out.reserve(sorted.size());
  for (auto& [bytes, entry] : sorted) out.push_back(std::move(entry));
  return out;
}

}  // namespace skep
