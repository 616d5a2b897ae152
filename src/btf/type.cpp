// SPDX-License-Identifier: Apache-2.0
// How the parts of a BTF type are read from its record.
//
// A record is three words (name, info, size or type) and then, by kind, one fixed part or one part
// per item.
#include "btf/btf.hpp"

#include <array>

namespace skep {

namespace {

constexpr std::size_t fixed_words = 3;
constexpr std::size_t member_words = 3;
constexpr std::size_t param_words = 2;
constexpr std::size_t variable_words = 3;
constexpr std::size_t enumerator_words = 2;
constexpr std::size_t enumerator64_words = 3;

// Encoding bits of INT, above its bit offset and width.
constexpr std::uint32_t encoding_signed = 1U << 24;
constexpr std::uint32_t encoding_char = 2U << 24;
constexpr std::uint32_t encoding_bool = 4U << 24;

constexpr std::array<std::string_view, btf_last_kind + 1> kind_names = {
    "VOID", "INT",     "PTR",      "ARRAY",    "STRUCT",   "UNION", "ENUM",
    "FWD",  "TYPEDEF", "VOLATILE", "CONST",    "RESTRICT", "FUNC",  "FUNC_PROTO",
    "VAR",  "DATASEC", "FLOAT",    "DECL_TAG", "TYPE_TAG", "ENUM64"};

/// Type 0: a record of kind void without a name. It names offset 0 of any string section.
constexpr std::array<std::byte, fixed_words * sizeof(std::uint32_t)> void_record{};

}  // namespace

std::string_view to_string(BtfKind kind) {
  const auto index = static_cast<std::size_t>(kind);
  return index < kind_names.size() ? kind_names[index] : "UNKNOWN";
}

BtfType BtfTables::type(std::uint32_t id) const {
  if (id == 0 || id >= type_count()) return {0, void_record.data(), strings()};
  return {id, blob.data() + records[id], strings()};
}

BtfInteger BtfType::integer() const {
  ASSERT(is(BtfKind::integer));
  const std::uint32_t data = word(fixed_words);
  return {.bits = data & 0xff,
          .bit_offset = (data >> 16) & 0xff,
          .is_signed = (data & encoding_signed) != 0,
          .is_char = (data & encoding_char) != 0,
          .is_bool = (data & encoding_bool) != 0};
}

BtfArray BtfType::array() const {
  ASSERT(is(BtfKind::array));
  return {
      .element = word(fixed_words), .index = word(fixed_words + 1), .count = word(fixed_words + 2)};
}

std::uint32_t BtfType::linkage() const {
  ASSERT(is(BtfKind::variable) || is(BtfKind::function));
  return is(BtfKind::variable) ? word(fixed_words) : count();
}

std::int32_t BtfType::component() const {
  ASSERT(is(BtfKind::decl_tag));
  return static_cast<std::int32_t>(word(fixed_words));
}

BtfMember BtfType::member(std::uint32_t index) const {
  ASSERT(is_aggregate() && index < count());
  const std::size_t at = fixed_words + index * member_words;
  const std::uint32_t offset = word(at + 2);
  // With the kind flag the upper 8 bits hold the width of a bit field.
  return {.name = string(word(at)),
          .type = word(at + 1),
          .bit_offset = kind_flag() ? offset & 0xffffff : offset,
          .bitfield_bits = kind_flag() ? offset >> 24 : 0};
}

BtfEnumerator BtfType::enumerator(std::uint32_t index) const {
  ASSERT(is_enumeration() && index < count());
  if (is(BtfKind::enumeration64)) {
    const std::size_t at = fixed_words + index * enumerator64_words;
    return {.name = string(word(at)), .value = std::uint64_t{word(at + 2)} << 32 | word(at + 1)};
  }
  const std::size_t at = fixed_words + index * enumerator_words;
  const std::uint32_t value = word(at + 1);
  const auto extended = static_cast<std::uint64_t>(static_cast<std::int32_t>(value));
  return {.name = string(word(at)), .value = is_signed_enumeration() ? extended : value};
}

BtfParam BtfType::param(std::uint32_t index) const {
  return {.name = string(param_name_offset(index)), .type = param_type(index)};
}

std::uint32_t BtfType::param_type(std::uint32_t index) const {
  ASSERT(is(BtfKind::function_prototype) && index < count());
  return word(fixed_words + index * param_words + 1);
}

std::uint32_t BtfType::param_name_offset(std::uint32_t index) const {
  ASSERT(is(BtfKind::function_prototype) && index < count());
  return word(fixed_words + index * param_words);
}

BtfVariable BtfType::variable(std::uint32_t index) const {
  ASSERT(is(BtfKind::data_section) && index < count());
  const std::size_t at = fixed_words + index * variable_words;
  return {.type = word(at), .offset = word(at + 1), .bytes = word(at + 2)};
}

}  // namespace skep
