// SPDX-License-Identifier: Apache-2.0
#include "xdp/context.hpp"

#include "uapi/bpf.hpp"

namespace skep {

std::optional<std::uint64_t> XdpContext::load(std::uint32_t offset, std::uint32_t bytes) const {
  if (bytes != 4) return std::nullopt;
  switch (offset) {
    case offsetof(uapi::xdp_md, data):
      return reinterpret_cast<std::uintptr_t>(frame_.data);
    case offsetof(uapi::xdp_md, data_end):
      return reinterpret_cast<std::uintptr_t>(frame_.data_end);
    case offsetof(uapi::xdp_md, data_meta):
      return reinterpret_cast<std::uintptr_t>(frame_.data_meta);
    case offsetof(uapi::xdp_md, ingress_ifindex):
      return origin_.ingress.ifindex();
    case offsetof(uapi::xdp_md, rx_queue_index):
      return origin_.rx_queue;
    case offsetof(uapi::xdp_md, egress_ifindex):
      if (origin_.egress == nullptr) return std::nullopt;
      return origin_.egress->ifindex();
    default:
      return std::nullopt;
  }
}

bool XdpContext::store(std::uint32_t /*offset*/, std::uint32_t /*bytes*/, std::uint64_t /*value*/) {
  return false;
}

}  // namespace skep
