// SPDX-License-Identifier: Apache-2.0
// Each case was observed on Linux 6.18; btf_host_test.cpp compares many more with the kernel at
// hand.
#include "btf/record.hpp"

#include "btf/btf_builder.hpp"
#include "support/expect.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace skep {
namespace {

using testing::BtfBuilder;
using Flag = BtfBuilder::KindFlag;

class BtfRecord : public ::testing::Test {
 protected:
  /// Parses what was built.
  const Btf& build() {
    Log log;
    auto parsed = Btf::parse(b.blob(), budget_, log);
    EXPECT_OK(parsed) << log.text();
    btf_ = std::move(parsed).take();
    return *btf_;
  }
  int load_errno() {
    Log log;
    const auto parsed = Btf::parse(b.blob(), budget_, log);
    return parsed ? 0 : parsed.error().code;
  }
  Result<Record> scan(std::uint32_t id) { return Record::scan(build(), id, map_value_fields); }

  BtfBuilder b;
  const std::uint32_t i = b.integer("int", 4, testing::int_signed);
  const std::uint32_t lock = b.structure("bpf_spin_lock", 4, {{"val", i, 0}});
  const std::uint32_t timer = b.structure("bpf_timer", 16, {});
  const std::uint32_t work = b.structure("bpf_wq", 16, {});

