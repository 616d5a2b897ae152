// SPDX-License-Identifier: Apache-2.0
#include "net/port/port_spec.hpp"

#include "net/net_fixture.hpp"

#include <gtest/gtest.h>

#include <filesystem>

namespace skep {
namespace {

using testing::Bytes;
using testing::contents;
using testing::NetBench;
using testing::read_file;
using testing::TempDir;
using testing::write_file;

/// An empty capture of this machine's byte order.
Bytes empty_capture(NetBench& bench, const TempDir& dir) {
  std::string why;
  const auto port =
      make_port("pcap:out=" + (dir / "empty"), {.pool = *bench.pool, .name = "e"}, why);
  EXPECT_OK(port) << why;
  return read_file(dir / "empty");
}

std::string refusal(NetBench& bench, std::string_view spec, const std::string& name = "p") {
  std::string why;
  EXPECT_ERRNO(make_port(spec, {.pool = *bench.pool, .name = name}, why), EINVAL) << spec;
  return why;
}

TEST(PortSpec, NullTakesQueues) {
  NetBench bench;
  std::string why;
  EXPECT_EQ((*make_port("null", {.pool = *bench.pool, .name = "n", .queues = 3}, why))->rx_queues(),
            3U);
  const auto port =
      make_port("null:queues=2", {.pool = *bench.pool, .name = "n", .queues = 3}, why);
  ASSERT_OK(port);
  EXPECT_EQ((*port)->kind(), "null");
  EXPECT_EQ((*port)->rx_queues(), 2U);
  EXPECT_EQ((*port)->xdp_features(), 103U);
  const SlotGuard slot = bench.slots.enter(0);
  EXPECT_EQ((*port)->next_arrival_ns(*slot, 0), std::nullopt);
  std::array<Buff*, 2> frames = {bench.pool->take(*slot), bench.pool->take(*slot)};
  EXPECT_EQ(*(*port)->transmit(*slot, std::span(frames).first(1), true), 1U);
  (*port)->to_host(*slot, std::span(frames).subspan(1));
  EXPECT_EQ((*port)->receive(*slot, 0, UINT64_MAX, frames), 0U);
  EXPECT_EQ(bench.pool->in_use(), 0U);
  EXPECT_OK(make_port("null:", {.pool = *bench.pool, .name = "n"}, why));
}

TEST(PortSpec, GenTakesEveryOption) {
  NetBench bench;
  std::string why;
  const auto port =
      make_port("gen:flows=2,frames=3k,bytes=100,rate=1M,proto=tcp,ipv6,vlan=7,queues=2,seed=9",
                {.pool = *bench.pool, .name = "g"}, why);
  ASSERT_OK(port) << why;
  EXPECT_EQ((*port)->kind(), "gen");
  EXPECT_EQ((*port)->rx_queues(), 2U);
  const SlotGuard slot = bench.slots.enter(0);
  std::array<Buff*, 2> batch{};
  ASSERT_EQ((*port)->receive(*slot, 1, UINT64_MAX, batch), 2U);
  EXPECT_EQ(batch[1]->timestamp_ns - batch[0]->timestamp_ns, 2000U);
  const Bytes frame = contents(*batch[0]);
  EXPECT_EQ(frame.size(), 100U);
  EXPECT_EQ(frame[12], std::byte{0x81});
  EXPECT_EQ(frame[15], std::byte{7});
  EXPECT_EQ(frame[16], std::byte{0x86});
  EXPECT_EQ(frame[24], std::byte{6});
  for (Buff* one : batch) bench.pool->give_back(*slot, one);
  std::size_t rest = 2;
  std::array<Buff*, 64> more{};
  while (const std::size_t count = (*port)->receive(*slot, 1, UINT64_MAX, more)) {
    rest += count;
    for (Buff* one : std::span(more).first(count)) bench.pool->give_back(*slot, one);
  }
  EXPECT_EQ(rest, 1500U);
}

TEST(PortSpec, PcapOutputsGoToTheDirectoryUnderThePortsName) {
  NetBench bench;
  TempDir dir;
  const Bytes capture = empty_capture(bench, dir);
  std::string why;
  const PortContext context = {
      .pool = *bench.pool, .name = "lan", .out_dir = dir.path(), .queues = 2};
  {
    const auto port = make_port("pcap:" + (dir / "empty"), context, why);
    ASSERT_OK(port) << why;
    EXPECT_EQ((*port)->kind(), "pcap");
    EXPECT_EQ((*port)->rx_queues(), 2U);
  }
  EXPECT_EQ(read_file(dir / "lan.out.pcap"), capture);
  EXPECT_EQ(read_file(dir / "lan.host.pcap"), capture);

  std::filesystem::remove(dir / "lan.out.pcap");
  std::filesystem::remove(dir / "lan.host.pcap");
  EXPECT_OK(make_port("pcap:out=" + (dir / "mine") + ",host=none", context, why)) << why;
  EXPECT_EQ(read_file(dir / "mine"), capture);
  EXPECT_FALSE(std::filesystem::exists(dir / "lan.out.pcap"));
  EXPECT_FALSE(std::filesystem::exists(dir / "lan.host.pcap"));
}

TEST(PortSpec, QuotesKeepCommasAndEqualSignsInPaths) {
  NetBench bench;
  TempDir dir;
  const Bytes capture = empty_capture(bench, dir);
  const std::string odd = R"(a,b="c\ d.pcap)";
  write_file(dir / odd, capture);
  const PortContext context = {.pool = *bench.pool, .name = "p"};
  std::string why;
  const std::string quoted = "\"" + dir.path() + R"(/a,b=\"c\\ d.pcap")";
  EXPECT_OK(make_port("pcap:" + quoted, context, why)) << why;
  EXPECT_OK(make_port("pcap:in=" + quoted + ",queues=2", context, why)) << why;
  EXPECT_OK(make_port("pcap:queues=2,out=\"" + (dir / "x,y") + "\"", context, why)) << why;
  EXPECT_TRUE(std::filesystem::exists(dir / "x,y"));
}

