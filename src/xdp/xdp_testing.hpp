// SPDX-License-Identifier: Apache-2.0
// The world that the tests of this room share: devices with recording ports, maps, programs,
// packets.
#pragma once

#include "net/device.hpp"
#include "net/packet.hpp"
#include "net/port/port.hpp"
#include "support/expect.hpp"
#include "uapi/bpf.hpp"
#include "xdp/devmap.hpp"
#include "xdp/program_testing.hpp"
#include "xdp/xdp.hpp"
#include "xdp/xdp_type.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace skep::testing {

/// Writes down what it is given. All ports of a world share one diary, so that order shows.
struct Diary {
  struct Bulk {
    std::string device;
    std::size_t frames;
    bool flush;
    friend bool operator==(const Bulk&, const Bulk&) = default;
  };
  std::vector<Bulk> transmitted;
  std::vector<Bulk> passed;
};

inline void PrintTo(const Diary::Bulk& bulk, std::ostream* out) {
  *out << bulk.device << ":" << bulk.frames << (bulk.flush ? "!" : "");
}

class RecordingPort final : public Port {
 public:
  RecordingPort(std::string name, Diary& diary) : name_(std::move(name)), diary_(diary) {}

  std::string_view kind() const override { return "recording"; }
  std::uint64_t xdp_features() const override { return features; }
  std::uint32_t rx_queues() const override { return 2; }
  std::optional<std::uint64_t> next_arrival_ns(Slot&, std::uint32_t) override {
    return std::nullopt;
  }
  std::size_t receive(Slot&, std::uint32_t, std::uint64_t, std::span<Buff*>) override { return 0; }
  Result<std::size_t> transmit(Slot& slot, std::span<Buff* const> frames, bool flush) override {
    diary_.transmitted.push_back({name_, frames.size(), flush});
    if (failure != 0) return Errno{failure};
    const std::size_t taken = std::min(frames.size(), accepts);
    for (Buff* frame : frames.first(taken)) sent.push_back(take(slot, frame));
    return taken;
  }
  void to_host(Slot& slot, std::span<Buff* const> frames) override {
    diary_.passed.push_back({name_, frames.size(), false});
    for (Buff* frame : frames) passed.push_back(take(slot, frame));
  }
  void finish() override {}

  std::uint64_t features = software_xdp_features;
  int failure = 0;
  std::size_t accepts = ~std::size_t{0};
  std::vector<Bytes> sent, passed;  // metadata, linear part, fragments

 private:
  static Bytes take(Slot& slot, Buff* frame) {
    Bytes bytes(frame->frame_bytes());
    frame->pool->copy_out(*frame, 0, bytes);
    bytes.insert(bytes.begin(), frame->data_meta, frame->data);
    frame->pool->give_back(slot, frame);
    return bytes;
  }

  const std::string name_;
  Diary& diary_;
};

struct TestPort {
  Ref<Device> device;
  RecordingPort* port;
  std::uint32_t ifindex() const { return device->ifindex(); }
  std::uint64_t drops(DropReason reason) const {
    return device->counters().drops[static_cast<std::size_t>(reason)];
  }
};

class XdpTest : public ::testing::Test {
 protected:
  XdpTest() : packets_(*PacketPool::make(512, slots_, budget_)) {
    add_memory_map_types(map_types_);
    add_program_map_types(map_types_);
    add_xdp_map_types(map_types_);
    program_types_.add(xdp_type_);
  }
  ~XdpTest() override {
    caller_.reset();
    xdp_.reset();
    net_namespace_ = nullptr;
    rcu::barrier();
    EXPECT_EQ(packets_->in_use(), 0u) << "frames were leaked";
  }

  TestPort add_port(const std::string& name, DeviceOptions options = {}) {
    return add_port_in(*net_namespace_, name, options);
  }
  TestPort add_port_in(NetNamespace& net_namespace, const std::string& name,
                       DeviceOptions options = {}) {
    auto port = std::make_unique<RecordingPort>(name, diary_);
    RecordingPort* const raw = port.get();
    return {*net_namespace.add_device(name, options, std::move(port)), raw};
  }

  Result<Ref<Map>> make_map(std::uint32_t type, std::uint32_t value_bytes,
                            std::uint32_t max_entries, std::uint32_t flags = 0,
                            std::uint32_t key_bytes = 4) {
    const MapType& map_type = *map_types_.find(type);
    MapSpec spec{.type = type,
                 .key_bytes = key_bytes,
                 .value_bytes = value_bytes,
                 .max_entries = max_entries,
                 .flags = flags};
    TRY(map_type.check(spec, *caller_));
    Ref<Map> map = TRY(map_type.make(map_type, std::move(spec), map_environment_));
    TRY(map_ids_.publish(*map));
    return map;
  }
  Ref<Map> devmap(std::uint32_t max_entries, std::uint32_t value_bytes = 8) {
    return *make_map(uapi::BPF_MAP_TYPE_DEVMAP, value_bytes, max_entries);
  }
  Ref<Map> devmap_hash(std::uint32_t max_entries, std::uint32_t value_bytes = 8) {
    return *make_map(uapi::BPF_MAP_TYPE_DEVMAP_HASH, value_bytes, max_entries);
  }

