// SPDX-License-Identifier: Apache-2.0
// The XDP attachments of one runtime and the state that its data path shares: what a runtime builds
// once and hands to the program type. (Linux: net/core/dev.c, net/core/rtnetlink.c; behaviour:
// devmap-xdp.md 5.)
#pragma once

#include "cpu/slot.hpp"
#include "net/device.hpp"
#include "object/object.hpp"
#include "prog/program.hpp"
#include "result/result.hpp"
#include "sync/locked.hpp"
#include "xdp/redirect.hpp"
#include "xdp/xdp_hook.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace skep {

/// Where on a device a program runs. Ports are native devices; generic and hardware mode are
/// refused.
enum class XdpMode : std::uint8_t { skb, native, hardware };

/// What a caller believes to be attached (XDP_FLAGS_REPLACE): a program, or null for none.
struct XdpExpectation {
  Ref<Program> program;
};

/// What programs did so far, for tables.
struct XdpReport {
  struct Attached {
    std::uint32_t ifindex;
    std::string device;
    std::uint32_t prog_id;
    std::string prog;
    XdpFigures figures;
  };
  std::vector<Attached> attached;                // by ifindex; since the program was attached there
  std::vector<Redirector::EgressReport> egress;  // programs of devmap entries, by id
};

class Xdp final : private DeviceListener {
 public:
  Xdp(CpuSlots& slots, RunTiming timing);
  /// Detaches all. No slot may be in use.
  ~Xdp();

  /// Attaches `program` to `device`, or detaches if it is null. `flags` are XDP_FLAGS_*. Returns
  /// once a replaced or detached program no longer runs there. Errors: EINVAL (flags, program of
  /// another type or for devmaps and cpumaps), EEXIST (expectation not met), EBUSY
  /// (UPDATE_IF_NOEXIST and occupied), EOPNOTSUPP (mode not supported by the device), ENODEV
  /// (device is gone). Blocks: one grace period. Source: devmap-xdp.md 5.2, 5.3.
  Result<void> set_program(Device& device, Ref<Program> program, std::uint32_t flags,
                           const std::optional<XdpExpectation>& expected = std::nullopt);

  Result<void> attach(Device& device, Ref<Program> program, std::uint32_t flags = 0) {
    return set_program(device, std::move(program), flags);
  }
  Result<void> detach(Device& device, std::uint32_t flags = 0) {
    return set_program(device, nullptr, flags);
  }

  struct Attachment {
    XdpMode mode;
    Ref<Program> program;
  };
  std::optional<Attachment> query(const Device& device) const;

  /// Thread: any that owns no slot. Blocks: until it has had every CPU to itself, because what a
  /// slot counted is its owner's alone.
  XdpReport report() const;

  CpuSlots& slots() const { return slots_; }
  Redirector& redirector() { return redirector_; }

 private:
  struct Place {
    Ref<Device> device;
    std::unique_ptr<XdpHook> hook;
  };
  struct State {
    std::vector<Place> places;                      // devices with a program
    std::vector<Ref<NetNamespace>> net_namespaces;  // where we listen
  };
  static Place* find(State& state, const Device& device);
  static Result<void> check_program(const Program& program);
  /// The part of set_program() that its lock covers.
  Result<void> change(State& state, Device& device, Ref<Program> program, std::uint32_t flags,
                      const std::optional<XdpExpectation>& expected);
  static void remove(State& state, Place& place);
  void listen_in(NetNamespace& net_namespace);
  void on_device_gone(Device& device) override;

  CpuSlots& slots_;
  const RunTiming timing_;
  Redirector redirector_;
  mutable Locked<State, LockRank::hook> state_;
};

}  // namespace skep
