// SPDX-License-Identifier: Apache-2.0
// What the command says to words that it cannot use: options, ports and attachments. Each line of a
// table is one command and all that it writes to stderr.

#include "end_to_end/command.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace skep::testing {
namespace {

constexpr int refused = 1, misused = 2;

TEST(Command, HelpAndVersionAreDone) {
  const Workshop shop;
  for (const char* const line : {"--help", "run --help", "--version"}) {
    const Outcome outcome = shop.skep(line);
    EXPECT_EQ(outcome.exit_code, 0) << line;
    EXPECT_EQ(outcome.err, "") << line;
    EXPECT_NE(outcome.out, "") << line;
  }
}

TEST(Command, MisusedOptionsAreNamed) {
  const Workshop shop;
  const std::string help = "skep run --help lists what there is";
  expect_said(shop, "", misused, "no command was given", "skep --help lists what there is");
  expect_said(shop, "fly", misused, "The following argument was not expected: fly",
              "skep --help lists what there is");
  expect_said(shop, "run", misused, "object is required", help);
  expect_said(shop, "run counter.bpf.o --fast", misused,
              "The following argument was not expected: --fast", help);
  expect_said(shop, "run counter.bpf.o second.bpf.o", misused,
              "The following argument was not expected: second.bpf.o", help);
  expect_said(shop, "run counter.bpf.o --clock fast", misused,
              "--clock: fast not in {virtual,real}", help);
  for (const std::string cpus : {"0", "257", "-1", "two"})
    expect_said(shop, "run counter.bpf.o --cpus " + cpus, misused,
                "--cpus: Value " + cpus + " not in range 1 to 256", help);
  expect_said(shop, "run counter.bpf.o --repeat 0", misused,
              "--repeat: Value 0 not in range 1 to 1000000000", help);
  for (const std::string budget : {"0", "-1"})
    expect_said(shop, "run counter.bpf.o --budget " + budget, misused,
                "--budget: Value " + budget + " not in range 1 to 1000000000000", help);
  expect_said(shop, "run counter.bpf.o --seed x", misused,
              "--seed: Value x not in range 0 to 9223372036854775807", help);
  expect_said(shop, "run counter.bpf.o --seed", misused,
              "--seed: 1 required UINT:UINT in [0 - 9223372036854775807] missing", help);
}

TEST(Command, PortsNeedANameAndAKind) {
  const Workshop shop;
  const std::string shape = "write --port NAME=KIND[:ARGS], for example --port eth0=pcap:in.pcap";
  expect_said(shop, "run counter.bpf.o", misused, "no port: nothing to receive packets from",
              "add --port NAME=KIND, for example --port in0=pcap:capture.pcap --port out0=null");
  for (const std::string port : {"in", "in=", "=null"})
    expect_said(shop, "run counter.bpf.o --port " + port, misused,
                "--port " + port + ": is not NAME=KIND", shape);
  expect_said(shop, "run counter.bpf.o --port in=veth", refused, "port in: unknown kind \"veth\"",
              "kinds are pcap, null and gen");
}

TEST(Command, PortNamesAreChecked) {
  const Workshop shop;
  for (const std::string name : {"a/b", "a:b", "sixteen_letters_", "."})
    expect_said(shop, "run counter.bpf.o --port " + name + "=null", refused,
                "port " + name + ": \"" + name + "\" is no name for a port",
                "use up to 15 characters without '/', ':' and blanks");
  for (const std::string line : {"--port in=null --port in=gen", "--port lo=null --port in=null"}) {
    const std::string name = line.substr(7, 2);
    expect_said(shop, "run counter.bpf.o " + line, refused,
                "there is a port " + name + " already (EEXIST)",
                "give each port a name of its own");
  }
}

TEST(Command, PortArgumentsAreNamedWithWhatTheyMayBe) {
  const Workshop shop;
  const auto port = [&](const std::string& spec, std::string_view why, std::string_view hint = "") {
    expect_said(shop, "run counter.bpf.o --port in=" + spec, refused,
                "port in: " + std::string(why), hint);
  };
  port("pcap:x,speed=3", "unknown option \"speed=3\"",
       "options are in=, out=, host=, queues=, snaplen=");
  port("pcap:client1.pcap,in=client2.pcap", "in=client2.pcap: the input is already client1.pcap");
  port("pcap:client1.pcap,queues=0", "queues=0: must be 1 … 256");
  port("pcap:client1.pcap,snaplen=0", "snaplen=0: must be 1 … 262144");
  port("pcap:\"abc", "a quote is not closed", "write \"…\" around a path with commas");
  port("null:frames=3", "unknown option \"frames=3\"", "options are queues=");
  port("null:queues=0", "queues=0: must be 1 … 256");
  port("gen:frames=many", "frames=many: must be a number up to 18446744073709551615");
  port("gen:bytes=10", "bytes=10: must be 64 … 1514");
  port("gen:flows=0", "flows=0: must be 1 … 1048576");
  port("gen:proto=sctp", "proto=sctp: must be udp or tcp");
  port("gen:vlan=5000", "vlan=5000: must be 1 … 4094");
  port("gen:=3", "an option without a name before \"=\"");
}

TEST(Command, AttachmentsNeedAPortAndAProgramThatExist) {
  const Workshop shop;
  const std::string run = "run counter.bpf.o --port in=null ";
  for (const std::string attachment : {"in", "in=", "=count"})
    expect_said(shop, run + "--xdp " + attachment, misused,
                "--xdp " + attachment + ": is not PORT=PROGRAM",
                "write --xdp PORT=PROGRAM, for example --xdp eth0=forward");
  expect_said(shop, run + "--xdp out=count", refused, "there is no port out (ENODEV)",
              "the ports are in");
  expect_said(shop, run + "--xdp in=cuont", refused, "port in: there is no program cuont (ENOENT)",
              "its XDP programs are count");
  expect_said(shop, "run load_balancer.bpf.o --port in=null", misused,
              "load_balancer.bpf.o: has 2 XDP programs: say which runs where",
              "add --xdp PORT=PROGRAM; the programs are balance_ipv6, balance");
  expect_said(shop, "run verdicts.bpf.o --port in=null --xdp in=xdp", refused,
              "port in: section xdp has 7 programs (EINVAL)",
              "name one of aborted, drop, pass, tx, redirect_nowhere, invalid, invalid_negative");
  expect_said(
      shop, "run faults.bpf.o --port in=null", misused,
      "faults.bpf.o: has no XDP program to attach",
      "add --xdp PORT=PROGRAM; the optional programs are ends, read_past_packet, "
      "read_across_packet_end, write_before_packet, use_packet_pointer_after_resize, "
      "read_null, read_past_map_value, write_constant, read_wild_address, read_below_stack, "
      "write_above_stack, write_context, read_past_context, read_egress_ifindex, "
      "endless_loop, helper_writes_past_map_value");
  expect_said(shop, "run devmap_egress.bpf.o --port in=null --xdp in=set_source_mac", refused,
              "port in: program set_source_mac cannot be attached (EINVAL)",
              "programs for devmap and cpumap entries run from their map: give them with --map "
              "'MAP[KEY]={port=PORT,program=PROGRAM}'");
}

// One program: it goes on every port, and its section is as good a name as its own.
TEST(Command, TheOnlyProgramNeedsNoAttachment) {
  const Workshop shop;
  const Outcome all = shop.skep("run counter.bpf.o --port a=gen:frames=3 --port b=gen:frames=2");
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_NE(all.out.find("count       a     3       0          -"), std::string::npos) << all.out;
  EXPECT_NE(all.out.find("count       b     2       0          -"), std::string::npos) << all.out;
  const Outcome by_section = shop.skep("run counter.bpf.o --port a=gen:frames=3 --xdp a=xdp");
  EXPECT_EQ(by_section.exit_code, 0) << by_section.err;
  EXPECT_NE(by_section.out.find("count       a     3"), std::string::npos) << by_section.out;
}

}  // namespace
}  // namespace skep::testing