  Result<void> update(Map& map, std::uint32_t key, std::uint32_t ifindex, int program_fd = 0,
                      std::uint64_t flags = 0) {
    const SlotGuard slot = slots_.enter_control();
    MapCommand command{*slot, *caller_};
    const uapi::bpf_devmap_val value{.ifindex = ifindex, .bpf_prog = program_fd};
    return map.command_update(command, reinterpret_cast<const std::byte*>(&key),
                              reinterpret_cast<const std::byte*>(&value), flags);
  }
  Result<uapi::bpf_devmap_val> lookup(Map& map, std::uint32_t key) {
    const SlotGuard slot = slots_.enter_control();
    MapCommand command{*slot, *caller_};
    uapi::bpf_devmap_val value{.ifindex = 0xaaaaaaaa, .bpf_prog = 0x55555555};
    TRY(map.command_lookup(command, reinterpret_cast<const std::byte*>(&key),
                           reinterpret_cast<std::byte*>(&value), 0));
    return value;
  }
  Result<void> erase(Map& map, std::uint32_t key) {
    const SlotGuard slot = slots_.enter_control();
    MapCommand command{*slot, *caller_};
    return map.command_erase(command, reinterpret_cast<const std::byte*>(&key));
  }
  Result<std::uint32_t> next_key(Map& map, std::optional<std::uint32_t> key) {
    const SlotGuard slot = slots_.enter_control();
    MapCommand command{*slot, *caller_};
    std::uint32_t next = 0;
    TRY(map.next_key(command, key ? reinterpret_cast<const std::byte*>(&*key) : nullptr,
                     reinterpret_cast<std::byte*>(&next)));
    return next;
  }

  Result<Ref<Program>> try_load(Instructions instructions, std::uint32_t attach_type = 0,
                                std::uint32_t flags = 0) {
    Log log;
    ProgramSpec spec;
    spec.type = &xdp_type_;
    spec.expected_attach_type = attach_type;
    spec.flags = flags;
    spec.name = "test";
    spec.license = "GPL";
    spec.instructions = std::move(instructions);
    auto program = Program::load(std::move(spec), *caller_, program_environment_, log);
    if (program) TRY(program_ids_.publish(**program));
    load_log_ = log.text();
    return program;
  }
  Ref<Program> load(Instructions instructions, std::uint32_t attach_type = 0,
                    std::uint32_t flags = 0) {
    auto program = try_load(std::move(instructions), attach_type, flags);
    if (!program) {
      ADD_FAILURE() << "load: " << errno_text(program.error().code) << "\n" << load_log_;
      std::abort();
    }
    return *program;
  }
  Ref<Program> load_egress(Instructions instructions, std::uint32_t flags = 0) {
    return load(std::move(instructions), uapi::BPF_XDP_DEVMAP, flags);
  }

  /// One poll of `device`: all packets in one section.
  void receive(Device& device, std::span<const Bytes> packets, std::uint32_t queue = 0) {
    const SlotGuard slot = slots_.enter(0);
    const rcu::ReadGuard guard;
    std::vector<Buff*> frames;
    for (const Bytes& packet : packets) {
      frames.push_back(packets_->take_copy(*slot, packet));
      ASSERT_NE(frames.back(), nullptr);
      frames.back()->rx_queue = queue;
    }
    device.receive(*slot, frames);
  }
  void receive(Device& device, std::initializer_list<Bytes> packets) {
    receive(device, std::span(packets.begin(), packets.size()));
  }
  void receive(Device& device, const Bytes& packet, std::size_t times) {
    receive(device, std::vector<Bytes>(times, packet));
  }

  VirtualClock clock_;
  CpuSlots slots_{2, clock_, 1};
  Budget budget_{64U << 20};
  Random random_{1, 0};
  SilentTrace trace_;
  Diary diary_;
  std::unique_ptr<PacketPool> packets_;
  MapTypes map_types_;
  ProgramTypes program_types_;
  IdTable map_ids_, program_ids_;
  MapEnvironment map_environment_{.slots = slots_, .budget = budget_, .random = random_};
  ProgramEnvironment program_environment_{
      .slots = slots_, .budget = budget_, .types = program_types_, .trace = trace_};
  Ref<NetNamespace> net_namespace_ = make_object<NetNamespace>(slots_);
  std::optional<Xdp> xdp_{std::in_place, slots_, RunTiming::off};
  XdpType xdp_type_{*xdp_, *packets_};
  std::optional<TestCaller> caller_{std::in_place, net_namespace_};
  std::string load_log_;
};

}  // namespace skep::testing
