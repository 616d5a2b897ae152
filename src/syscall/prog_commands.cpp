// SPDX-License-Identifier: Apache-2.0
// PROG_LOAD and what is done with loaded programs. Source: program-load.md 2, 3.4, 3.5 and 9.
#include "btf/btf.hpp"
#include "net/device.hpp"
#include "prog/program.hpp"
#include "syscall/command.hpp"
#include "syscall/log_buffer.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skep::command {
namespace {

using uapi::prog_load_attr;

constexpr std::uint32_t known_flags =
    uapi::BPF_F_STRICT_ALIGNMENT | uapi::BPF_F_ANY_ALIGNMENT | uapi::BPF_F_TEST_RND_HI32 |
    uapi::BPF_F_TEST_STATE_FREQ | uapi::BPF_F_SLEEPABLE | uapi::BPF_F_XDP_HAS_FRAGS |
    uapi::BPF_F_XDP_DEV_BOUND_ONLY | uapi::BPF_F_TEST_REG_INVARIANTS | uapi::BPF_F_TOKEN_FD;
constexpr std::uint32_t max_instructions = 1'000'000;
constexpr std::size_t max_license_chars = 127;
constexpr std::uint32_t max_record_bytes = 252;  // of func_info and line_info
constexpr std::uint32_t max_fd_array_entries = 0x3fffffff;
constexpr std::size_t max_maps = 64;  // that one program may use
constexpr std::size_t log_true_size_offset = offsetof(prog_load_attr, log_true_size);

/// Rows 8 and 9: programs that extend or trace others do not exist here, so no attach target is
/// ever right. Errors: EINVAL, 524 (type information that a program brought).
Result<void> check_attach_target(Command& command, const prog_load_attr& attr,
                                 const ProgramType* type) {
  if (attr.attach_prog_fd != 0) {
    if (command.object<Program>(attr.attach_prog_fd)) return Errno{EINVAL};
    return Errno{command.object<Btf>(attr.attach_prog_fd) ? ENOTSUPP : EINVAL};
  }
  if (attr.attach_btf_id != 0) return Errno{EINVAL};
  return type == nullptr ? ok() : type->check_attach_type(attr.expected_attach_type);
}

/// Row 11: a program for a device (offload.md 1.2). Errors: EINVAL, EOPNOTSUPP, 524 (bound programs
/// are not there yet).
Result<void> check_device_binding(Command& command, const prog_load_attr& attr) {
  if (attr.prog_ifindex == 0) return ok();
  const bool bound_only = (attr.prog_flags & uapi::BPF_F_XDP_DEV_BOUND_ONLY) != 0;
  const bool is_xdp = attr.prog_type == uapi::BPF_PROG_TYPE_XDP;
  if (!is_xdp && attr.prog_type != uapi::BPF_PROG_TYPE_SCHED_CLS) return Errno{EINVAL};
  if ((attr.prog_flags & ~(uapi::BPF_F_XDP_DEV_BOUND_ONLY | uapi::BPF_F_XDP_HAS_FRAGS)) != 0)
    return Errno{EINVAL};
  if ((attr.prog_flags & uapi::BPF_F_XDP_HAS_FRAGS) != 0 && !bound_only) return Errno{EINVAL};
  if (!is_xdp && bound_only) return Errno{EINVAL};
  const Result<Ref<Device>> device = command.caller.net_namespace().device(attr.prog_ifindex);
  if (!device) return Errno{EINVAL};
  if (((*device)->xdp_features() & uapi::NETDEV_XDP_ACT_BASIC) == 0) return Errno{EOPNOTSUPP};
  return Errno{bound_only ? ENOTSUPP : EINVAL};
}

/// Finds the maps of pseudo loads in the caller's name.
class CallerMaps final : public MapResolver {
 public:
  CallerMaps(Command& command, std::uint64_t fd_array) : command_(command), fd_array_(fd_array) {}

  Result<Ref<Map>> map_by_fd(int fd) override {
    return command_.object<Map>(static_cast<std::uint32_t>(fd));
  }
  Result<Ref<Map>> map_by_index(std::uint32_t index) override {
    if (fd_array_ == 0) return Errno{EPROTO};
    const std::uint64_t at = fd_array_ + std::uint64_t{index} * sizeof(int);
    return map_by_fd(TRY(read_value<int>(command_.caller, at)));
  }

