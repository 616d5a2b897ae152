// SPDX-License-Identifier: Apache-2.0
// The default caller of a process: descriptors and memory are the process's own.
#pragma once

#include "net/device.hpp"
#include "object/caller.hpp"
#include "object/object.hpp"
#include "result/result.hpp"
#include "syscall/descriptors.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace skep {

/// Thread: any, but for set_capabilities(), which is called before other threads use the caller.
class LocalCaller final : public Caller {
 public:
  /// Has all capabilities. `descriptors` outlives the caller.
  LocalCaller(DescriptorTable& descriptors, Ref<NetNamespace> net_namespace);

  /// Leaves only the capabilities given.
  void set_capabilities(std::initializer_list<Capability> capabilities);

  bool capable(Capability capability) const override;
  Result<Ref<Object>> object(int fd, ObjectKind kind, Access* access) override {
    return descriptors_.find(fd, kind, access);
  }
  NetNamespace& net_namespace() override { return *net_namespace_; }
  /// A bad address is an EFAULT, never a crash: the kernel copies for us. Where a sandbox forbids
  /// that system call, bytes are copied directly and a bad address ends the process.
  Result<void> read(std::uint64_t address, std::span<std::byte> into) override;
  Result<void> write(std::uint64_t address, std::span<const std::byte> from) override;
  /// The real user id of the process.
  std::uint32_t uid() const override;

 private:
  DescriptorTable& descriptors_;
  const Ref<NetNamespace> net_namespace_;
  const bool copies_checked_;   // process_vm_readv works here
  std::uint32_t capabilities_;  // a bit for each Capability
};

}  // namespace skep
