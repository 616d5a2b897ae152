// SPDX-License-Identifier: Apache-2.0
#include "btf/text_names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace skep::btf_text {

namespace {

/// Typedefs may form chains of any length; only the first of them are looked at for their names.
constexpr unsigned max_chain = 32;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool contains(std::string_view name, std::string_view part) {
  return !std::ranges::search(name, part, {}, lower).empty();
}

/// What the names around a value say.
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// Whether one of the words of a name is ip, ip4, ipv6, sip, dip or vip: `skip` and `strip` are
/// none.
bool names_ip(std::string_view name) {
  while (!name.empty()) {
    const std::size_t end = name.find('_');
    std::string_view word = name.substr(0, end);
    name = end == std::string_view::npos ? std::string_view{} : name.substr(end + 1);
    if (!word.empty() && std::string_view("sdv").contains(word.front())) word.remove_prefix(1);
    if (!word.starts_with("ip")) continue;
    word.remove_prefix(2);
    if (word.starts_with('v')) word.remove_prefix(1);
    if (word.empty() || !is_letter(word.front())) return true;
  }
  return false;
}

struct Hints {
  bool big_endian = false;
  bool address = false;
  bool mac = false;

  void read(std::string_view name) {
    big_endian = big_endian || contains(name, "__be16") || contains(name, "__be32") ||
                 contains(name, "__be64");
    address = address || contains(name, "addr") || names_ip(name);
    mac = mac || contains(name, "mac") || contains(name, "h_dest") || contains(name, "h_source");
  }
};

void read_chain(const Btf& btf, std::uint32_t id, Hints& hints) {
  for (unsigned i = 0; i < max_chain && btf.type(id).is_modifier(); ++i) {
    const BtfType type = btf.type(id);
    if (type.is(BtfKind::type_definition)) hints.read(type.name());
    id = type.target();
  }
}

bool is_unsigned_byte(const BtfType& type) {
  if (!type.is(BtfKind::integer) || type.bytes() != 1) return false;
  const BtfInteger integer = type.integer();
  return integer.bits == 8 && !integer.is_signed && !integer.is_bool && !is_character(type);
}

Notation array_notation(const Btf& btf, const BtfArray& array, Hints hints) {
  const BtfType element = btf.resolved(array.element);
  if (is_character(element)) return Notation::characters;
  const bool address = hints.address;  // of the array, not of its elements
  read_chain(btf, array.element, hints);
  if (is_unsigned_byte(element)) {
    if (array.count == 4 && address) return Notation::ipv4;
    if (array.count == 16 && address) return Notation::ipv6;
    if (array.count == 6 && hints.mac) return Notation::mac;
  }
  if (element.is(BtfKind::integer) && element.bytes() == 4 && hints.big_endian && address &&
      array.count == 4)
    return Notation::ipv6;
  return Notation::plain;
}

}  // namespace

Notation notation_of(const Btf& btf, std::uint32_t id, std::string_view name) {
  Hints hints;
  hints.read(name);
  read_chain(btf, id, hints);
  const BtfType type = btf.resolved(id);
  if (type.is(BtfKind::array)) return array_notation(btf, type.array(), hints);
  if (type.is(BtfKind::structure) && type.name() == "in6_addr" && type.bytes() == 16)
    return Notation::ipv6;
  if (!type.is(BtfKind::integer) || !hints.big_endian) return Notation::plain;
  const BtfInteger integer = type.integer();
  if (integer.bit_offset != 0 || integer.bits != 8 * type.bytes() || type.bytes() > 8)
    return Notation::plain;
  return type.bytes() == 4 && hints.address ? Notation::ipv4 : Notation::big_endian;
}

std::string type_name(const Btf& btf, std::uint32_t id) {
  std::string dimensions;
  for (unsigned i = 0; i < max_chain; ++i) {
    const BtfType type = btf.type(id);
    if (type.is(BtfKind::array)) {
      dimensions += fmt::format("[{}]", type.array().count);
      id = type.array().element;
    } else if (type.is_modifier() && !type.is(BtfKind::type_definition)) {
      id = type.target();
    } else {
      const std::string_view name = type.name().empty() ? "(anon)" : type.name();
      switch (type.kind()) {
        case BtfKind::none:
          return "void" + dimensions;
        case BtfKind::pointer:
          return "pointer" + dimensions;
        case BtfKind::structure:
          return fmt::format("struct {}{}", name, dimensions);
        case BtfKind::union_type:
          return fmt::format("union {}{}", name, dimensions);
        case BtfKind::enumeration:
        case BtfKind::enumeration64:
          return fmt::format("enum {}{}", name, dimensions);
        default:
          return fmt::format("{}{}", name, dimensions);
      }
    }
  }
  return "(deeply nested)" + dimensions;
}

std::uint32_t shown_member(const Btf& btf, const BtfType& union_type) {
  std::uint32_t best = union_type.count();
  std::uint32_t best_bytes = 0;
  for (std::uint32_t i = 0; i < union_type.count(); ++i) {
    const BtfMember member = union_type.member(i);
    if (member.bitfield_bits != 0) continue;
    const std::uint32_t bytes = btf.size_of(member.type).value_or(0);
    if (best == union_type.count() || bytes > best_bytes) {
      best = i;
      best_bytes = bytes;
    }
    if (bytes == union_type.bytes()) break;
  }
  return best == union_type.count() && best != 0 ? 0 : best;
}

}  // namespace skep::btf_text