 private:
  Command& command_;
  const std::uint64_t fd_array_;
};

/// Copies records that may be longer or shorter than the struct that we know. `size_offset`: the
/// field of the attributes that learns our size when a longer record says something there. Errors:
/// EINVAL (size), EFAULT, E2BIG (bytes after the struct are not zero).
template <class T>
Result<std::vector<T>> read_records(Command& command, std::uint64_t address, std::uint32_t count,
                                    std::uint32_t record_bytes, std::size_t size_offset,
                                    std::string_view what, Log& log) {
  std::vector<T> records;
  if (count == 0) return records;
  if (record_bytes < sizeof(T) || record_bytes > max_record_bytes || record_bytes % 4 != 0) {
    log.line("invalid " + std::string(what) + " rec size " + std::to_string(record_bytes));
    return Errno{EINVAL};
  }
  if (record_bytes == sizeof(T)) {
    records.resize(count);
    TRY(command.caller.read(address, std::as_writable_bytes(std::span(records))));
    return records;
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t at = address + std::uint64_t{i} * record_bytes;
    const Result<void> tail = expect_zero(command.caller, at + sizeof(T), record_bytes - sizeof(T));
    if (!tail) {
      if (tail.error().code == E2BIG) {
        log.line("nonzero tailing record in " + std::string(what));
        TRY(command.write_field(size_offset, static_cast<std::uint32_t>(sizeof(T))));
      }
      return tail.error();
    }
    records.push_back(TRY(read_value<T>(command.caller, at)));
  }
  return records;
}

/// Stage 2: type information counts only if there are records that use it; otherwise a bad
/// descriptor is no error. Errors: EINVAL, EBADF, EFAULT, E2BIG, 524 (relocations to apply).
Result<void> add_type_information(Command& command, const prog_load_attr& attr, ProgramSpec& spec,
                                  Log& log) {
  if (attr.func_info_cnt == 0 && attr.line_info_cnt == 0) return ok();
  // One record for each instruction at most: more would be refused anyway, but only after all had
  // been copied.
  if (attr.func_info_cnt > spec.instructions.size() ||
      attr.line_info_cnt > spec.instructions.size())
    return Errno{EINVAL};
  spec.btf = TRY(command.object<Btf>(attr.prog_btf_fd));
  spec.func_info = TRY(read_records<uapi::bpf_func_info>(
      command, attr.func_info, attr.func_info_cnt, attr.func_info_rec_size,
      offsetof(prog_load_attr, func_info_rec_size), "func_info", log));
  spec.line_info = TRY(read_records<uapi::bpf_line_info>(
      command, attr.line_info, attr.line_info_cnt, attr.line_info_rec_size,
      offsetof(prog_load_attr, line_info_rec_size), "line_info", log));
  // Loaders in user space send instructions with all relocations applied.
  if (attr.core_relo_cnt != 0) return Errno{ENOTSUPP};
  return ok();
}

/// Stage 3: with a count, everything in fd_array belongs to the program. Each map is listed once.
/// Errors: EFAULT, EBADF, EINVAL, E2BIG (too many maps).
Result<std::vector<Ref<Map>>> bound_maps(Command& command, const prog_load_attr& attr) {
  std::vector<Ref<Map>> maps;
  if (attr.fd_array_cnt >= max_fd_array_entries) return Errno{EINVAL};
  for (std::uint32_t i = 0; i < attr.fd_array_cnt; ++i) {
    const std::uint64_t at = attr.fd_array + std::uint64_t{i} * sizeof(int);
    const auto fd = TRY(read_value<std::uint32_t>(command.caller, at));
    Result<Ref<Map>> map = command.object<Map>(fd);
    if (!map) {
      TRY(command.object<Btf>(fd));
      continue;
    }
    if (std::ranges::find(maps, *map) != maps.end()) continue;
    if (maps.size() == max_maps) return Errno{E2BIG};
    maps.push_back(std::move(*map));
  }
  return maps;
}

/// The part of PROG_LOAD that writes the log.
Result<Ref<Program>> verify(Command& command, const prog_load_attr& attr, ProgramSpec spec,
                            Log& log) {
  TRY(add_type_information(command, attr, spec, log));
  const std::vector<Ref<Map>> maps = TRY(bound_maps(command, attr));
  if ((spec.flags & uapi::BPF_F_SLEEPABLE) != 0) {
    log.line(
        "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable");
    return Errno{EINVAL};
  }
  CallerMaps resolver(command, attr.fd_array);
  Ref<Program> program =
      TRY(Program::load(std::move(spec), resolver, command.syscalls.program_environment(), log));
  for (const Ref<Map>& map : maps) program->bind_map(map);
  return program;
}

/// Run statistics are counted while one of these has a user.
class StatisticsUser final : public Object {
 public:
  static constexpr ObjectKind object_kind = ObjectKind::stats;
  explicit StatisticsUser(std::atomic<std::uint32_t>& users) : Object(object_kind), users_(users) {
    // relaxed: programs may notice a little later.
    users_.fetch_add(1, std::memory_order_relaxed);
  }

