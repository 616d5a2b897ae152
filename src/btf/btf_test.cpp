// SPDX-License-Identifier: Apache-2.0
#include "btf/btf.hpp"

#include "btf/btf_builder.hpp"
#include "support/expect.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace skep {
namespace {

using testing::BtfBuilder;
using Flag = BtfBuilder::KindFlag;
using Build = std::function<void(BtfBuilder&)>;

class BtfParse : public ::testing::Test {
 protected:
  Result<Ref<Btf>> parse(std::span<const std::byte> blob) {
    log_.emplace();
    return Btf::parse(blob, budget_, *log_);
  }
  Result<Ref<Btf>> parse(const Build& build) {
    BtfBuilder b;
    build(b);
    return parse(b.blob());
  }
  std::string_view log() const { return log_->text(); }

  testing::TestBudget budget_;

 private:
  std::optional<Log> log_;
};

TEST_F(BtfParse, HeaderErrnosAreTheKernels) {
  BtfBuilder b;
  b.integer("int", 4);
  const std::vector<std::byte> good = b.blob();
  ASSERT_OK(parse(good));
  const auto with_byte = [&](std::size_t at, unsigned value) {
    std::vector<std::byte> blob = good;
    blob[at] = std::byte(value);
    return blob;
  };
  EXPECT_ERRNO(parse(std::span(good).first(7)), EINVAL);
  EXPECT_ERRNO(parse(std::span(good).first(24)), EINVAL);
  EXPECT_ERRNO(parse(with_byte(0, 0)), EINVAL);                // magic
  EXPECT_ERRNO(parse(with_byte(2, 2)), ENOTSUPP);              // version
  EXPECT_ERRNO(parse(with_byte(3, 1)), ENOTSUPP);              // flags
  EXPECT_ERRNO(parse(with_byte(8, 4)), EINVAL);                // gap before the types
  EXPECT_ERRNO(parse(with_byte(good.size() - 1, 1)), EINVAL);  // last string not ended
  ASSERT_OK(parse(b.blob(32)));
  std::vector<std::byte> longer = b.blob(32);
  longer[31] = std::byte{1};
  EXPECT_ERRNO(parse(longer), E2BIG);
  EXPECT_EQ(log(), "Unsupported btf_header: not zero after the known fields\n");
  EXPECT_ERRNO(parse(std::vector<std::byte>(Btf::max_bytes + 1)), E2BIG);
}

TEST_F(BtfParse, KeepsTheBlobAndChargesTheBudget) {
  BtfBuilder b;
  b.integer("int", 4);
  const auto blob = b.blob();
  {
    const Ref<Btf> btf = parse(blob).take();
    EXPECT_TRUE(std::ranges::equal(btf->blob(), blob));
    EXPECT_GE(budget_.used_bytes(), blob.size());
  }
  rcu::barrier();
  EXPECT_EQ(budget_.used_bytes(), 0u);
  Budget small(blob.size() - 1);
  Log log;
  EXPECT_ERRNO(Btf::parse(blob, small, log), ENOMEM);
}

struct Refusal {
  const char* what;
  int code;
  const char* log;
  Build build;
};

TEST_F(BtfParse, RefusalsNameTypeKindAndReason) {
  const std::vector<Refusal> refusals = {
      {"int encoding", ENOTSUPP, "[1] INT i: Unsupported encoding\n",
       [](BtfBuilder& b) { b.integer("i", 4, 3); }},
      {"int too wide", EINVAL, "[1] INT i: 40 bits exceed type_size\n",
       [](BtfBuilder& b) { b.integer("i", 4, 0, 40, 0); }},
      {"name", EINVAL, "[1] STRUCT a b: Invalid name\n",
       [](BtfBuilder& b) { b.structure("a b", 0, {}); }},
      {"member past the end", EINVAL, "[2] STRUCT s: member 0 \"x\": Member exceeds struct_size\n",
       [](BtfBuilder& b) { b.structure("s", 2, {{"x", b.integer("i", 4), 0}}); }},
      {"typedef of itself", EEXIST, "[1] TYPEDEF t: Loop detected\n",
       [](BtfBuilder& b) { b.type_definition("t", 1); }},
      {"struct in itself", EEXIST, "[1] STRUCT s: Loop detected\n",
       [](BtfBuilder& b) { b.structure("s", 4, {{"x", 1, 0}}); }},
      {"pointers in a circle", EEXIST, "[1] PTR (anon): Loop detected\n",
       [](BtfBuilder& b) {
         b.pointer(2);
         b.constant(1);
       }},
      {"struct in itself, hidden behind a qualifier", EEXIST, "[3] STRUCT s: Loop detected\n",
       [](BtfBuilder& b) {
         b.pointer(2);
         b.constant(4);
         b.structure("s", 4, {{"x", 2, 0}});
         b.array(3, 5, 1);
         b.integer("i", 4);
       }},
      {"deep nesting", E2BIG, "[33] TYPEDEF t: Exceeded max resolving depth:32\n",
       [](BtfBuilder& b) {
         for (std::uint32_t i = 0; i < 33; ++i) b.type_definition("t", i + 2);
         b.integer("i", 4);
       }},
      {"array too large", EINVAL, "[2] ARRAY (anon): Array size overflows u32\n",
       [](BtfBuilder& b) {
         const auto i = b.integer("i", 4);
         b.array(i, i, 1U << 30);
       }},
      {"prototype", EINVAL, "[2] FUNC f: Invalid type_id\n",
       [](BtfBuilder& b) { b.function("f", b.integer("i", 4)); }},
      {"parameter", EINVAL, "[2] FUNC_PROTO (anon): Invalid arg#1\n",
       [](BtfBuilder& b) { b.prototype(0, {{"v", 0}, {"i", b.integer("i", 4)}}); }},
      {"section", EINVAL, "[2] DATASEC .data: variable 0: Not a VAR kind member\n",
       [](BtfBuilder& b) { b.data_section(".data", 4, {{b.integer("i", 4), 0, 4}}); }},
      {"decl tag", EINVAL, "[2] DECL_TAG t: Invalid type_id\n",
       [](BtfBuilder& b) { b.decl_tag("t", b.integer("i", 4)); }},
      {"type tag order", EINVAL, "[3] CONST (anon): Type tags don't precede modifiers\n",
       [](BtfBuilder& b) { b.constant(b.type_tag("t", b.integer("i", 4))); }},
      {"enum size", EINVAL, "[1] ENUM e: Unexpected size\n",
       [](BtfBuilder& b) { b.enumeration("e", 3, {}); }},
      {"float size", EINVAL, "[1] FLOAT f: Invalid type_size\n",
       [](BtfBuilder& b) { b.add(BtfKind::floating, "f", 0, 3); }},
      {"kind", EINVAL, "[1] Invalid kind:20\n",
       [](BtfBuilder& b) { b.add(static_cast<BtfKind>(20), "k", 0, 0); }},
  };
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(refusal.what);
    EXPECT_ERRNO(parse(refusal.build), refusal.code);
    EXPECT_EQ(log(), refusal.log);
  }
}

