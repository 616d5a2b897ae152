// SPDX-License-Identifier: Apache-2.0
#include "btf/text.hpp"

#include "btf/btf_builder.hpp"
#include "support/expect.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace skep {
namespace {

using testing::BtfBuilder;
using Flag = BtfBuilder::KindFlag;
using Bytes = std::vector<std::byte>;

template <class... Values>
Bytes bytes_of(Values... values) {
  return {static_cast<std::byte>(values)...};
}

/// Types to build upon, and the checked result.
class BtfText : public ::testing::Test {
 protected:
  void build() {
    Log log;
    auto parsed = Btf::parse(b.blob(), budget_, log);
    ASSERT_OK(parsed) << log.text();
    btf_ = std::move(parsed).take();
  }
  const Btf& btf() const { return *btf_; }

  std::string text(std::uint32_t id, const Bytes& bytes) { return format_value(btf(), id, bytes); }
  std::string json(std::uint32_t id, const Bytes& bytes) { return format_json(btf(), id, bytes); }
  /// The bytes of `text`; a test failure with the reason if it is refused.
  Bytes parsed(std::uint32_t id, std::string_view text) {
    Bytes out(btf().size_of(id).value_or(0), std::byte{0xee});
    std::string why;
    EXPECT_OK(parse_value(btf(), id, text, out, why)) << why;
    return out;
  }
  /// Why `text` is refused.
  std::string refusal(std::uint32_t id, std::string_view text) {
    Bytes out(btf().size_of(id).value_or(0));
    std::string why;
    EXPECT_ERRNO(parse_value(btf(), id, text, out, why), EINVAL) << text;
    return why;
  }

  BtfBuilder b;
  const std::uint32_t u8 = b.type_definition("__u8", b.integer("unsigned char", 1));
  const std::uint32_t u16 = b.type_definition("__u16", b.integer("unsigned short", 2));
  const std::uint32_t u32 = b.type_definition("__u32", b.integer("unsigned int", 4));
  const std::uint32_t u64 = b.type_definition("__u64", b.integer("unsigned long long", 8));
  const std::uint32_t i32 = b.integer("int", 4, testing::int_signed);
  const std::uint32_t character = b.integer("char", 1, testing::int_signed);
  const std::uint32_t boolean = b.integer("_Bool", 1, testing::int_bool);
  const std::uint32_t be16 = b.type_definition("__be16", u16);
  const std::uint32_t be32 = b.type_definition("__be32", u32);

