// SPDX-License-Identifier: Apache-2.0
#include "net/port/pcap_port.hpp"

#include "net/device.hpp"
#include "net/net_fixture.hpp"
#include "sync/racy.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>

namespace skep {
namespace {

using testing::Bytes;
using testing::contents;
using testing::NetBench;
using testing::pattern;
using testing::read_file;
using testing::TempDir;
using testing::write_file;

constexpr std::uint64_t all_time = UINT64_MAX;

struct Packet {
  std::uint64_t timestamp_ns = 0;
  Bytes bytes;
  friend bool operator==(const Packet&, const Packet&) = default;
};

/// Builds capture files byte by byte, so that nothing under test helps to make its own input.
class FileBuilder {
 public:
  explicit FileBuilder(std::endian order = std::endian::little) : order_(order) {}
  FileBuilder& u16(std::uint16_t value) { return integer(value); }
  FileBuilder& u32(std::uint32_t value) { return integer(value); }
  FileBuilder& raw(std::span<const std::byte> data) {
    bytes.insert(bytes.end(), data.begin(), data.end());
    return *this;
  }
  Bytes bytes;

 private:
  template <class Integer>
  FileBuilder& integer(Integer value) {
    for (std::size_t i = 0; i < sizeof(Integer); ++i) {
      const std::size_t place = order_ == std::endian::little ? i : sizeof(Integer) - 1 - i;
      bytes.push_back(static_cast<std::byte>(value >> (8 * place) & 0xff));
    }
    return *this;
  }
  std::endian order_;
};

struct PcapFormat {
  std::endian order = std::endian::little;
  bool nanoseconds = true;
  std::uint32_t link_type = 1;
};

FileBuilder pcap_header(const PcapFormat& format = {}) {
  FileBuilder file(format.order);
  file.u32(format.nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4).u16(2).u16(4).u32(0).u32(0);
  file.u32(262144).u32(format.link_type);
  return file;
}

void add_record(FileBuilder& file, const Packet& packet, bool nanoseconds = true,
                std::uint32_t cut_bytes = 0) {
  file.u32(static_cast<std::uint32_t>(packet.timestamp_ns / 1'000'000'000));
  file.u32(
      static_cast<std::uint32_t>(packet.timestamp_ns % 1'000'000'000 / (nanoseconds ? 1 : 1000)));
  file.u32(static_cast<std::uint32_t>(packet.bytes.size() - cut_bytes));
  file.u32(static_cast<std::uint32_t>(packet.bytes.size()));
  file.raw(std::span(packet.bytes).first(packet.bytes.size() - cut_bytes));
}

Bytes pcap_file(const std::vector<Packet>& packets, const PcapFormat& format = {}) {
  FileBuilder file = pcap_header(format);
  for (const Packet& packet : packets) add_record(file, packet, format.nanoseconds);
  return file.bytes;
}

/// Section header and one Ethernet interface with nanosecond stamps (if_tsresol 9).
FileBuilder pcapng_header(std::endian order = std::endian::little) {
  FileBuilder file(order);
  file.u32(0x0a0d0d0a)
      .u32(28)
      .u32(0x1a2b3c4d)
      .u16(1)
      .u16(0)
      .u32(0xffffffff)
      .u32(0xffffffff)
      .u32(28);
  file.u32(1).u32(32).u16(1).u16(0).u32(262144);
  file.u16(9).u16(1).raw(std::array{std::byte{9}, std::byte{0}, std::byte{0}, std::byte{0}});
  file.u16(0).u16(0).u32(32);
  return file;
}

/// An enhanced packet block.
void add_block(FileBuilder& file, const Packet& packet) {
  const auto bytes = static_cast<std::uint32_t>(packet.bytes.size());
  const std::uint32_t padded = (bytes + 3) / 4 * 4;
  file.u32(6).u32(32 + padded).u32(0);
  file.u32(static_cast<std::uint32_t>(packet.timestamp_ns >> 32));
  file.u32(static_cast<std::uint32_t>(packet.timestamp_ns));
  file.u32(bytes).u32(bytes).raw(packet.bytes).raw(Bytes(padded - bytes)).u32(32 + padded);
}

std::vector<Packet> some_packets() {
  return {{1'700'000'000'123'456'789, pattern(60, 1)},
          {1'700'000'000'123'456'790, pattern(61, 2)},
          {1'700'000'001'000'000'000, pattern(1514, 3)},
          {1'700'000'001'999'999'999, pattern(14, 4)}};
}

std::unique_ptr<PcapPort> open_port(NetBench& bench, const PcapOptions& options) {
  std::string why;
  auto port = PcapPort::open(options, *bench.pool, why);
  EXPECT_OK(port) << why;
  return port ? std::move(*port) : nullptr;
}

/// Everything that a queue still gives, in small batches.
std::vector<Packet> drain(PcapPort& port, Slot& slot, std::uint32_t queue = 0,
                          std::uint64_t until_ns = all_time) {
  std::vector<Packet> packets;
  std::array<Buff*, 7> batch{};
  while (const std::size_t count = port.receive(slot, queue, until_ns, batch)) {
    for (Buff* frame : std::span(batch).first(count)) {
      EXPECT_EQ(frame->rx_queue, queue);
      packets.push_back({frame->timestamp_ns, contents(*frame)});
      frame->pool->give_back(slot, frame);
    }
  }
  return packets;
}

std::vector<Packet> read_capture(NetBench& bench, const std::string& path,
                                 std::string* error = nullptr) {
  const auto port = open_port(bench, {.in = path});
  if (port == nullptr) return {};
  const SlotGuard slot = bench.slots.enter(0);
  std::vector<Packet> packets = drain(*port, *slot);
  EXPECT_EQ(port->next_arrival_ns(*slot, 0), std::nullopt);
  if (error != nullptr) {
    *error = port->error();
  } else {
    EXPECT_EQ(port->error(), "");
  }
  return packets;
}

void send(PcapPort& port, Slot& slot, PacketPool& pool, const std::vector<Packet>& packets) {
  for (const Packet& packet : packets) {
    std::array<Buff*, 1> frame = {pool.take_copy(slot, packet.bytes)};
    frame[0]->timestamp_ns = packet.timestamp_ns;
    frame[0]->data_meta -= 8;  // metadata stays inside
    ASSERT_EQ(port.transmit(slot, frame, true), 1U);
  }
}

// ---- reading

TEST(PcapPort, ReadsBothByteOrdersAndBothResolutions) {
  NetBench bench;
  TempDir dir;
  for (const std::endian order : {std::endian::little, std::endian::big}) {
    write_file(dir / "a", pcap_file(some_packets(), {.order = order}));
    EXPECT_EQ(read_capture(bench, dir / "a"), some_packets());

    std::vector<Packet> rounded = some_packets();
    for (Packet& packet : rounded) packet.timestamp_ns -= packet.timestamp_ns % 1000;
    write_file(dir / "a", pcap_file(rounded, {.order = order, .nanoseconds = false}));
    EXPECT_EQ(read_capture(bench, dir / "a"), rounded);

    FileBuilder ng = pcapng_header(order);
    for (const Packet& packet : some_packets()) add_block(ng, packet);
    write_file(dir / "a", ng.bytes);
    EXPECT_EQ(read_capture(bench, dir / "a"), some_packets());
  }
  EXPECT_EQ(bench.pool->in_use(), 0U);
}

// The committed captures: the same traffic in both formats, written by dumpcap.
TEST(PcapPort, ReadsWhatOthersWrote) {
  NetBench bench;
  const std::vector<Packet> pcap = read_capture(bench, SKEP_CAPTURES "/mixed.pcap");
  const std::vector<Packet> ng = read_capture(bench, SKEP_CAPTURES "/mixed.pcapng");
  EXPECT_GT(pcap.size(), 100U);
  EXPECT_TRUE(pcap == ng);
}

TEST(PcapPort, FramesComeWhenTheyAreDue) {
  NetBench bench;
  TempDir dir;
  write_file(dir / "a", pcap_file({{100, pattern(60)}, {200, pattern(60)}, {200, pattern(60)}}));
  const auto port = open_port(bench, {.in = dir / "a"});
  const SlotGuard slot = bench.slots.enter(0);
  EXPECT_EQ(port->next_arrival_ns(*slot, 0), 100U);
  EXPECT_EQ(drain(*port, *slot, 0, 99).size(), 0U);
  EXPECT_EQ(drain(*port, *slot, 0, 199).size(), 1U);
  EXPECT_EQ(port->next_arrival_ns(*slot, 0), 200U);
  EXPECT_EQ(drain(*port, *slot, 0, 200).size(), 2U);
  EXPECT_EQ(port->next_arrival_ns(*slot, 0), std::nullopt);
}

TEST(PcapPort, StampsThatGoBackKeepTheOrderOfTheFile) {
  NetBench bench;
  TempDir dir;
  const std::vector<Packet> packets = {
      {500, pattern(60, 1)}, {300, pattern(60, 2)}, {600, pattern(60, 3)}};
  write_file(dir / "a", pcap_file(packets));
  const auto port = open_port(bench, {.in = dir / "a"});
  const SlotGuard slot = bench.slots.enter(0);
  std::array<Buff*, 1> frame{};
  EXPECT_EQ(port->receive(*slot, 0, 500, frame), 1U);
  bench.pool->give_back(*slot, frame[0]);
  EXPECT_EQ(port->next_arrival_ns(*slot, 0), 500U);
  const std::vector<Packet> rest = drain(*port, *slot);
  EXPECT_EQ(rest, (std::vector<Packet>{packets[1], packets[2]}));
}

TEST(PcapPort, OverlongFramesAreCountedAndRuntsLeftToTheDevice) {
  NetBench bench;
  TempDir dir;
  const std::vector<Packet> packets = {{1, pattern(0)},      {2, pattern(13)},
                                       {3, pattern(73153)},  {4, pattern(73152)},
                                       {5, pattern(200000)}, {6, pattern(60)}};
  write_file(dir / "a", pcap_file(packets));
  std::string why;
  auto opened = PcapPort::open({.in = dir / "a"}, *bench.pool, why);
  ASSERT_OK(opened);
  PcapPort& port = **opened;
  auto net_namespace = make_object<NetNamespace>(bench.slots);
  Ref<Device> device = *net_namespace->add_device("eth0", {}, std::move(*opened));
  {
    const SlotGuard slot = bench.slots.enter(0);
    const rcu::ReadGuard section;
    std::array<Buff*, 64> batch{};
    const std::size_t count = port.receive(*slot, 0, all_time, batch);
    EXPECT_EQ(count, 4U);
    device->receive(*slot, std::span(batch).first(count));
  }
  EXPECT_EQ(port.error(), "");
  const DeviceCounters counters = device->counters();
  EXPECT_EQ(counters.rx_frames, 6U);
  EXPECT_EQ(counters.passed, 2U);
  EXPECT_EQ(counters.drops[static_cast<std::size_t>(DropReason::rx_runt)], 2U);
  EXPECT_EQ(counters.drops[static_cast<std::size_t>(DropReason::rx_too_long)], 2U);
  device = nullptr;
  net_namespace = nullptr;
  rcu::barrier();
}

TEST(PcapPort, AFullPoolDelaysFramesAndLosesNone) {
  NetBench bench(4);
  TempDir dir;
  write_file(dir / "a", pcap_file(some_packets()));
  const auto port = open_port(bench, {.in = dir / "a"});
  const SlotGuard slot = bench.slots.enter(0);
  std::array<Buff*, 3> held{};
  for (Buff*& frame : held) frame = bench.pool->take(*slot);
  std::array<Buff*, 8> batch{};
  ASSERT_EQ(port->receive(*slot, 0, all_time, batch), 1U);
  EXPECT_EQ(port->receive(*slot, 0, all_time, std::span(batch).subspan(1)), 0U);
  bench.pool->give_back(*slot, batch[0]);
  for (Buff* frame : held) bench.pool->give_back(*slot, frame);
  EXPECT_EQ(drain(*port, *slot).size(), 3U);
}

TEST(PcapPort, AFrameTooLargeForThePoolIsCounted) {
  NetBench bench(8);
  TempDir dir;
  write_file(dir / "a", pcap_file({{1, pattern(60000)}, {2, pattern(60)}}));
  const auto port = open_port(bench, {.in = dir / "a"});
  const SlotGuard slot = bench.slots.enter(0);
  EXPECT_EQ(drain(*port, *slot).size(), 1U);
  EXPECT_EQ(port->refused(DropReason::rx_no_memory), 1U);
  EXPECT_EQ(port->refused(DropReason::rx_too_long), 0U);
}

// ---- damaged captures

TEST(PcapPort, ATruncatedPacketEndsTheRunByNumberWithARemedy) {
  NetBench bench;
  TempDir dir;
  FileBuilder file = pcap_header();
  const std::vector<Packet> packets = some_packets();
  add_record(file, packets[0]);
  add_record(file, packets[1]);
  add_record(file, packets[2], true, 1514 - 96);
  add_record(file, packets[3]);
  write_file(dir / "a", file.bytes);
  std::string error;
  EXPECT_EQ(read_capture(bench, dir / "a", &error),
            std::vector(packets.begin(), packets.begin() + 2));
  EXPECT_EQ(error, (dir / "a") +
                       ": packet 3 is truncated: only 96 of its 1514 bytes were captured: what was "
                       "before it was processed\nhint: capture again with -s 0");
}

/// Cuts the file at every length. `ends[i]` is where packet i ends in it, `header_bytes` where the
/// first begins.
void cut_everywhere(const Bytes& file, std::size_t header_bytes,
                    const std::vector<std::size_t>& ends, const std::vector<Packet>& packets) {
  NetBench bench;
  TempDir dir;
  for (std::size_t length = 0; length <= file.size(); ++length) {
    SCOPED_TRACE(length);
    write_file(dir / "a", std::span(file).first(length));
    if (length < header_bytes) {
      std::string why;
      EXPECT_ERRNO(PcapPort::open({.in = dir / "a"}, *bench.pool, why), EINVAL);
      EXPECT_TRUE(why.starts_with((dir / "a") + ": is not a capture that can be read: ")) << why;
      continue;
    }
    const auto whole = static_cast<std::size_t>(
        std::count_if(ends.begin(), ends.end(), [&](std::size_t end) { return end <= length; }));
    const bool at_border = length == (whole == 0 ? header_bytes : ends[whole - 1]);
    std::string error;
    const std::vector<Packet> read = read_capture(bench, dir / "a", &error);
    ASSERT_EQ(read,
              std::vector(packets.begin(), packets.begin() + static_cast<std::ptrdiff_t>(whole)));
    if (at_border) {
      EXPECT_EQ(error, "");
    } else {
      EXPECT_TRUE(error.starts_with((dir / "a") + ": capture damaged at packet " +
                                    std::to_string(whole + 1) + ": "))
          << error;
      EXPECT_TRUE(error.ends_with(": what was before it was processed")) << error;
    }
  }
}

std::vector<Packet> small_packets() {
  return {{1'000'000'001, pattern(20, 1)},
          {1'000'000'002, pattern(15, 2)},
          {1'000'000'003, pattern(33, 3)}};
}

TEST(PcapPort, APcapCutAnywhereGivesTheWholePacketsAndNamesTheNext) {
  FileBuilder file = pcap_header();
  const std::size_t header_bytes = file.bytes.size();
  std::vector<std::size_t> ends;
  for (const Packet& packet : small_packets()) {
    add_record(file, packet);
    ends.push_back(file.bytes.size());
  }
  cut_everywhere(file.bytes, header_bytes, ends, small_packets());
}

TEST(PcapPort, APcapngCutAnywhereGivesTheWholePacketsAndNamesTheNext) {
  FileBuilder file = pcapng_header();
  const std::size_t header_bytes = file.bytes.size();
  std::vector<std::size_t> ends;
  for (const Packet& packet : small_packets()) {
    add_block(file, packet);
    ends.push_back(file.bytes.size());
  }
  cut_everywhere(file.bytes, header_bytes, ends, small_packets());
}

// Whatever one wrong byte does: no crash, no frame that cannot be, packets before the damage come
// unharmed.
TEST(PcapPort, OneWrongByteAnywhereNeverCrashes) {
  NetBench bench;
  TempDir dir;
  FileBuilder ng = pcapng_header();
  for (const Packet& packet : small_packets()) add_block(ng, packet);
  std::size_t errors = 0;
  for (const Bytes& original : {pcap_file(small_packets()), ng.bytes}) {
    for (std::size_t i = 0; i < original.size(); ++i) {
      for (const auto wrong : {std::byte{0}, std::byte{0xff}, original[i] ^ std::byte{0x80}}) {
        Bytes damaged = original;
        damaged[i] = wrong;
        write_file(dir / "a", damaged);
        std::string why;
        const auto port = PcapPort::open({.in = dir / "a"}, *bench.pool, why);
        if (!port) {
          EXPECT_FALSE(why.empty());
          ++errors;
          continue;
        }
        const SlotGuard slot = bench.slots.enter(0);
        EXPECT_LE(drain(**port, *slot).size(), 3U);
        if (!(*port)->error().empty()) ++errors;
      }
    }
  }
  EXPECT_GT(errors, 100U);
  EXPECT_EQ(bench.pool->in_use(), 0U);
}

TEST(PcapPort, CapturedMoreThanThePacketHadIsDamage) {
  NetBench bench;
  TempDir dir;
  FileBuilder file = pcap_header();
  file.u32(0).u32(0).u32(60).u32(59).raw(pattern(60));
  write_file(dir / "a", file.bytes);
  std::string error;
  EXPECT_TRUE(read_capture(bench, dir / "a", &error).empty());
  EXPECT_EQ(error,
            (dir / "a") +
                ": capture damaged at packet 1: 60 bytes captured of a packet of 59: what was "
                "before it was processed");
}

TEST(PcapPort, WhatIsNoEthernetCaptureIsRefusedWithPathAndReason) {
  NetBench bench;
  TempDir dir;
  std::string why;
  write_file(dir / "sll", pcap_file({}, {.link_type = 113}));
  EXPECT_ERRNO(PcapPort::open({.in = dir / "sll"}, *bench.pool, why), EINVAL);
  EXPECT_EQ(why, (dir / "sll") +
                     ": has link type LINUX_SLL, but a port needs Ethernet\nhint: capture on one "
                     "Ethernet interface, not on \"any\"");
  write_file(dir / "odd", pcap_file({}, {.link_type = 60000}));
  EXPECT_ERRNO(PcapPort::open({.in = dir / "odd"}, *bench.pool, why), EINVAL);
  write_file(dir / "text", pattern(1000));
  EXPECT_ERRNO(PcapPort::open({.in = dir / "text"}, *bench.pool, why), EINVAL);
  EXPECT_TRUE(why.starts_with((dir / "text") + ": is not a capture that can be read: ")) << why;
  EXPECT_ERRNO(PcapPort::open({.in = dir / "none"}, *bench.pool, why), ENOENT);
  EXPECT_EQ(why, (dir / "none") + ": cannot read the capture: No such file or directory (ENOENT)");
  EXPECT_ERRNO(PcapPort::open({.in = dir.path()}, *bench.pool, why), EISDIR);
  EXPECT_EQ(why, dir.path() + ": cannot read the capture: Is a directory (EISDIR)");
  EXPECT_ERRNO(PcapPort::open({.queues = 0}, *bench.pool, why), EINVAL);
  EXPECT_ERRNO(PcapPort::open({.queues = 257}, *bench.pool, why), EINVAL);
  EXPECT_ERRNO(PcapPort::open({.snaplen = 0}, *bench.pool, why), EINVAL);
  EXPECT_ERRNO(PcapPort::open({.snaplen = 262145}, *bench.pool, why), EINVAL);
}

// ---- queues

/// UDP packets of many flows, all different.
std::vector<Packet> flow_packets(std::size_t count, std::size_t flows, std::uint64_t interval_ns) {
  std::vector<Packet> packets;
  for (std::size_t i = 0; i < count; ++i) {
    Bytes bytes = pattern(60, static_cast<std::uint8_t>(i));
    const std::size_t flow = i * 31 % flows;
    bytes[12] = std::byte{0x08};
    bytes[13] = std::byte{0x00};
    bytes[14] = std::byte{0x45};
    bytes[20] = bytes[21] = std::byte{0};  // no fragment
    bytes[23] = std::byte{17};
    for (std::size_t k = 26; k < 38; ++k) bytes[k] = std::byte{1};
    bytes[29] = static_cast<std::byte>(flow & 0xff);
    bytes[35] = static_cast<std::byte>(flow >> 8);
    packets.push_back({1'000'000 + i * interval_ns, bytes});
  }
  return packets;
}

constexpr std::uint32_t queues = 4;
using PerQueue = std::array<std::vector<Packet>, queues>;

/// Runs as the virtual clock does: always the queue whose frame is due first, the lowest of equals.
PerQueue drain_in_time_order(PcapPort& port, Slot& slot) {
  PerQueue got;
  for (int idle = 0;;) {
    std::optional<std::uint64_t> first;
    std::uint32_t chosen = 0;
    for (std::uint32_t queue = 0; queue < queues; ++queue) {
      const auto due = port.next_arrival_ns(slot, queue);
      if (due && (!first || *due < *first)) {
        first = due;
        chosen = queue;
      }
    }
    if (!first) return got;
    const std::vector<Packet> packets = drain(port, slot, chosen, *first);
    // Whoever is due first has a frame: such a loop may not spin.
    idle = packets.empty() ? idle + 1 : 0;
    EXPECT_LT(idle, 2);
    if (idle > 10) return got;
    got[chosen].insert(got[chosen].end(), packets.begin(), packets.end());
  }
}

TEST(PcapPort, TheQueueOfAFrameDependsOnItsBytesAlone) {
  NetBench bench;
  TempDir dir;
  // Equal stamps too: there is nothing else than file order then.
  for (const std::uint64_t interval_ns : {1000UL, 0UL}) {
    const std::vector<Packet> packets = flow_packets(5000, 500, interval_ns);
    write_file(dir / "a", pcap_file(packets));
    const SlotGuard slot = bench.slots.enter(0);
    const auto port = open_port(bench, {.in = dir / "a", .queues = queues});
    ASSERT_EQ(port->rx_queues(), queues);
    const PerQueue reference = drain_in_time_order(*port, *slot);
    std::size_t total = 0;
    for (const auto& one : reference) {
      EXPECT_GT(one.size(), 500U);  // no queue is starved
      EXPECT_TRUE(std::is_sorted(one.begin(), one.end(), [](const Packet& a, const Packet& b) {
        return a.timestamp_ns < b.timestamp_ns;
      }));
      total += one.size();
    }
    EXPECT_EQ(total, packets.size());

    // The last queue first, as far as it goes, and round again.
    const auto again = open_port(bench, {.in = dir / "a", .queues = queues});
    PerQueue got;
    for (std::size_t round = 0; round < 1000; ++round) {
      for (std::uint32_t queue = queues; queue-- > 0;) {
        const std::vector<Packet> some = drain(*again, *slot, queue);
        got[queue].insert(got[queue].end(), some.begin(), some.end());
      }
    }
    EXPECT_TRUE(got == reference);
    EXPECT_EQ(bench.pool->in_use(), 0U);
  }
}

/// Plays ports as a virtual clock does that asks a queue for its next arrival only after it was
/// served. Returns the number of frames; stops when far more rounds than frames were needed.
std::size_t play(std::vector<std::unique_ptr<PcapPort>>& ports, Slot& slot,
                 std::size_t most_rounds) {
  struct Source {
    PcapPort* port;
    std::uint32_t queue;
    std::optional<std::uint64_t> due;
  };
  std::vector<Source> sources;
  for (auto& port : ports)
    for (std::uint32_t queue = 0; queue < port->rx_queues(); ++queue)
      sources.push_back({port.get(), queue, port->next_arrival_ns(slot, queue)});
  std::size_t frames = 0;
  for (std::size_t round = 0; round < most_rounds; ++round) {
    const auto next =
        std::min_element(sources.begin(), sources.end(), [](const Source& a, const Source& b) {
          return a.due.value_or(all_time) < b.due.value_or(all_time);
        });
    if (!next->due) return frames;
    frames += drain(*next->port, slot, next->queue, *next->due).size();
    next->due = next->port->next_arrival_ns(slot, next->queue);
  }
  ADD_FAILURE() << "no end after " << most_rounds << " rounds";
  return frames;
}

TEST(PcapPort, ServingTheEarliestFirstAlwaysComesToAnEnd) {
  TempDir dir;
  for (const std::uint64_t interval_ns : {0UL, 1UL, 1'000'000UL}) {
    for (const std::size_t flows : {1UL, 3UL, 500UL}) {
      write_file(dir / "a", pcap_file(flow_packets(2000, flows, interval_ns)));
      for (const std::uint32_t chunks : {64U, 4096U}) {
        NetBench bench(chunks);
        std::vector<std::unique_ptr<PcapPort>> ports;
        for (int i = 0; i < 3; ++i)
          ports.push_back(open_port(bench, {.in = dir / "a", .queues = queues}));
        const SlotGuard slot = bench.slots.enter(0);
        EXPECT_EQ(play(ports, *slot, 20'000), 6000U)
            << interval_ns << " " << flows << " " << chunks;
        EXPECT_EQ(bench.pool->in_use(), 0U);
      }
    }
  }
}

TEST(PcapPort, OneThreadPerQueueGetsTheSameFrames) {
  NetBench bench(1024);
  TempDir dir;
  write_file(dir / "a", pcap_file(flow_packets(5000, 500, 10)));
  PerQueue reference, got;
  {
    const SlotGuard slot = bench.slots.enter(0);
    reference = drain_in_time_order(*open_port(bench, {.in = dir / "a", .queues = queues}), *slot);
  }
  const auto port = open_port(bench, {.in = dir / "a", .queues = queues});
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t queue = 0; queue < queues; ++queue) {
      threads.emplace_back([&, queue] {
        const SlotGuard slot = bench.slots.enter(queue);
        while (port->next_arrival_ns(*slot, queue)) {
          const std::vector<Packet> some = drain(*port, *slot, queue);
          got[queue].insert(got[queue].end(), some.begin(), some.end());
          if (some.empty()) std::this_thread::yield();
        }
      });
    }
  }
  EXPECT_TRUE(got == reference);
  EXPECT_EQ(bench.pool->in_use(), 0U);
}

TEST(PcapPort, DamageEndsEveryQueueAndIsReportedOnce) {
  NetBench bench;
  TempDir dir;
  const std::vector<Packet> packets = flow_packets(100, 50, 10);
  Bytes file = pcap_file(packets);
  file.resize(file.size() - 1);
  write_file(dir / "a", file);
  const auto port = open_port(bench, {.in = dir / "a", .queues = queues});
  const SlotGuard slot = bench.slots.enter(0);
  std::size_t total = 0;
  for (const auto& one : drain_in_time_order(*port, *slot)) total += one.size();
  EXPECT_EQ(total, 99U);
  const std::string error = port->error();
  EXPECT_NE(error.find("capture damaged at packet 100: "), std::string::npos) << error;
  EXPECT_EQ(error.find('\n'), std::string::npos) << error;
}

TEST(PcapPort, RefusedFramesAreCountedByOneQueueOnly) {
  TempDir dir;
  write_file(dir / "a", pcap_file({{1, pattern(80000)}, {2, pattern(73152)}, {3, pattern(60)}}));
  NetBench small(20);
  const auto port = open_port(small, {.in = dir / "a", .queues = queues});
  const SlotGuard slot = small.slots.enter(0);
  (void)drain_in_time_order(*port, *slot);
  EXPECT_EQ(port->refused(DropReason::rx_too_long), 1U);
  EXPECT_EQ(port->refused(DropReason::rx_no_memory), 1U);
}

// A pipe cannot be read once per queue.
TEST(PcapPort, APipeHasOneQueue) {
  NetBench bench;
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const Bytes file = pcap_file(small_packets());
  ASSERT_EQ(::write(ends[1], file.data(), file.size()), static_cast<ssize_t>(file.size()));
  ::close(ends[1]);
  const auto port =
      open_port(bench, {.in = "/proc/self/fd/" + std::to_string(ends[0]), .queues = queues});
  ::close(ends[0]);
  ASSERT_NE(port, nullptr);
  EXPECT_EQ(port->rx_queues(), 1U);
  const SlotGuard slot = bench.slots.enter(0);
  EXPECT_EQ(drain(*port, *slot), small_packets());
}

// ---- writing

TEST(PcapPort, WhatWasSentIsReadBackToTheNanosecond) {
  NetBench bench;
  TempDir dir;
  std::vector<Packet> packets = some_packets();
  packets.push_back(
      {1'700'000'002'000'000'001, pattern(max_frame_bytes)});   // linear and 17 fragments
  packets.push_back({4'294'967'295'999'999'999, pattern(60)});  // the last that the format can say
  {
    const auto port = open_port(bench, {.out = dir / "out", .host = dir / "host"});
    const SlotGuard slot = bench.slots.enter(0);
    EXPECT_EQ(port->next_arrival_ns(*slot, 0), std::nullopt);
    send(*port, *slot, *bench.pool, packets);
    Buff* const up = bench.pool->take_copy(*slot, packets[1].bytes);
    up->timestamp_ns = packets[1].timestamp_ns;
    port->to_host(*slot, std::array{up});
    port->finish();
    port->finish();
    EXPECT_EQ(port->error(), "");
  }
  EXPECT_EQ(read_capture(bench, dir / "out"), packets);
  EXPECT_EQ(read_capture(bench, dir / "host"), (std::vector<Packet>{packets[1]}));
  EXPECT_EQ(bench.pool->in_use(), 0U);
}

// The bytes of the file, against the format's description and not against our reader.
TEST(PcapPort, TheFileIsAPcapOfVersionTwoPointFour) {
  NetBench bench;
  TempDir dir;
  {
    const auto port = open_port(bench, {.out = dir / "out"});
    const SlotGuard slot = bench.slots.enter(0);
    send(*port, *slot, *bench.pool, some_packets());
  }
  EXPECT_EQ(read_file(dir / "out"), pcap_file(some_packets(), {.order = std::endian::native}));
}

TEST(PcapPort, OutputsAreValidAndEmptyFromTheStart) {
  NetBench bench;
  TempDir dir;
  write_file(dir / "out", pattern(1000));  // what was there before is gone
  const auto port = open_port(bench, {.out = dir / "out", .host = dir / "host"});
  EXPECT_EQ(read_file(dir / "out"), pcap_file({}, {.order = std::endian::native}));
  EXPECT_EQ(read_file(dir / "host"), pcap_file({}, {.order = std::endian::native}));
}

TEST(PcapPort, SnaplenCutsWhatIsKeptAndSaysSo) {
  NetBench bench;
  TempDir dir;
  {
    const auto port = open_port(bench, {.out = dir / "out", .snaplen = 20});
    const SlotGuard slot = bench.slots.enter(0);
    send(*port, *slot, *bench.pool, {{1, pattern(14)}, {2, pattern(9000)}});
  }
  std::string error;
  EXPECT_EQ(read_capture(bench, dir / "out", &error).size(), 1U);
  EXPECT_NE(error.find("packet 2 is truncated: only 20 of its 9000 bytes"), std::string::npos);
  EXPECT_EQ(read_file(dir / "out").size(), 24U + 16 + 14 + 16 + 20);
}

TEST(PcapPort, WithoutAnOutputFramesVanish) {
  NetBench bench;
  const auto port = open_port(bench, {});
  const SlotGuard slot = bench.slots.enter(0);
  send(*port, *slot, *bench.pool, some_packets());
  port->to_host(*slot, std::array{bench.pool->take(*slot)});
  EXPECT_EQ(bench.pool->in_use(), 0U);
  EXPECT_EQ(port->error(), "");
}

TEST(PcapPort, AnOutputThatIsAnInputOrAnotherOutputIsRefused) {
  NetBench bench;
  TempDir dir;
  const Bytes input = pcap_file(some_packets());
  write_file(dir / "in", input);
  ASSERT_EQ(::link((dir / "in").c_str(), (dir / "hard").c_str()), 0);
  ASSERT_EQ(::symlink((dir / "in").c_str(), (dir / "soft").c_str()), 0);
  std::string why;
  for (const char* name : {"in", "hard", "soft"}) {
    EXPECT_ERRNO(PcapPort::open({.in = dir / "in", .out = dir / name}, *bench.pool, why), EINVAL);
    EXPECT_EQ(
        why,
        (dir / name) +
            ": is the input capture and would be overwritten\nhint: choose another output file");
    EXPECT_ERRNO(PcapPort::open({.in = dir / "in", .host = dir / name}, *bench.pool, why), EINVAL);
  }
  EXPECT_ERRNO(PcapPort::open({.out = dir / "o", .host = dir / "o"}, *bench.pool, why), EBUSY);
  EXPECT_EQ(why, (dir / "o") + ": is in use by another port\nhint: choose another output file");

  const auto reader = open_port(bench, {.in = dir / "in"});
  const auto second_reader = open_port(bench, {.in = dir / "in"});
  EXPECT_ERRNO(PcapPort::open({.out = dir / "in"}, *bench.pool, why), EBUSY);
  const auto writer = open_port(bench, {.out = dir / "o"});
  EXPECT_ERRNO(PcapPort::open({.in = dir / "o"}, *bench.pool, why), EBUSY);
  EXPECT_EQ(why, (dir / "o") + ": is the output of another port");
  EXPECT_EQ(read_file(dir / "in"), input);
}

TEST(PcapPort, AnOutputThatCannotBeCreatedSaysWhy) {
  NetBench bench;
  TempDir dir;
  std::string why;
  EXPECT_ERRNO(PcapPort::open({.out = dir / "no/such"}, *bench.pool, why), ENOENT);
  EXPECT_EQ(why,
            (dir / "no/such") + ": cannot create the capture: No such file or directory (ENOENT)");
  EXPECT_ERRNO(PcapPort::open({.out = dir.path()}, *bench.pool, why), EISDIR);
  EXPECT_ERRNO(PcapPort::open({.out = "/dev/full"}, *bench.pool, why), ENOSPC);
  EXPECT_EQ(why, "/dev/full: cannot write the capture: No space left on device (ENOSPC)");
}

/// Files of this process end at `bytes` while this lives, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

TEST(PcapPort, ADiskThatFillsUpIsReportedOnceAndKeepsWholePackets) {
  NetBench bench;
  TempDir dir;
  const std::vector<Packet> packets(10, {5, pattern(100)});
  std::string error;
  {
    const auto port = open_port(bench, {.out = dir / "out", .host = dir / "host"});
    const SlotGuard slot = bench.slots.enter(0);
    const FileSizeLimit limit(24 + 3 * 116 + 50);  // in the middle of packet 4
    send(*port, *slot, *bench.pool, packets);
    EXPECT_EQ(port->error(), "");  // still buffered
    port->finish();
    error = port->error();
    EXPECT_EQ(error, (dir / "out") +
                         ": cannot write the capture: File too large (EFBIG): the last 7 of 10 "
                         "packets are missing in it");
    std::array<Buff*, 1> late = {bench.pool->take_copy(*slot, packets[0].bytes)};
    EXPECT_ERRNO(port->transmit(*slot, late, true), EIO);
    bench.pool->give_back(*slot, late[0]);
    port->finish();
    EXPECT_EQ(port->error(), error);
  }
  EXPECT_EQ(read_capture(bench, dir / "out"), std::vector<Packet>(3, packets[0]));
  EXPECT_EQ(read_file(dir / "host").size(), 24U);
}

TEST(PcapPort, ADiskThatIsFullWhileRunningRefusesTheRestOfTheBulk) {
  NetBench bench;
  TempDir dir;
  const auto port = open_port(bench, {.out = dir / "out", .host = dir / "host"});
  const SlotGuard slot = bench.slots.enter(0);
  const FileSizeLimit limit(200'000);
  // 256 KiB are buffered: the fourth of these frames forces them out.
  std::array<Buff*, 5> frames{};
  for (Buff*& frame : frames) frame = bench.pool->take_copy(*slot, pattern(70'000));
  EXPECT_EQ(*port->transmit(*slot, frames, true), 3U);
  EXPECT_ERRNO(port->transmit(*slot, std::span(frames).subspan(3), true), EIO);
  EXPECT_NE(port->error().find("the last 1 of 3 packets are missing"), std::string::npos)
      << port->error();
  // The host side has no way to refuse: frames are gone, the reason stays.
  for (int i = 0; i < 2; ++i)
    port->to_host(*slot, std::array{bench.pool->take_copy(*slot, pattern(70'000)),
                                    bench.pool->take_copy(*slot, pattern(70'000))});
  EXPECT_NE(port->error().find((dir / "host") + ": cannot write the capture"), std::string::npos);
  bench.pool->give_back(*slot, frames[3]);
  bench.pool->give_back(*slot, frames[4]);
  EXPECT_EQ(bench.pool->in_use(), 0U);
}

TEST(PcapPort, ManyThreadsMaySendThroughOnePort) {
  NetBench bench;
  TempDir dir;
  {
    const auto port = open_port(bench, {.out = dir / "out"});
    std::vector<std::jthread> threads;
    for (std::uint32_t cpu = 0; cpu < NetBench::cpus; ++cpu) {
      threads.emplace_back([&, cpu] {
        const SlotGuard slot = bench.slots.enter(cpu);
        for (std::uint64_t i = 0; i < 500; ++i)
          send(*port, *slot, *bench.pool,
               {{cpu * 1000 + i, pattern(100, static_cast<std::uint8_t>(cpu))}});
      });
    }
    threads.clear();
    port->finish();
    EXPECT_EQ(port->error(), "");
  }
  std::array<std::uint64_t, NetBench::cpus> next{};
  for (const Packet& packet : read_capture(bench, dir / "out")) {
    const std::uint64_t cpu = packet.timestamp_ns / 1000;
    EXPECT_EQ(packet.timestamp_ns % 1000, next[cpu]++);  // each thread's own order is kept
    EXPECT_EQ(packet.bytes, pattern(100, static_cast<std::uint8_t>(cpu)));
  }
  for (const std::uint64_t count : next) EXPECT_EQ(count, 500U);
}

}  // namespace
}  // namespace skep
