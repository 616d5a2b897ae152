// SPDX-License-Identifier: Apache-2.0
// What clang writes for an ordinary program, through all of the room: checks, queries, records and
// text.
#include "btf/btf.hpp"
#include "btf/btf_builder.hpp"
#include "btf/btf_object_types.hpp"
#include "btf/record.hpp"
#include "btf/text.hpp"
#include "support/expect.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace skep {
namespace {

class BtfObject : public ::testing::Test {
 protected:
  void SetUp() override {
    Log log;
    auto parsed = Btf::parse(testing::compiled_types(), budget_, log);
    ASSERT_OK(parsed) << log.text();
    btf_ = std::move(parsed).take();
  }
  std::uint32_t structure(std::string_view name) const {
    return btf_->find(name, BtfKind::structure).value_or(0);
  }

  testing::TestBudget budget_;
  Ref<Btf> btf_;
};

TEST_F(BtfObject, FlowKeysReadAsPeopleWriteThem) {
  const std::uint32_t flow = structure("flow");
  ASSERT_EQ(btf_->size_of(flow), 16u);
  std::vector<std::byte> key(16);
  std::string why;
  ASSERT_OK(parse_value(*btf_, flow, "{saddr=10.0.0.1,daddr=10.0.0.2,dport=80,protocol=6,syn=1}",
                        key, why))
      << why;
  EXPECT_EQ(format_value(*btf_, flow, key),
            "{saddr=10.0.0.1,daddr=10.0.0.2,sport=0,dport=80,protocol=6,syn=1,fin=0,other=0}");
}

TEST_F(BtfObject, BackendsHaveSpecialFieldsAndText) {
  const std::uint32_t backend = structure("backend");
  // Bit fields only stand in struct flow, which is pointed to: the record is found.
  const Record record = Record::of_value(*btf_, backend);
  ASSERT_NE(record.find(FieldKind::spin_lock), nullptr);
  ASSERT_NE(record.find(FieldKind::timer), nullptr);
  EXPECT_EQ(record.fields().size(), 2u);

  std::vector<std::byte> value(btf_->size_of(backend).value_or(0));
  std::string why;
  ASSERT_OK(parse_value(*btf_, backend,
                        "{verdict=DROP,address6=10.0.0.9,dst_mac=02:00:00:00:00:07,name=\"web\","
                        "weight=0.5,active=true}",
                        value, why))
      << why;
  const std::string text = format_value(*btf_, backend, value);
  EXPECT_NE(text.find("verdict=DROP,address6=10.0.0.9,dst_mac=02:00:00:00:00:07,name=\"web\","
                      "flow=0x0,weight=0.5,active=true,"),
            std::string::npos)
      << text;
}

TEST_F(BtfObject, FunctionsAndTheirTags) {
  const auto choose = btf_->find("choose", BtfKind::function);
  ASSERT_TRUE(choose);
  EXPECT_EQ(btf_->type(*choose).linkage(), 1u);
  EXPECT_TRUE(btf_->has_decl_tag(*choose, 0, "arg:ctx"));
  const BtfType prototype = btf_->type(btf_->type(*choose).target());
  EXPECT_EQ(prototype.params()[0].name, "context");
  EXPECT_EQ(btf_->resolved(btf_->resolved(prototype.params()[0].type).target()).name(), "xdp_md");
}

}  // namespace
}  // namespace skep
