// SPDX-License-Identifier: Apache-2.0
#include "cli/map_arguments.hpp"

#include "cli/words.hpp"

#include <gtest/gtest.h>

namespace skep::cli {
namespace {

TEST(MapArgument, TakesNameKeyAndValueApart) {
  const MapAssignment plain = parse_map_argument("ports[0]=lan1");
  EXPECT_EQ(plain.map, "ports");
  EXPECT_EQ(plain.key, "0");
  EXPECT_EQ(plain.value, "lan1");
  EXPECT_FALSE(plain.is_global());

  const MapAssignment nested = parse_map_argument("m[{a=[1,2],b=\"]\"}]={c=\"x=y\"}");
  EXPECT_EQ(nested.key, "{a=[1,2],b=\"]\"}");
  EXPECT_EQ(nested.value, "{c=\"x=y\"}");
  EXPECT_TRUE(parse_map_argument(".rodata[limit]=5").is_global());
  EXPECT_EQ(parse_map_argument("m[1]=").value, "");
}

TEST(MapArgument, RefusesWhatHasNoShape) {
  for (const char* text : {"", "m", "m=1", "[1]=2", "m[1", "m[1]", "m[1]2", "m[{1]=2", "m[\"]=2"})
    EXPECT_THROW(parse_map_argument(text), Misuse) << text;
}

TEST(MapFile, TurnsJsonIntoTypedText) {
  const auto entries = parse_map_json(
      R"({"vips": [{"key": {"address": "10.0.0.1", "port": 80}, "value": {"name": "a b", "list": [1, -2, true]}}],
          "ports": [{"key": 0, "value": "lan1"}]})",
      "file");
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].map, "vips");
  EXPECT_EQ(entries[0].key, "{address=10.0.0.1,port=80}");
  EXPECT_EQ(entries[0].value, "{name=\"a b\",list=[1,-2,true]}");
  EXPECT_EQ(entries[1].key, "0");
  EXPECT_EQ(entries[1].value, "lan1");
}

TEST(MapFile, SaysWhereItIsWrong) {
  const auto message = [](const char* text) {
    try {
      parse_map_json(text, "f.json");
    } catch (const Misuse& misuse) {
      return misuse.message;
    }
    return std::string("accepted");
  };
  EXPECT_EQ(message("{\"m\": "), "f.json: byte 7: not JSON");
  EXPECT_EQ(message(R"({"m": [], "m": []})"), "f.json: m: is there twice");
  EXPECT_EQ(message("[]"), "f.json: is not an object of maps");
  EXPECT_EQ(message(R"({"m": 1})"), "f.json: m: is not a list of entries");
  EXPECT_EQ(message(R"({"m": [{"key": 1}]})"),
            "f.json: m: entry 0 is not {\"key\": …, \"value\": …}");
  EXPECT_EQ(message(R"({"m": [{"key": 1e400, "value": 1}]})"), "f.json: a number is out of range");
}

// Values are written out recursively: a file must not be able to exhaust the stack.
TEST(MapFile, NestingHasALimit) {
  const auto file = [](std::size_t depth) {
    return R"({"m": [{"key": 1, "value": )" + std::string(depth, '[') + std::string(depth, ']') +
           "}]}";
  };
  EXPECT_EQ(parse_map_json(file(60), "f.json").at(0).value,
            std::string(60, '[') + std::string(60, ']'));
  try {
    parse_map_json(file(100'000), "f.json");
    FAIL();
  } catch (const Misuse& misuse) {
    EXPECT_EQ(misuse.message, "f.json: nested deeper than 64");
  }
}

TEST(MapFile, AMissingFileIsNamed) {
  try {
    parse_map_file("/nonexistent/maps.json");
    FAIL();
  } catch (const Misuse& misuse) {
    EXPECT_EQ(
        misuse.message,
        "--map-file /nonexistent/maps.json: cannot be read: No such file or directory (ENOENT)");
  }
}

}  // namespace
}  // namespace skep::cli
