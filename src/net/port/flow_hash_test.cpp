// SPDX-License-Identifier: Apache-2.0
#include "net/port/flow_hash.hpp"

#include "net/net_fixture.hpp"

#include <gtest/gtest.h>

#include <array>
#include <map>

namespace skep {
namespace {

using testing::Bytes;
using testing::pattern;

void set(Bytes& frame, std::size_t offset, std::initializer_list<unsigned> values) {
  for (const unsigned value : values) frame[offset++] = static_cast<std::byte>(value);
}

/// UDP over IPv4, 60 bytes.
Bytes ipv4_udp() {
  Bytes frame = pattern(60);
  set(frame, 12, {0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0});
  set(frame, 26, {10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0x00, 0x50});
  return frame;
}

Bytes ipv6_tcp() {
  Bytes frame = pattern(80);
  set(frame, 12, {0x86, 0xdd, 0x60, 0, 0, 0, 0, 26, 6, 64});
  set(frame, 54, {0x12, 0x34, 0x00, 0x50});
  return frame;
}

Bytes tagged(Bytes frame, std::initializer_list<unsigned> tag) {
  Bytes bytes(tag.size());
  set(bytes, 0, tag);
  frame.insert(frame.begin() + 12, bytes.begin(), bytes.end());
  return frame;
}

bool matters(Bytes frame, std::size_t offset) {
  const std::uint32_t before = flow_hash(frame);
  frame[offset] ^= std::byte{1};
  return flow_hash(frame) != before;
}

TEST(FlowHash, AddressesProtocolAndPortsMatterAndNothingElse) {
  for (std::size_t i = 0; i < 60; ++i) {
    if (i >= 12 && i <= 14) continue;  // what kind of packet it is
    const bool part = i == 23 || (i >= 26 && i < 38);
    const bool fragment_field = i == 20 || i == 21;
    if (!fragment_field) EXPECT_EQ(matters(ipv4_udp(), i), part) << i;
  }
  for (std::size_t i = 14; i < 80; ++i)
    EXPECT_EQ(matters(ipv6_tcp(), i), i == 20 || (i >= 22 && i < 58)) << i;
}

TEST(FlowHash, AllFragmentsOfAPacketAgree) {
  Bytes first = ipv4_udp(), later = ipv4_udp();
  set(first, 20, {0x20, 0x00});  // more fragments
  set(later, 20, {0x00, 0x10});
  set(later, 34, {9, 9, 9, 9});  // payload where ports would be
  EXPECT_EQ(flow_hash(first), flow_hash(later));
}

TEST(FlowHash, PortsAreFoundBehindOptionsAndVlanTags) {
  Bytes options = ipv4_udp();
  set(options, 14, {0x46});
  EXPECT_FALSE(matters(options, 34));
  EXPECT_TRUE(matters(options, 38));
  const std::uint32_t plain = flow_hash(ipv4_udp());
  EXPECT_EQ(flow_hash(tagged(ipv4_udp(), {0x81, 0, 0, 5})), plain);
  EXPECT_EQ(flow_hash(tagged(ipv4_udp(), {0x88, 0xa8, 0, 7, 0x81, 0, 0, 5})), plain);
}

TEST(FlowHash, OtherProtocolsGoByAddressesOrMac) {
  Bytes icmp = ipv4_udp();
  set(icmp, 23, {1});
  EXPECT_TRUE(matters(icmp, 29));
  EXPECT_FALSE(matters(icmp, 34));
  Bytes arp = ipv4_udp();
  set(arp, 12, {0x08, 0x06});
  EXPECT_TRUE(matters(arp, 0));
  EXPECT_TRUE(matters(arp, 11));
  EXPECT_FALSE(matters(arp, 30));
}

TEST(FlowHash, FramesCutAnywhereAreHashedWithoutReadingBeyond) {
  // Exact allocations: the address sanitizer sees a byte too many.
  for (const Bytes& whole : {ipv4_udp(), ipv6_tcp(), tagged(ipv4_udp(), {0x81, 0, 0, 5}),
                             tagged(ipv6_tcp(), {0x88, 0xa8, 0, 7, 0x81, 0, 0, 5})}) {
    for (std::size_t length = 0; length <= whole.size(); ++length) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
      EXPECT_EQ(flow_hash(cut), flow_hash(cut));
    }
  }
  Bytes long_header = ipv4_udp();
  set(long_header, 14, {0x4f});
  (void)flow_hash(long_header);
}

// Numbers that may never change: captures are split over queues by them, and runs are compared
// between machines. Computed apart from the code under test.
TEST(FlowHash, IsTheSameEverywhere) {
  EXPECT_EQ(flow_hash(ipv4_udp()), 1459479410U);
  EXPECT_EQ(flow_hash(ipv6_tcp()), 236772092U);
  EXPECT_EQ(flow_hash({}), 4023394144U);
}

TEST(FlowHash, FlowsSpreadEvenlyOverQueues) {
  for (const std::uint32_t queues : {2U, 3U, 8U}) {
    std::map<std::uint32_t, int> counts;
    for (unsigned flow = 0; flow < 8000; ++flow) {
      Bytes frame = ipv4_udp();
      set(frame, 28, {flow >> 8, flow & 0xff});
      ++counts[queue_of(flow_hash(frame), queues)];
    }
    ASSERT_EQ(counts.size(), queues);
    for (const auto& [queue, count] : counts) {
      EXPECT_LT(queue, queues);
      EXPECT_NEAR(count, 8000 / static_cast<int>(queues), 250);
    }
  }
}

}  // namespace
}  // namespace skep
