// SPDX-License-Identifier: Apache-2.0
#include "net/device.hpp"

#include "net/port/loopback_port.hpp"
#include "net/port/port.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace skep {
namespace {

std::size_t bytes_of(std::span<Buff* const> frames) {
  std::size_t bytes = 0;
  for (const Buff* frame : frames) bytes += frame->frame_bytes();
  return bytes;
}

bool is_runt(const Buff& frame) { return frame.linear_bytes() < ethernet_header_bytes; }

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------
// Device

Device::Device(NetNamespace& net_namespace, CpuSlots& slots, std::uint32_t ifindex,
               std::string name, DeviceOptions options, std::unique_ptr<Port> port)
    : Object(object_kind),
      net_namespace_(net_namespace),
      ifindex_(ifindex),
      mtu_(options.mtu),
      name_(std::move(name)),
      mac_(options.mac),
      port_(std::move(port)),
      up_(options.up),
      counters_(slots) {}

Device::~Device() = default;

std::uint64_t Device::xdp_features() const { return port_->xdp_features(); }
std::uint32_t Device::rx_queues() const { return port_->rx_queues(); }

void Device::receive(Slot& slot, std::span<Buff* const> frames) {
  if (frames.empty()) return;
  SlotCounters& counters = counters_[slot];
  counters.rx_frames.add(frames.size());
  counters.rx_bytes.add(bytes_of(frames));
  for (Buff* frame : frames) frame->rx_device = this;
  if (!is_up()) {
    for (Buff* frame : frames) drop(slot, frame, DropReason::rx_down);
    return;
  }
  // The hook gets the stretches between runts, so that nothing has to be moved. There rarely is a
  // runt.
  std::size_t first = 0;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (!is_runt(*frames[i])) [[likely]]
      continue;
    deliver(slot, frames.subspan(first, i - first));
    drop(slot, frames[i], DropReason::rx_runt);
    first = i + 1;
  }
  deliver(slot, frames.subspan(first));
}

void Device::deliver(Slot& slot, std::span<Buff* const> frames) {
  if (frames.empty()) return;
  // acquire: pairs with set_receive_hook(); what the hook needs was built before.
  ReceiveHook* const hook = hook_.load(std::memory_order_acquire);
  if (hook != nullptr) {
    hook->receive(slot, *this, frames);
  } else {
    pass(slot, frames);
  }
}

void Device::pass(Slot& slot, std::span<Buff* const> frames) {
  counters_[slot].passed.add(frames.size());
  port_->to_host(slot, frames);
}

Result<std::size_t> Device::transmit(Slot& slot, std::span<Buff* const> frames, bool flush) {
  if (!is_up()) return Errno{ENETDOWN};
  // Accepted frames may be gone when transmit() returns: their bytes are the difference.
  const std::size_t offered_bytes = bytes_of(frames);
  const std::size_t accepted = TRY(port_->transmit(slot, frames, flush));
  ASSERT(accepted <= frames.size());
  SlotCounters& counters = counters_[slot];
  counters.tx_frames.add(accepted);
  counters.tx_bytes.add(offered_bytes - bytes_of(frames.subspan(accepted)));
  return accepted;
}

void Device::drop(Slot& slot, Buff* frame, DropReason reason) {
  count_drop(slot, reason);
  frame->pool->give_back(slot, frame);
}

void Device::count_drop(Slot& slot, DropReason reason) {
  counters_[slot].drops[static_cast<std::size_t>(reason)].add(1);
}

void Device::count_redirected(Slot& slot, std::uint32_t target_ifindex, std::size_t frames) {
  SlotCounters& counters = counters_[slot];
  counters.redirected.add(frames);
  counters.redirected_to.add(target_ifindex, frames);
}

void Device::count_xdp_tx(Slot& slot, std::size_t frames) { counters_[slot].xdp_tx.add(frames); }

void Device::set_receive_hook(ReceiveHook* hook) {
  // release: pairs with the acquire in deliver(). acquire: who clears a hook owns it afterwards.
  ReceiveHook* const before = hook_.exchange(hook, std::memory_order_acq_rel);
  if (before != nullptr && before != hook) rcu::synchronize();
}

