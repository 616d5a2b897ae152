// SPDX-License-Identifier: Apache-2.0
// What happens on the way: captures that are missing or damaged, files that cannot be written,
// programs that misbehave, and every verdict.

#include "end_to_end/capture.hpp"
#include "end_to_end/command.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace skep::testing {
namespace {

constexpr int done = 0, refused = 1;

/// The row of `port` in the table, without its blanks.
std::string row_of(const std::string& out, std::string_view port) {
  const std::size_t at = out.find(fmt::format("\n{} ", port));
  if (at == std::string::npos) return "no row";
  std::string row = out.substr(at + 1, out.find('\n', at + 1) - at - 1);
  std::string squeezed;
  for (const char c : row)
    if (c != ' ' || !squeezed.ends_with(' ')) squeezed += c;
  return squeezed;
}

bool says(const std::string& text, std::string_view line) {
  return ("\n" + text).find(fmt::format("\n{}\n", line)) != std::string::npos;
}

TEST(Capture, MustBeThereAndBeOne) {
  const Workshop shop;
  const auto expect_refused = [&](const std::string& spec, const std::string& why,
                                  std::string_view hint = {}) {
    expect_said(shop, "run counter.bpf.o --port in=pcap:" + spec, refused, "port in: " + why, hint);
  };
  expect_refused("none.pcap",
                 "none.pcap: cannot read the capture: No such file or directory (ENOENT)");
  ASSERT_EQ(::mkdir(shop.path("folder").c_str(), 0700), 0);
  expect_refused("folder", "folder: cannot read the capture: Is a directory (EISDIR)");
  expect_refused("demo.json", "demo.json: is not a capture that can be read: unknown file format",
                 "give a pcap or pcapng file");
  shop.write("empty.pcap", "");
  expect_refused(
      "empty.pcap",
      "empty.pcap: is not a capture that can be read: truncated dump file; tried to read "
      "4 file header bytes, only got 0",
      "give a pcap or pcapng file");
  std::string cooked = shop.read("client1.pcap");
  put_u32(cooked, 20, 113);
  shop.write("cooked.pcap", cooked);
  expect_refused("cooked.pcap", "cooked.pcap: has link type LINUX_SLL, but a port needs Ethernet",
                 "capture on one Ethernet interface, not on \"any\"");
}

// What was before the damage is processed, counted and written; the reason comes last.
TEST(Capture, DamageKeepsWhatWasBefore) {
  const Workshop shop;
  const std::string whole = shop.read("client1.pcap");
  const std::size_t tenth = record_offset(whole, 10);
  const std::uint32_t tenth_bytes = get_u32(whole, tenth + 8);
  const std::vector<CapturedPacket> packets = packets_of(whole);

  std::string too_long = whole;
  put_u32(too_long, tenth + 8, 0x7fffffff);
  shop.write("too_long.pcap", too_long);
  std::string truncated = whole;
  put_u32(truncated, tenth + 12, tenth_bytes + 100);
  shop.write("truncated.pcap", truncated);
  std::string surplus = whole;
  put_u32(surplus, tenth + 12, tenth_bytes - 1);
  shop.write("surplus.pcap", surplus);
  shop.write("cut.pcap", whole.substr(0, tenth + record_header_bytes + 20));
  shop.write("cut_header.pcap", whole.substr(0, tenth + 7));

  const std::pair<std::string, std::string> cases[] = {
      {"too_long.pcap",
       "capture damaged at packet 10: invalid packet capture length 2147483647, bigger than "
       "snaplen "
       "of 262144: what was before it was processed"},
      {"truncated.pcap",
       fmt::format("packet 10 is truncated: only {} of its {} bytes were captured: what was before "
                   "it was processed\nhint: capture again with -s 0",
                   tenth_bytes, tenth_bytes + 100)},
      {"surplus.pcap",
       fmt::format("capture damaged at packet 10: {} bytes captured of a packet of {}: what was "
                   "before it was processed",
                   tenth_bytes, tenth_bytes - 1)},
      {"cut.pcap",
       fmt::format("capture damaged at packet 10: truncated dump file; tried to read {} captured "
                   "bytes, only got 20: what was before it was processed",
                   tenth_bytes)},
      {"cut_header.pcap",
       "capture damaged at packet 10: truncated dump file; tried to read 16 header bytes, only got "
       "7: what was before it was processed"},
  };
  for (const auto& [name, why] : cases) {
    for (const std::string cpus : {"1", "2"}) {
      SCOPED_TRACE(name + " with cpus " + cpus);
      const Outcome outcome =
          shop.skep("run counter.bpf.o --port in=pcap:" + name + " --out out --cpus " + cpus);
      EXPECT_EQ(outcome.exit_code, refused);
      EXPECT_EQ(outcome.err, fmt::format("skep: port in: {}: {}\n", name, why));
      EXPECT_EQ(row_of(outcome.out, "in"), "in 9 9 0 0 0 0");
      EXPECT_TRUE(packets_of(shop.read("out/in.host.pcap")) ==
                  std::vector(packets.begin(), packets.begin() + 9));
    }
  }
}

// The other ports go on.
TEST(Capture, DamageOfOneInputDoesNotStopTheOthers) {
  const Workshop shop;
  const std::string whole = shop.read("client1.pcap");
  shop.write("cut.pcap", whole.substr(0, record_offset(whole, 4) + 5));
  const Outcome outcome =
      shop.skep("run counter.bpf.o --port bad=pcap:cut.pcap --port good=pcap:client2.pcap --json");
  EXPECT_EQ(outcome.exit_code, refused);
  EXPECT_EQ(outcome.err,
            "skep: port bad: cut.pcap: capture damaged at packet 4: truncated dump file; tried to "
            "read 16 header bytes, only got 5: what was before it was processed\n");
  EXPECT_NE(outcome.out.find("\"frames\": 341"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("\"error\": \"cut.pcap: capture damaged at packet 4"),
            std::string::npos)
      << outcome.out;
}

TEST(Capture, PcapngIsReadLikePcap) {
  const Workshop shop;
  const auto run = [&](const std::string& name) {
    const Outcome outcome =
        shop.skep("run counter.bpf.o --port in=pcap:" + name + " --out out --dump-maps");
    EXPECT_EQ(outcome.exit_code, done) << outcome.err;
    return outcome.out + shop.read("out/in.host.pcap");
  };
  EXPECT_TRUE(run("mixed.pcapng") == run("mixed.pcap"));
}

// A pipe gives its packets once.
TEST(Capture, APipeCannotBeRepeated) {
  const Workshop shop;
  // What is refused is refused before the pipe is read: its writer finds nobody there.
  std::signal(SIGPIPE, SIG_IGN);
  ASSERT_EQ(::mkfifo(shop.path("pipe").c_str(), 0600), 0);
  const auto run = [&](const std::string& options) {
    std::thread writer([&] { shop.write("pipe", shop.read("client1.pcap")); });
    Outcome outcome = shop.skep("run counter.bpf.o --port in=pcap:pipe " + options);
    writer.join();
    return outcome;
  };
  const Outcome once = run("");
  EXPECT_EQ(once.exit_code, done) << once.err;
  EXPECT_EQ(row_of(once.out, "in"), "in 243 243 0 0 0 0");
  const Outcome twice = run("--repeat 2");
  EXPECT_EQ(twice.exit_code, refused);
  EXPECT_EQ(twice.err,
            "skep: port in: its input cannot be played again (ESPIPE)\n"
            "hint: save it to a file first\n");
}

TEST(Output, MustBeWritable) {
  const Workshop shop;
  const std::string run = "run counter.bpf.o --port in=pcap:client1.pcap";
  expect_said(shop, run + " --out demo.json", refused,
              "--out demo.json: cannot be made: Not a directory (ENOTDIR)",
              "choose a directory that you may write");
  expect_said(shop, run + " --out /proc/captures", refused,
              "--out /proc/captures: cannot be made: No such file or directory (ENOENT)",
              "choose a directory that you may write");
  expect_said(
      shop, run + ",out=none/x.pcap", refused,
      "port in: none/x.pcap: cannot create the capture: No such file or directory (ENOENT)");
  for (const std::string output : {"out", "host"})
    expect_said(shop, run + "," + output + "=/dev/full", refused,
                "port in: /dev/full: cannot write the capture: No space left on device (ENOSPC)");
  expect_said(shop, run + ",out=client1.pcap", refused,
              "port in: client1.pcap: is the input capture and would be overwritten",
              "choose another output file");
  EXPECT_EQ(packets_of(shop.read("client1.pcap")).size(), 243U);
  expect_said(shop, run + ",out=x.pcap --port b=pcap:client2.pcap,out=x.pcap", refused,
              "port b: x.pcap: is in use by another port", "choose another output file");
}

/// While it lives, files of this process and of those that it starts cannot grow beyond `bytes`.
class SmallFiles {
 public:
  explicit SmallFiles(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    handler_ = ::signal(SIGXFSZ, SIG_IGN);
  }
  ~SmallFiles() {
    ::signal(SIGXFSZ, handler_);
    ::setrlimit(RLIMIT_FSIZE, &before_);
  }
  SmallFiles(const SmallFiles&) = delete;
  SmallFiles& operator=(const SmallFiles&) = delete;

 private:
  rlimit before_{};
  sighandler_t handler_ = nullptr;
};

// A disk that fills up on the way: whole packets are kept, the others counted, and each trouble of
// a port is a sentence of its own.
TEST(Output, AFileThatCannotGrowKeepsWholePackets) {
  const Workshop shop;
  const std::string whole = shop.read("client1.pcap");
  shop.write("cut.pcap", whole.substr(0, record_offset(whole, 243) + 3));
  const std::vector<CapturedPacket> packets = packets_of(whole);
  Outcome outcome;
  {
    const SmallFiles limit(20'000);
    outcome = shop.skep("run counter.bpf.o --port in=pcap:cut.pcap --out out");
  }
  const std::vector<CapturedPacket> kept = packets_of(shop.read("out/in.host.pcap"));
  ASSERT_GT(kept.size(), 10U);
  ASSERT_LT(kept.size(), 242U);
  EXPECT_TRUE(kept == std::vector(packets.begin(),
                                  packets.begin() + static_cast<std::ptrdiff_t>(kept.size())));
  EXPECT_EQ(outcome.exit_code, refused);
  EXPECT_EQ(
      outcome.err,
      fmt::format("skep: port in: cut.pcap: capture damaged at packet 243: truncated dump file; "
                  "tried to read 16 header bytes, only got 3: what was before it was processed\n"
                  "skep: port in: out/in.host.pcap: cannot write the capture: File too large "
                  "(EFBIG): the last {} of 242 packets are missing in it\n",
                  242 - kept.size()));
  EXPECT_EQ(row_of(outcome.out, "in"), "in 242 242 0 0 0 0");
}

TEST(Output, AReportThatCannotBeWrittenIsNoSuccess) {
  const Workshop shop;
  for (const std::string format : {"", "--json"}) {
    std::vector<std::string> words = {"run", "counter.bpf.o", "--port", "in=gen:frames=1"};
    if (!format.empty()) words.push_back(format);
    const Outcome outcome = shop.skep(words, "/dev/full");
    EXPECT_EQ(outcome.exit_code, refused);
    EXPECT_EQ(outcome.err,
              "skep: the report cannot be written: No space left on device (ENOSPC)\n");
  }
}

TEST(Verdict, EachIsCountedWhereItBelongs) {
  const Workshop shop;
  struct Case {
    const char* program;
    const char* row;     // port, received, passed, dropped, aborted, redirected, transmitted
    const char* reason;  // in the list of drop reasons
  };
  constexpr Case cases[] = {
      {"pass", "in 243 243 0 0 0 0", ""},
      {"drop", "in 243 0 243 0 0 0", "xdp_drop 243"},
      {"aborted", "in 243 0 0 243 0 0", "xdp_aborted 243"},
      {"tx", "in 243 0 0 0 0 243", ""},
      {"redirect_nowhere", "in 243 0 243 0 0 0", "redirect_no_target 243"},
      {"invalid", "in 243 0 243 0 0 0", "xdp_invalid_verdict 243"},
      {"invalid_negative", "in 243 0 243 0 0 0", "xdp_invalid_verdict 243"},
  };
  const std::string input = shop.read("client1.pcap");
  for (const Case& c : cases) {
    SCOPED_TRACE(c.program);
    const Outcome outcome = shop.skep(fmt::format(
        "run verdicts.bpf.o --port in=pcap:client1.pcap --out out --xdp in={}", c.program));
    EXPECT_EQ(outcome.exit_code, done) << outcome.err;
    EXPECT_EQ(row_of(outcome.out, "in"), c.row);
    EXPECT_EQ(outcome.out.find("drop reasons") != std::string::npos, *c.reason != '\0');
    if (*c.reason != '\0') EXPECT_TRUE(says(outcome.out, fmt::format("  in: {}", c.reason)));
    EXPECT_TRUE(says(outcome.out,
                     fmt::format("{:<{}}    in   243       0          -", c.program,
                                 std::max<std::size_t>(7, std::string_view(c.program).size()))))
        << outcome.out;
    const bool passed = std::string_view(c.program) == "pass";
    const bool sent = std::string_view(c.program) == "tx";
    EXPECT_TRUE(packets_of(shop.read("out/in.host.pcap")) ==
                (passed ? packets_of(input) : std::vector<CapturedPacket>()));
    EXPECT_TRUE(packets_of(shop.read("out/in.out.pcap")) ==
                (sent ? packets_of(input) : std::vector<CapturedPacket>()));
  }
}

// Runs one program of tests/programs/faults.bpf.c on one packet of 638 bytes.
TEST(Fault, EachIsNamedWithItsPlace) {
  const Workshop shop;
  shop.write("one.pcap", capture_of({{.time_ns = 1, .bytes = std::string(638, 'x')}}));
  const std::pair<const char*, const char*> cases[] = {
      {"read_past_packet",
       "pc 1: read of 1 bytes through r1: packet+638 (end at 638) may not be read"},
      {"read_across_packet_end",
       "pc 1: read of 8 bytes through r1: packet+637 (end at 638) may not be read"},
      {"write_before_packet",
       "pc 2: write of 1 bytes through r1: packet-1 (end at 638) may not be written"},
      {"use_packet_pointer_after_resize",
       "pc 6: read of 1 bytes through r6: packet-20 (end at 618) may not be read"},
      {"read_null", "pc 7: read of 8 bytes through r0: null may not be read"},
      {"read_past_map_value",
       "pc 10: read of 8 bytes through r1: map value+8 (small, 8 bytes) may not be read"},
      {"write_constant",
       "pc 3: write of 8 bytes through r1: map value+0 (faults.rodata, 8 bytes, read-only) may not "
       "be written"},
      {"read_wild_address",
       "pc 2: read of 8 bytes through r1: 0x1234567812345678, no memory of this program, may not "
       "be "
       "read"},
      {"read_below_stack", "pc 0: read of 8 bytes through r10: stack-520 may not be read"},
      {"write_above_stack", "pc 1: write of 8 bytes through r10: stack+0 may not be written"},
      {"write_context", "pc 1: write of 4 bytes through r1: context+16 is no writable field"},
      {"read_past_context", "pc 0: read of 4 bytes through r1: context+24 is no readable field"},
      {"read_egress_ifindex", "pc 0: read of 4 bytes through r1: context+20 is no readable field"},
      {"helper_writes_past_map_value",
       "pc 15: helper argument r3: not writable: 8 bytes at map value+4 (small, 8 bytes)"},
      {"endless_loop", "pc 2: the instruction budget of the run is used up"},
  };
  for (const auto& [program, fault] : cases) {
    SCOPED_TRACE(program);
    const Outcome outcome =
        shop.skep(fmt::format("run faults.bpf.o --port in=pcap:one.pcap --xdp in={}", program));
    EXPECT_EQ(outcome.exit_code, done) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    EXPECT_EQ(row_of(outcome.out, "in"), "in 1 0 0 1 0 0");
    EXPECT_TRUE(says(outcome.out, "  in: xdp_fault 1")) << outcome.out;
    EXPECT_TRUE(says(outcome.out, fmt::format("  {}: last fault: {}", program, fault)))
        << outcome.out;
  }
}

// The same object without a fault, so that the cases above are not refused for another reason.
TEST(Fault, TheControlProgramHasNone) {
  const Workshop shop;
  const Outcome outcome = shop.skep("run faults.bpf.o --port in=pcap:client1.pcap --xdp in=ends");
  EXPECT_EQ(outcome.exit_code, done) << outcome.err;
  EXPECT_EQ(row_of(outcome.out, "in"), "in 243 243 0 0 0 0");
}

// The loop takes two instructions a turn, so a budget decides where it ends; too small a one ends
// an honest program as well.
TEST(Fault, TheBudgetIsTheUsers) {
  const Workshop shop;
  const Outcome short_loop =
      shop.skep("run faults.bpf.o --port in=gen:frames=2 --xdp in=endless_loop --budget 100");
  EXPECT_TRUE(says(short_loop.out, "  in: xdp_fault 2")) << short_loop.out;
  const Outcome tight = shop.skep("run counter.bpf.o --port in=gen:frames=2 --budget 3");
  EXPECT_EQ(row_of(tight.out, "in"), "in 2 0 0 2 0 0");
  const Outcome enough = shop.skep("run counter.bpf.o --port in=gen:frames=2 --budget 100");
  EXPECT_EQ(row_of(enough.out, "in"), "in 2 2 0 0 0 0");
}

// .rodata is set before loading: the load balancer's debug lines, and direct server return.
TEST(GlobalVariable, ConfiguresTheProgram) {
  const Workshop shop;
  const std::string run =
      "run load_balancer.bpf.o --port in=pcap:client1.pcap --port lan1=pcap --port lan2=pcap --xdp "
      "in=balance --map-file demo.json --out out ";
  const Outcome quiet = shop.skep(run);
  EXPECT_EQ(quiet.out.find("\ntrace\n"), std::string::npos);

  const Outcome traced = shop.skep(run + "--map .rodata[debug]=true");
  EXPECT_EQ(traced.exit_code, done) << traced.err;
  const std::size_t trace = traced.out.find("\ntrace\n");
  ASSERT_NE(trace, std::string::npos);
  const std::string lines = traced.out.substr(trace + 7);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 51);  // one for each flow of client1.pcap
  EXPECT_TRUE(lines.starts_with(
      "  [000] 2.611658: balance: new flow: protocol 6, client port 46286, backend 0\n"))
      << lines;

  // Only the MAC addresses change: everything behind them is in the input as it is in the outputs.
  const Outcome direct = shop.skep(run + "--map .rodata[direct_server_return]=true");
  EXPECT_EQ(direct.exit_code, done) << direct.err;
  std::vector<std::string> came, sent;
  for (const CapturedPacket& packet : packets_of(shop.read("client1.pcap")))
    came.push_back(packet.bytes.substr(12));
  for (const char* const name : {"out/lan1.out.pcap", "out/lan2.out.pcap"})
    for (const CapturedPacket& packet : packets_of(shop.read(name)))
      sent.push_back(packet.bytes.substr(12));
  EXPECT_EQ(sent.size(), 223U);
  for (const std::string& bytes : sent)
    EXPECT_NE(std::find(came.begin(), came.end(), bytes), came.end());
}

}  // namespace
}  // namespace skep::testing
