// SPDX-License-Identifier: Apache-2.0
#include "object/object.hpp"

#include "object/budget.hpp"
#include "rcu/rcu.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace skep {
namespace {

struct Events {
  int last_user = 0, last_reference = 0, destroyed = 0;
};

class Thing final : public Object {
 public:
  static constexpr ObjectKind object_kind = ObjectKind::map;
  explicit Thing(Events& events) : Object(object_kind), events_(events) {}

 private:
  ~Thing() override { ++events_.destroyed; }
  void on_last_user() override { ++events_.last_user; }
  void on_last_reference() override { ++events_.last_reference; }
  Events& events_;
};

TEST(Object, LastUserLeavesBeforeTheLastReference) {
  Events events;
  Ref<Thing> program_side = make_object<Thing>(events);
  {
    const UserRef descriptor(program_side);
    EXPECT_TRUE(program_side->has_users());
  }
  EXPECT_EQ(events.last_user, 1);
  EXPECT_EQ(events.last_reference, 0);
  EXPECT_FALSE(program_side->has_users());
  program_side = nullptr;
  EXPECT_EQ(events.last_reference, 1);
  rcu::barrier();
  EXPECT_EQ(events.destroyed, 1);
}

TEST(Object, MemoryOutlivesTheLastReferenceUntilReadersLeave) {
  Events events;
  Ref<Thing> owner = make_object<Thing>(events);
  {
    const rcu::ReadGuard reader;
    owner = nullptr;
    EXPECT_EQ(events.destroyed, 0);
  }
  rcu::barrier();
  EXPECT_EQ(events.destroyed, 1);
}

TEST(IdTable, IdsIncreaseAndDisappearWithTheLastReference) {
  Events events;
  IdTable ids;
  Ref<Thing> a = make_object<Thing>(events), b = make_object<Thing>(events);
  EXPECT_EQ(ids.publish(*a).value(), 1u);
  EXPECT_EQ(ids.publish(*b).value(), 2u);
  EXPECT_EQ(ids.next(0).value(), 1u);
  a = nullptr;
  EXPECT_EQ(ids.find(1).error().code, ENOENT);
  EXPECT_EQ(ids.next(0).value(), 2u);
  EXPECT_EQ(ids.next(2).error().code, ENOENT);
  Ref<Thing> c = make_object<Thing>(events);
  EXPECT_EQ(ids.publish(*c).value(), 3u) << "ids are not reused at once";
  EXPECT_EQ(ids.find(3).value().get(), c.get());
  b = nullptr;
  c = nullptr;
  rcu::barrier();
}

// A finder and the last owner race: the finder gets a living object or ENOENT, never a dying one.
TEST(IdTable, FindNeverRevivesADyingObject) {
  Events events;
  IdTable ids;
  for (int round = 0; round < 200; ++round) {
    Ref<Thing> object = make_object<Thing>(events);
    const std::uint32_t id = ids.publish(*object).value();
    std::jthread finder([&] {
      while (auto found = ids.find(id)) EXPECT_EQ((*found)->id(), id);
    });
    object = nullptr;
  }
  rcu::barrier();
  EXPECT_EQ(events.destroyed, 200);
}

TEST(Budget, RefusesBeforeMemoryIsTouchedAndTakesBack) {
  Budget budget(100);
  auto first = budget.charge(60);
  ASSERT_TRUE(first);
  EXPECT_EQ(budget.charge(41).error().code, ENOMEM);
  EXPECT_EQ(budget.charge(~std::uint64_t{0}).error().code, ENOMEM);
  first = Result<Charge>(Charge{});
  EXPECT_EQ(budget.used_bytes(), 0u);
  EXPECT_TRUE(budget.charge(100));
}

}  // namespace
}  // namespace skep