DeviceCounters Device::counters() const {
  DeviceCounters sums;
  counters_.for_each([&](const SlotCounters& slot) {
    sums.rx_frames += slot.rx_frames.get();
    sums.rx_bytes += slot.rx_bytes.get();
    sums.passed += slot.passed.get();
    sums.xdp_tx += slot.xdp_tx.get();
    sums.tx_frames += slot.tx_frames.get();
    sums.tx_bytes += slot.tx_bytes.get();
    sums.redirected += slot.redirected.get();
    for (std::size_t i = 0; i < drop_reasons; ++i) sums.drops[i] += slot.drops[i].get();
    slot.redirected_to.add_to(sums.redirected_to);
  });
  for (const DropReason reason : {DropReason::rx_too_long, DropReason::rx_no_memory}) {
    const std::uint64_t refused = port_->refused(reason);
    sums.drops[static_cast<std::size_t>(reason)] += refused;
    sums.rx_frames += refused;
  }
  return sums;
}

void Device::TargetCounters::add(std::uint32_t ifindex, std::uint64_t frames) {
  for (std::uint32_t i = 0; i < probes; ++i) {
    Place& place = places_[(ifindex + i) % places];
    // relaxed: this slot's owner is the only writer.
    const std::uint32_t held = place.ifindex.load(std::memory_order_relaxed);
    if (held != ifindex) {
      if (held != 0) continue;
      place.ifindex.store(ifindex, std::memory_order_relaxed);
    }
    place.frames.add(frames);
    return;
  }
  others_.add(frames);
}

void Device::TargetCounters::add_to(std::map<std::uint32_t, std::uint64_t>& sums) const {
  for (const Place& place : places_) {
    // relaxed: as above; a place that is just being taken shows later.
    const std::uint32_t ifindex = place.ifindex.load(std::memory_order_relaxed);
    const std::uint64_t frames = place.frames.get();
    if (ifindex != 0 && frames != 0) sums[ifindex] += frames;
  }
  if (others_.get() != 0) sums[0] += others_.get();
}

// ---------------------------------------------------------------------------------------------------------------------
// NetNamespace

/// All devices of one moment: sorted for listing, and a hash table by ifindex for the data path.
/// Immutable. The pointers hold no references: a device outlives by a grace period the moment when
/// the last index with it was replaced.
struct NetNamespace::Index {
  std::vector<Device*> by_ifindex;
  std::vector<Device*> table;  // power of two, at most half full: a probe always ends

  explicit Index(const std::map<std::uint32_t, Ref<Device>>& devices)
      : table(std::bit_ceil(2 * devices.size() + 2)) {
    for (const auto& [ifindex, device] : devices) {
      by_ifindex.push_back(device.get());
      std::size_t place = ifindex & (table.size() - 1);
      while (table[place] != nullptr) place = (place + 1) & (table.size() - 1);
      table[place] = device.get();
    }
  }

  Device* find(std::uint32_t ifindex) const {
    for (std::size_t place = ifindex;; ++place) {
      Device* const device = table[place & (table.size() - 1)];
      if (device == nullptr || device->ifindex() == ifindex) return device;
    }
  }
};

NetNamespace::NetNamespace(CpuSlots& slots)
    : Object(object_kind),
      slots_(slots),
      index_(std::make_unique<Index>(std::map<std::uint32_t, Ref<Device>>())) {
  const DeviceOptions loopback = {.mtu = 65536};
  const auto added = state_.with([&](State& state) {
    return add_locked(state, "lo", loopback, std::make_unique<LoopbackPort>());
  });
  ASSERT(added.has_value() && (*added)->ifindex() == loopback_ifindex);
}

NetNamespace::~NetNamespace() = default;

// What Linux takes for a device name.
bool NetNamespace::is_valid_name(std::string_view name) {
  constexpr std::size_t max_name = 15;  // IFNAMSIZ - 1
  if (name.empty() || name.size() > max_name || name == "." || name == "..") return false;
  constexpr std::string_view refused("/: \t\n\v\f\r\0", 9);
  return name.find_first_of(refused) == std::string_view::npos;
}

