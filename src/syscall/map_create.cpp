// SPDX-License-Identifier: Apache-2.0
// MAP_CREATE. The order in which its rules are checked is part of the contract (maps.md 1.2).
#include "btf/btf.hpp"
#include "btf/record.hpp"
#include "map/map.hpp"
#include "net/device.hpp"
#include "syscall/command.hpp"
#include "uapi/bpf.hpp"

#include <array>
#include <cstddef>
#include <utility>

namespace skep::command {
namespace {

using uapi::map_create_attr;

constexpr std::uint32_t numa_nodes =
    1;  // as one socket has; more would only change which numbers pass
constexpr std::uint32_t no_numa_node = 0xffffffff;
constexpr std::uint32_t hash_bytes = 32;  // SHA-256

/// Rows 3 to 7: what can be said without knowing the type. Errors: EINVAL.
Result<void> check_combinations(const map_create_attr& attr) {
  if (attr.btf_vmlinux_value_type_id != 0) {
    if (attr.map_type != uapi::BPF_MAP_TYPE_STRUCT_OPS || attr.btf_key_type_id != 0 ||
        attr.btf_value_type_id != 0)
      return Errno{EINVAL};
  } else if (attr.btf_key_type_id != 0 && attr.btf_value_type_id == 0) {
    return Errno{EINVAL};
  }
  if (attr.map_extra != 0 && attr.map_type != uapi::BPF_MAP_TYPE_BLOOM_FILTER &&
      attr.map_type != uapi::BPF_MAP_TYPE_ARENA)
    return Errno{EINVAL};
  if ((attr.map_flags & uapi::BPF_F_RDONLY) != 0 && (attr.map_flags & uapi::BPF_F_WRONLY) != 0)
    return Errno{EINVAL};
  if ((attr.map_flags & uapi::BPF_F_NUMA_NODE) != 0 && attr.numa_node != no_numa_node &&
      attr.numa_node >= numa_nodes)
    return Errno{EINVAL};
  return ok();
}

/// A map for a device: there are no devices that hold maps. Errors: EPERM, EINVAL (type, device),
/// EOPNOTSUPP.
Errno refuse_offload(Command& command, const map_create_attr& attr) {
  if (!command.caller.capable(Capability::sys_admin)) return Errno{EPERM};
  if (attr.map_type != uapi::BPF_MAP_TYPE_ARRAY && attr.map_type != uapi::BPF_MAP_TYPE_HASH)
    return Errno{EINVAL};
  if (!command.caller.net_namespace().device(attr.map_ifindex)) return Errno{EINVAL};
  return Errno{EOPNOTSUPP};
}

/// Rows 16 and 17: type information (maps.md 1.4). Errors: EBADF, EINVAL, EPERM, EACCES,
/// EOPNOTSUPP, 524.
Result<void> add_type_information(Command& command, const map_create_attr& attr,
                                  const MapType& type, MapSpec& spec) {
  if (attr.btf_key_type_id == 0 && attr.btf_value_type_id == 0) return ok();
  spec.btf = TRY(command.object<Btf>(attr.btf_fd));
  spec.btf_key_type_id = attr.btf_key_type_id;
  spec.btf_value_type_id = attr.btf_value_type_id;

  if (attr.btf_key_type_id != 0) {
    const Result<std::uint32_t> bytes = spec.btf->size_of(attr.btf_key_type_id);
    if (!bytes || *bytes != spec.key_bytes) return Errno{EINVAL};
  } else if (type.needs_btf_key) {
    return Errno{EINVAL};
  }
  const Result<std::uint32_t> bytes = spec.btf->size_of(attr.btf_value_type_id);
  if (!bytes || *bytes != spec.value_bytes) return Errno{EINVAL};

  spec.record = Record::of_value(*spec.btf, attr.btf_value_type_id);
  if (!spec.record.empty()) {
    TRY(command.require(Capability::bpf));
    if ((spec.flags & (uapi::BPF_F_RDONLY_PROG | uapi::BPF_F_WRONLY_PROG)) != 0)
      return Errno{EACCES};
    // Differs: HASH and ARRAY take timers, kernel pointers and graph roots too on Linux; here
    // nothing would serve them.
    const FieldKinds allowed = type.spin_lock ? field_bit(FieldKind::spin_lock) : FieldKinds{0};
    if ((spec.record.kinds() & ~allowed) != 0) return Errno{EOPNOTSUPP};
  }
  if (!type.btf) return Errno{ENOTSUPP};
  if (type.check_btf == nullptr) return ok();
  return type.check_btf(spec);
}

/// Row 18: a map for one program only. Errors: EINVAL, EFAULT, 524 (nothing here would keep other
/// programs out).
Result<void> check_exclusive(Command& command, const map_create_attr& attr) {
  if (attr.excl_prog_hash == 0) {
    if (attr.excl_prog_hash_size != 0) return Errno{EINVAL};
    return ok();
  }
  if (attr.excl_prog_hash_size != hash_bytes) return Errno{EINVAL};
  std::array<std::byte, hash_bytes> hash;
  TRY(command.caller.read(attr.excl_prog_hash, hash));
  return Errno{ENOTSUPP};
}

/// Rows 15 to 18: what Linux checks once the map has its memory.
Result<void> complete(Command& command, const map_create_attr& attr, const MapType& type,
                      MapSpec& spec) {
  spec.name = TRY(object_name(attr.map_name));
  TRY(add_type_information(command, attr, type, spec));
  return check_exclusive(command, attr);
}

}  // namespace

CommandResult map_create(Command& command) {
  auto attr = command.as<map_create_attr>();
  const bool has_token = (attr.map_flags & uapi::BPF_F_TOKEN_FD) != 0;
  attr.map_flags &= ~uapi::BPF_F_TOKEN_FD;
  TRY(check_combinations(attr));
  const MapType* const type = command.syscalls.map_types().find(attr.map_type);
  if (type == nullptr) return Errno{EINVAL};

  // The modes belong to the descriptor, not to the map.
  constexpr std::uint32_t descriptor_flags = uapi::BPF_F_RDONLY | uapi::BPF_F_WRONLY;
  MapSpec spec;
  spec.type = attr.map_type;
  spec.key_bytes = attr.key_size;
  spec.value_bytes = attr.value_size;
  spec.max_entries = attr.max_entries;
  spec.flags = attr.map_flags & ~descriptor_flags;
  spec.map_extra = attr.map_extra;
  if ((attr.map_flags & uapi::BPF_F_NUMA_NODE) != 0 && attr.numa_node != no_numa_node)
    spec.numa_node = attr.numa_node;

  if (type->check_before_permissions) TRY(type->check(spec, command.caller));
  if (has_token) TRY(check_token(command, static_cast<std::uint32_t>(attr.map_token_fd)));
  TRY(command.require(Capability::bpf));
  if (type->capability) TRY(command.require(*type->capability));
  if (!type->check_before_permissions) TRY(type->check(spec, command.caller));
  if (attr.map_ifindex != 0) return refuse_offload(command, attr);

  // A map's description cannot change once it exists, so it is completed first. But running out of
  // memory is noticed before a bad name is: the map is made in either case, and the verdict on the
  // rest stands until then.
  const Result<void> completed = complete(command, attr, *type, spec);
  Ref<Map> map = TRY(command.syscalls.make_map(*type, std::move(spec)));
  TRY(completed);

  TRY(command.syscalls.map_ids().publish(*map));
  return command.hand_out(std::move(map), {.read = (attr.map_flags & uapi::BPF_F_WRONLY) == 0,
                                           .write = (attr.map_flags & uapi::BPF_F_RDONLY) == 0});
}

}  // namespace skep::command
