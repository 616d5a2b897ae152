// SPDX-License-Identifier: Apache-2.0
#include "net/port/gen_port.hpp"

#include "net/net_fixture.hpp"
#include "net/port/flow_hash.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>
#include <tuple>

namespace skep {
namespace {

using testing::Bytes;
using testing::contents;
using testing::NetBench;

struct Made {
  std::uint64_t arrival_ns;
  Bytes bytes;
  friend bool operator==(const Made&, const Made&) = default;
};

std::unique_ptr<GenPort> make(NetBench& bench, const GenOptions& options) {
  std::string why;
  auto port = GenPort::make(options, *bench.pool, why);
  EXPECT_OK(port) << why;
  return port ? std::move(*port) : nullptr;
}

std::vector<Made> drain(GenPort& port, Slot& slot, std::uint32_t queue = 0,
                        std::uint64_t until_ns = UINT64_MAX) {
  std::vector<Made> all;
  std::array<Buff*, 5> batch{};
  while (const std::size_t count = port.receive(slot, queue, until_ns, batch)) {
    for (Buff* frame : std::span(batch).first(count)) {
      EXPECT_EQ(frame->rx_queue, queue);
      all.push_back({frame->timestamp_ns - VirtualClock::start_realtime_ns, contents(*frame)});
      frame->pool->give_back(slot, frame);
    }
  }
  return all;
}

std::vector<Made> generate(NetBench& bench, const GenOptions& options) {
  const auto port = make(bench, options);
  const SlotGuard slot = bench.slots.enter(0);
  return drain(*port, *slot);
}

unsigned at(const Bytes& bytes, std::size_t offset) {
  return std::to_integer<unsigned>(bytes.at(offset));
}
unsigned at16(const Bytes& bytes, std::size_t offset) {
  return at(bytes, offset) << 8 | at(bytes, offset + 1);
}

/// RFC 1071 in its plainest form, apart from the code under test: all words with the checksum in
/// place add up to 0xffff.
unsigned ones_sum(const Bytes& bytes) {
  unsigned sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    sum += at(bytes, i) << 8 | (i + 1 < bytes.size() ? at(bytes, i + 1) : 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

Bytes slice(const Bytes& bytes, std::size_t from, std::size_t to) {
  return {bytes.begin() + static_cast<std::ptrdiff_t>(from),
          bytes.begin() + static_cast<std::ptrdiff_t>(to)};
}

/// Reads a frame as a receiver would and checks every length and checksum in it.
void expect_valid(const Bytes& frame, const GenOptions& options) {
  std::size_t l3 = 14;
  unsigned ethertype = at16(frame, 12);
  if (options.vlan) {
    ASSERT_EQ(ethertype, 0x8100U);
    EXPECT_EQ(at16(frame, 14), *options.vlan);
    ethertype = at16(frame, 16);
    l3 = 18;
  }
  Bytes pseudo;
  std::size_t l4 = 0;
  unsigned proto = 0;
  if (options.ip == IpVersion::v4) {
    ASSERT_EQ(ethertype, 0x0800U);
    l4 = l3 + 20;
    EXPECT_EQ(at(frame, l3), 0x45U);
    EXPECT_EQ(at16(frame, l3 + 2), frame.size() - l3);
    EXPECT_EQ(ones_sum(slice(frame, l3, l4)), 0xffffU);
    proto = at(frame, l3 + 9);
    pseudo = slice(frame, l3 + 12, l4);
  } else {
    ASSERT_EQ(ethertype, 0x86ddU);
    l4 = l3 + 40;
    EXPECT_EQ(at(frame, l3) >> 4, 6U);
    EXPECT_EQ(at16(frame, l3 + 4), frame.size() - l4);
    proto = at(frame, l3 + 6);
    pseudo = slice(frame, l3 + 8, l4);
  }
  EXPECT_EQ(proto, options.proto == GenProto::udp ? 17U : 6U);
  const std::size_t segment = frame.size() - l4;
  for (const unsigned value :
       {0U, proto, static_cast<unsigned>(segment >> 8), static_cast<unsigned>(segment & 0xff)})
    pseudo.push_back(static_cast<std::byte>(value));
  const Bytes rest = slice(frame, l4, frame.size());
  pseudo.insert(pseudo.end(), rest.begin(), rest.end());
  EXPECT_EQ(ones_sum(pseudo), 0xffffU);
  if (options.proto == GenProto::udp) {
    EXPECT_EQ(at16(frame, l4 + 4), segment);
    EXPECT_NE(at16(frame, l4 + 6), 0U);  // 0 would say that there is no checksum
  } else {
    EXPECT_EQ(at(frame, l4 + 12) >> 4, 5U);
  }
}

TEST(GenPort, EveryHeaderAndChecksumIsRight) {
  NetBench bench;
  for (const GenProto proto : {GenProto::udp, GenProto::tcp}) {
    for (const IpVersion ip : {IpVersion::v4, IpVersion::v6}) {
      for (const std::optional<std::uint16_t> vlan :
           {std::optional<std::uint16_t>(), std::optional<std::uint16_t>(4094)}) {
        for (const std::uint32_t bytes : {0U, 78U, 79U, 127U, 128U, 129U, 577U, 1513U, 1514U}) {
          GenOptions options = {.frames = 20, .flows = 10, .proto = proto, .ip = ip, .vlan = vlan};
          if (bytes != 0) options.frame_bytes = bytes;
          const std::vector<Made> frames = generate(bench, options);
          ASSERT_EQ(frames.size(), 20U);
          for (const Made& made : frames) {
            if (bytes != 0) EXPECT_EQ(made.bytes.size(), bytes);
            expect_valid(made.bytes, options);
          }
        }
      }
    }
  }
}

TEST(GenPort, ByDefaultFramesAreAsShortAsTheyCanBe) {
  NetBench bench;
  EXPECT_EQ(generate(bench, {.frames = 1})[0].bytes.size(), 64U);
  EXPECT_EQ(
      generate(bench, {.frames = 1, .proto = GenProto::tcp, .ip = IpVersion::v6, .vlan = 1})[0]
          .bytes.size(),
      78U);
}

TEST(GenPort, FlowsDifferAndTakeTurns) {
  NetBench bench;
  const std::vector<Made> frames = generate(bench, {.frames = 2500, .flows = 1000});
  ASSERT_EQ(frames.size(), 2500U);
  std::set<Bytes> tuples;
  for (std::size_t i = 0; i < 1000; ++i) tuples.insert(slice(frames[i].bytes, 26, 38));
  EXPECT_EQ(tuples.size(), 1000U);
  for (std::size_t i = 1000; i < frames.size(); ++i)
    EXPECT_EQ(frames[i].bytes, frames[i - 1000].bytes);
}

TEST(GenPort, ArrivalTimesFollowTheRateWithoutDrift) {
  NetBench bench;
  for (const std::uint64_t rate : {1ULL, 3ULL, 7'000'003ULL, 1'000'000ULL, 1'000'000'000ULL}) {
    const std::vector<Made> frames = generate(bench, {.frames = 1000, .flows = 7, .rate = rate});
    for (std::size_t k = 0; k < frames.size(); ++k)
      ASSERT_EQ(frames[k].arrival_ns, k * 1'000'000'000ULL / rate) << rate;
  }
}

TEST(GenPort, FramesComeWhenTheyAreDue) {
  NetBench bench;
  const auto port = make(bench, {.frames = 3});
  const SlotGuard slot = bench.slots.enter(0);
  EXPECT_EQ(port->next_arrival_ns(*slot, 0), 0U);
  EXPECT_EQ(drain(*port, *slot, 0, 999).size(), 1U);
  EXPECT_EQ(port->next_arrival_ns(*slot, 0), 1000U);
  EXPECT_EQ(drain(*port, *slot, 0, 2000).size(), 2U);
  EXPECT_EQ(port->next_arrival_ns(*slot, 0), std::nullopt);
}

TEST(GenPort, TheSeedDecidesTheBytes) {
  NetBench bench;
  const GenOptions options = {.frames = 100, .flows = 20, .frame_bytes = 200, .seed = 5};
  GenOptions other = options;
  other.seed = 6;
  EXPECT_TRUE(generate(bench, options) == generate(bench, options));
  EXPECT_FALSE(generate(bench, options) == generate(bench, other));
}

// G1: queues together give what one queue would, each flow on one of them, in whatever order they
// are asked.
TEST(GenPort, QueuesShareTheFlowsAndNothingElse) {
  NetBench bench;
  for (const std::uint32_t flows : {1U, 3U, 10U, 64U}) {
    const GenOptions one = {.frames = 1001, .flows = flows, .rate = 3'000'000};
    GenOptions four = one;
    four.queues = 4;
    std::vector<Made> expected = generate(bench, one);
    const auto port = make(bench, four);
    std::array<std::vector<Made>, 4> got;
    {
      std::vector<std::jthread> threads;
      for (std::uint32_t queue = 0; queue < 4; ++queue) {
        threads.emplace_back([&, queue] {
          const SlotGuard slot = bench.slots.enter(queue);
          got[queue] = drain(*port, *slot, queue);
        });
      }
    }
    std::map<Bytes, std::set<std::size_t>> queues_of_flow;
    std::vector<Made> merged;
    for (std::size_t queue = 0; queue < 4; ++queue) {
      for (const Made& made : got[queue]) queues_of_flow[slice(made.bytes, 26, 38)].insert(queue);
      merged.insert(merged.end(), got[queue].begin(), got[queue].end());
    }
    for (const auto& [flow, queues] : queues_of_flow) EXPECT_EQ(queues.size(), 1U);
    std::sort(merged.begin(), merged.end(),
              [](const Made& a, const Made& b) { return a.arrival_ns < b.arrival_ns; });
    EXPECT_TRUE(merged == expected);
  }
}

TEST(GenPort, AFullPoolDelaysFramesAndLosesNone) {
  NetBench bench(4);
  const auto port = make(bench, {.frames = 10, .flows = 10});
  const SlotGuard slot = bench.slots.enter(0);
  std::array<Buff*, 10> batch{};
  ASSERT_EQ(port->receive(*slot, 0, UINT64_MAX, batch), 4U);
  EXPECT_EQ(port->receive(*slot, 0, UINT64_MAX, std::span(batch).subspan(4)), 0U);
  for (Buff* frame : std::span(batch).first(4)) bench.pool->give_back(*slot, frame);
  EXPECT_EQ(drain(*port, *slot).size(), 6U);
}

TEST(GenPort, WhatIsSentVanishes) {
  NetBench bench;
  const auto port = make(bench, {});
  const SlotGuard slot = bench.slots.enter(0);
  EXPECT_EQ(*port->transmit(*slot, std::array{bench.pool->take(*slot)}, true), 1U);
  port->to_host(*slot, std::array{bench.pool->take(*slot)});
  EXPECT_EQ(bench.pool->in_use(), 0U);
}

TEST(GenPort, OptionsOutOfRangeAreNamed) {
  NetBench bench;
  const auto refused = [&](const GenOptions& options) {
    std::string why;
    EXPECT_ERRNO(GenPort::make(options, *bench.pool, why), EINVAL);
    return why;
  };
  EXPECT_EQ(refused({.frames = 0}), "frames=0: must be 1 … 1000000000000");
  EXPECT_EQ(refused({.flows = 0}), "flows=0: must be 1 … 1048576");
  EXPECT_EQ(refused({.flows = 1048577}), "flows=1048577: must be 1 … 1048576");
  EXPECT_EQ(refused({.frame_bytes = 63}), "bytes=63: must be 64 … 1514");
  EXPECT_EQ(refused({.frame_bytes = 1515}), "bytes=1515: must be 64 … 1514");
  EXPECT_EQ(refused({.frame_bytes = 64, .ip = IpVersion::v6, .vlan = 1}),
            "bytes=64: the headers alone take 66");
  EXPECT_EQ(refused({.rate = 0}), "rate=0: must be 1 … 1000000000");
  EXPECT_EQ(refused({.vlan = 0}), "vlan=0: must be 1 … 4094");
  EXPECT_EQ(refused({.vlan = 4095}), "vlan=4095: must be 1 … 4094");
  EXPECT_EQ(refused({.queues = 0}), "queues=0: must be 1 … 256");
}

}  // namespace
}  // namespace skep
