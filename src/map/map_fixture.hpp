// SPDX-License-Identifier: Apache-2.0
// What the tests of map types share: an environment to make maps in, hand-made type information,
// and maps as tables of numbers.
#pragma once

#include "cpu/slot.hpp"
#include "map/map.hpp"
#include "map/value_layout.hpp"
#include "rcu/rcu.hpp"
#include "result/log.hpp"
#include "support/expect.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace skep::testing {

using Bytes = std::vector<std::byte>;

struct HasValue {
  template <class R, class V>
  ::testing::AssertionResult operator()(const char* text, const char* /*value_text*/,
                                        const R& result, const V& value) const {
    if (!result)
      return ::testing::AssertionFailure()
             << text << " failed with " << errno_text(result.error().code);
    if constexpr (std::is_integral_v<V>) {
      if (std::cmp_equal(*result, value)) return ::testing::AssertionSuccess();
    } else {
      if (*result == value) return ::testing::AssertionSuccess();
    }
    return ::testing::AssertionFailure() << text << " is " << *result << ", not " << value;
  }
};
inline constexpr HasValue has_value;

/// The expression succeeds and yields `value`.
#define EXPECT_VALUE(expr, value) EXPECT_PRED_FORMAT2(::skep::testing::has_value, expr, value)

/// A caller with chosen capabilities and nothing else.
class MapCaller final : public Caller {
 public:
  explicit MapCaller(bool privileged = true) : privileged_(privileged) {}
  bool capable(Capability /*capability*/) const override { return privileged_; }
  Result<Ref<Object>> object(int /*fd*/, ObjectKind /*kind*/, Access* /*access*/) override {
    return Errno{EBADF};
  }
  NetNamespace& net_namespace() override { std::abort(); }
  Result<void> read(std::uint64_t /*address*/, std::span<std::byte> /*into*/) override {
    return Errno{EFAULT};
  }
  Result<void> write(std::uint64_t /*address*/, std::span<const std::byte> /*from*/) override {
    return Errno{EFAULT};
  }
  std::uint32_t uid() const override { return 0; }

 private:
  const bool privileged_;
};

/// Builds the blob of a BTF_LOAD, type by type. Ids count from 1.
class BtfBuilder {
 public:
  struct Member {
    std::string_view name;
    std::uint32_t type;
    std::uint32_t offset_bytes;
  };

  std::uint32_t integer(std::string_view name, std::uint32_t bytes) {
    return add(name, BtfKind::integer, 0, bytes, {bytes * 8});
  }
  std::uint32_t type_definition(std::string_view name, std::uint32_t target) {
    return add(name, BtfKind::type_definition, 0, target, {});
  }
  std::uint32_t array(std::uint32_t element, std::uint32_t index, std::uint32_t count) {
    return add("", BtfKind::array, 0, 0, {element, index, count});
  }
  std::uint32_t structure(std::string_view name, std::uint32_t bytes,
                          std::initializer_list<Member> members) {
    std::vector<std::uint32_t> words;
    for (const Member& member : members) {
      words.push_back(string(member.name));
      words.push_back(member.type);
      words.push_back(member.offset_bytes * 8);
    }
    return add(name, BtfKind::structure, static_cast<std::uint32_t>(members.size()), bytes, words);
  }
  std::uint32_t variable(std::string_view name, std::uint32_t type) {
    return add(name, BtfKind::variable, 0, type, {1});
  }
  std::uint32_t data_section(std::string_view name, std::uint32_t bytes, std::uint32_t variable) {
    return add(name, BtfKind::data_section, 1, bytes, {variable, 0, bytes});
  }

  Ref<Btf> build(Budget& budget) const {
    const auto types_bytes = static_cast<std::uint32_t>(types_.size() * 4);
    const auto strings_bytes = static_cast<std::uint32_t>(strings_.size());
    const std::uint32_t header[] = {0x0001eb9f, 24, 0, types_bytes, types_bytes, strings_bytes};
    Bytes blob(sizeof header + types_bytes + strings_bytes);
    std::memcpy(blob.data(), header, sizeof header);
    std::memcpy(blob.data() + sizeof header, types_.data(), types_bytes);
    std::memcpy(blob.data() + sizeof header + types_bytes, strings_.data(), strings_bytes);
    Log log;
    Result<Ref<Btf>> btf = Btf::parse(blob, budget, log);
    EXPECT_TRUE(btf.has_value()) << log.text();
    return btf ? std::move(*btf) : Ref<Btf>();
  }

