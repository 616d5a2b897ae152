// SPDX-License-Identifier: Apache-2.0
#include "cli/report.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace skep::cli {
namespace {

Report sample() {
  Report report;
  report.run.frames = 12;
  report.run.ports = {{.name = "in0",
                       .kind = "pcap",
                       .ifindex = 2,
                       .received = 12,
                       .passed = 1,
                       .redirected = 9,
                       .dropped = 1,
                       .aborted = 1,
                       .redirected_to = {{"out0", 9}},
                       .drops = {{"xdp_drop", 1}, {"xdp_aborted", 1}}},
                      {.name = "out0", .kind = "null", .ifindex = 3, .transmitted = 9}};
  report.run.programs = {{.name = "forward",
                          .port = "in0",
                          .id = 4,
                          .runs = 12,
                          .faults = 1,
                          .last_fault = "pc 3: read of 4 bytes"}};
  report.run.trace = {"[000] 1.000000: forward: hello"};
  report.maps = {{.map = {.name = "hits",
                          .type = "array",
                          .id = 1,
                          .key_bytes = 4,
                          .value_bytes = 8,
                          .max_entries = 3},
                  .entries = {{"0", "7", "0", "7", false},
                              {"1", "0", "1", "0", true},
                              {"2", "0", "2", "0", true}},
                  .error = {}}};
  return report;
}

TEST(Report, TablesShowWhereEveryPacketWent) {
  EXPECT_EQ(as_text(sample()),
            "port  received  passed  dropped  aborted  redirected  transmitted  redirected to\n"
            "in0         12       1        1        1           9            0  out0 9\n"
            "out0         0       0        0        0           0            9\n"
            "\n"
            "drop reasons\n"
            "  in0: xdp_drop 1, xdp_aborted 1\n"
            "\n"
            "program  port  runs  faults  ns/packet\n"
            "forward   in0    12       1          -\n"
            "  forward: last fault: pc 3: read of 4 bytes\n"
            "\n"
            "map hits (array, 3 of 3 entries)\n"
            "  0: 7\n"
            "  2 more are zero\n"
            "\n"
            "trace\n"
            "  [000] 1.000000: forward: hello\n");
}

TEST(Report, JsonHoldsTheSameNumbers) {
  const auto json = nlohmann::json::parse(as_json(sample()));
  EXPECT_EQ(json["ports"][0]["redirected_to"]["out0"], 9);
  EXPECT_EQ(json["ports"][0]["drop_reasons"]["xdp_aborted"], 1);
  EXPECT_EQ(json["programs"][0]["ns_per_packet"], nullptr);
  EXPECT_EQ(json["maps"][0]["entries"].size(), 3u);
  EXPECT_EQ(json["maps"][0]["entries"][0]["value"], 7);
  EXPECT_EQ(json["trace"][0], "[000] 1.000000: forward: hello");
}

}  // namespace
}  // namespace skep::cli