TEST_F(BtfParse, StructsMayPointToThemselves) {
  EXPECT_OK(parse([](BtfBuilder& b) {
    b.structure("node", 8, {{"next", 2, 0}});
    b.pointer(1);
  }));
}

TEST_F(BtfParse, QueriesOfEveryKind) {
  BtfBuilder b;
  const auto i = b.integer("int", 4, testing::int_signed);
  const auto number = b.type_definition("number", b.constant(i));
  const auto list = b.array(number, i, 5);
  const auto s = b.structure("s", 32, {{"a", i, 3U << 24}, {"list", list, 32}}, Flag::set);
  const auto e = b.enumeration("e", 1, {{"LOW", ~0ULL}, {"HIGH", 1}}, Flag::set);
  const auto big = b.enumeration64("big", {{"X", 1ULL << 33}});
  const auto proto = b.prototype(i, {{"ctx", b.pointer(s)}, {"", 0}});
  const auto function = b.function("run", b.prototype(i, {{"x", i}}), 1);
  const auto variable = b.variable("v", list);
  const auto section = b.data_section(".data", 24, {{variable, 4, 20}});
  b.decl_tag("second", s, 1);
  b.decl_tag("whole", s);
  b.decl_tag("other", s);
  const Ref<Btf> btf = parse(b.blob()).take();

  EXPECT_EQ(btf->resolve(number), i);
  EXPECT_EQ(btf->resolve(99999), 0u);
  EXPECT_TRUE(btf->type(99999).is(BtfKind::none));
  EXPECT_EQ(btf->type(99999).name(), "");
  EXPECT_EQ(btf->size_of(number), 4u);
  EXPECT_EQ(btf->size_of(list), 20u);
  EXPECT_EQ(btf->size_of(variable), 20u);
  EXPECT_EQ(btf->size_of(section), 24u);
  EXPECT_EQ(btf->size_of(big), 8u);
  for (const std::uint32_t id : {0U, proto, function, 99999U})
    EXPECT_ERRNO(btf->size_of(id), EINVAL);
  EXPECT_EQ(btf->find("s", BtfKind::structure), s);
  EXPECT_EQ(btf->find("s", BtfKind::union_type), std::nullopt);
  EXPECT_EQ(btf->find("", BtfKind::array), std::nullopt);

  EXPECT_TRUE(btf->type(i).integer().is_signed);
  EXPECT_EQ(btf->type(list).array().count, 5u);
  const auto members = btf->type(s).members();
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(members[0].bitfield_bits, 3u);
  EXPECT_EQ(members[1].name, "list");
  EXPECT_EQ(members[1].bit_offset, 32u);
  EXPECT_TRUE(btf->type(i).members().empty());
  EXPECT_EQ(btf->type(e).enumerators()[0].value, ~0ULL);
  EXPECT_EQ(btf->type(big).enumerators()[0].value, 1ULL << 33);
  EXPECT_EQ(btf->type(proto).params()[0].name, "ctx");
  EXPECT_EQ(btf->type(function).linkage(), 1u);
  EXPECT_EQ(btf->type(section).variables()[0].offset, 4u);
  EXPECT_EQ(to_string(btf->type(section).kind()), "DATASEC");

  std::string tags;
  btf->for_each_decl_tag(s, -1, [&](std::string_view tag) { tags += std::string(tag) + " "; });
  EXPECT_EQ(tags, "whole other ");
  EXPECT_TRUE(btf->has_decl_tag(s, 1, "second"));
  EXPECT_FALSE(btf->has_decl_tag(s, 0, "second"));
  EXPECT_TRUE(btf->has_string(0));
  EXPECT_EQ(btf->string(1), "int");
  EXPECT_FALSE(btf->has_string(1000));
}

