// SPDX-License-Identifier: Apache-2.0
// The context of an XDP program: `struct xdp_md` over a frame. The object keeps its 32-bit fields;
// each load is translated when it happens. (Behaviour: devmap-xdp.md 3.1, 3.2.)
#pragma once

#include "net/device.hpp"
#include "net/packet.hpp"
#include "prog/program_type.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>

namespace skep {

struct RedirectInfo;

/// What surrounds the frames of one section as programs see it.
struct XdpOrigin {
  Device& ingress;           // ingress_ifindex; its namespace is where ifindexes are looked up
  std::uint32_t rx_queue;    // rx_queue_index
  Device* egress = nullptr;  // set on the way out of a devmap: egress_ifindex is readable only then
  /// Bytes that a fragment may take: what bounds growth of a fragmented frame. 0: such growth is
  /// not supported.
  std::uint32_t fragment_bytes = 0;
  /// Bytes at the start of the buffer that are not headroom (test runs with live frames keep
  /// records there).
  std::uint32_t reserved_bytes = 0;
};

/// The only kind of context that programs of type XDP get, so their helpers may cast to it.
class XdpContext final : public Context {
 public:
  XdpContext(Buff& frame, const XdpOrigin& origin, RedirectInfo& redirect)
      : frame_(frame), origin_(origin), redirect_(redirect) {}

  std::optional<std::uint64_t> load(std::uint32_t offset, std::uint32_t bytes) const override;
  /// Always false: no field may be written.
  bool store(std::uint32_t offset, std::uint32_t bytes, std::uint64_t value) override;
  Window packet() const override { return {frame_.data_meta, frame_.data_end}; }

  Buff& frame() const { return frame_; }
  const XdpOrigin& origin() const { return origin_; }
  RedirectInfo& redirect() const { return redirect_; }
  /// The lowest address that metadata or packet may begin at.
  std::byte* lowest_start() const {
    return frame_.hard_start() + origin_.reserved_bytes + frame_area_bytes;
  }

 private:
  Buff& frame_;
  const XdpOrigin& origin_;
  RedirectInfo& redirect_;
};

}  // namespace skep
