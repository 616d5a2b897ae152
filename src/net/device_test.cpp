// SPDX-License-Identifier: Apache-2.0
#include "net/device.hpp"

#include "net/net_fixture.hpp"
#include "net/port/null_port.hpp"
#include "net/port/port.hpp"

#include <gtest/gtest.h>

#include <array>
#include <thread>

namespace skep {
namespace {

using testing::NetBench;
using testing::pattern;

struct PortLog {
  std::size_t host_frames = 0, sent_frames = 0, finished = 0;
  std::size_t takes = SIZE_MAX;  // of one transmit
  int error = 0;                 // of every transmit
  std::uint64_t too_long = 0;
};

class LoggingPort final : public Port {
 public:
  explicit LoggingPort(PortLog& log) : log_(log) {}
  std::string_view kind() const override { return "logging"; }
  std::uint64_t xdp_features() const override { return software_xdp_features; }
  std::uint32_t rx_queues() const override { return 3; }
  std::optional<std::uint64_t> next_arrival_ns(Slot&, std::uint32_t) override {
    return std::nullopt;
  }
  std::size_t receive(Slot&, std::uint32_t, std::uint64_t, std::span<Buff*>) override { return 0; }
  Result<std::size_t> transmit(Slot& slot, std::span<Buff* const> frames, bool) override {
    if (log_.error != 0) return Errno{log_.error};
    const std::size_t taken = std::min(log_.takes, frames.size());
    for (Buff* frame : frames.first(taken)) frame->pool->give_back(slot, frame);
    log_.sent_frames += taken;
    return taken;
  }
  void to_host(Slot& slot, std::span<Buff* const> frames) override {
    for (Buff* frame : frames) frame->pool->give_back(slot, frame);
    log_.host_frames += frames.size();
  }
  void finish() override { ++log_.finished; }
  std::uint64_t refused(DropReason reason) const override {
    return reason == DropReason::rx_too_long ? log_.too_long : 0;
  }

 private:
  PortLog& log_;
};

/// Takes frames over and drops them; remembers what it saw.
class DroppingHook final : public ReceiveHook {
 public:
  void receive(Slot& slot, Device& device, std::span<Buff* const> frames) override {
    for (Buff* frame : frames) {
      EXPECT_EQ(frame->rx_device, &device);
      seen_bytes.push_back(frame->frame_bytes());
      device.drop(slot, frame, DropReason::xdp_drop);
    }
  }
  std::vector<std::size_t> seen_bytes;
};

/// A namespace with one device on a logging port.
struct DeviceBench : NetBench {
  DeviceBench() {
    device = *net_namespace->add_device("eth0", {.mtu = 1400, .mac = {2, 0, 0, 0, 0, 7}},
                                        std::make_unique<LoggingPort>(log));
  }
  ~DeviceBench() {
    device = nullptr;
    net_namespace = nullptr;
    rcu::barrier();
  }
  std::vector<Buff*> frames(Slot& slot, std::initializer_list<std::size_t> lengths) {
    std::vector<Buff*> made;
    for (const std::size_t length : lengths) made.push_back(pool->take_copy(slot, pattern(length)));
    return made;
  }
  std::uint64_t drops(DropReason reason) const {
    return device->counters().drops[static_cast<std::size_t>(reason)];
  }