 private:
  std::uint32_t string(std::string_view text) {
    if (text.empty()) return 0;
    const auto at = static_cast<std::uint32_t>(strings_.size());
    strings_ += text;
    strings_ += '\0';
    return at;
  }
  std::uint32_t add(std::string_view name, BtfKind kind, std::uint32_t count, std::uint32_t word,
                    const std::vector<std::uint32_t>& rest) {
    types_.push_back(string(name));
    types_.push_back(static_cast<std::uint32_t>(kind) << 24 | count);
    types_.push_back(word);
    types_.insert(types_.end(), rest.begin(), rest.end());
    return ++count_;
  }

  std::vector<std::uint32_t> types_;
  std::string strings_ = std::string(1, '\0');
  std::uint32_t count_ = 0;
};

/// An environment with two CPUs. Checks in the end that all maps gave back what they took.
class MapFixture : public ::testing::Test {
 protected:
  static constexpr std::uint32_t cpus = 2;

  MapFixture() { add_memory_map_types(types); }

  void TearDown() override {
    rcu::barrier();
    EXPECT_EQ(budget.used_bytes(), 0u);
  }

  /// Checks and makes a map as MAP_CREATE does with the parts of it that are the type's.
  Result<Ref<Map>> create(MapSpec spec, bool privileged = true) {
    const MapType* const type = types.find(spec.type);
    if (type == nullptr) return Errno{EINVAL};
    const MapCaller who(privileged);
    TRY(type->check(spec, who));
    if (spec.btf) TRY(type->check_btf(spec));
    return type->make(*type, std::move(spec), environment);
  }

  /// Describes a value { bpf_spin_lock; } with the lock at `offset`, 32-bit words around it, and a
  /// 32-bit key.
  void add_lock(MapSpec& spec, std::uint32_t offset) {
    BtfBuilder builder;
    const std::uint32_t word = builder.integer("unsigned int", 4);
    const std::uint32_t lock = builder.structure("bpf_spin_lock", 4, {{"val", word, 0}});
    spec.btf_value_type_id = builder.structure("value", spec.value_bytes, {{"lock", lock, offset}});
    spec.btf_key_type_id = word;
    spec.btf = builder.build(budget);
    spec.record = Record::of_value(*spec.btf, spec.btf_value_type_id);
    ASSERT_TRUE(spec.record.has(FieldKind::spin_lock));
  }

  MapCommand command(SlotGuard& slot) { return {*slot, caller}; }

  VirtualClock clock;
  CpuSlots slots{cpus, clock, 1};
  Budget budget{std::uint64_t{1} << 30};
  Random random{1, 0};
  MapCaller caller;
  MapTypes types;
  MapEnvironment environment{slots, budget, random};
};

/// A map as a table from numbers to numbers. A key holds its number in the first bytes; a value
/// repeats its number in all 32-bit words (of all CPUs) except the lock. Commands run on one
/// control slot, programs on one CPU.
class NumberMap {
 public:
  NumberMap(Map& map, CpuSlots& slots, Caller& caller, std::uint32_t cpu = 0)
      : map_(map), control_(slots.enter_control()), slot_(slots.enter(cpu)), caller_(caller) {}

  Bytes key(std::uint64_t number) const { return pattern(map_.spec().key_bytes, number, true); }
  Bytes value(std::uint32_t number) const {
    return pattern(map_.command_value_bytes(), number, false);
  }
  static std::uint64_t key_number(const Bytes& key) {
    std::uint64_t number = 0;
    std::memcpy(&number, key.data(), std::min<std::size_t>(key.size(), 8));
    return number;
  }