 private:
  testing::TestBudget budget_;
  Ref<Btf> btf_;
};

TEST_F(BtfText, StructOfNetworkFields) {
  const auto id =
      b.structure("service", 8, {{"address", be32, 0}, {"port", be16, 32}, {"protocol", u8, 48}});
  build();
  const Bytes bytes = bytes_of(10, 0, 0, 100, 0, 80, 6, 0);

  EXPECT_EQ(text(id, bytes), "{address=10.0.0.100,port=80,protocol=6}");
  EXPECT_EQ(json(id, bytes), R"({"address":"10.0.0.100","port":80,"protocol":6})");
  EXPECT_EQ(parsed(id, "{address=10.0.0.100,port=80,protocol=6}"), bytes);
  EXPECT_EQ(parsed(id, "{ protocol = 0x6, port = 80, address = 167772260, }"), bytes);
  EXPECT_EQ(parsed(id, "{10.0.0.100,80,6}"), bytes);
  EXPECT_EQ(parsed(id, json(id, bytes)), bytes);
  EXPECT_EQ(parsed(id, "{port=80}"), bytes_of(0, 0, 0, 0, 0, 80, 0, 0));
}

TEST_F(BtfText, RefusalsNameFieldTextAndExpectation) {
  const auto service =
      b.structure("service", 8, {{"address", be32, 0}, {"port", be16, 32}, {"protocol", u8, 48}});
  const auto outer =
      b.structure("outer", 24, {{"first", service, 0}, {"list", b.array(i32, u32, 3), 64}});
  const auto state = b.enumeration("state", 4, {{"IDLE", 0}, {"BUSY", 3}});
  build();

  EXPECT_EQ(refusal(service, "{port=70000}"), "port: 70000 does not fit __be16 (0 … 65535)");
  EXPECT_EQ(refusal(service, "{port=-1}"), "port: -1 does not fit __be16 (0 … 65535)");
  EXPECT_EQ(refusal(service, "{port=http}"),
            "port: \"http\" is not a number, expected __be16 (0 … 65535)");
  EXPECT_EQ(refusal(service, "{prt=1}"),
            "struct service has no field \"prt\" (has: address, port, protocol)");
  EXPECT_EQ(refusal(service, "{address=10.0.0.256}"),
            "address: \"10.0.0.256\" is not an IPv4 address, expected one like 10.0.0.1");
  EXPECT_EQ(refusal(service, "{port=1,port=2}"), "field \"port\" is given twice");
  EXPECT_EQ(refusal(service, "{port=1,2}"),
            "fields are given either all by name or all by position");
  EXPECT_EQ(refusal(service, "{1,2,3,4}"),
            "too many values, struct service has 3 (fields: address, port, protocol)");
  EXPECT_EQ(refusal(service, "17"), "\"17\" is not struct service, expected {field=value,…}");
  EXPECT_EQ(refusal(service, "{port=1} x"), "\"x\" is left over after the value");
  EXPECT_EQ(refusal(service, "{port=1"), "expected , or } but found the end of the text");
  EXPECT_EQ(refusal(service, "{port=}"), "port: expected __be16, found \"}\"");
  EXPECT_EQ(refusal(outer, "{first={protocol=300}}"),
            "first.protocol: 300 does not fit __u8 (0 … 255)");
  EXPECT_EQ(refusal(outer, "{list=[1,2,2147483648]}"),
            "list[2]: 2147483648 does not fit int (-2147483648 … 2147483647)");
  EXPECT_EQ(refusal(outer, "{list=[1,2,3,4]}"), "list: too many elements, int[3] holds 3");
  EXPECT_EQ(refusal(outer, "{list=5}"), "list: \"5}\" is not int[3], expected [value,…]");
  EXPECT_EQ(refusal(state, "RUNNING"),
            "\"RUNNING\" is not a value of enum state (has: IDLE, BUSY)");
  EXPECT_EQ(refusal(0, "1"), "void has no values");
}

TEST_F(BtfText, WrongSizeOfTheBufferIsRefused) {
  build();
  Bytes out(3);
  std::string why;
  EXPECT_ERRNO(parse_value(btf(), u32, "1", out, why), EINVAL);
  EXPECT_EQ(why, "__u32 has 4 bytes, but the value has 3 bytes");
}

TEST_F(BtfText, Addresses) {
  const auto key6 = b.structure("", 20, {{"saddr", b.array(be32, u32, 4), 0}, {"vip", be32, 128}});
  const auto raw = b.structure("", 26,
                               {{"ip6", b.array(u8, u32, 16), 0},
                                {"ip4", b.array(u8, u32, 4), 128},
                                {"src_mac", b.array(u8, u32, 6), 160}});
  const auto in6 = b.structure("in6_addr", 16, {{"words", b.array(u32, u32, 4), 0}});
  const auto plain = b.structure("", 8, {{"skip", be32, 0}, {"src_ip4", be32, 32}});
  build();

  EXPECT_EQ(text(plain, parsed(plain, "{skip=7,src_ip4=10.0.0.1}")), "{skip=7,src_ip4=10.0.0.1}");
  const std::string keys = "{saddr=fe80::1,vip=192.0.2.1}";
  EXPECT_EQ(text(key6, parsed(key6, keys)), keys);
  EXPECT_EQ(text(key6, parsed(key6, "{saddr=10.0.0.1}")), "{saddr=10.0.0.1,vip=0.0.0.0}");
  const std::string raws = "{ip6=2001:db8::5,ip4=10.1.2.3,src_mac=02:00:00:00:0a:ff}";
  EXPECT_EQ(text(raw, parsed(raw, raws)), raws);
  EXPECT_EQ(parsed(raw, json(raw, parsed(raw, raws))), parsed(raw, raws));
  EXPECT_EQ(text(raw, parsed(raw, "{src_mac=[2,0,0,0,0,1],ip4=[10,0,0,9]}")),
            "{ip6=::,ip4=10.0.0.9,src_mac=02:00:00:00:00:01}");
  EXPECT_EQ(text(in6, parsed(in6, "::1")), "::1");
  EXPECT_EQ(text(in6, parsed(in6, "{words=[0,0,0,16777216]}")), "::1");
  EXPECT_EQ(refusal(raw, "{src_mac=1:2}"),
            "src_mac: \"1:2\" is not a MAC address, expected one like 02:00:00:00:00:01");
  EXPECT_EQ(refusal(in6, "fe80:::1"),
            "\"fe80:::1\" is not an IPv6 or IPv4 address, expected one like fe80::1");
}

TEST_F(BtfText, ScalarsOfAllKinds) {
  const auto real = b.add(BtfKind::floating, "double", 0, 8);
  const auto pointer = b.pointer(0);
  const auto state = b.enumeration("state", 4, {{"IDLE", 0}, {"DOWN", ~0ULL}}, Flag::set);
  const auto wide = b.enumeration64("wide", {{"HUGE_ONE", 1ULL << 60}});
  build();

  EXPECT_EQ(text(u64, parsed(u64, "18446744073709551615")), "18446744073709551615");
  EXPECT_EQ(json(u64, parsed(u64, "18446744073709551615")), "18446744073709551615");
  EXPECT_EQ(refusal(u64, "18446744073709551616"),
            "18446744073709551616 does not fit __u64 (0 … 18446744073709551615)");
  EXPECT_EQ(text(i32, parsed(i32, "-2147483648")), "-2147483648");
  EXPECT_EQ(text(i32, parsed(i32, "0xffffffff")), "-1");
  EXPECT_EQ(text(boolean, parsed(boolean, "true")), "true");
  EXPECT_EQ(text(boolean, bytes_of(7)), "7");
  EXPECT_EQ(text(character, parsed(character, "'x'")), "'x'");
  EXPECT_EQ(text(character, parsed(character, R"('\'')")), R"('\'')");
  EXPECT_EQ(text(character, parsed(character, "-3")), "-3");
  EXPECT_EQ(json(character, bytes_of('x')), "\"x\"");
  EXPECT_EQ(text(pointer, parsed(pointer, "0xdeadbeef")), "0xdeadbeef");
  EXPECT_EQ(text(real, parsed(real, "-1.5")), "-1.5");
  EXPECT_EQ(json(real, parsed(real, "inf")), "\"inf\"");
  EXPECT_EQ(text(state, parsed(state, "DOWN")), "DOWN");
  EXPECT_EQ(text(state, parsed(state, "-1")), "DOWN");
  EXPECT_EQ(text(state, parsed(state, "77")), "77");
  EXPECT_EQ(json(wide, parsed(wide, "HUGE_ONE")), "\"HUGE_ONE\"");
}

TEST_F(BtfText, CharArraysAreStrings) {
  const auto name = b.array(character, u32, 8);
  build();
  EXPECT_EQ(parsed(name, "\"eth0\""), bytes_of('e', 't', 'h', '0', 0, 0, 0, 0));
  EXPECT_EQ(parsed(name, "eth0"), parsed(name, "\"eth0\""));
  EXPECT_EQ(text(name, bytes_of('a', '"', 0, 0x80, '\n', 0, 0, 0)), R"("a\"\x00\x80\x0a")");
  EXPECT_EQ(json(name, bytes_of('a', '"', 0, 0x80, '\n', 0, 0, 0)), R"("a\"\u0000\u0080\u000a")");
  EXPECT_EQ(parsed(name, R"("a\"\u0000\u0080\n")"), bytes_of('a', '"', 0, 0x80, '\n', 0, 0, 0));
  EXPECT_EQ(refusal(name, "\"much too long\""),
            "\"much too long\" is 13 bytes long, but there is room for 8");
  EXPECT_EQ(refusal(name, "\"open"), "the quote \" is not closed");
}

TEST_F(BtfText, BitFieldsAndAnonymousMembers) {
  const auto header = b.structure(
      "header", 4,
      {{"low", u32, 3U << 24}, {"flag", i32, 2U << 24 | 3}, {"rest", u32, 27U << 24 | 5}},
      Flag::set);
  const auto pick = b.union_type("", 8, {{"word", u32, 0}, {"both", u64, 0}});
  const auto outer = b.structure("outer", 16, {{"id", u32, 0}, {"", pick, 64}});
  build();

  EXPECT_EQ(text(header, parsed(header, "{low=5,flag=-1,rest=77}")), "{low=5,flag=-1,rest=77}");
  EXPECT_EQ(refusal(header, "{low=8}"), "low: 8 does not fit __u32 (0 … 7)");
  EXPECT_EQ(text(outer, parsed(outer, "{id=1,word=2}")), "{id=1,both=2}");
  EXPECT_EQ(text(outer, parsed(outer, "{1,{word=2}}")), "{id=1,both=2}");
  EXPECT_EQ(refusal(outer, "{word=1,both=2}"),
            "\"both\" shares its bytes with a union member given before it");
  EXPECT_EQ(refusal(outer, "{x=1}"), "struct outer has no field \"x\" (has: id, word, both)");
}

TEST_F(BtfText, DataSectionsReadLikeStructs) {
  const auto port = b.variable("port", be16);
  const auto limit = b.variable("limit", u32);
  const auto section = b.data_section(".rodata", 8, {{port, 0, 2}, {limit, 4, 4}});
  build();
  EXPECT_EQ(text(section, parsed(section, "{limit=9,port=80}")), "{port=80,limit=9}");
  EXPECT_EQ(parsed(section, "{80,9}"), bytes_of(0, 80, 0, 0, 9, 0, 0, 0));
}

TEST_F(BtfText, BytesWithoutType) {
  build();
  Bytes out(4);
  std::string why;
  EXPECT_OK(parse_bytes("258", out, why));
  EXPECT_EQ(out, bytes_of(2, 1, 0, 0));
  EXPECT_EQ(format_bytes(out), "258");
  EXPECT_OK(parse_bytes("-1", out, why));
  EXPECT_EQ(format_bytes(out), "4294967295");
  EXPECT_OK(parse_bytes("hex 0a 0b 0c 0d", out, why));
  EXPECT_EQ(out, bytes_of(10, 11, 12, 13));
  EXPECT_ERRNO(parse_bytes("4294967296", out, why), EINVAL);
  EXPECT_EQ(why, "4294967296 does not fit 4 bytes (-2147483648 … 4294967295)");
  EXPECT_ERRNO(parse_bytes("hex 1", out, why), EINVAL);
  EXPECT_EQ(why, "\"hex 1\" is not 4 bytes in hex");

  Bytes six(6);
  EXPECT_OK(parse_bytes("0x0a0b0c0d0e0f", six, why));
  EXPECT_EQ(format_bytes(six), "0x0a0b0c0d0e0f");
  EXPECT_EQ(format_bytes_json(six), "\"0x0a0b0c0d0e0f\"");
  EXPECT_ERRNO(parse_bytes("0x0a", six, why), EINVAL);
  // A value whose size is not the type's is shown as bytes.
  EXPECT_EQ(text(u32, six), "0x0a0b0c0d0e0f");
}

// Types whose parts are endless must not make the text so.
TEST_F(BtfText, HostileTypesGiveBoundedText) {
  const auto empty = b.structure("empty", 0, {});
  const auto many = b.array(empty, u32, 0xffffffff);
  auto node = b.structure("n0", 4, {{"a", u32, 0}, {"b", u32, 0}});
  for (int i = 0; i < 30; ++i)
    node = b.structure("n" + std::to_string(i + 1), 4, {{"a", node, 0}, {"b", node, 0}});
  auto deep = u32;
  for (int i = 0; i < 500; ++i) deep = b.structure("", 4, {{"x", deep, 0}});
  auto hidden = b.structure("h", 4, {});
  for (int i = 0; i < 60; ++i) hidden = b.structure("", 4, {{"", hidden, 0}, {"", hidden, 0}});
  build();

  EXPECT_EQ(text(many, {}), "[]");
  const Bytes four = bytes_of(1, 0, 0, 0);
  EXPECT_LT(text(node, four).size(), 64U << 20);
  EXPECT_NE(text(deep, four).find("{x=0x01000000}"), std::string::npos);
  std::string nested;
  for (int i = 0; i < 500; ++i) nested += "{x=";
  EXPECT_NE(refusal(deep, nested).find("nested too deeply"), std::string::npos);
  EXPECT_NE(refusal(hidden, "{y=1}").find("has no field \"y\""), std::string::npos);
  text(hidden, four);
}

// ---- random types and values ----

/// Builds types without padding or overlap, so that text carries every bit.
class RandomTypes {
 public:
  RandomTypes(BtfBuilder& builder, std::uint64_t seed) : b(builder), random(seed) {
    index = b.integer("unsigned int", 4);
  }

  struct Made {
    std::uint32_t id;
    std::uint32_t bytes;
  };

  Made make(unsigned depth) {
    const std::uint64_t sort = random() % (depth == 0 ? 8 : 12);
    const std::uint32_t bytes = 1U << random() % 4;
    switch (sort) {
      case 0:
        return {b.integer("number", bytes, random() % 2), bytes};
      case 1:
        return {b.integer("char", 1, testing::int_signed), 1};
      case 2:
        return {b.integer("flag", 1, testing::int_bool), 1};
      case 3: {
        static constexpr const char* names[] = {"__u8", "__be16", "__be32", "__be64"};
        const auto power = random() % 4;
        return {b.type_definition(names[power], b.integer("word", 1U << power)), 1U << power};
      }
      case 4:
        return {b.enumeration("e", bytes, {{"A", 0}, {"B", 1}, {"C", 0x7f}}, flag()), bytes};
      case 5:
        return {b.enumeration64("e64", {{"BIG", 1ULL << 40}, {"ALL", ~0ULL}}, flag()), 8};
      case 6:
        return {b.pointer(0), 8};
      case 7: {
        static constexpr std::uint32_t sizes[] = {2, 4, 8, 12, 16};
        const std::uint32_t size = sizes[random() % 5];
        return {b.add(BtfKind::floating, "real", 0, size), size};
      }
      case 8: {
        const Made element = make(depth - 1);
        const auto count = static_cast<std::uint32_t>(random() % 7);
        return {b.array(element.id, index, count), element.bytes * count};
      }
      case 9:
        return bits();
      default:
        return structure(depth);
    }
  }

 private:
  Flag flag() { return random() % 2 ? Flag::set : Flag::clear; }

  Made structure(unsigned depth) {
    static constexpr const char* names[] = {"saddr", "ip", "src_mac", "port", "name", "h_dest"};
    std::vector<BtfBuilder::Member> members;
    std::uint32_t bytes = 0;
    const std::uint64_t count = random() % 6;
    for (std::uint64_t i = 0; i < count; ++i) {
      Made made = make(depth - 1);
      // Floats must be aligned wherever they lie, also inside; rounding up would leave padding.
      members.push_back({names[i], made.id, bytes * 8});
      bytes += made.bytes;
    }
    return {b.structure("s", bytes, members), bytes};
  }

  /// 32 bits cut into fields.
  Made bits() {
    const auto word = b.integer("unsigned int", 4, random() % 2);
    std::vector<BtfBuilder::Member> members;
    static constexpr const char* names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    std::uint32_t at = 0;
    for (const char* name : names) {
      if (at == 32) break;
      std::uint32_t width = 1 + static_cast<std::uint32_t>(random() % (32 - at));
      if (name == names[7]) width = 32 - at;
      members.push_back({name, word, width << 24 | at});
      at += width;
    }
    return {b.structure("bits", 4, members, Flag::set), 4};
  }

  BtfBuilder& b;
  std::mt19937_64 random;
  std::uint32_t index;
};

TEST(BtfTextRandom, WhatIsShownReadsBack) {
  testing::TestBudget budget;
  std::mt19937_64 random(7);
  std::uint64_t compared = 0;
  for (std::uint64_t round = 0; round < 4000; ++round) {
    BtfBuilder b;
    const auto made = RandomTypes(b, round).make(4);
    Log log;
    auto btf = Btf::parse(b.blob(), budget, log);
    if (!btf) continue;  // a float landed off its alignment
    ASSERT_EQ((*btf)->size_of(made.id), made.bytes);
    for (int value = 0; value < 8; ++value) {
      Bytes bytes(made.bytes);
      for (std::byte& byte : bytes) byte = std::byte(value == 0 ? 0 : random());
      for (const std::string& text :
           {format_value(**btf, made.id, bytes), format_json(**btf, made.id, bytes)}) {
        Bytes back(made.bytes);
        std::string why;
        ASSERT_OK(parse_value(**btf, made.id, text, back, why)) << why << "\n" << text;
        ASSERT_EQ(back, bytes) << text << "\n" << format_value(**btf, made.id, back);
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 20000u);
}

// Any text is read or refused with a reason, in bounded time; what is read can be shown.
TEST(BtfTextRandom, DamagedTextIsReadOrRefused) {
  testing::TestBudget budget;
  std::mt19937_64 random(11);
  std::uint64_t refused = 0;
  for (std::uint64_t round = 0; round < 1000; ++round) {
    BtfBuilder b;
    const auto made = RandomTypes(b, round).make(4);
    Log log;
    auto btf = Btf::parse(b.blob(), budget, log);
    if (!btf) continue;
    Bytes bytes(made.bytes);
    for (std::byte& byte : bytes) byte = std::byte(random());
    const std::string text = format_value(**btf, made.id, bytes);
    for (int i = 0; i < 20; ++i) {
      static constexpr std::string_view alphabet = "{}[],=:\"'\\ .x-+0123456789abcfsz_\n\x80";
      std::string damaged = text;
      const std::size_t changes = 1 + random() % 3;
      for (std::size_t c = 0; c < changes; ++c) {
        const std::size_t at = random() % (damaged.size() + 1);
        if (random() % 2 && at < damaged.size())
          damaged.erase(at, 1 + random() % 4);
        else
          damaged.insert(at, 1, alphabet[random() % alphabet.size()]);
      }
      Bytes back(made.bytes);
      std::string why;
      if (parse_value(**btf, made.id, damaged, back, why)) {
        format_value(**btf, made.id, back);
      } else {
        EXPECT_FALSE(why.empty());
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace skep