TEST(PortSpec, WrongWordsGetOneSentenceAndAHint) {
  NetBench bench;
  const std::string kinds = "\nhint: kinds are pcap, null and gen";
  EXPECT_EQ(refusal(bench, "pacp:x"), "unknown kind \"pacp\"" + kinds);
  EXPECT_EQ(refusal(bench, ""), "unknown kind \"\"" + kinds);
  const std::string pcap = "\nhint: options are in=, out=, host=, queues=, snaplen=";
  EXPECT_EQ(refusal(bench, "pcap:oot=x"), "unknown option \"oot=x\"" + pcap);
  EXPECT_EQ(refusal(bench, "pcap:queues=1,x.pcap"), "unknown option \"x.pcap\"" + pcap);
  EXPECT_EQ(refusal(bench, "pcap:x.pcap,y.pcap"), "unknown option \"y.pcap\"" + pcap);
  EXPECT_EQ(refusal(bench, "pcap:,"), "unknown option \"\"" + pcap);
  EXPECT_EQ(refusal(bench, "pcap:queues=1,"), "unknown option \"\"" + pcap);
  EXPECT_EQ(refusal(bench, "pcap:x.pcap,in=y.pcap"), "in=y.pcap: the input is already x.pcap");
  EXPECT_EQ(refusal(bench, "pcap:in="), "in=: must be a path");
  EXPECT_EQ(refusal(bench, "pcap:out="), "out=: must be a path, or none");
  EXPECT_EQ(refusal(bench, "pcap:\"x.pcap"),
            "a quote is not closed\nhint: write \"…\" around a path with commas");
  EXPECT_EQ(refusal(bench, "pcap:=x"), "an option without a name before \"=\"");
  EXPECT_EQ(refusal(bench, "null:queues=0"), "queues=0: must be 1 … 256");
  EXPECT_EQ(refusal(bench, "null:x"), "unknown option \"x\"\nhint: options are queues=");
  const std::string gen =
      "\nhint: options are flows=, frames=, bytes=, rate=, proto=, ipv6, vlan=, queues=, seed=";
  EXPECT_EQ(refusal(bench, "gen:vlan"), "unknown option \"vlan\"" + gen);
  EXPECT_EQ(refusal(bench, "gen:ipv6=1"), "unknown option \"ipv6=1\"" + gen);
  EXPECT_EQ(refusal(bench, "gen:proto=icmp"), "proto=icmp: must be udp or tcp");
  EXPECT_EQ(refusal(bench, "gen:bytes=20"), "bytes=20: must be 64 … 1514");
  for (const char* number :
       {"", "-1", "1.5", "0x10", "k", "1K", " 1", "4294967296", "99999999999999999999", "5G"})
    EXPECT_EQ(refusal(bench, std::string("gen:flows=") + number),
              std::string("flows=") + number + ": must be a number up to 4294967295");
  EXPECT_EQ(refusal(bench, "gen:frames=18446744073709551615G"),
            "frames=18446744073709551615G: must be a number up to 18446744073709551615");
}

TEST(PortSpec, ErrorsOfThePortComeThrough) {
  NetBench bench;
  TempDir dir;
  std::string why;
  EXPECT_ERRNO(make_port("pcap:" + (dir / "none"), {.pool = *bench.pool, .name = "lan"}, why),
               ENOENT);
  EXPECT_EQ(why, (dir / "none") + ": cannot read the capture: No such file or directory (ENOENT)");
}

// The name becomes part of file names: it must not lead elsewhere.
TEST(PortSpec, NamesThatAreNoDeviceNamesAreRefused) {
  NetBench bench;
  EXPECT_EQ(refusal(bench, "null", "../x"),
            "\"../x\" is no name for a port\nhint: use up to 15 characters without '/', ':' "
            "and blanks");
  EXPECT_NE(refusal(bench, "null", ""), "");
}

}  // namespace
}  // namespace skep
