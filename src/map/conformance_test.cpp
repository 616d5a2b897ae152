// SPDX-License-Identifier: Apache-2.0
// One suite over every map type of this room: what maps.md says for all of them, with a table of
// what differs. A new type adds a line to `kinds`.
#include "map/map_fixture.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <ostream>
#include <set>
#include <string>

namespace skep::testing {
namespace {

using namespace uapi;

enum class Family : std::uint8_t { hash, array };

struct Kind {
  const char* name;
  std::uint32_t type;
  Family family;
  std::uint32_t flags;
  std::optional<std::uint32_t> lock_offset;
  std::uint32_t key_bytes;
  std::uint32_t value_bytes;
};

std::ostream& operator<<(std::ostream& out, const Kind& kind) { return out << kind.name; }

constexpr Kind kinds[] = {
    {"Hash", BPF_MAP_TYPE_HASH, Family::hash, 0, {}, 8, 8},
    {"HashOddKey", BPF_MAP_TYPE_HASH, Family::hash, 0, {}, 5, 12},
    {"HashLongKey", BPF_MAP_TYPE_HASH, Family::hash, 0, {}, 4112, 4},
    {"HashOnDemand", BPF_MAP_TYPE_HASH, Family::hash, BPF_F_NO_PREALLOC, {}, 4, 16},
    {"HashLocked", BPF_MAP_TYPE_HASH, Family::hash, 0, 4, 4, 72},
    {"HashLockedOnDemand", BPF_MAP_TYPE_HASH, Family::hash, BPF_F_NO_PREALLOC, 68, 4, 72},
    {"Array", BPF_MAP_TYPE_ARRAY, Family::array, 0, {}, 4, 12},
    {"ArrayMmapable", BPF_MAP_TYPE_ARRAY, Family::array, BPF_F_MMAPABLE, {}, 4, 8},
    {"ArrayLocked", BPF_MAP_TYPE_ARRAY, Family::array, 0, 0, 4, 68},
    {"PercpuArray", BPF_MAP_TYPE_PERCPU_ARRAY, Family::array, 0, {}, 4, 8},
};

class EveryMap : public MapFixture, public ::testing::WithParamInterface<Kind> {
 protected:
  bool is_hash() const { return GetParam().family == Family::hash; }
  bool has_lock() const { return GetParam().lock_offset.has_value(); }
  bool is_percpu() const { return GetParam().type == BPF_MAP_TYPE_PERCPU_ARRAY; }