 private:
  testing::TestBudget budget_;
  Ref<Btf> btf_;
};

TEST_F(BtfRecord, FindsFieldsWithOffsetsAlsoNestedAndInArraysOfOne) {
  const auto mine = b.structure("mine", 4, {{"x", i, 0}});
  const auto kptr = b.pointer(b.type_tag("kptr", b.constant(mine)));
  const auto inner = b.structure("inner", 24, {{"n", i, 0}, {"t", timer, 64}});
  const auto value = b.structure("value", 96,
                                 {{"lock", lock, 0},
                                  {"inner", inner, 64},
                                  {"w", b.array(work, i, 1), 256},
                                  {"p", b.array(kptr, i, 3), 48 * 8}});
  const Record record = Record::of_value(build(), value);

  ASSERT_EQ(record.fields().size(), 6u);
  EXPECT_EQ(record.find(FieldKind::spin_lock)->offset, 0u);
  EXPECT_EQ(record.find(FieldKind::timer)->offset, 16u);
  EXPECT_EQ(record.find(FieldKind::timer)->bytes, 16u);
  EXPECT_EQ(record.find(FieldKind::workqueue)->offset, 32u);
  EXPECT_EQ(record.fields()[3].offset, 48u);
  EXPECT_EQ(record.fields()[5].offset, 64u);
  EXPECT_EQ(record.fields()[5].pointee, mine);
  EXPECT_EQ(record.find(FieldKind::refcount), nullptr);
  EXPECT_EQ(record.kinds(), field_bit(FieldKind::spin_lock) | field_bit(FieldKind::timer) |
                                field_bit(FieldKind::workqueue) |
                                field_bit(FieldKind::kptr_referenced));
}

TEST_F(BtfRecord, GraphRootKnowsItsNode) {
  const auto head = b.structure("bpf_list_head", 16, {});
  const auto node = b.structure("bpf_list_node", 24, {});
  const auto item = b.structure("item", 32, {{"n", i, 0}, {"node", node, 64}});
  const auto value = b.structure("value", 24, {{"lock", lock, 0}, {"head", head, 64}});
  b.decl_tag("contains:item:node", value, 1);
  const Record record = Record::of_value(build(), value);
  const SpecialField* root = record.find(FieldKind::list_head);
  ASSERT_NE(root, nullptr);
  EXPECT_EQ(root->pointee, item);
  EXPECT_EQ(root->node_offset, 8u);
}

TEST_F(BtfRecord, DataSectionsHaveFieldsToo) {
  const auto section = b.data_section(".bss", 64, {{b.variable("t", timer), 8, 16}});
  EXPECT_EQ(Record::of_value(build(), section).find(FieldKind::timer)->offset, 8u);
}

TEST_F(BtfRecord, WhatIsNotAField) {
  const auto value = b.structure("value", 96,
                                 {{"hidden", b.type_definition("mine", timer), 0},
                                  {"in_union", b.union_type("u", 16, {{"t", timer, 0}}), 128},
                                  {"none", b.array(timer, i, 0), 256},
                                  {"odd", work, 36 * 8}});
  const Result<Record> record = scan(value);
  ASSERT_OK(record);
  EXPECT_TRUE(record->empty());
}

TEST_F(BtfRecord, ScanErrors) {
  const auto foreign = b.pointer(b.type_tag("user", i));
  const auto twice = b.structure("twice", 32, {{"a", timer, 0}, {"b", timer, 128}});
  const auto list = b.structure("list", 32, {{"a", b.array(timer, i, 2), 0}});
  const auto tagged = b.structure("tagged", 8, {{"p", foreign, 0}});
  const auto overlap = b.structure("overlap", 24, {{"a", timer, 0}, {"b", work, 64}});
  const auto bits = b.structure(
      "bits", 24, {{"t", timer, 0}, {"a", i, 3U << 24 | 128}, {"b", i, 3U << 24 | 131}}, Flag::set);
  auto deep = timer;
  for (int n = 0; n < 33; ++n) deep = b.structure("deep", 16, {{"x", deep, 0}});
  const Btf& btf = build();
  const auto scan_errno = [&](std::uint32_t id) {
    const auto record = Record::scan(btf, id, map_value_fields);
    EXPECT_TRUE(Record::of_value(btf, id).empty()) << "created as if it had no fields";
    return record ? 0 : record.error().code;
  };
  EXPECT_EQ(scan_errno(twice), E2BIG);
  EXPECT_EQ(scan_errno(list), EINVAL);
  EXPECT_EQ(scan_errno(tagged), EINVAL);
  EXPECT_EQ(scan_errno(overlap), EEXIST);
  EXPECT_EQ(scan_errno(bits), EINVAL);
  EXPECT_EQ(scan_errno(deep), E2BIG);
  EXPECT_EQ(scan_errno(i), EINVAL);
  EXPECT_EQ(scan_errno(99999), EINVAL);
}

TEST_F(BtfRecord, LoadRefusesTwoLocks) {
  b.structure("v", 8, {{"a", lock, 0}, {"b", lock, 32}});
  EXPECT_EQ(load_errno(), E2BIG);
}
TEST_F(BtfRecord, LoadRefusesMisplacedLock) {
  b.structure("v", 8, {{"a", lock, 16}});
  EXPECT_EQ(load_errno(), EFAULT);
}
TEST_F(BtfRecord, LoadRefusesRootWithoutLockOrTag) {
  const auto head = b.structure("bpf_list_head", 16, {});
  b.structure("v", 16, {{"head", head, 0}});
  EXPECT_EQ(load_errno(), EINVAL);
}
TEST_F(BtfRecord, LoadRefusesRootOfUnknownStruct) {
  const auto head = b.structure("bpf_list_head", 16, {});
  const auto v = b.structure("v", 24, {{"lock", lock, 0}, {"head", head, 64}});
  b.decl_tag("contains:nothing:node", v, 1);
  EXPECT_EQ(load_errno(), ENOENT);
}
TEST_F(BtfRecord, LoadRefusesOverlap) {
  const auto count = b.structure("bpf_refcount", 4, {});
  b.structure("v", 8, {{"lock", lock, 0}, {"count", count, 0}});
  EXPECT_EQ(load_errno(), EEXIST);
}
TEST_F(BtfRecord, LoadRefusesTwelveKernelPointers) {
  const auto kptr = b.pointer(b.type_tag("kptr", b.structure("mine", 4, {{"x", i, 0}})));
  std::vector<BtfBuilder::Member> members(12, {"p", kptr, 0});
  for (std::uint32_t n = 0; n < members.size(); ++n) members[n].offset = 64 * n;
  b.structure("v", 96, members);
  EXPECT_EQ(load_errno(), E2BIG);
}
TEST_F(BtfRecord, LoadRefusesOwnershipInACircle) {
  const auto head = b.structure("bpf_list_head", 16, {});
  const auto node = b.structure("bpf_list_node", 24, {});
  const auto n =
      b.structure("n", 48, {{"node", node, 0}, {"head", head, 192}, {"lock", lock, 320}});
  b.decl_tag("contains:n:node", n, 1);
  EXPECT_EQ(load_errno(), ELOOP);
}

}  // namespace
}  // namespace skep
