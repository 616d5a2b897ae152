// SPDX-License-Identifier: Apache-2.0
// Checks of each type record on its own: lengths, reserved bits, names, sizes. A table of rules,
// one function per kind.
#include "btf/check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <string>

namespace skep::btf_check {

namespace {

constexpr std::uint32_t info_bits = 0x9f00ffff;  // vlen, kind, kind flag: all that info may hold
constexpr std::uint32_t integer_bits = 0x0fffffff;
constexpr std::size_t max_identifier_bytes = 512;
constexpr std::uint32_t max_integer_bits = 128;
constexpr std::size_t record_words = 3;

/// The bytes after the three common words.
struct Layout {
  std::uint32_t fixed_bytes;
  std::uint32_t item_bytes;  // times vlen
};

constexpr std::array<Layout, btf_last_kind + 1> layouts = [] {
  std::array<Layout, btf_last_kind + 1> table{};
  const auto set = [&](BtfKind kind, Layout layout) {
    table[static_cast<std::size_t>(kind)] = layout;
  };
  set(BtfKind::integer, {4, 0});
  set(BtfKind::array, {12, 0});
  set(BtfKind::structure, {0, 12});
  set(BtfKind::union_type, {0, 12});
  set(BtfKind::enumeration, {0, 8});
  set(BtfKind::enumeration64, {0, 12});
  set(BtfKind::function_prototype, {0, 8});
  set(BtfKind::variable, {4, 0});
  set(BtfKind::data_section, {0, 12});
  set(BtfKind::decl_tag, {4, 0});
  return table;
}();

// Character classes as Linux has them: Latin-1, whatever the locale.
bool is_letter(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= 0xc0 && c != 0xd7 && c != 0xf7);
}
bool is_printable(unsigned char c) { return (c >= 0x20 && c < 0x7f) || c >= 0xa0; }

bool is_section_name(std::string_view name) {
  return !name.empty() && name.size() <= max_identifier_bytes &&
         std::ranges::all_of(name, is_printable);
}

}  // namespace

