// SPDX-License-Identifier: Apache-2.0
// A network namespace of the benchmark's own with pairs of veth devices, for the kernel's side of
// the redirect rows. It has no name: the kernel removes it, with all devices, when the last
// descriptor of it is closed, however the process ends. Nothing that was there before is touched.
#pragma once

#include "bench.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace skep::bench {

class HostNamespace {
 public:
  /// Needs CAP_SYS_ADMIN.
  static Attempt<std::unique_ptr<HostNamespace>> make();
  ~HostNamespace();
  HostNamespace(const HostNamespace&) = delete;
  HostNamespace& operator=(const HostNamespace&) = delete;

  /// The calling thread is in the namespace as long as this lives; does not nest.
  class [[nodiscard]] Visit {
   public:
    explicit Visit(const HostNamespace& host_namespace);
    ~Visit();
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    const int home_fd_;
  };

  /// A pair that is up; `peer_program` runs natively on every frame that is sent into `ifindex`
  /// (the kernel accepts redirected frames only if there is one) for as long as the namespace
  /// lives.
  struct VethPair {
    std::uint32_t ifindex;
    std::string peer;
  };
  Attempt<VethPair> add_veth_pair(int peer_program_fd);

  /// Frames that came in at a device.
  Attempt<std::uint64_t> received_frames(const std::string& device) const;

 private:
  HostNamespace(int home_fd, int own_fd) : home_fd_(home_fd), own_fd_(own_fd) {}

  const int home_fd_;  // where the process is at home
  const int own_fd_;
  unsigned pairs_ = 0;
  std::vector<int> link_fds_;
};

}  // namespace skep::bench
