// SPDX-License-Identifier: Apache-2.0
#include "syscall/caller.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace skep {
namespace {

constexpr std::uint32_t bit(Capability capability) {
  return 1U << static_cast<std::uint32_t>(capability);
}

// One call moves at most 2 GiB less a page.
constexpr std::size_t max_bytes_per_call = std::size_t{1} << 30;

using VmCopy = ssize_t (*)(pid_t, const iovec*, unsigned long, const iovec*, unsigned long,
                           unsigned long);

/// Moves `bytes` between `ours` and `address` of this process by `copy`. Errors: EFAULT.
Result<void> copy_checked(VmCopy copy, void* ours, std::uint64_t address, std::size_t bytes) {
  const pid_t self = ::getpid();
  std::size_t done = 0;
  while (done < bytes) {
    const std::size_t part = std::min(bytes - done, max_bytes_per_call);
    const iovec local{static_cast<std::byte*>(ours) + done, part};
    const iovec remote{reinterpret_cast<void*>(address + done), part};
    const ssize_t moved = copy(self, &local, 1, &remote, 1, 0);
    if (moved <= 0) return Errno{EFAULT};
    done += static_cast<std::size_t>(moved);
  }
  return ok();
}

bool can_copy_checked() {
  const std::uint32_t from = 1;
  std::uint32_t to = 0;
  return copy_checked(::process_vm_readv, &to, reinterpret_cast<std::uint64_t>(&from), sizeof from)
             .has_value() &&
         to == from;
}

}  // namespace

LocalCaller::LocalCaller(DescriptorTable& descriptors, Ref<NetNamespace> net_namespace)
    : descriptors_(descriptors),
      net_namespace_(std::move(net_namespace)),
      copies_checked_(can_copy_checked()),
      capabilities_(bit(Capability::sys_admin)) {}

void LocalCaller::set_capabilities(std::initializer_list<Capability> capabilities) {
  capabilities_ = 0;
  for (const Capability capability : capabilities) capabilities_ |= bit(capability);
}

bool LocalCaller::capable(Capability capability) const {
  return (capabilities_ & (bit(capability) | bit(Capability::sys_admin))) != 0;
}

Result<void> LocalCaller::read(std::uint64_t address, std::span<std::byte> into) {
  if (into.empty()) return ok();
  if (copies_checked_) return copy_checked(::process_vm_readv, into.data(), address, into.size());
  std::memcpy(into.data(), reinterpret_cast<const void*>(address), into.size());
  return ok();
}

Result<void> LocalCaller::write(std::uint64_t address, std::span<const std::byte> from) {
  if (from.empty()) return ok();
  if (copies_checked_)
    return copy_checked(::process_vm_writev, const_cast<std::byte*>(from.data()), address,
                        from.size());
  std::memcpy(reinterpret_cast<void*>(address), from.data(), from.size());
  return ok();
}

std::uint32_t LocalCaller::uid() const { return ::getuid(); }

}  // namespace skep
