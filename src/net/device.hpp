// SPDX-License-Identifier: Apache-2.0
// Network devices and namespaces as BPF sees them: what redirect, attachment and contexts need to
// know about a device. A device's frames come from and go to its port (net/port/).
#pragma once

#include "cpu/slot.hpp"
#include "net/drop_reason.hpp"
#include "net/packet.hpp"
#include "object/object.hpp"
#include "rcu/rcu.hpp"
#include "result/result.hpp"
#include "sync/locked.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace skep {

class NetNamespace;
class Port;

using MacAddress = std::array<std::uint8_t, 6>;

/// What a device counts. Written by slot owners, summed for reports.
struct DeviceCounters {
  std::uint64_t rx_frames = 0, rx_bytes = 0;
  std::uint64_t passed = 0;                   // given to the host side
  std::uint64_t xdp_tx = 0;                   // verdict TX that left
  std::uint64_t tx_frames = 0, tx_bytes = 0;  // all that left through the port
  std::uint64_t redirected = 0;  // frames received here that left elsewhere (or were queued there)
  // Of frames received here; egress reasons and tx_refused also of frames that others received and
  // that were to be sent here: sums add up over all devices, not for each.
  std::array<std::uint64_t, drop_reasons> drops{};
  // By target ifindex: frames that the target's port accepted; 0: the rest of more than 128
  // targets.
  std::map<std::uint32_t, std::uint64_t> redirected_to;
};

/// What a hook does with the frames of one poll. Registered on a device; called on the slot that
/// polls.
class ReceiveHook {
 public:
  /// Takes all frames over. May queue some for other devices until flush(). Precondition: inside a
  /// read section.
  virtual void receive(Slot& slot, Device& device, std::span<Buff* const> frames) = 0;

 protected:
  ~ReceiveHook() = default;
};

/// Hears of devices that go away: registered maps and hooks drop what points to them.
class DeviceListener {
 public:
  /// `device` is already unlisted; no new reference to it can be found. Called with the device list
  /// locked.
  virtual void on_device_gone(Device& device) = 0;

 protected:
  ~DeviceListener() = default;
};

struct DeviceOptions {
  std::uint32_t mtu = 1500;
  MacAddress mac{};
  bool up = true;
};

class Device final : public Object {
 public:
  static constexpr ObjectKind object_kind = ObjectKind::device;

  /// Positive, unique in its namespace. Devices have no Object id.
  std::uint32_t ifindex() const { return ifindex_; }
  const std::string& name() const { return name_; }
  std::uint32_t mtu() const { return mtu_; }
  std::uint32_t hard_header_bytes() const { return ethernet_header_bytes; }
  const MacAddress& mac() const { return mac_; }
  bool is_up() const { return up_.load(std::memory_order_relaxed); }  // relaxed: an advisory flag
  void set_up(bool up) { up_.store(up, std::memory_order_relaxed); }
  /// NETDEV_XDP_ACT_* bits, from the port.
  std::uint64_t xdp_features() const;
  std::uint32_t rx_queues() const;
  NetNamespace& net_namespace() const { return net_namespace_; }
  Port& port() const { return *port_; }

  /// Frames that just came in on one queue: counted, runts and frames while down dropped, the rest
  /// goes to the hook, or to the host side without one. Precondition: inside a read section.
  void receive(Slot& slot, std::span<Buff* const> frames);
  /// Gives frames to the host side; counted as passed.
  void pass(Slot& slot, std::span<Buff* const> frames);
  /// Transmits frames; the port owns an accepted prefix, the rest stays with the caller. `flush`
  /// ends a burst. Errors: ENETDOWN, EOPNOTSUPP, ENXIO …: none accepted.
  Result<std::size_t> transmit(Slot& slot, std::span<Buff* const> frames, bool flush);
  /// Counts and frees.
  void drop(Slot& slot, Buff* frame, DropReason reason);
  void count_drop(Slot& slot, DropReason reason);
  /// Notes that `frames` frames received here were accepted by the port of `target`.
  void count_redirected(Slot& slot, std::uint32_t target_ifindex, std::size_t frames);
  void count_xdp_tx(Slot& slot, std::size_t frames);

  /// Sets or clears the hook; returns once no slot runs the old one. One hook per device.
  void set_receive_hook(ReceiveHook* hook);
  ReceiveHook* receive_hook() const { return hook_.load(std::memory_order_acquire); }

  /// Sums over all slots, and what the port refused. Consistent only while no slot is in use.
  DeviceCounters counters() const;

 private:
  friend class NetNamespace;

  /// A number that one slot's owner writes and anybody may read.
  class OwnerCounter {
   public:
    // relaxed: a statistic with one writer; nobody infers other state from it.
    void add(std::uint64_t n) { value_.store(get() + n, std::memory_order_relaxed); }
    std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