void NetNamespace::publish_index(State& state) {
  rcu::retire(index_.exchange(std::make_unique<Index>(state.devices), state));
}

Result<Ref<Device>> NetNamespace::add_device(std::string name, DeviceOptions options,
                                             std::unique_ptr<Port> port) {
  if (!is_valid_name(name)) return Errno{EINVAL};
  return state_.with(
      [&](State& state) { return add_locked(state, std::move(name), options, std::move(port)); });
}

Result<Ref<Device>> NetNamespace::add_locked(State& state, std::string name, DeviceOptions options,
                                             std::unique_ptr<Port> port) {
  constexpr std::uint32_t last_possible = 0x7fffffff;  // ifindex is an int on Linux
  for (const auto& [ifindex, device] : state.devices)
    if (device->name() == name) return Errno{EEXIST};
  if (state.last_ifindex == last_possible) return Errno{ENOSPC};
  const std::uint32_t ifindex = ++state.last_ifindex;
  auto device = Ref<Device>::adopt(
      new Device(*this, slots_, ifindex, std::move(name), options, std::move(port)));
  state.devices.emplace(ifindex, device);
  publish_index(state);
  return device;
}

Result<void> NetNamespace::remove_device(std::uint32_t ifindex) {
  if (ifindex == loopback_ifindex) return Errno{EOPNOTSUPP};
  const Ref<Device> device = state_.with([&](State& state) {
    auto node = state.devices.extract(ifindex);
    if (node.empty()) return Ref<Device>();
    publish_index(state);
    for (DeviceListener* listener : state.listeners) listener->on_device_gone(*node.mapped());
    return std::move(node.mapped());
  });
  if (!device) return Errno{ENODEV};
  rcu::synchronize();
  device->port().finish();
  return ok();
}

void NetNamespace::remove_all_devices() {
  // The references go outside of the lock, and after a grace period at the earliest: an object is
  // destroyed after one.
  const auto devices = state_.with([&](State& state) {
    auto removed = std::exchange(state.devices, {});
    publish_index(state);
    for (const auto& [ifindex, device] : removed)
      for (DeviceListener* listener : state.listeners) listener->on_device_gone(*device);
    return removed;
  });
}

// No grace period here, a reader may be the one who dropped the reference.
void NetNamespace::on_last_reference() { remove_all_devices(); }

Device* NetNamespace::find(std::uint32_t ifindex, const rcu::ReadGuard& proof) const {
  return index_.read(proof)->find(ifindex);
}

Result<Ref<Device>> NetNamespace::device(std::uint32_t ifindex) const {
  const rcu::ReadGuard guard;
  Device* const found = find(ifindex, guard);
  if (found == nullptr) return Errno{ENODEV};
  // Null when it was removed since the index was read.
  Ref<Device> device = Ref<Device>::try_share(*found);
  if (!device) return Errno{ENODEV};
  return device;
}

Result<Ref<Device>> NetNamespace::device(std::string_view name) const {
  const rcu::ReadGuard guard;
  for (Device* candidate : index_.read(guard)->by_ifindex) {
    if (candidate->name() != name) continue;
    Ref<Device> device = Ref<Device>::try_share(*candidate);
    if (device) return device;
  }
  return Errno{ENODEV};
}

std::vector<Ref<Device>> NetNamespace::devices() const {
  const rcu::ReadGuard guard;
  std::vector<Ref<Device>> all;
  for (Device* candidate : index_.read(guard)->by_ifindex)
    if (Ref<Device> device = Ref<Device>::try_share(*candidate)) all.push_back(std::move(device));
  return all;
}

void NetNamespace::add_listener(DeviceListener& listener) {
  state_.with([&](State& state) { state.listeners.push_back(&listener); });
}

void NetNamespace::remove_listener(DeviceListener& listener) {
  state_.with([&](State& state) { std::erase(state.listeners, &listener); });
}

}  // namespace skep