// Random bytes, and good blobs with random bytes in them: refused or, if taken, answering every
// query.
TEST_F(BtfParse, ArbitraryBytesAreRefusedOrFullyQueryable) {
  BtfBuilder b;
  const auto i = b.integer("int", 4, testing::int_signed);
  const auto s = b.structure("s", 16, {{"a", i, 0}, {"b", b.array(i, i, 2), 64}});
  b.data_section(".data", 64, {{b.variable("v", s), 0, 16}});
  b.function("f", b.prototype(i, {{"a", b.pointer(s)}}));
  b.enumeration("e", 4, {{"A", 1}});
  b.decl_tag("t", s, 1);
  const auto good = b.blob();
  std::mt19937_64 random(5);
  std::uint64_t taken = 0;
  for (int round = 0; round < 20000; ++round) {
    auto blob = good;
    const std::uint64_t changes = 1 + random() % 4;
    for (std::uint64_t c = 0; c < changes; ++c) blob[random() % blob.size()] = std::byte(random());
    if (round % 8 == 0) blob.resize(random() % blob.size());
    const auto btf = parse(blob);
    if (!btf) {
      EXPECT_FALSE(log().empty());
      continue;
    }
    ++taken;
    std::size_t sum = 0;
    for (std::uint32_t id = 0; id < (*btf)->type_count() + 2; ++id) {
      const BtfType type = (*btf)->type(id);
      sum += type.name().size() + (*btf)->resolve(id) + (*btf)->size_of(id).value_or(0);
      for (const BtfMember m : type.members()) sum += m.name.size();
      for (const BtfEnumerator en : type.enumerators()) sum += en.name.size();
      for (const BtfParam p : type.params()) sum += p.name.size();
      for (const BtfVariable v : type.variables()) sum += (*btf)->type(v.type).name().size();
      (*btf)->for_each_decl_tag(id, -1, [&](std::string_view tag) { sum += tag.size(); });
      EXPECT_FALSE((*btf)->resolved(id).is_modifier());
    }
    EXPECT_NE(sum, 0u);
    if (round % 512 == 0) rcu::barrier();
  }
  EXPECT_GT(taken, 200u);
}

}  // namespace
}  // namespace skep