   private:
    std::atomic<std::uint64_t> value_{0};
  };

  /// Frames by target ifindex: a hash table of fixed size, so that counting never allocates.
  /// Targets that find no place share one counter, reported as ifindex 0.
  class TargetCounters {
   public:
    void add(std::uint32_t ifindex, std::uint64_t frames);
    void add_to(std::map<std::uint32_t, std::uint64_t>& sums) const;

   private:
    static constexpr std::uint32_t places = 128;
    static constexpr std::uint32_t probes = 16;
    struct Place {
      std::atomic<std::uint32_t> ifindex{0};  // 0: free; set once
      OwnerCounter frames;
    };
    std::array<Place, places> places_;
    OwnerCounter others_;
  };

  /// What one slot counted; the fields are those of DeviceCounters.
  struct SlotCounters {
    OwnerCounter rx_frames, rx_bytes, passed, xdp_tx, tx_frames, tx_bytes, redirected;
    std::array<OwnerCounter, drop_reasons> drops;
    TargetCounters redirected_to;
  };

  Device(NetNamespace& net_namespace, CpuSlots& slots, std::uint32_t ifindex, std::string name,
         DeviceOptions options, std::unique_ptr<Port> port);
  ~Device() override;

  void deliver(Slot& slot, std::span<Buff* const> frames);

  NetNamespace& net_namespace_;
  const std::uint32_t ifindex_, mtu_;
  const std::string name_;
  const MacAddress mac_;
  std::unique_ptr<Port> port_;
  std::atomic<bool> up_;
  std::atomic<ReceiveHook*> hook_{nullptr};
  PerSlot<SlotCounters> counters_;
};

/// A set of devices with ifindexes of its own. Holds loopback (ifindex 1, "lo", not an XDP target)
/// from the start. A device that somebody still refers to may outlive its namespace, but must no
/// longer be asked for it.
///
/// Guarantees
/// G1  Looking up never locks: it may be done under any lock, and on the data path.
/// G2  A device is unlisted before listeners hear of it. Who lists `device` in a structure of its
/// own under a lock that
///     its listener also takes, and asks find() under that lock, never keeps a device that is gone.
/// G3  When remove_device() returns, no read section is left that could have found the device here.
/// G4  Ifindexes are never used twice.
class NetNamespace final : public Object {
 public:
  static constexpr ObjectKind object_kind = ObjectKind::net_namespace;
  static constexpr std::uint32_t loopback_ifindex = 1;

  explicit NetNamespace(CpuSlots& slots);

  /// Whether a device may be called so; see add_device().
  static bool is_valid_name(std::string_view name);

  /// Errors: EEXIST (name), EINVAL (name empty, longer than 15, "." or "..", or with '/', ':' or
  /// blanks), ENOSPC (no ifindex left).
  Result<Ref<Device>> add_device(std::string name, DeviceOptions options,
                                 std::unique_ptr<Port> port);
  /// Unlists the device, tells the listeners, waits for a grace period and finishes the port.
  /// Blocks: must not be called in a read section. Errors: ENODEV, EOPNOTSUPP (loopback stays).
  Result<void> remove_device(std::uint32_t ifindex);
  /// Unlists all devices, loopback too, and tells the listeners. For who ends a namespace: a map
  /// refers to the namespaces of its devices, and a program in an entry may refer to the map, so
  /// that references alone would never run out. Waits for nothing: the devices live on until what
  /// refers to them has gone, and readers too.
  void remove_all_devices();

  /// Errors: ENODEV.
  Result<Ref<Device>> device(std::uint32_t ifindex) const;
  Result<Ref<Device>> device(std::string_view name) const;
  /// Data path: null if there is none. Valid until the read section ends.
  Device* find(std::uint32_t ifindex, const rcu::ReadGuard& proof) const;
  /// In order of ifindex.
  std::vector<Ref<Device>> devices() const;

  /// A listener hears of each device that is removed, and of all of them when the namespace ends.
  /// It must not call these two nor add or remove devices from on_device_gone(). After
  /// remove_listener() returned it hears nothing more.
  void add_listener(DeviceListener& listener);
  void remove_listener(DeviceListener& listener);

 private:
  ~NetNamespace() override;
  void on_last_reference() override;

  struct Index;  // RCU-published: all devices; never null
  struct State {
    std::map<std::uint32_t, Ref<Device>> devices;
    std::uint32_t last_ifindex = 0;
    std::vector<DeviceListener*> listeners;
  };
  Result<Ref<Device>> add_locked(State& state, std::string name, DeviceOptions options,
                                 std::unique_ptr<Port> port);
  void publish_index(State& state);

  CpuSlots& slots_;
  rcu::Ptr<Index> index_;
  Locked<State, LockRank::device_list> state_;
};

}  // namespace skep
