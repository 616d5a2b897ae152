// SPDX-License-Identifier: Apache-2.0
// OBJ_GET_INFO_BY_FD. The structs are in and out: lengths say how much room the caller has and come
// back as how much there is. Source: maps.md 1.8, program-load.md 3.2 and 4.2.
#include "btf/btf.hpp"
#include "map/map.hpp"
#include "prog/program.hpp"
#include "rcu/rcu.hpp"
#include "sync/racy.hpp"
#include "syscall/command.hpp"

#include <sha2.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

namespace skep::command {
namespace {

constexpr std::uint32_t max_info_bytes = 4096;
constexpr std::uint32_t content_hash_bytes = SHA256_DIGEST_LENGTH;

using Tag = std::array<std::uint8_t, uapi::BPF_TAG_SIZE>;

/// The caller's struct, and the way back.
struct InfoExchange {
  Command& command;
  std::uint64_t address;
  std::uint32_t bytes;  // as the caller gave them

  /// Errors: E2BIG (longer than a page, or than what we know with something there), EFAULT.
  template <class Info>
  Result<Info> receive() const {
    if (bytes > max_info_bytes) return Errno{E2BIG};
    if (bytes > sizeof(Info))
      TRY(expect_zero(command.caller, address + sizeof(Info), bytes - sizeof(Info)));
    Info info{};
    TRY(command.caller.read(address, std::as_writable_bytes(std::span(&info, 1))
                                         .first(std::min<std::size_t>(bytes, sizeof(Info)))));
    return info;
  }