bool is_identifier(std::string_view name) {
  const auto starts = [](unsigned char c) { return is_letter(c) || c == '_' || c == '.'; };
  const auto goes_on = [&](unsigned char c) { return starts(c) || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= max_identifier_bytes && starts(name[0]) &&
         std::ranges::all_of(name, goes_on);
}

namespace {

/// One record under examination. The rules return the reason against it; empty: none.
class RecordRules {
 public:
  RecordRules(const BtfTables& tables, BtfType type, const std::byte* record)
      : tables_(tables), type_(type), record_(record) {}

  /// Precondition: the record lies in the type section with all that belongs to its kind.
  std::string violation() const {
    switch (type_.kind()) {
      case BtfKind::integer:
        return integer();
      case BtfKind::pointer:
      case BtfKind::volatile_qualifier:
      case BtfKind::const_qualifier:
      case BtfKind::restrict_qualifier:
        return reference();
      case BtfKind::type_definition:
        return type_definition();
      case BtfKind::type_tag:
        return type_tag();
      case BtfKind::array:
        return array();
      case BtfKind::structure:
      case BtfKind::union_type:
        return aggregate();
      case BtfKind::enumeration:
      case BtfKind::enumeration64:
        return enumeration();
      case BtfKind::forward:
        return forward();
      case BtfKind::function:
        return function();
      case BtfKind::function_prototype:
        return function_prototype();
      case BtfKind::variable:
        return variable();
      case BtfKind::data_section:
        return data_section();
      case BtfKind::floating:
        return floating();
      case BtfKind::decl_tag:
        return decl_tag();
      case BtfKind::none:
        break;
    }
    return "Invalid kind";
  }

  /// Only for int, after violation() found nothing.
  bool has_known_encoding() const {
    const std::uint32_t encoding = word(record_words) >> 24;
    return encoding == 0 || (encoding <= 4 && std::has_single_bit(encoding));
  }

 private:
  std::uint32_t word(std::size_t index) const {
    std::uint32_t value;
    std::memcpy(&value, record_ + index * sizeof value, sizeof value);
    return value;
  }
  bool is_string(std::uint32_t offset) const { return offset < tables_.string_bytes(); }
  bool is_type_id(std::uint32_t id) const { return id <= Btf::last_type_id; }
  bool has_identifier() const { return is_identifier(type_.name()); }
  /// The name is absent, which is told by its offset: an empty string elsewhere is a bad name.
  bool is_anonymous() const { return word(0) == 0; }

  std::string plain() const {
    if (type_.count() != 0) return "vlen != 0";
    if (type_.kind_flag()) return "Invalid btf_info kind_flag";
    return {};
  }

  std::string integer() const {
    if (std::string why = plain(); !why.empty()) return why;
    if ((word(record_words) & ~integer_bits) != 0) return "Invalid int_data";
    const BtfInteger integer = type_.integer();
    const std::uint32_t bits = integer.bits + integer.bit_offset;
    if (bits > max_integer_bits) return fmt::format("{} bits exceed 128", bits);
    if ((bits + 7) / 8 > type_.bytes()) return fmt::format("{} bits exceed type_size", bits);
    return {};
  }

  std::string reference() const {
    if (std::string why = plain(); !why.empty()) return why;
    if (!is_type_id(type_.target())) return "Invalid type_id";
    if (!is_anonymous()) return "Invalid name";
    return {};
  }

  std::string type_definition() const {
    if (std::string why = plain(); !why.empty()) return why;
    if (!is_type_id(type_.target())) return "Invalid type_id";
    if (!has_identifier()) return "Invalid name";
    return {};
  }

  std::string type_tag() const {  // with the kind flag it is an attribute; both are fine
    if (type_.count() != 0) return "vlen != 0";
    if (!is_type_id(type_.target())) return "Invalid type_id";
    if (type_.name().empty()) return "Invalid name";
    return {};
  }

  std::string array() const {
    if (std::string why = plain(); !why.empty()) return why;
    if (!is_anonymous()) return "Invalid name";
    if (type_.bytes() != 0) return "size != 0";
    const BtfArray array = type_.array();
    if (array.element == 0 || !is_type_id(array.element)) return "Invalid elem";
    if (array.index == 0 || !is_type_id(array.index)) return "Invalid index";
    return {};
  }

  std::string aggregate() const {
    if (!is_anonymous() && !has_identifier()) return "Invalid name";
    std::uint32_t last_offset = 0;
    for (std::uint32_t i = 0; i < type_.count(); ++i) {
      const std::uint32_t name = word(record_words + 3 * i);
      if (!is_string(name)) return fmt::format("member {}: Invalid member name_offset {}", i, name);
      const BtfMember member = type_.member(i);
      const auto why = [&](std::string_view reason) {
        return fmt::format("member {} \"{}\": {}", i, member.name, reason);
      };
      if (name != 0 && !is_identifier(member.name)) return why("Invalid name");
      if (member.type == 0 || !is_type_id(member.type)) return why("Invalid type_id");
      if (type_.is(BtfKind::union_type) && member.bit_offset != 0)
        return why("Invalid member bits_offset");
      if (member.bit_offset < last_offset) return why("Invalid member bits_offset: not ascending");
      if ((std::uint64_t{member.bit_offset} + 7) / 8 > type_.bytes())
        return why("bits_offset exceeds its struct size");
      last_offset = member.bit_offset;
    }
    return {};
  }

  std::string enumeration() const {
    if (type_.bytes() > 8 || !std::has_single_bit(type_.bytes())) return "Unexpected size";
    if (!is_anonymous() && !has_identifier()) return "Invalid name";
    const std::size_t words = type_.is(BtfKind::enumeration64) ? 3 : 2;
    for (std::uint32_t i = 0; i < type_.count(); ++i) {
      const std::uint32_t name = word(record_words + words * i);
      if (!is_string(name)) return fmt::format("enumerator {}: Invalid name_offset {}", i, name);
      if (name == 0 || !is_identifier(type_.enumerator(i).name))
        return fmt::format("enumerator {}: Invalid name", i);
    }
    return {};
  }

  std::string forward() const {  // the kind flag tells union from struct
    if (type_.count() != 0) return "vlen != 0";
    if (type_.target() != 0) return "type != 0";
    if (!has_identifier()) return "Invalid name";
    return {};
  }

  std::string function() const {
    if (!has_identifier()) return "Invalid name";
    if (type_.linkage() > 1) return "Invalid func linkage";
    if (type_.kind_flag()) return "Invalid btf_info kind_flag";
    return {};
  }

  std::string function_prototype() const {
    if (!is_anonymous()) return "Invalid name";
    if (type_.kind_flag()) return "Invalid btf_info kind_flag";
    return {};
  }

  std::string variable() const {
    if (std::string why = plain(); !why.empty()) return why;
    if (!has_identifier()) return "Invalid name";
    if (type_.target() == 0 || !is_type_id(type_.target())) return "Invalid type_id";
    if (type_.linkage() > 1) return "Linkage not supported";
    return {};
  }

  std::string data_section() const {
    if (type_.bytes() == 0) return "size == 0";
    if (type_.kind_flag()) return "Invalid btf_info kind_flag";
    if (is_anonymous() || !is_section_name(type_.name())) return "Invalid name";
    std::uint64_t last_end = 0;
    for (std::uint32_t i = 0; i < type_.count(); ++i) {
      const BtfVariable variable = type_.variable(i);
      const auto why = [&](std::string_view reason) {
        return fmt::format("variable {}: {}", i, reason);
      };
      if (variable.type == 0 || !is_type_id(variable.type)) return why("Invalid type_id");
      if (variable.offset < last_end || variable.offset >= type_.bytes())
        return why("Invalid offset");
      if (variable.bytes == 0 || variable.bytes > type_.bytes()) return why("Invalid size");
      last_end = std::uint64_t{variable.offset} + variable.bytes;
      if (last_end > type_.bytes()) return why("Invalid offset+size");
    }
    return {};
  }

  std::string floating() const {
    if (std::string why = plain(); !why.empty()) return why;
    constexpr std::array<std::uint32_t, 5> sizes{2, 4, 8, 12, 16};
    if (std::ranges::find(sizes, type_.bytes()) == sizes.end()) return "Invalid type_size";
    return {};
  }

  std::string decl_tag() const {  // with the kind flag it is an attribute; both are fine
    if (type_.name().empty()) return "Invalid value";
    if (type_.count() != 0) return "vlen != 0";
    if (type_.component() < -1) return "Invalid component_idx";
    return {};
  }

  const BtfTables& tables_;
  const BtfType type_;
  const std::byte* const record_;
};

}  // namespace

Errno refuse(const BtfType& type, int code, std::string_view why, Log& log) {
  log.line(fmt::format("[{}] {} {}: {}", type.id(), to_string(type.kind()),
                       type.name().empty() ? "(anon)" : type.name(), why));
  return Errno{code};
}

Result<void> index_types(BtfTables& tables, Log& log) {
  const auto refuse_id = [&](std::uint32_t id, std::string_view why) {
    log.line(fmt::format("[{}] {}", id, why));
    return Errno{EINVAL};
  };
  constexpr std::size_t record_bytes = record_words * sizeof(std::uint32_t);
  tables.records.push_back(0);  // void
  for (std::size_t at = tables.types_at; at < tables.types_end;) {
    const std::uint32_t id = tables.type_count();
    const std::byte* record = tables.blob.data() + at;
    const std::size_t left = tables.types_end - at;
    if (left < record_bytes)
      return refuse_id(id, fmt::format("meta_left:{} meta_needed:{}", left, record_bytes));
    std::uint32_t name;
    std::uint32_t info;
    std::memcpy(&name, record, sizeof name);
    std::memcpy(&info, record + sizeof name, sizeof info);
    if ((info & ~info_bits) != 0) return refuse_id(id, fmt::format("Invalid btf_info:{:x}", info));
    const std::uint32_t kind = (info >> 24) & 0x1f;
    if (kind == 0 || kind > btf_last_kind)
      return refuse_id(id, fmt::format("Invalid kind:{}", kind));
    if (name >= tables.string_bytes())
      return refuse_id(id, fmt::format("Invalid name_offset:{}", name));

    const BtfType type(id, record, tables.strings());
    const Layout& layout = layouts[kind];
    const std::size_t items = layout.item_bytes == 0 ? 0 : type.count();
    const std::size_t needed = record_bytes + layout.fixed_bytes + items * layout.item_bytes;
    if (left < needed)
      return refuse(type, EINVAL, fmt::format("meta_left:{} meta_needed:{}", left, needed), log);

    const RecordRules rules(tables, type, record);
    if (const std::string why = rules.violation(); !why.empty())
      return refuse(type, EINVAL, why, log);
    if (type.is(BtfKind::integer) && !rules.has_known_encoding())
      return refuse(type, ENOTSUPP, "Unsupported encoding", log);
    if (id > Btf::last_type_id) return refuse(type, E2BIG, "Exceeded max num of types", log);

    tables.records.push_back(static_cast<std::uint32_t>(at));
    if (type.is(BtfKind::decl_tag)) tables.decl_tags.push_back(id);
    at += needed;
  }
  return {};
}

Result<void> check_tag_order(const BtfTables& tables, Log& log) {
  for (std::uint32_t id = 1; id < tables.type_count(); ++id) {
    const BtfType type = tables.type(id);
    const bool other_modifier = type.is_modifier() && !type.is(BtfKind::type_tag);
    // Looking at neighbours is enough: every link of a chain is also visited as a type of its own.
    if (other_modifier && tables.type(type.target()).is(BtfKind::type_tag))
      return refuse(type, EINVAL, "Type tags don't precede modifiers", log);
  }
  return {};
}

}  // namespace skep::btf_check