  // ---- commands ----
  Result<void> put(std::uint64_t k, std::uint32_t v, std::uint64_t flags = 0) {
    MapCommand command = this->command();
    return map_.command_update(command, key(k).data(), value(v).data(), flags);
  }
  Result<std::uint32_t> get(std::uint64_t k, std::uint64_t flags = 0) {
    MapCommand command = this->command();
    Bytes out(map_.command_value_bytes(), std::byte{0xee});
    TRY(map_.command_lookup(command, key(k).data(), out.data(), flags));
    return number(out);
  }
  Result<void> remove(std::uint64_t k) {
    MapCommand command = this->command();
    return map_.command_erase(command, key(k).data());
  }
  Result<std::uint32_t> pop(std::uint64_t k, std::uint64_t flags = 0) {
    MapCommand command = this->command();
    Bytes out(map_.command_value_bytes(), std::byte{0xee});
    TRY(map_.command_lookup_and_erase(command, key(k).data(), out.data(), flags));
    return number(out);
  }
  Result<std::uint64_t> next(std::optional<std::uint64_t> k) {
    MapCommand command = this->command();
    Bytes out(map_.spec().key_bytes);
    TRY(map_.next_key(command, k ? key(*k).data() : nullptr, out.data()));
    return key_number(out);
  }
  /// All keys in the order of a walk; stops if it does not end.
  std::vector<std::uint64_t> walk() {
    std::vector<std::uint64_t> keys;
    std::optional<std::uint64_t> at;
    while (keys.size() <= 2 * std::size_t{map_.spec().max_entries}) {
      const Result<std::uint64_t> after = next(at);
      if (!after) {
        EXPECT_EQ(after.error().code, ENOENT);
        return keys;
      }
      keys.push_back(*after);
      at = *after;
    }
    ADD_FAILURE() << "walk does not end";
    return keys;
  }
  struct Batch {
    int error = 0;
    std::uint32_t count = 0;
    std::map<std::uint64_t, std::uint32_t> items;
  };
  /// One bucket batch from `cursor` on, which it moves.
  Batch batch(std::uint32_t& cursor, std::uint32_t max_items, bool erase, std::uint64_t flags = 0,
              bool fault = false) {
    MapCommand command = this->command();
    Batch result;
    const std::size_t key_bytes = map_.spec().key_bytes;
    const std::size_t value_bytes = map_.command_value_bytes();
    auto deliver = [&](std::span<const std::byte> keys, std::span<const std::byte> values,
                       std::uint32_t count) -> Result<void> {
      if (fault) return Errno{EFAULT};
      EXPECT_EQ(keys.size(), count * key_bytes);
      EXPECT_EQ(values.size(), count * value_bytes);
      for (std::uint32_t i = 0; i < count; ++i) {
        const auto k = keys.subspan(i * key_bytes, key_bytes);
        const auto v = values.subspan(i * value_bytes, value_bytes);
        const bool fresh =
            result.items
                .emplace(key_number(Bytes(k.begin(), k.end())), number(Bytes(v.begin(), v.end())))
                .second;
        EXPECT_TRUE(fresh);
      }
      return ok();
    };
    BucketBatch batch{cursor, max_items, erase, flags, deliver};
    const Result<void> outcome = map_.batch_buckets(command, batch, result.count);
    result.error = outcome ? 0 : outcome.error().code;
    cursor = batch.cursor;
    return result;
  }

  // ---- programs ----
  std::byte* find(std::uint64_t k) { return map_.lookup(*slot_, key(k).data()); }
  Result<void> program_put(std::uint64_t k, std::uint32_t v, std::uint64_t flags = 0) {
    return map_.update(*slot_, key(k).data(), value(v).data(), flags);
  }
  Result<void> program_remove(std::uint64_t k) { return map_.erase(*slot_, key(k).data()); }

  Slot& slot() { return *slot_; }
  MapCommand command() { return {*control_, caller_}; }
  Map& map() { return map_; }

  /// The number that a value repeats; the lock must read as zero. All bits set if it is torn.
  std::uint32_t number(const Bytes& value) const {
    const SpecialField* const lock = map_.spec().record.find(FieldKind::spin_lock);
    std::optional<std::uint32_t> seen;
    for (std::size_t at = 0; at + 4 <= value.size(); at += 4) {
      std::uint32_t word;
      std::memcpy(&word, &value[at], 4);
      if (lock != nullptr && at == lock->offset) {
        EXPECT_EQ(word, 0u) << "lock bytes came out";
        continue;
      }
      if (seen && *seen != word) return ~0u;
      seen = word;
    }
    return seen.value_or(0);
  }

 private:
  /// `number` in every word, or once and then a filler that depends on it.
  static Bytes pattern(std::size_t bytes, std::uint64_t number, bool once) {
    Bytes out(bytes);
    if (once) {
      std::memcpy(out.data(), &number, std::min<std::size_t>(bytes, 8));
      for (std::size_t at = 8; at < bytes; ++at) out[at] = static_cast<std::byte>(number + at);
    } else {
      for (std::size_t at = 0; at + 4 <= bytes; at += 4) std::memcpy(&out[at], &number, 4);
    }
    return out;
  }

  Map& map_;
  SlotGuard control_, slot_;
  Caller& caller_;
};

}  // namespace skep::testing
