// SPDX-License-Identifier: Apache-2.0
// Writes BTF blobs for tests, right or wrong: nothing is checked here.
#pragma once

#include "btf/btf.hpp"
#include "object/budget.hpp"
#include "rcu/rcu.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace skep::testing {

class BtfBuilder {
 public:
  using Id = std::uint32_t;
  struct Member {
    std::string_view name;
    Id type;
    std::uint32_t
        offset;  // as in the blob: bits, with a width in the upper 8 bits under the kind flag
  };
  struct Named {
    std::string_view name;
    std::uint64_t value;  // of an enumerator, or the type id of a parameter
  };
  enum class KindFlag : bool { clear, set };

  /// The raw form of everything below.
  Id add(BtfKind kind, std::string_view name, std::uint32_t count, std::uint32_t word,
         std::initializer_list<std::uint32_t> tail = {}, KindFlag flag = KindFlag::clear) {
    put(string(name));
    put(count | static_cast<std::uint32_t>(kind) << 24 | static_cast<std::uint32_t>(flag) << 31);
    put(word);
    for (const std::uint32_t item : tail) put(item);
    return ++last_;
  }

  Id integer(std::string_view name, std::uint32_t bytes, std::uint32_t encoding = 0) {
    return integer(name, bytes, encoding, 8 * bytes, 0);
  }
  Id integer(std::string_view name, std::uint32_t bytes, std::uint32_t encoding, std::uint32_t bits,
             std::uint32_t offset) {
    return add(BtfKind::integer, name, 0, bytes, {encoding << 24 | offset << 16 | bits});
  }
  Id pointer(Id to) { return add(BtfKind::pointer, "", 0, to); }
  Id array(Id element, Id index, std::uint32_t count) {
    return add(BtfKind::array, "", 0, 0, {element, index, count});
  }
  Id structure(std::string_view name, std::uint32_t bytes, const std::vector<Member>& members,
               KindFlag flag = KindFlag::clear, BtfKind kind = BtfKind::structure) {
    const Id id = add(kind, name, size(members), bytes, {}, flag);
    for (const Member& member : members) {
      put(string(member.name));
      put(member.type);
      put(member.offset);
    }
    return id;
  }
  Id union_type(std::string_view name, std::uint32_t bytes, const std::vector<Member>& members) {
    return structure(name, bytes, members, KindFlag::clear, BtfKind::union_type);
  }
  Id enumeration(std::string_view name, std::uint32_t bytes, const std::vector<Named>& values,
                 KindFlag is_signed = KindFlag::clear) {
    const Id id = add(BtfKind::enumeration, name, size(values), bytes, {}, is_signed);
    for (const Named& value : values) {
      put(string(value.name));
      put(static_cast<std::uint32_t>(value.value));
    }
    return id;
  }
  Id enumeration64(std::string_view name, const std::vector<Named>& values,
                   KindFlag is_signed = KindFlag::clear) {
    const Id id = add(BtfKind::enumeration64, name, size(values), 8, {}, is_signed);
    for (const Named& value : values) {
      put(string(value.name));
      put(static_cast<std::uint32_t>(value.value));
      put(static_cast<std::uint32_t>(value.value >> 32));
    }
    return id;
  }
  Id type_definition(std::string_view name, Id to) {
    return add(BtfKind::type_definition, name, 0, to);
  }
  Id constant(Id to) { return add(BtfKind::const_qualifier, "", 0, to); }
  Id type_tag(std::string_view name, Id to) { return add(BtfKind::type_tag, name, 0, to); }
  Id decl_tag(std::string_view name, Id on, std::int32_t component = -1) {
    return add(BtfKind::decl_tag, name, 0, on, {static_cast<std::uint32_t>(component)});
  }
  Id prototype(Id returns, const std::vector<Named>& params) {
    const Id id = add(BtfKind::function_prototype, "", size(params), returns);
    for (const Named& param : params) {
      put(string(param.name));
      put(static_cast<std::uint32_t>(param.value));
    }
    return id;
  }
  Id function(std::string_view name, Id prototype, std::uint32_t linkage = 0) {
    return add(BtfKind::function, name, linkage, prototype);
  }
  Id variable(std::string_view name, Id type, std::uint32_t linkage = 1) {
    return add(BtfKind::variable, name, 0, type, {linkage});
  }
  Id data_section(std::string_view name, std::uint32_t bytes,
                  const std::vector<BtfVariable>& entries) {
    const Id id = add(BtfKind::data_section, name, size(entries), bytes);
    for (const BtfVariable& entry : entries) {
      put(entry.type);
      put(entry.offset);
      put(entry.bytes);
    }
    return id;
  }

  /// Header, types and strings. `header_bytes` above 24 appends zeros to the header.
  std::vector<std::byte> blob(std::uint32_t header_bytes = 24) const {
    std::vector<std::byte> result(header_bytes);
    const auto types_bytes = static_cast<std::uint32_t>(types_.size() * sizeof(std::uint32_t));
    const std::uint32_t header[] = {0x0001eb9f,  header_bytes,
                                    0,           types_bytes,
                                    types_bytes, static_cast<std::uint32_t>(strings_.size())};
    std::memcpy(result.data(), header, sizeof header);
    append(result, types_.data(), types_bytes);
    append(result, strings_.data(), strings_.size());
    return result;
  }

 private:
  template <class Items>
  static std::uint32_t size(const Items& items) {
    return static_cast<std::uint32_t>(items.size());
  }
  static void append(std::vector<std::byte>& to, const void* from, std::size_t bytes) {
    const auto* first = static_cast<const std::byte*>(from);
    to.insert(to.end(), first, first + bytes);
  }
  void put(std::uint32_t word) { types_.push_back(word); }
  std::uint32_t string(std::string_view text) {
    if (text.empty()) return 0;
    const auto offset = static_cast<std::uint32_t>(strings_.size());
    strings_ += text;
    strings_ += '\0';
    return offset;
  }

  std::vector<std::uint32_t> types_;
  std::string strings_ = std::string(1, '\0');
  Id last_ = 0;
};

/// A budget for tests, larger than they need. Waits for the objects charged to it, which die after
/// a grace period.
class TestBudget : public Budget {
 public:
  TestBudget() : Budget(1ULL << 30) {}
  ~TestBudget() { rcu::barrier(); }
};

inline constexpr std::uint32_t int_signed = 1;
inline constexpr std::uint32_t int_char = 2;
inline constexpr std::uint32_t int_bool = 4;

}  // namespace skep::testing