  MapSpec spec(std::uint32_t max_entries) {
    MapSpec spec{.type = GetParam().type,
                 .key_bytes = GetParam().key_bytes,
                 .value_bytes = GetParam().value_bytes,
                 .max_entries = max_entries,
                 .flags = GetParam().flags};
    if (has_lock()) add_lock(spec, *GetParam().lock_offset);
    return spec;
  }
  Ref<Map> make(std::uint32_t max_entries) {
    Result<Ref<Map>> map = create(spec(max_entries));
    EXPECT_OK(map);
    return std::move(*map);
  }
};

INSTANTIATE_TEST_SUITE_P(Types, EveryMap, ::testing::ValuesIn(kinds),
                         [](const auto& info) { return info.param.name; });

TEST_P(EveryMap, RefusesEmptyGeometry) {
  for (const int what : {0, 1, 2}) {
    MapSpec bad = spec(4);
    (what == 0 ? bad.key_bytes : what == 1 ? bad.value_bytes : bad.max_entries) = 0;
    EXPECT_ERRNO(create(std::move(bad)), EINVAL);
  }
}

// maps.md 1.1: every single creation flag, against the table there. 1.2 strips TOKEN_FD before the
// type sees it.
TEST_P(EveryMap, AcceptsExactlyTheFlagsOfItsType) {
  constexpr std::uint32_t access =
      BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
  std::uint32_t accepted = access | BPF_F_NUMA_NODE;
  if (is_hash()) accepted |= BPF_F_NO_PREALLOC | BPF_F_ZERO_SEED;
  if (GetParam().type == BPF_MAP_TYPE_ARRAY) accepted |= BPF_F_MMAPABLE | BPF_F_INNER_MAP;
  for (std::uint32_t bit = 0; bit < 32; ++bit) {
    MapSpec one = spec(4);
    one.flags = 1U << bit;
    const bool expected = (accepted >> bit & 1) != 0;
    if (expected) {
      EXPECT_OK(create(std::move(one))) << "bit " << bit;
    } else {
      EXPECT_ERRNO(create(std::move(one)), EINVAL) << "bit " << bit;
    }
  }
  MapSpec both = spec(4);
  both.flags = BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
  EXPECT_ERRNO(create(std::move(both)), EINVAL);
}

TEST_P(EveryMap, TakesARealNumaNodeOnlyWithoutPercpuValues) {
  MapSpec node = spec(4);
  node.flags |= BPF_F_NUMA_NODE;
  node.numa_node = 0;
  if (is_percpu()) {
    EXPECT_ERRNO(create(std::move(node)), EINVAL);
  } else {
    EXPECT_OK(create(std::move(node)));
  }
}

TEST_P(EveryMap, ReportsNoMemoryWhenTheBudgetIsTooSmall) {
  MapSpec huge = spec(1U << 27);
  huge.value_bytes = has_lock() ? huge.value_bytes : 384;  // 50 GB at least
  const std::uint64_t before = budget.used_bytes();
  if ((GetParam().flags & BPF_F_NO_PREALLOC) != 0) {
    // Only the buckets are needed at once, and even they are too many here.
    EXPECT_ERRNO(create(std::move(huge)), ENOMEM);
  } else {
    EXPECT_ERRNO(create(huge), ENOMEM);
  }
  huge = MapSpec{};
  EXPECT_LE(budget.used_bytes(), before);
}

// maps.md 2.4 and 4.2: every flag value of the kernel's own tests, on a present and on an absent
// key, in both faces.
TEST_P(EveryMap, UpdateFlagsAgainstExistence) {
  constexpr std::uint64_t all[] = {
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 99, ~std::uint64_t{0}, std::uint64_t{1} << 32};
  const auto expected = [&](std::uint64_t flags, bool present, bool program) {
    const std::uint64_t plain = flags & ~BPF_F_LOCK;
    const bool lock = (flags & BPF_F_LOCK) != 0;
    if (is_hash()) {
      if (plain > 2 || (lock && !has_lock())) return EINVAL;
      if (present) return plain == BPF_NOEXIST ? EEXIST : 0;
      return plain == BPF_EXIST ? ENOENT : 0;
    }
    if (plain > 2 || (is_percpu() && !program && flags > 2)) return EINVAL;
    if (!present) return E2BIG;  // outside of the array
    if (plain == BPF_NOEXIST) return EEXIST;
    return lock && !has_lock() ? EINVAL : 0;
  };
  for (const std::uint64_t flags : all) {
    for (const bool present : {true, false}) {
      for (const bool program : {true, false}) {
        const Ref<Map> map = make(4);
        NumberMap numbers(*map, slots, caller);
        ASSERT_OK(numbers.put(1, 10));
        const std::uint64_t key = present ? 1 : 7;
        const Result<void> result =
            program ? numbers.program_put(key, 20, flags) : numbers.put(key, 20, flags);
        EXPECT_EQ(result ? 0 : result.error().code, expected(flags, present, program))
            << "flags " << flags << " present " << present << " program " << program;
        if (!result) {
          EXPECT_VALUE(numbers.get(1), 10) << "a failed update left a trace";
        }
      }
    }
  }
}

TEST_P(EveryMap, WhatWasStoredIsFoundByBothFaces) {
  const Ref<Map> map = make(64);
  NumberMap numbers(*map, slots, caller);
  for (std::uint32_t i = 0; i < 64; ++i) {
    ASSERT_OK(i % 2 == 0 ? numbers.put(i, 100 + i) : numbers.program_put(i, 100 + i));
  }
  const rcu::ReadGuard rcu;
  for (std::uint32_t i = 0; i < 64; ++i) {
    if (i % 2 == 0 || !is_percpu()) {  // a program writes its own CPU's copy only
      EXPECT_VALUE(numbers.get(i), 100 + i);
    }
    std::byte* const found = numbers.find(i);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(found) % 8, 0u);
    EXPECT_EQ(racy_load<std::uint32_t>(found + (has_lock() ? 8 : 0)), 100 + i);
  }
  EXPECT_EQ(numbers.find(64), nullptr);
  EXPECT_ERRNO(numbers.get(64), ENOENT);
}

// Keys of the program face may lie anywhere.
TEST_P(EveryMap, UnalignedKeysAreFine) {
  const Ref<Map> map = make(4);
  NumberMap numbers(*map, slots, caller);
  ASSERT_OK(numbers.put(3, 30));
  const Bytes key = numbers.key(3);
  for (std::size_t shift = 1; shift < 8; ++shift) {
    Bytes buffer(key.size() + 8);
    std::copy(key.begin(), key.end(), buffer.begin() + static_cast<std::ptrdiff_t>(shift));
    const rcu::ReadGuard rcu;
    EXPECT_NE(map->lookup(numbers.slot(), &buffer[shift]), nullptr);
    EXPECT_OK(map->update(numbers.slot(), &buffer[shift], numbers.value(30).data(), BPF_EXIST));
  }
}

TEST_P(EveryMap, DeleteAndLookupAndDelete) {
  const Ref<Map> map = make(4);
  NumberMap numbers(*map, slots, caller);
  ASSERT_OK(numbers.put(1, 10));
  ASSERT_OK(numbers.put(2, 20));
  if (!is_hash()) {
    for (const std::uint64_t key : {1, 7}) {
      EXPECT_ERRNO(numbers.remove(key), EINVAL);
      EXPECT_ERRNO(numbers.program_remove(key), EINVAL);
      EXPECT_ERRNO(numbers.pop(key), ENOTSUPP);
    }
    EXPECT_FALSE(map->type().lookup_and_delete);
    return;
  }
  EXPECT_VALUE(numbers.pop(1), 10);
  EXPECT_ERRNO(numbers.pop(1), ENOENT);
  EXPECT_ERRNO(numbers.get(1), ENOENT);
  EXPECT_OK(numbers.program_remove(2));
  EXPECT_ERRNO(numbers.program_remove(2), ENOENT);
  EXPECT_ERRNO(numbers.remove(2), ENOENT);
  EXPECT_EQ(numbers.find(2), nullptr);
}

TEST_P(EveryMap, AWalkMeetsEveryKeyOnce) {
  const Ref<Map> map = make(50);
  NumberMap numbers(*map, slots, caller);
  if (is_hash()) {
    EXPECT_ERRNO(numbers.next(std::nullopt), ENOENT);
    EXPECT_ERRNO(numbers.next(3), ENOENT);
    for (std::uint32_t i = 0; i < 50; ++i) ASSERT_OK(numbers.put(i, i));
  }
  const auto keys = numbers.walk();
  EXPECT_EQ(keys.size(), 50u);
  EXPECT_EQ(std::set(keys.begin(), keys.end()).size(), 50u);
  // A key that is not there starts over.
  EXPECT_VALUE(numbers.next(1000), keys.front());
  if (!is_hash()) {
    EXPECT_TRUE(std::is_sorted(keys.begin(), keys.end()));
  }
}

TEST_P(EveryMap, ForEachShowsEveryElementAndStopsWhenTold) {
  const Ref<Map> map = make(20);
  NumberMap numbers(*map, slots, caller);
  for (std::uint32_t i = 0; i < 20; ++i) ASSERT_OK(numbers.put(i, 500 + i));
  const rcu::ReadGuard rcu;
  std::set<std::uint64_t> seen;
  const auto note = [&](const std::byte* key, std::byte* value) {
    Bytes copy(map->spec().key_bytes);
    racy_copy(copy.data(), key, copy.size());
    const std::uint64_t number = NumberMap::key_number(copy);
    EXPECT_EQ(racy_load<std::uint32_t>(value + (has_lock() ? 8 : 0)), 500 + number);
    seen.insert(number);
    return true;
  };
  EXPECT_VALUE(map->for_each(numbers.slot(), note), 20);
  EXPECT_EQ(seen.size(), 20u);
  int calls = 0;
  const auto stop = [&](const std::byte*, std::byte*) { return ++calls < 7; };
  EXPECT_VALUE(map->for_each(numbers.slot(), stop), 7);
}

// maps.md 1.5.6 and 1.5.8.
TEST_P(EveryMap, LockBytesNeitherEnterNorLeave) {
  if (!has_lock()) {
    MapSpec plain = spec(2);
    EXPECT_TRUE(plain.record.empty());
    return;
  }
  const Ref<Map> map = make(4);
  NumberMap numbers(*map, slots, caller);
  ASSERT_OK(numbers.put(1, 0xffffffff));  // would lock it forever
  const rcu::ReadGuard rcu;
  std::byte* const lock = numbers.find(1) + *GetParam().lock_offset;
  ASSERT_EQ(racy_load<std::uint32_t>(lock), 0u);
  EXPECT_VALUE(numbers.get(1, BPF_F_LOCK), 0xffffffff);
  ASSERT_OK(numbers.put(1, 5, BPF_F_LOCK));
  ASSERT_OK(numbers.put(2, 6, is_hash() ? BPF_F_LOCK | BPF_NOEXIST : BPF_F_LOCK));
  EXPECT_VALUE(numbers.get(2), 6);
  // A held lock is no part of the value either.
  spin_lock(lock);
  EXPECT_VALUE(numbers.get(1), 5);
  EXPECT_NE(racy_load<std::uint32_t>(lock), 0u);
  spin_unlock(lock);
  EXPECT_EQ(racy_load<std::uint32_t>(lock), 0u);
}

TEST_P(EveryMap, KeyTypesAreChecked) {
  BtfBuilder builder;
  const std::uint32_t u32 = builder.integer("u32", 4);
  const std::uint32_t u64 = builder.integer("u64", 8);
  const std::uint32_t typedef_u32 = builder.type_definition("index", u32);
  const std::uint32_t record = builder.structure("key", 4, {{"a", u32, 0}});
  const Ref<Btf> btf = builder.build(budget);
  const auto attempt = [&](std::uint32_t key_type) {
    MapSpec typed{.type = GetParam().type,
                  .key_bytes = 4,
                  .value_bytes = 8,
                  .max_entries = 2,
                  .flags = GetParam().flags};
    typed.btf = btf;
    typed.btf_key_type_id = key_type;
    typed.btf_value_type_id = u64;
    return create(std::move(typed));
  };
  EXPECT_OK(attempt(u32));
  EXPECT_OK(attempt(typedef_u32));
  EXPECT_ERRNO(attempt(0), EINVAL);
  if (is_hash()) {
    EXPECT_OK(attempt(record));
  } else {
    EXPECT_ERRNO(attempt(record), EINVAL);
  }
}

TEST_P(EveryMap, UnsupportedSpecialFieldsAreRefused) {
  BtfBuilder builder;
  const std::uint32_t u32 = builder.integer("u32", 4);
  const std::uint32_t u64 = builder.integer("u64", 8);
  const std::uint32_t timer = builder.structure("bpf_timer", 16, {{"a", u64, 0}, {"b", u64, 8}});
  const std::uint32_t lock = builder.structure("bpf_spin_lock", 4, {{"val", u32, 0}});
  const std::uint32_t with_timer = builder.structure("with_timer", 24, {{"timer", timer, 0}});
  const std::uint32_t with_lock = builder.structure("with_lock", 24, {{"lock", lock, 0}});
  const std::uint32_t inner = builder.structure("inner", 4, {{"lock", lock, 0}});
  const std::uint32_t packed = builder.structure("packed", 24, {{"inner", inner, 2}});
  const Ref<Btf> btf = builder.build(budget);
  const auto attempt = [&](std::uint32_t value_type) {
    MapSpec typed{.type = GetParam().type,
                  .key_bytes = 4,
                  .value_bytes = 24,
                  .max_entries = 2,
                  .flags = GetParam().flags};
    typed.btf = btf;
    typed.btf_key_type_id = u32;
    typed.btf_value_type_id = value_type;
    typed.record = Record::of_value(*btf, value_type);
    EXPECT_FALSE(typed.record.empty());
    return create(std::move(typed));
  };
  EXPECT_ERRNO(attempt(with_timer), EOPNOTSUPP);
  if (is_percpu()) {
    EXPECT_ERRNO(attempt(with_lock), EOPNOTSUPP);
  } else {
    EXPECT_OK(attempt(with_lock));
  }
  // Aligned in its own struct, not in the value.
  EXPECT_ERRNO(attempt(packed), EOPNOTSUPP);
}

// What a type does not have answers as maps.md says, not with a crash.
TEST_P(EveryMap, OperationsOfOtherTypesAreRefused) {
  const Ref<Map> map = make(2);
  NumberMap numbers(*map, slots, caller);
  if (!is_hash()) {
    std::uint32_t cursor = 0;
    EXPECT_EQ(numbers.batch(cursor, 10, false).error, ENOTSUPP);
  }
  if (!is_percpu()) {
    EXPECT_EQ(map->lookup_percpu(numbers.slot(), numbers.key(0).data(), 0), nullptr);
  }
  if (GetParam().type != BPF_MAP_TYPE_ARRAY) {
    EXPECT_ERRNO(map->direct_value(0), EINVAL);
  }
  if ((GetParam().flags & BPF_F_MMAPABLE) == 0) {
    EXPECT_ERRNO(map->memory_fd(), ENOTSUPP);
  }
}

TEST_P(EveryMap, TheTableTellsWhatTheMapCan) {
  const Ref<Map> map = make(2);
  const MapType& type = map->type();
  EXPECT_EQ(type.number, GetParam().type);
  EXPECT_EQ(type.batch.buckets, is_hash());
  EXPECT_EQ(type.batch.erase, is_hash());
  EXPECT_EQ(type.batch.lookup_and_delete, is_hash());
  EXPECT_TRUE(type.batch.lookup && type.batch.update && type.btf && type.check_before_permissions);
  EXPECT_EQ(type.spin_lock, !is_percpu());
  EXPECT_EQ(type.direct_value, type.number == BPF_MAP_TYPE_ARRAY);
}

}  // namespace
}  // namespace skep::testing
