// SPDX-License-Identifier: Apache-2.0
// The command of scripts/demo, with its output and its captures compared to the last byte. The
// golden file was checked against the host kernel's counts in examples/load_balancer/README.md and
// against the packets of captures/.

#include "end_to_end/capture.hpp"
#include "end_to_end/command.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace skep::testing {
namespace {

using Json = nlohmann::json;

constexpr const char* demo =
    "run load_balancer.bpf.o --port client1=pcap:client1.pcap --port client2=pcap:client2.pcap "
    "--port lan1=pcap --port lan2=pcap --xdp client1=balance --xdp client2=balance --map-file "
    "demo.json --dump-maps";

/// `demo` with more words.
Outcome run_demo(const Workshop& shop, const std::string& more) {
  Outcome outcome = shop.skep(std::string(demo) + " " + more);
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
  return outcome;
}

Json run_demo_json(const Workshop& shop, const std::string& more) {
  Json json = Json::parse(run_demo(shop, "--json " + more).out, nullptr, false);
  EXPECT_FALSE(json.is_discarded());
  return json;
}

Json map_of(const Json& report, std::string_view name) {
  for (const Json& map : report.at("maps"))
    if (map.at("name") == name) return map;
  ADD_FAILURE() << "no map " << name;
  return {};
}

/// Packets per reason, added up over the CPUs: REASON_REDIRECTED first.
std::vector<std::uint64_t> verdicts_of(const Json& report) {
  std::vector<std::uint64_t> packets;
  const Json verdicts = map_of(report, "verdicts");
  for (const Json& entry : verdicts.at("entries")) {
    std::uint64_t sum = 0;
    for (const Json& cpu : entry.at("value")) sum += cpu.at("packets").get<std::uint64_t>();
    packets.push_back(sum);
  }
  return packets;
}

/// Which backend each flow got, and its packets: all of `flows` that does not tell the time.
std::set<std::string> flows_of(const Json& report) {
  std::set<std::string> flows;
  const Json map = map_of(report, "flows");
  for (const Json& entry : map.at("entries")) {
    const Json& value = entry.at("value");
    flows.insert(fmt::format("{} {} {} {}", entry.at("key").dump(), value.at("packets").dump(),
                             value.at("bytes").dump(), value.at("backend").dump()));
  }
  return flows;
}

/// The counts of a port that do not depend on order or time.
std::map<std::string, Json> ports_of(const Json& report) {
  std::map<std::string, Json> ports;
  for (const Json& port : report.at("ports")) ports[port.at("name").get<std::string>()] = port;
  return ports;
}

// The host kernel's counts: the row "both" of the table in examples/load_balancer/README.md.
const std::vector<std::uint64_t> host_counts = {0, 522, 4, 47, 8, 0, 0, 0, 0, 0, 0, 0};

constexpr const char* output_captures[] = {
    "client1.out.pcap", "client1.host.pcap", "client2.out.pcap", "client2.host.pcap",
    "lan1.out.pcap",    "lan1.host.pcap",    "lan2.out.pcap",    "lan2.host.pcap"};

TEST(Demo, PrintsExactlyTheGoldenFile) {
  const Workshop shop;
  EXPECT_EQ(run_demo(shop, "--out out").out,
            read_file(SKEP_SOURCE_DIR "/tests/end_to_end/demo.golden"));
}

// Without this a reader of the golden file would have to believe it.
TEST(Demo, CountsAreTheHostKernels) {
  const Workshop shop;
  const Json report = run_demo_json(shop, "");
  EXPECT_EQ(verdicts_of(report), host_counts);
  EXPECT_EQ(flows_of(report).size(), 100U);
  const auto ports = ports_of(report);
  EXPECT_EQ(ports.at("client1").at("redirected_to"), (Json{{"lan1", 130}, {"lan2", 93}}));
  EXPECT_EQ(ports.at("client2").at("redirected_to"), (Json{{"lan1", 176}, {"lan2", 123}}));
  EXPECT_EQ(ports.at("client1").at("passed"), 20);
  EXPECT_EQ(ports.at("client2").at("passed"), 39);
}

// The other rows of that table, each with the host's counts; the words of the row stand in the
// file.
TEST(Demo, EachCaptureCountsAsOnTheHost) {
  const Workshop shop;
  const std::string table = read_file(SKEP_SOURCE_DIR "/examples/load_balancer/README.md");
  for (const char* const row :
       {"| client1.pcap | 243 | 223 | 130 | 93 | 1 | 17 | 2 | 0 | 51 |",
        "| client2.pcap | 338 | 299 | 176 | 123 | 3 | 30 | 6 | 0 | 49 |",
        "| mixed.pcap (both directions) | 1040 | 522 | 306 | 216 | 8 | 94 | 403 | 13 | 100 |"}) {
    SCOPED_TRACE(row);
    ASSERT_NE(table.find(row), std::string::npos) << "README.md says something else";
    const std::string_view words(row);
    const std::string capture(words.substr(2, words.find(".pcap") + 3));
    Json report = Json::parse(
        shop.skep("run load_balancer.bpf.o --port in=pcap:" + capture +
                  " --port lan1=null --port lan2=null --xdp in=balance --map-file demo.json "
                  "--dump-maps --json")
            .out,
        nullptr, false);
    ASSERT_FALSE(report.is_discarded());
    const std::vector<std::uint64_t> verdicts = verdicts_of(report);
    const auto ports = ports_of(report);
    const auto numbers = fmt::format(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} |", report.at("frames").dump(), verdicts[1],
        ports.at("lan1").at("transmitted").dump(), ports.at("lan2").at("transmitted").dump(),
        verdicts[2], verdicts[3], verdicts[4], verdicts[5], flows_of(report).size());
    EXPECT_TRUE(words.ends_with(numbers)) << numbers;
  }
}

