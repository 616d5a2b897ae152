// SPDX-License-Identifier: Apache-2.0
// bpf(2) as an interface with the real kernel behind it: the oracle of the differential tests, and
// the way programs reach real devices. Stands beside the rooms and knows none of them.
#pragma once

#include <string>

namespace skep {

/// Who answers bpf(2).
class BpfEntry {
 public:
  virtual ~BpfEntry() = default;
  /// One command; `attr` points to `size` bytes in this process. Gives the result, or a negative
  /// errno.
  virtual long bpf(unsigned cmd, void* attr, unsigned size) = 0;
};

/// The kernel that this process runs on. Has no state: descriptors are the process's own. Thread:
/// any.
class HostKernel final : public BpfEntry {
 public:
  long bpf(unsigned cmd, void* attr, unsigned size) override;

  /// Why this process cannot use the kernel's BPF, in words for people; empty if it can.
  std::string unavailable();

  /// Whether the kernel is `major`.`minor` or newer.
  static bool is_at_least(unsigned major, unsigned minor);
};

}  // namespace skep