  PortLog log;
  Ref<NetNamespace> net_namespace = make_object<NetNamespace>(slots);
  Ref<Device> device;
};

TEST(DropReason, EveryReasonHasItsOwnName) {
  EXPECT_EQ(name_of(DropReason::xdp_drop), "xdp_drop");
  EXPECT_EQ(name_of(DropReason::redirect_fragments), "redirect_fragments");
  EXPECT_EQ(name_of(DropReason::egress_drop), "egress_drop");
  EXPECT_EQ(name_of(DropReason::tx_refused), "tx_refused");
  EXPECT_EQ(name_of(DropReason::rx_down), "rx_down");
  std::map<std::string_view, int> names;
  for (std::size_t i = 0; i < drop_reasons; ++i) ++names[name_of(static_cast<DropReason>(i))];
  EXPECT_EQ(names.size(), drop_reasons);
  EXPECT_FALSE(names.contains(""));
}

TEST(Device, TellsWhatItWasMadeWith) {
  DeviceBench bench;
  EXPECT_EQ(bench.device->ifindex(), 2U);
  EXPECT_EQ(bench.device->name(), "eth0");
  EXPECT_EQ(bench.device->mtu(), 1400U);
  EXPECT_EQ(bench.device->mac()[5], 7);
  EXPECT_EQ(bench.device->hard_header_bytes(), 14U);
  EXPECT_TRUE(bench.device->is_up());
  EXPECT_EQ(bench.device->rx_queues(), 3U);
  EXPECT_EQ(bench.device->xdp_features(), 103U);
  EXPECT_EQ(&bench.device->net_namespace(), bench.net_namespace.get());
}

TEST(Device, WithoutAHookFramesGoToTheHostSide) {
  DeviceBench bench;
  const SlotGuard slot = bench.slots.enter(0);
  const rcu::ReadGuard section;
  const auto frames = bench.frames(*slot, {60, 100, 1000});
  bench.device->receive(*slot, frames);
  EXPECT_EQ(bench.log.host_frames, 3U);
  const DeviceCounters counters = bench.device->counters();
  EXPECT_EQ(counters.rx_frames, 3U);
  EXPECT_EQ(counters.rx_bytes, 1160U);
  EXPECT_EQ(counters.passed, 3U);
}

TEST(Device, RuntsAreDroppedAndTheOthersKeepTheirOrder) {
  DeviceBench bench;
  DroppingHook hook;
  bench.device->set_receive_hook(&hook);
  const SlotGuard slot = bench.slots.enter(0);
  const rcu::ReadGuard section;
  bench.device->receive(*slot, bench.frames(*slot, {13, 14, 60, 0, 1, 61, 62, 5}));
  bench.device->receive(*slot, bench.frames(*slot, {63}));
  EXPECT_EQ(hook.seen_bytes, (std::vector<std::size_t>{14, 60, 61, 62, 63}));
  EXPECT_EQ(bench.drops(DropReason::rx_runt), 4U);
  EXPECT_EQ(bench.drops(DropReason::xdp_drop), 5U);
  EXPECT_EQ(bench.device->counters().rx_frames, 9U);
  EXPECT_EQ(bench.log.host_frames, 0U);
  EXPECT_EQ(bench.pool->in_use(), 0U);
}

TEST(Device, WhileDownNothingComesInOrGoesOut) {
  DeviceBench bench;
  DroppingHook hook;
  bench.device->set_receive_hook(&hook);
  bench.device->set_up(false);
  const SlotGuard slot = bench.slots.enter(0);
  const rcu::ReadGuard section;
  const auto frames = bench.frames(*slot, {60, 60});
  EXPECT_ERRNO(bench.device->transmit(*slot, frames, true), ENETDOWN);
  bench.device->receive(*slot, frames);
  EXPECT_TRUE(hook.seen_bytes.empty());
  EXPECT_EQ(bench.drops(DropReason::rx_down), 2U);
  EXPECT_EQ(bench.pool->in_use(), 0U);
}

TEST(Device, WhatThePortRefusedCountsAsReceivedAndDropped) {
  DeviceBench bench;
  bench.log.too_long = 4;
  EXPECT_EQ(bench.device->counters().rx_frames, 4U);
  EXPECT_EQ(bench.drops(DropReason::rx_too_long), 4U);
}

TEST(Device, OnlyTheAcceptedPrefixCountsAsSent) {
  DeviceBench bench;
  bench.log.takes = 2;
  const SlotGuard slot = bench.slots.enter(0);
  const rcu::ReadGuard section;
  auto frames = bench.frames(*slot, {100, 20, 3000, 50});
  EXPECT_EQ(*bench.device->transmit(*slot, frames, true), 2U);
  EXPECT_EQ(bench.device->counters().tx_frames, 2U);
  EXPECT_EQ(bench.device->counters().tx_bytes, 120U);
  bench.log.error = ENXIO;
  EXPECT_ERRNO(bench.device->transmit(*slot, std::span(frames).subspan(2), true), ENXIO);
  EXPECT_EQ(bench.device->counters().tx_frames, 2U);
  bench.pool->give_back(*slot, frames[2]);
  bench.pool->give_back(*slot, frames[3]);
}

TEST(Device, CountersOfAllSlotsAreSummed) {
  DeviceBench bench;
  for (std::uint32_t cpu = 0; cpu < NetBench::cpus; ++cpu) {
    const SlotGuard slot = bench.slots.enter(cpu);
    bench.device->count_redirected(*slot, 7, 10);
    bench.device->count_redirected(*slot, 7 + 128, cpu);  // the same place in the table
    bench.device->count_xdp_tx(*slot, 1);
    bench.device->count_drop(*slot, DropReason::egress_drop);
  }
  const DeviceCounters counters = bench.device->counters();
  EXPECT_EQ(counters.redirected, 46U);
  EXPECT_EQ(counters.redirected_to, (std::map<std::uint32_t, std::uint64_t>{{7, 40}, {135, 6}}));
  EXPECT_EQ(counters.xdp_tx, 4U);
  EXPECT_EQ(bench.drops(DropReason::egress_drop), 4U);
}

TEST(Device, MoreTargetsThanTheTableHoldsShareOneCounter) {
  DeviceBench bench;
  const SlotGuard slot = bench.slots.enter(0);
  for (int round = 0; round < 2; ++round)
    for (std::uint32_t target = 1; target <= 200; ++target)
      bench.device->count_redirected(*slot, target, 3);
  const DeviceCounters counters = bench.device->counters();
  EXPECT_EQ(counters.redirected, 1200U);
  std::uint64_t sum = 0;
  for (const auto& [target, frames] : counters.redirected_to) {
    sum += frames;
    if (target != 0) EXPECT_EQ(frames, 6U) << target;
  }
  EXPECT_EQ(sum, 1200U);
  EXPECT_GE(counters.redirected_to.size(), 128U);
  EXPECT_TRUE(counters.redirected_to.contains(0));
}

// The hook may be destroyed as soon as set_receive_hook() returned.
TEST(Device, ClearingTheHookWaitsForTheSlotsThatRunIt) {
  DeviceBench bench;
  DroppingHook hook;
  bench.device->set_receive_hook(&hook);
  std::atomic<int> step{0};
  std::atomic<bool> left{false};
  std::jthread reader([&] {
    const rcu::ReadGuard section;
    EXPECT_EQ(bench.device->receive_hook(), &hook);
    step.store(1);
    while (step.load() != 2) std::this_thread::yield();
    // Long enough that a call which did not wait would be seen.
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    left.store(true);
  });
  while (step.load() != 1) std::this_thread::yield();
  step.store(2);
  bench.device->set_receive_hook(nullptr);
  EXPECT_TRUE(left.load());
}

TEST(NetNamespace, StartsWithLoopbackWhichStays) {
  NetBench bench;
  const auto net_namespace = make_object<NetNamespace>(bench.slots);
  const Ref<Device> lo = *net_namespace->device("lo");
  EXPECT_EQ(lo->ifindex(), 1U);
  EXPECT_EQ(lo->mtu(), 65536U);
  EXPECT_EQ(lo->xdp_features(), 0U);
  EXPECT_EQ(lo->port().kind(), "loopback");
  const SlotGuard slot = bench.slots.enter(0);
  std::array<Buff*, 1> frames = {bench.pool->take_copy(*slot, pattern(60))};
  EXPECT_ERRNO(lo->transmit(*slot, frames, true), EOPNOTSUPP);
  lo->pass(*slot, frames);
  EXPECT_ERRNO(net_namespace->remove_device(1), EOPNOTSUPP);
}

TEST(NetNamespace, DevicesAreFoundByIndexAndNameUntilRemoved) {
  DeviceBench bench;
  NetNamespace& net_namespace = *bench.net_namespace;
  EXPECT_EQ(*net_namespace.device(2), bench.device);
  EXPECT_EQ(*net_namespace.device("eth0"), bench.device);
  EXPECT_ERRNO(net_namespace.device(0), ENODEV);
  EXPECT_ERRNO(net_namespace.device(3), ENODEV);
  EXPECT_ERRNO(net_namespace.device("eth1"), ENODEV);
  EXPECT_ERRNO(net_namespace.add_device("eth0", {}, std::make_unique<NullPort>()), EEXIST);
  {
    const rcu::ReadGuard section;
    EXPECT_EQ(net_namespace.find(2, section), bench.device.get());
    EXPECT_EQ(net_namespace.find(0, section), nullptr);
    EXPECT_EQ(net_namespace.find(UINT32_MAX, section), nullptr);
  }
  EXPECT_OK(net_namespace.remove_device(2));
  EXPECT_EQ(bench.log.finished, 1U);
  EXPECT_ERRNO(net_namespace.remove_device(2), ENODEV);
  EXPECT_ERRNO(net_namespace.device(2), ENODEV);
  EXPECT_ERRNO(net_namespace.device("eth0"), ENODEV);
  EXPECT_EQ(net_namespace.devices().size(), 1U);
  // G4: the name comes back, the index does not.
  EXPECT_EQ((*net_namespace.add_device("eth0", {}, std::make_unique<NullPort>()))->ifindex(), 3U);
}

TEST(NetNamespace, ManyDevicesAreListedInOrderAndAllFound) {
  NetBench bench;
  const auto net_namespace = make_object<NetNamespace>(bench.slots);
  for (int i = 2; i <= 100; ++i)
    ASSERT_OK(net_namespace->add_device("d" + std::to_string(i), {}, std::make_unique<NullPort>()));
  for (std::uint32_t i = 2; i <= 100; i += 3) ASSERT_OK(net_namespace->remove_device(i));
  std::uint32_t last = 0;
  for (const Ref<Device>& device : net_namespace->devices()) {
    EXPECT_GT(device->ifindex(), last);
    last = device->ifindex();
  }
  for (std::uint32_t i = 2; i <= 100; ++i)
    EXPECT_EQ(net_namespace->device(i).has_value(), i % 3 != 2) << i;
}

TEST(NetNamespace, NamesAreCheckedAsLinuxDoes) {
  NetBench bench;
  const auto net_namespace = make_object<NetNamespace>(bench.slots);
  for (const char* name : {"", ".", "..", "a/b", "a b", "a:b", "a\tb", "a\n", "sixteen_letters_"})
    EXPECT_ERRNO(net_namespace->add_device(name, {}, std::make_unique<NullPort>()), EINVAL);
  for (const char* name : {"x", "...", "fifteen_letters", "\xc3\xa4"})
    EXPECT_OK(net_namespace->add_device(name, {}, std::make_unique<NullPort>()));
}

class RememberingListener final : public DeviceListener {
 public:
  explicit RememberingListener(const NetNamespace& net_namespace) : net_namespace_(net_namespace) {}
  void on_device_gone(Device& device) override {
    EXPECT_ERRNO(net_namespace_.device(device.ifindex()), ENODEV);  // G2
    gone.push_back(device.ifindex());
  }
  std::vector<std::uint32_t> gone;

