// SPDX-License-Identifier: Apache-2.0
#include "host/host_kernel.hpp"

#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace skep {

long HostKernel::bpf(unsigned cmd, void* attr, unsigned size) {
  const long result = ::syscall(SYS_bpf, cmd, attr, size);
  return result < 0 ? -errno : result;
}

std::string HostKernel::unavailable() {
  // The smallest map that needs no capability beyond CAP_BPF: type ARRAY, keys and values of 4
  // bytes, one element.
  constexpr unsigned map_create = 0;
  std::array<std::uint32_t, 4> attr{2, 4, 4, 1};
  const long fd = bpf(map_create, attr.data(), sizeof attr);
  if (fd >= 0) {
    ::close(static_cast<int>(fd));
    return "";
  }
  if (fd == -ENOSYS) return "this kernel has no bpf(2)";
  if (fd == -EPERM) return "bpf(2) is refused: CAP_BPF and CAP_NET_ADMIN are needed (EPERM)";
  return std::string("a small array map cannot be created: ") +
         std::strerror(static_cast<int>(-fd));
}

bool HostKernel::is_at_least(unsigned major, unsigned minor) {
  utsname name{};
  unsigned is_major = 0;
  unsigned is_minor = 0;
  if (::uname(&name) != 0 || std::sscanf(name.release, "%u.%u", &is_major, &is_minor) != 2)
    return false;
  return is_major != major ? is_major > major : is_minor >= minor;
}

}  // namespace skep
