// SPDX-License-Identifier: Apache-2.0
// BTF_LOAD. Source: program-load.md 4.1.
#include "btf/btf.hpp"
#include "syscall/command.hpp"
#include "syscall/log_buffer.hpp"

#include <cstddef>
#include <utility>

namespace skep::command {

CommandResult btf_load(Command& command) {
  const auto attr = command.as<uapi::btf_load_attr>();
  constexpr std::size_t true_size_offset = offsetof(uapi::btf_load_attr, btf_log_true_size);
  Budget& budget = command.syscalls.budget();
  if ((attr.btf_flags & ~uapi::BPF_F_TOKEN_FD) != 0) return Errno{EINVAL};
  if ((attr.btf_flags & uapi::BPF_F_TOKEN_FD) != 0)
    TRY(check_token(command, static_cast<std::uint32_t>(attr.btf_token_fd)));
  TRY(command.require(Capability::bpf));
  if (attr.btf_size > Btf::max_bytes) return Errno{E2BIG};

  const LogBuffer log_buffer =
      TRY(LogBuffer::make(attr.btf_log_level, attr.btf_log_buf, attr.btf_log_size, budget));
  Log log(attr.btf_log_level);
  const auto parse = [&]() -> Result<Ref<Btf>> {
    Buffer blob = TRY(Buffer::make(budget, attr.btf_size));
    TRY(command.caller.read(attr.btf, blob.span()));
    return Btf::parse(blob.span(), budget, log);
  };
  Result<Ref<Btf>> btf = parse();
  std::uint32_t log_true_bytes = 0;
  const Result<void> delivered = log_buffer.deliver(command.caller, log, log_true_bytes);
  if (command.attr_bytes >= true_size_offset + sizeof log_true_bytes)
    TRY(command.write_field(true_size_offset, log_true_bytes));
  TRY(delivered);
  Ref<Btf> loaded = TRY(std::move(btf));

  TRY(command.syscalls.btf_ids().publish(*loaded));
  return command.hand_out(std::move(loaded), {});
}

}  // namespace skep::command
