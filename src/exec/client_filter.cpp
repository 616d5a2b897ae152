// SPDX-License-Identifier: Apache-2.0
#include "exec/client_filter.hpp"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

namespace skep::exec {

#if defined(__x86_64__)
namespace {

/// Served calls. Netlink sockets, epoll_ctl and descriptors of perf events are left to the kernel
/// until something here can answer for them.
constexpr std::array<std::uint32_t, 7> served_calls = {
    SYS_bpf, SYS_perf_event_open, SYS_statfs, SYS_fstatfs, SYS_mount, SYS_readlink, SYS_readlinkat,
};

constexpr std::uint32_t x32_bit = 0x40000000;
constexpr std::uint32_t i386_bpf = 357;

constexpr sock_filter load(std::size_t offset) {
  return {BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<std::uint32_t>(offset)};
}
/// Skips `yes` or `no` instructions.
constexpr sock_filter jump_if_equal(std::uint32_t value, std::size_t yes, std::size_t no) {
  return {BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint8_t>(yes), static_cast<std::uint8_t>(no),
          value};
}
constexpr sock_filter give(std::uint32_t action) { return {BPF_RET | BPF_K, 0, 0, action}; }

/// Calls of the two 32-bit ABIs cannot be served (their attribute blocks are the same, but their
/// numbers and registers are not): their bpf(2) answers ENOSYS rather than reach the kernel's BPF.
std::vector<sock_filter> filter_program() {
  std::vector<sock_filter> program = {
      load(offsetof(seccomp_data, arch)), jump_if_equal(AUDIT_ARCH_X86_64, 3, 0),
      load(offsetof(seccomp_data, nr)),   jump_if_equal(i386_bpf, 0, 1),
      give(SECCOMP_RET_ERRNO | ENOSYS),
  };
  // The jump over the i386 part lands behind its last instruction.
  program.push_back(give(SECCOMP_RET_ALLOW));
  program[1].jt = static_cast<std::uint8_t>(program.size() - 2);
  program.push_back(load(offsetof(seccomp_data, nr)));
  program.push_back(jump_if_equal(x32_bit | SYS_bpf, 0, 1));
  program.push_back(give(SECCOMP_RET_ERRNO | ENOSYS));
  for (std::size_t i = 0; i < served_calls.size(); ++i)
    program.push_back(jump_if_equal(served_calls[i], served_calls.size() - i, 0));
  program.push_back(give(SECCOMP_RET_ALLOW));
  program.push_back(give(SECCOMP_RET_USER_NOTIF));
  return program;
}

}  // namespace

Result<OwnedFd> install_client_filter() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Errno{EOPNOTSUPP};
  std::vector<sock_filter> program = filter_program();
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  // Killable wait: while we work on a call only a fatal signal ends it. Otherwise a signal, as Go's
  // runtime sends them, would restart a call that has already been carried out.
  const long fd =
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &filter);
  if (fd < 0) return Errno{errno == EINVAL || errno == ENOSYS ? EOPNOTSUPP : errno};
  return OwnedFd(static_cast<int>(fd));
}
#else
Result<OwnedFd> install_client_filter() { return Errno{ENOSYS}; }
#endif

}  // namespace skep::exec