// Every packet that came in is in exactly one output, with the stamp it came with; what passed has
// not been changed.
TEST(Demo, EveryPacketIsInOneOutput) {
  const Workshop shop;
  run_demo(shop, "--out out");
  std::multiset<std::uint64_t> came, left;
  std::map<std::string, std::vector<CapturedPacket>> outputs;
  for (const char* const name : output_captures) {
    outputs[name] = packets_of(shop.read(std::string("out/") + name));
    for (const CapturedPacket& packet : outputs[name]) left.insert(packet.time_ns);
  }
  for (const std::string client : {"client1", "client2"}) {
    const std::vector<CapturedPacket> input = packets_of(shop.read(client + ".pcap"));
    for (const CapturedPacket& packet : input) came.insert(packet.time_ns);
    for (const CapturedPacket& passed : outputs[client + ".host.pcap"])
      EXPECT_NE(std::find(input.begin(), input.end(), passed), input.end());
    EXPECT_TRUE(outputs[client + ".out.pcap"].empty());
  }
  EXPECT_EQ(came.size(), 581U);
  EXPECT_EQ(came, left);
  EXPECT_EQ(outputs["lan1.out.pcap"].size(), 306U);
  EXPECT_EQ(outputs["lan2.out.pcap"].size(), 216U);
  // Sent to the backends of that port, from that port's address (demo.json).
  for (const CapturedPacket& packet : outputs["lan1.out.pcap"]) {
    EXPECT_EQ(packet.bytes.substr(0, 5), std::string("\x02\0\0\0\x11", 5));
    EXPECT_EQ(packet.bytes.substr(6, 6), std::string("\x02\0\0\0\x11\x01", 6));
  }
  for (const CapturedPacket& packet : outputs["lan2.out.pcap"])
    EXPECT_EQ(packet.bytes.substr(6, 6), std::string("\x02\0\0\0\x12\x01", 6));
}

TEST(Demo, TwoRunsAreTheSameToTheLastByte) {
  const Workshop shop;
  for (const std::string options : {"", "--cpus 2 ", "--repeat 3 "}) {
    const std::string first = run_demo(shop, options + "--out first").out;
    EXPECT_EQ(run_demo(shop, options + "--out second").out, first);
    for (const std::string name : output_captures) {
      const std::string bytes = shop.read("first/" + name);
      EXPECT_FALSE(bytes.empty()) << name;
      EXPECT_TRUE(shop.read("second/" + name) == bytes) << name;
    }
  }
}

// The program uses no random numbers, so the seed, which hashes the tables, must not show.
TEST(Demo, AnotherSeedChangesNothing) {
  const Workshop shop;
  const std::string first = run_demo(shop, "--out first").out;
  EXPECT_EQ(run_demo(shop, "--out second --seed 7").out, first);
  for (const std::string name : output_captures)
    EXPECT_TRUE(shop.read("second/" + name) == shop.read("first/" + name)) << name;
}

TEST(Demo, JsonCarriesTheSameNumbersAsTheTables) {
  const Workshop shop;
  const std::string text = run_demo(shop, "").out;
  const Json report = run_demo_json(shop, "");
  EXPECT_EQ(report.at("frames"), 581);
  for (const Json& port : report.at("ports")) {
    // The row of the table: name, received, passed, dropped, aborted, redirected, transmitted.
    std::string row = port.at("name").get<std::string>();
    const std::size_t at = text.find("\n" + row + " ");
    ASSERT_NE(at, std::string::npos) << row;
    std::istringstream words(text.substr(at + 1 + row.size()));
    for (const char* const column :
         {"received", "passed", "dropped", "aborted", "redirected", "transmitted"}) {
      std::uint64_t number = 0;
      words >> number;
      EXPECT_EQ(port.at(column), number) << row << " " << column;
    }
  }
  for (const Json& map : report.at("maps")) {
    const std::string title =
        fmt::format("map {} ({}, {} of {} entries)\n", map.at("name").get<std::string>(),
                    map.at("type").get<std::string>(), map.at("entries").size(),
                    map.at("max_entries").get<unsigned>());
    EXPECT_NE(text.find(title), std::string::npos) << title;
  }
  EXPECT_EQ(report.at("programs").at(0).at("runs"), 243);
  EXPECT_EQ(report.at("programs").at(1).at("runs"), 338);
}

// A flow stays on one CPU, so neither how many there are nor threads change what becomes of it.
TEST(Demo, CpusAndTheRealClockGiveTheSameTotals) {
  const Workshop shop;
  const Json one = run_demo_json(shop, "");
  for (const std::string options : {"--cpus 2", "--cpus 2 --clock real", "--cpus 3 --clock real"}) {
    SCOPED_TRACE(options);
    const Json many = run_demo_json(shop, options);
    EXPECT_EQ(verdicts_of(many), host_counts);
    EXPECT_EQ(flows_of(many), flows_of(one));
    EXPECT_EQ(ports_of(many), ports_of(one));
    for (const Json& program : many.at("programs"))
      EXPECT_EQ(program.at("ns_per_packet").is_number(), options.find("real") != std::string::npos);
  }
}

}  // namespace
}  // namespace skep::testing