 private:
  const NetNamespace& net_namespace_;
};

TEST(NetNamespace, ListenersHearOfDevicesAfterTheyWereUnlisted) {
  NetBench bench;
  auto net_namespace = make_object<NetNamespace>(bench.slots);
  RememberingListener stays(*net_namespace), leaves(*net_namespace);
  net_namespace->add_listener(stays);
  net_namespace->add_listener(leaves);
  for (const char* name : {"a", "b", "c"})
    ASSERT_OK(net_namespace->add_device(name, {}, std::make_unique<NullPort>()));
  EXPECT_OK(net_namespace->remove_device(3));
  net_namespace->remove_listener(leaves);
  EXPECT_OK(net_namespace->remove_device(2));
  EXPECT_EQ(leaves.gone, (std::vector<std::uint32_t>{3}));
  EXPECT_EQ(stays.gone, (std::vector<std::uint32_t>{3, 2}));
  net_namespace = nullptr;  // the end of the namespace is the end of its devices
  EXPECT_EQ(stays.gone, (std::vector<std::uint32_t>{3, 2, 1, 4}));
}

TEST(NetNamespace, AllDevicesCanBeRemovedWhileItIsReferredTo) {
  DeviceBench bench;
  RememberingListener listener(*bench.net_namespace);
  bench.net_namespace->add_listener(listener);
  bench.net_namespace->remove_all_devices();
  EXPECT_EQ(listener.gone, (std::vector<std::uint32_t>{1, bench.device->ifindex()}));
  EXPECT_TRUE(bench.net_namespace->devices().empty());
  EXPECT_ERRNO(bench.net_namespace->device("lo"), ENODEV);
  bench.net_namespace->remove_all_devices();
  EXPECT_EQ(listener.gone.size(), 2u);
  EXPECT_EQ(bench.device->name(), "eth0");
}

TEST(NetNamespace, ADeviceInUseOutlivesItsNamespace) {
  DeviceBench bench;
  bench.net_namespace = nullptr;
  rcu::barrier();
  EXPECT_EQ(bench.device->name(), "eth0");
}

// G1 and G3: readers run through devices without locks while they come and go; what find() gives
// lives as long as the section. The thread sanitizer judges.
TEST(NetNamespace, ReadersNeverSeeADeadDevice) {
  NetBench bench;
  const auto net_namespace = make_object<NetNamespace>(bench.slots);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> found{0};
  std::vector<std::jthread> readers;
  for (std::uint32_t cpu = 0; cpu < 3; ++cpu) {
    readers.emplace_back([&, cpu] {
      const SlotGuard slot = bench.slots.enter(cpu);
      std::uint32_t newest = 2;
      // relaxed: only ends the loop.
      while (!stop.load(std::memory_order_relaxed)) {
        {
          const rcu::ReadGuard section;
          for (std::uint32_t ifindex = newest > 4 ? newest - 4 : 1; ifindex < newest + 4;
               ++ifindex) {
            Device* const device = net_namespace->find(ifindex, section);
            if (device == nullptr) continue;
            EXPECT_EQ(device->ifindex(), ifindex);
            device->count_drop(*slot, DropReason::xdp_drop);
            found.fetch_add(1, std::memory_order_relaxed);
            newest = ifindex;
          }
        }
        if (const auto device = net_namespace->device(newest)) EXPECT_TRUE((*device)->is_up());
        for (const Ref<Device>& device : net_namespace->devices()) newest = device->ifindex();
      }
    });
  }
  std::uint64_t counted = 0;
  for (int i = 0; i < 150; ++i) {
    const Ref<Device> device =
        *net_namespace->add_device("d" + std::to_string(i), {}, std::make_unique<NullPort>());
    if (i >= 2) {
      const Ref<Device> old = *net_namespace->device(static_cast<std::uint32_t>(i));
      EXPECT_OK(net_namespace->remove_device(old->ifindex()));
      // No reader can count on it any more: two readings agree.
      const auto before = old->counters();
      std::this_thread::yield();
      EXPECT_EQ(old->counters().drops, before.drops);
      counted += before.drops[static_cast<std::size_t>(DropReason::xdp_drop)];
    }
  }
  while (found.load() == 0) std::this_thread::yield();
  stop.store(true);
  readers.clear();
  for (const Ref<Device>& device : net_namespace->devices())
    counted += device->counters().drops[static_cast<std::size_t>(DropReason::xdp_drop)];
  EXPECT_EQ(counted, found.load());
}

}  // namespace
}  // namespace skep