 private:
  void on_last_reference() override { users_.fetch_sub(1, std::memory_order_relaxed); }
  std::atomic<std::uint32_t>& users_;
};

}  // namespace

CommandResult prog_load(Command& command) {
  const auto attr = command.as<prog_load_attr>();
  Budget& budget = command.syscalls.budget();
  if ((attr.prog_flags & ~known_flags) != 0) return Errno{EINVAL};
  if ((attr.prog_flags & uapi::BPF_F_TOKEN_FD) != 0)
    TRY(check_token(command, static_cast<std::uint32_t>(attr.prog_token_fd)));
  TRY(command.require(Capability::bpf));
  if (attr.insn_cnt == 0 || attr.insn_cnt > max_instructions) return Errno{E2BIG};
  ProgramType* const type = command.syscalls.program_types().find(attr.prog_type);
  if (type != nullptr) {
    if (type->needs_net_admin()) TRY(command.require(Capability::net_admin));
    if (type->needs_perfmon()) TRY(command.require(Capability::perfmon));
  }
  TRY(check_attach_target(command, attr, type));

  ProgramSpec spec;
  spec.type = type;
  spec.expected_attach_type = attr.expected_attach_type;
  spec.flags = attr.prog_flags & ~uapi::BPF_F_TOKEN_FD;
  spec.uid = command.caller.uid();
  const Charge instructions_charge =
      TRY(budget.charge(attr.insn_cnt * std::uint64_t{sizeof(uapi::bpf_insn)}));
  spec.instructions.resize(attr.insn_cnt);
  TRY(command.caller.read(attr.insns, std::as_writable_bytes(std::span(spec.instructions))));
  spec.license = TRY(read_string(command.caller, attr.license, max_license_chars));
  // A signature that nobody can check must not be taken for a good one.
  if (attr.signature != 0) return Errno{EOPNOTSUPP};
  TRY(check_device_binding(command, attr));
  if (type == nullptr) return Errno{EINVAL};
  spec.name = TRY(object_name(attr.prog_name));

  const LogBuffer log_buffer =
      TRY(LogBuffer::make(attr.log_level, attr.log_buf, attr.log_size, budget));
  Log log(attr.log_level);
  Result<Ref<Program>> program = verify(command, attr, std::move(spec), log);
  std::uint32_t log_true_bytes = 0;
  const Result<void> delivered = log_buffer.deliver(command.caller, log, log_true_bytes);
  if (command.attr_bytes >= log_true_size_offset + sizeof log_true_bytes)
    TRY(command.write_field(log_true_size_offset, log_true_bytes));
  TRY(delivered);
  Ref<Program> loaded = TRY(std::move(program));

  TRY(command.syscalls.prog_ids().publish(*loaded));
  return command.hand_out(std::move(loaded), {});
}

CommandResult prog_test_run(Command& command) {
  auto attr = command.as<uapi::prog_test_run_attr>();
  if ((attr.ctx_size_in != 0) != (attr.ctx_in != 0)) return Errno{EINVAL};
  if ((attr.ctx_size_out != 0) != (attr.ctx_out != 0)) return Errno{EINVAL};
  const Ref<Program> program = TRY(command.object<Program>(attr.prog_fd));
  const std::uint32_t given_ctx_bytes = attr.ctx_size_out;
  bool write_back = false;
  const Result<void> result = program->type().test_run(command.caller, *program, attr, write_back);
  if (write_back) {
    using Attr = uapi::prog_test_run_attr;
    TRY(command.write_field(offsetof(Attr, retval), attr.retval));
    TRY(command.write_field(offsetof(Attr, data_size_out), attr.data_size_out));
    TRY(command.write_field(offsetof(Attr, duration), attr.duration));
    // The block of a caller that asks for no context may end before this field.
    if (attr.ctx_size_out != given_ctx_bytes)
      TRY(command.write_field(offsetof(Attr, ctx_size_out), attr.ctx_size_out));
  }
  TRY(result);
  return 0;
}

CommandResult prog_bind_map(Command& command) {
  const auto attr = command.as<uapi::prog_bind_map_attr>();
  if (attr.flags != 0) return Errno{EINVAL};
  const Ref<Program> program = TRY(command.object<Program>(attr.prog_fd));
  program->bind_map(TRY(command.object<Map>(attr.map_fd)));
  return 0;
}

CommandResult enable_stats(Command& command) {
  const auto attr = command.as<uapi::enable_stats_attr>();
  TRY(command.require(Capability::sys_admin));
  if (attr.type != 0) return Errno{EINVAL};
  return command.hand_out(
      make_object<StatisticsUser>(command.syscalls.program_environment().stats_users), {});
}

}  // namespace skep::command
