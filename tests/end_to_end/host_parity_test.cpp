// SPDX-License-Identifier: Apache-2.0
// The same objects, map entries and packets in skep and in the kernel of the host: the verdict, the
// length and every byte of each packet must be the same, and what the maps hold afterwards.

#include "cli/map_arguments.hpp"
#include "end_to_end/capture.hpp"
#include "end_to_end/two_kernels.hpp"
#include "host/host_kernel.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace skep::testing {
namespace {

constexpr std::size_t ethernet_bytes = 14;  // the shortest packet that a test run takes

const AllowedDifference allowed[] = {
    {.object = "load_balancer",
     .map = "flows",
     .offset = 16,
     .bytes = 16,
     .reason = "first_seen_ns and last_seen_ns: each world has a clock of its own"},
    {.object = "environment",
     .map = "results",
     .offset = 0,
     .bytes = 8,
     .reason = "results 0 to 5: times of a clock and random numbers of each world's own",
     .first_key = 0,
     .last_key = 5},
    {.object = "environment",
     .map = "results",
     .offset = 0,
     .bytes = 8,
     .reason = "result 9: jiffies, of the same clocks",
     .first_key = 9,
     .last_key = 9},
    {.object = "callbacks",
     .map = "hash",
     .offset = 0,
     .bytes = 8,
     .reason =
         "which elements a walk meets before it is stopped: the order of a hash table is each "
         "world's own"},
};

std::string read_capture(const std::string& name) {
  std::ifstream file(SKEP_SOURCE_DIR "/captures/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> packets_in(const std::string& capture) {
  std::vector<std::string> packets;
  for (const CapturedPacket& packet : packets_of(read_capture(capture)))
    packets.push_back(packet.bytes);
  return packets;
}

/// `packet` cut off at every length.
std::vector<std::string> truncations(const std::string& packet) {
  std::vector<std::string> packets;
  for (std::size_t bytes = ethernet_bytes; bytes < packet.size(); ++bytes)
    packets.push_back(packet.substr(0, bytes));
  return packets;
}

/// One to four random bytes of the headers changed in each of `count` packets, the same in every
/// run.
std::vector<std::string> damaged(const std::vector<std::string>& packets, std::size_t count) {
  std::mt19937_64 random(7);
  constexpr std::size_t header_bytes = 96;
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i) {
    std::string packet = packets[random() % packets.size()];
    for (std::size_t changes = 1 + random() % 4; changes != 0; --changes)
      packet[random() % std::min(packet.size(), header_bytes)] = static_cast<char>(random());
    out.push_back(packet);
  }
  return out;
}

/// Keeps this thread on CPU 0, where skep's test runs count: per-CPU values can then be compared.
bool stay_on_first_cpu() {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(0, &set);
  return ::sched_setaffinity(0, sizeof set, &set) == 0;
}

/// Why the host cannot be the judge; empty if it can.
std::string why_not() {
  if (!HostKernel::is_at_least(6, 12)) return "the host's kernel is older than 6.12";
  HostKernel host;
  if (const std::string reason = host.unavailable(); !reason.empty()) return reason;
  if (!stay_on_first_cpu()) return "this process may not use CPU 0";
  return {};
}

/// Runs the packets one after the other; stops at the first difference.
void expect_same(TwoKernels& both, std::string_view program,
                 const std::vector<std::string>& packets) {
  for (std::size_t i = 0; i < packets.size(); ++i) {
    const std::string difference = both.run(program, packets[i]);
    ASSERT_EQ(difference, "") << "packet " << i + 1;
  }
  EXPECT_EQ(both.compare_maps(allowed), "") << program;
}

/// The load balancer as in the demo, its ports all loopback.
std::unique_ptr<TwoKernels> load_balancer(const std::vector<Global>& globals) {
  auto both = std::make_unique<TwoKernels>(SKEP_EXAMPLE_OBJECTS "/load_balancer.bpf.o", globals);
  EXPECT_EQ(both->skep_refusal(), "");
  if (!both->skep_refusal().empty() || !both->host_refusal().empty()) return both;
  for (const cli::MapAssignment& entry :
       cli::parse_map_file(SKEP_SOURCE_DIR "/examples/load_balancer/demo.json"))
    if (entry.map != "ports") both->set_entry(entry.map, entry.key, entry.value);
  both->set_devices(std::vector<std::uint32_t>{0, 1});
  return both;
}

#define SKEP_NEEDS_HOST() \
  if (const std::string reason = why_not(); !reason.empty()) GTEST_SKIP() << reason

class LoadBalancer : public ::testing::TestWithParam<std::vector<Global>> {};

TEST_P(LoadBalancer, TreatsEveryPacketAsTheHostDoes) {
  SKEP_NEEDS_HOST();
  for (const char* const capture : {"client1.pcap", "client2.pcap", "mixed.pcap"}) {
    SCOPED_TRACE(capture);
    const auto both = load_balancer(GetParam());
    ASSERT_EQ(both->skep_refusal(), "");
    if (!both->host_refusal().empty()) GTEST_SKIP() << both->host_refusal();
    const std::vector<std::string> packets = packets_in(capture);
    ASSERT_GT(packets.size(), 200U);
    ASSERT_NO_FATAL_FAILURE(expect_same(*both, "balance", packets));
    ASSERT_NO_FATAL_FAILURE(expect_same(*both, "balance_ipv6", packets));
  }
}

// Cut off and damaged packets lead the parser where good ones do not.
TEST_P(LoadBalancer, TreatsDamagedPacketsAsTheHostDoes) {
  SKEP_NEEDS_HOST();
  const auto both = load_balancer(GetParam());
  ASSERT_EQ(both->skep_refusal(), "");
  if (!both->host_refusal().empty()) GTEST_SKIP() << both->host_refusal();
  const std::vector<std::string> packets = packets_in("mixed.pcap");
  for (std::size_t i = 0; i < packets.size(); i += 80)
    ASSERT_NO_FATAL_FAILURE(expect_same(*both, "balance", truncations(packets[i])));
  ASSERT_NO_FATAL_FAILURE(expect_same(*both, "balance", damaged(packets, 3000)));
}

INSTANTIATE_TEST_SUITE_P(
    HostParity, LoadBalancer,
    ::testing::Values(std::vector<Global>{},
                      std::vector<Global>{{".rodata", "direct_server_return", "true"},
                                          {".data", "hash_seed", "99"}}),
    [](const auto& info) { return info.param.empty() ? "AsInTheDemo" : "DirectServerReturn"; });

TEST(HostParity, CounterCountsAsTheHostDoes) {
  SKEP_NEEDS_HOST();
  TwoKernels both(SKEP_EXAMPLE_OBJECTS "/counter.bpf.o", {});
  ASSERT_EQ(both.skep_refusal(), "");
  if (!both.host_refusal().empty()) GTEST_SKIP() << both.host_refusal();
  const std::vector<std::string> packets = packets_in("mixed.pcap");
  ASSERT_NO_FATAL_FAILURE(expect_same(both, "count", packets));
  ASSERT_NO_FATAL_FAILURE(expect_same(both, "count", truncations(packets[0])));
}

/// A test program with global variables set before loading.
struct Setting {
  std::string object;
  std::vector<Global> globals;
};

/// For the messages of GoogleTest.
void PrintTo(const Setting& setting, std::ostream* out) {
  *out << setting.object;
  for (const Global& global : setting.globals)
    *out << " " << global.variable << "=" << global.value;
}

class TestProgram : public ::testing::TestWithParam<Setting> {};

// Every XDP program of the object in turn, on the same maps: each starts where the one before
// ended.
TEST_P(TestProgram, DoesWhatItDoesOnTheHost) {
  SKEP_NEEDS_HOST();
  TwoKernels both(fmt::format("{}/{}.bpf.o", SKEP_TEST_OBJECTS, GetParam().object),
                  GetParam().globals);
  ASSERT_EQ(both.skep_refusal(), "");
  if (!both.host_refusal().empty()) GTEST_SKIP() << both.host_refusal();
  both.set_devices(std::vector<std::uint32_t>{0, 1, 3});

  const std::vector<std::string> all = packets_in("mixed.pcap");
  std::vector<std::string> packets;
  for (std::size_t i = 0; i < all.size(); i += 70) packets.push_back(all[i]);
  for (std::size_t bytes = ethernet_bytes; bytes < 64; bytes += 3)
    packets.push_back(all[0].substr(0, bytes));
  packets.push_back(std::string(3520, '\x5a'));  // the longest without fragments
  packets.push_back(std::string(3521, '\x5a'));
  ASSERT_FALSE(both.programs().empty());
  for (const std::string& program : both.programs()) {
    SCOPED_TRACE(program);
    for (std::size_t i = 0; i < packets.size(); ++i) {
      const std::string difference = both.run(program, packets[i]);
      EXPECT_EQ(difference, "");
      // Walking all maps is most of the work.
      const std::string maps =
          i % 4 == 0 || i + 1 == packets.size() ? both.compare_maps(allowed) : "";
      EXPECT_EQ(maps, "") << "after packet " << i + 1 << " of " << packets[i].size() << " bytes";
      if (!difference.empty() || !maps.empty()) break;
    }
  }
}

const Setting settings[] = {
    {"atomics", {}},
    {"broadcast", {}},
    {"buffer_bytes", {}},
    {"buffer_bytes", {{".bss", "offset", "60"}, {".data", "length", "64"}}},
    {"callbacks", {{".data", "long_loop_rounds", "50000"}}},  // within skep's instruction budget
    {"checksum", {}},
    {"core_relocations", {}},
    {"devmap_egress", {}},
    {"environment", {}},
    {"globals", {}},
    {"globals", {{".rodata", "step", "7"}, {".data", "total", "5"}}},
    {"instructions_v3", {}},
    {"instructions_v4", {}},
    {"map_operations", {}},
    {"per_cpu", {}},
    {"printk", {}},
    {"redirect_ifindex", {}},
    {"redirect_map", {}},
    {"redirect_map", {{".bss", "key", "3"}, {".bss", "flags", "2"}}},
    {"redirect_map", {{".bss", "key", "5"}, {".bss", "flags", "3"}}},
    {"redirect_map", {{".bss", "key", "8"}, {".bss", "flags", "16"}}},
    {"resize", {}},
    {"resize", {{".bss", "delta", "-8"}, {".bss", "meta_delta", "-8"}}},
    {"resize", {{".bss", "delta", "20"}, {".bss", "meta_delta", "4"}}},
    {"resize", {{".bss", "delta", "-300"}, {".bss", "meta_delta", "-36"}}},
    {"resize", {{".bss", "delta", "300"}, {".bss", "meta_delta", "-3"}}},
    {"spin_lock", {}},
    {"subprograms", {}},
    {"tail_calls", {}},
    {"verdicts", {}},
};

INSTANTIATE_TEST_SUITE_P(HostParity, TestProgram, ::testing::ValuesIn(settings),
                         [](const auto& info) {
                           return fmt::format("{}_{}", info.param.object, info.index);
                         });

}  // namespace
}  // namespace skep::testing
