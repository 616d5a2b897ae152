// SPDX-License-Identifier: Apache-2.0
// The kernel of this machine as the judge of single programs: raw bpf(2), nothing else.
#pragma once

#include "uapi/bpf.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace skep::testing {

/// Loads into the host kernel as an XDP program (or `type`). A descriptor, or minus errno. The log
/// is kept in `log` if given.
inline int host_load(std::span<const uapi::bpf_insn> instructions,
                     std::uint32_t type = uapi::BPF_PROG_TYPE_XDP, std::string* log = nullptr,
                     const char* license = "GPL") {
  std::vector<char> text(1 << 20);
  uapi::prog_load_attr attr{};
  attr.prog_type = type;
  attr.insn_cnt = static_cast<std::uint32_t>(instructions.size());
  attr.insns = reinterpret_cast<std::uint64_t>(instructions.data());
  attr.license = reinterpret_cast<std::uint64_t>(license);
  if (log != nullptr) {
    attr.log_level = 1;
    attr.log_size = static_cast<std::uint32_t>(text.size());
    attr.log_buf = reinterpret_cast<std::uint64_t>(text.data());
  }
  const long fd = ::syscall(SYS_bpf, uapi::BPF_PROG_LOAD, &attr, sizeof attr);
  const int error = errno;
  if (log != nullptr) *log = text.data();
  return fd < 0 ? -error : static_cast<int>(fd);
}

/// Why the host kernel cannot judge, or nullopt if it can.
inline std::optional<std::string> host_refusal() {
  // r0 = 0; *(u64 *)(r10 - 8) = r0; r0 = load_acquire((u64 *)(r10 - 8)); exit
  // The load came last into the instruction set (Linux 6.15): who takes it knows all the others.
  const uapi::bpf_insn newest[] = {
      {.code = 0xb7, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
      {.code = 0x7b, .dst_reg = 10, .src_reg = 0, .off = -8, .imm = 0},
      {.code = 0xdb, .dst_reg = 0, .src_reg = 10, .off = -8, .imm = uapi::BPF_LOAD_ACQ},
      {.code = 0x95, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  const int fd = host_load(newest);
  if (fd == -EINVAL) return "the host kernel is older than the instruction set (Linux 6.15)";
  if (fd < 0) return "the host kernel refuses BPF_PROG_LOAD: errno " + std::to_string(-fd);
  ::close(fd);
  return std::nullopt;
}

/// The 32-bit return value of one run on a packet of 64 zero bytes, or nullopt.
inline std::optional<std::uint32_t> host_run(int fd) {
  std::array<std::byte, 64> packet{};
  uapi::prog_test_run_attr attr{};
  attr.prog_fd = static_cast<std::uint32_t>(fd);
  attr.data_in = reinterpret_cast<std::uint64_t>(packet.data());
  attr.data_size_in = packet.size();
  if (::syscall(SYS_bpf, uapi::BPF_PROG_TEST_RUN, &attr, sizeof attr) != 0) return std::nullopt;
  return attr.retval;
}

}  // namespace skep::testing