  /// Errors: EFAULT.
  template <class Info>
  CommandResult send(const Info& info) const {
    const auto sent = static_cast<std::uint32_t>(std::min<std::size_t>(bytes, sizeof(Info)));
    TRY(command.caller.write(address, std::as_bytes(std::span(&info, 1)).first(sent)));
    TRY(command.write_field(offsetof(uapi::info_by_fd_attr, info_len), sent));
    return 0;
  }
};

/// Gives the caller as many items as its room (`count` on the way in) takes; `count` becomes how
/// many there are. Errors: EFAULT.
template <class T>
Result<void> send_array(Caller& caller, std::uint64_t address, std::uint32_t& count,
                        std::span<const T> items) {
  const std::size_t sent = std::min<std::size_t>(count, items.size());
  count = static_cast<std::uint32_t>(items.size());
  return caller.write(address, std::as_bytes(items.first(sent)));
}

void copy_name(char (&to)[uapi::BPF_OBJ_NAME_LEN], const std::string& name) {
  name.copy(to, sizeof to - 1);
}

/// A digest of what a frozen array holds. Errors: EINVAL (type, size), EPERM (not frozen), EFAULT.
Result<void> send_content_hash(Command& command, Map& map, const uapi::bpf_map_info& info) {
  if (info.hash == 0) {
    if (info.hash_size != 0) return Errno{EINVAL};
    return ok();
  }
  if (map.spec().type != uapi::BPF_MAP_TYPE_ARRAY || info.hash_size != content_hash_bytes)
    return Errno{EINVAL};
  if (!map.frozen()) return Errno{EPERM};

  SHA2_CTX digest;
  SHA256Init(&digest);
  const std::size_t stride = round_up_8(map.spec().value_bytes);
  Buffer element = TRY(Buffer::make(command.syscalls.budget(), stride));
  for (std::uint32_t i = 0; i < map.spec().max_entries; ++i) {
    const SlotGuard slot = command.syscalls.slots().enter_control();
    const rcu::ReadGuard reading;
    const std::byte* const value = map.lookup(*slot, reinterpret_cast<const std::byte*>(&i));
    // The whole stride: mappings may have written behind the value.
    racy_copy(element.data(), value, stride);
    SHA256Update(&digest, reinterpret_cast<const std::uint8_t*>(element.data()), stride);
  }
  std::array<std::uint8_t, content_hash_bytes> hash;
  SHA256Final(hash.data(), &digest);
  return command.caller.write(info.hash, std::as_bytes(std::span(hash)));
}

CommandResult map_info(Command& command, Map& map, const InfoExchange& exchange) {
  const auto given = TRY(exchange.receive<uapi::bpf_map_info>());
  const MapSpec& spec = map.spec();
  uapi::bpf_map_info info{};
  info.type = spec.type;
  info.id = map.id();
  info.key_size = spec.key_bytes;
  info.value_size = spec.value_bytes;
  info.max_entries = spec.max_entries;
  info.map_flags = spec.flags;
  copy_name(info.name, spec.name);
  if (spec.btf) info.btf_id = spec.btf->id();
  info.btf_key_type_id = spec.btf_key_type_id;
  info.btf_value_type_id = spec.btf_value_type_id;
  info.map_extra = spec.map_extra;
  TRY(send_content_hash(command, map, given));
  info.hash = given.hash;
  info.hash_size = given.hash_size;
  return exchange.send(info);
}

/// The record sizes that come with arrays of the program. Errors: EINVAL.
Result<void> check_record_bytes(std::uint32_t count, std::uint32_t& record_bytes,
                                std::size_t expected) {
  if ((count != 0 || record_bytes != 0) && record_bytes != expected) return Errno{EINVAL};
  record_bytes = static_cast<std::uint32_t>(expected);
  return ok();
}

CommandResult prog_info(Command& command, const Program& program, const InfoExchange& exchange) {
  auto info = TRY(exchange.receive<uapi::bpf_prog_info>());
  Caller& caller = command.caller;
  const ProgramSpec& spec = program.spec();
  info.type = program.type().number();
  info.id = program.id();
  std::ranges::copy(program.tag(), info.tag);
  info.load_time = program.load_time_ns();
  info.created_by_uid = spec.uid;
  info.gpl_compatible = program.gpl_compatible() ? 1 : 0;
  std::memset(info.name, 0, sizeof info.name);
  copy_name(info.name, spec.name);
  info.ifindex = 0;
  info.netns_dev = 0;
  info.netns_ino = 0;
  info.verified_insns = program.verified_insns();
  info.attach_btf_obj_id = 0;
  info.attach_btf_id = 0;

  std::vector<std::uint32_t> map_ids;
  for (const Ref<Map>& map : program.maps()) map_ids.push_back(map->id());
  TRY(send_array<std::uint32_t>(caller, info.map_ids, info.nr_map_ids, map_ids));

  TRY(check_record_bytes(info.nr_func_info, info.func_info_rec_size, sizeof(uapi::bpf_func_info)));
  TRY(check_record_bytes(info.nr_line_info, info.line_info_rec_size, sizeof(uapi::bpf_line_info)));
  TRY(check_record_bytes(info.nr_jited_line_info, info.jited_line_info_rec_size,
                         sizeof(std::uint64_t)));

  const Program::Statistics statistics = program.statistics();
  info.run_time_ns = statistics.run_time_ns;
  info.run_cnt = statistics.runs;
  info.recursion_misses = 0;

  info.btf_id = spec.btf ? spec.btf->id() : 0;
  const std::size_t subprograms = std::max<std::size_t>(program.subprograms().size(), 1);
  if (!caller.capable(Capability::bpf)) {
    // What a program does is shown only to those who could have loaded it.
    info.jited_prog_len = 0;
    info.xlated_prog_len = 0;
    info.nr_jited_ksyms = 0;
    info.nr_jited_func_lens = 0;
    info.nr_func_info = 0;
    info.nr_line_info = 0;
    info.nr_jited_line_info = 0;
    return exchange.send(info);
  }

  const std::vector<uapi::bpf_insn> instructions = program.xlated();
  TRY(send_array(caller, info.xlated_prog_insns, info.xlated_prog_len,
                 std::as_bytes(std::span(instructions))));
  // Interpreted: there is no machine code, and no address that it could have.
  info.jited_prog_len = 0;
  info.nr_jited_line_info = 0;
  const std::vector<std::uint64_t> no_addresses(subprograms);
  const std::vector<std::uint32_t> no_lengths(subprograms);
  TRY(send_array<std::uint64_t>(caller, info.jited_ksyms, info.nr_jited_ksyms, no_addresses));
  TRY(send_array<std::uint32_t>(caller, info.jited_func_lens, info.nr_jited_func_lens, no_lengths));
  TRY(send_array<uapi::bpf_func_info>(caller, info.func_info, info.nr_func_info, spec.func_info));
  TRY(send_array<uapi::bpf_line_info>(caller, info.line_info, info.nr_line_info, spec.line_info));

  std::vector<Tag> tags;
  for (const Subprogram& subprogram : program.subprograms()) tags.push_back(subprogram.tag);
  if (tags.size() <= 1) tags.assign(1, program.tag());
  TRY(send_array<Tag>(caller, info.prog_tags, info.nr_prog_tags, tags));
  return exchange.send(info);
}

CommandResult btf_info(Command& command, const Btf& btf, const InfoExchange& exchange) {
  auto info = TRY(exchange.receive<uapi::bpf_btf_info>());
  Caller& caller = command.caller;
  TRY(send_array(caller, info.btf, info.btf_size, btf.blob()));
  info.id = btf.id();
  info.kernel_btf = 0;
  if ((info.name != 0) != (info.name_len != 0)) return Errno{EINVAL};
  // What programs bring has no name: an empty one, and its NUL, if there is room for a name at all.
  if (info.name != 0) TRY(write_value(caller, info.name, '\0'));
  info.name_len = 0;
  return exchange.send(info);
}

}  // namespace

CommandResult obj_info(Command& command) {
  const auto attr = command.as<uapi::info_by_fd_attr>();
  const int fd = static_cast<int>(attr.bpf_fd);
  const InfoExchange exchange{command, attr.info, attr.info_len};
  for (const ObjectKind kind : {ObjectKind::prog, ObjectKind::btf, ObjectKind::map}) {
    const Result<Ref<Object>> object = command.caller.object(fd, kind);
    if (!object && object.error().code == EBADF) return Errno{EBADFD};
    if (!object) continue;
    switch (kind) {
      case ObjectKind::prog:
        return prog_info(command, static_cast<const Program&>(**object), exchange);
      case ObjectKind::btf:
        return btf_info(command, static_cast<const Btf&>(**object), exchange);
      default:
        return map_info(command, static_cast<Map&>(**object), exchange);
    }
  }
  return Errno{EINVAL};
}

}  // namespace skep::command
