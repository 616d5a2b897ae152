// SPDX-License-Identifier: Apache-2.0
// Typed values written as text and as JSON. Reading them back is in text_parse.cpp.
#include "btf/text.hpp"

#include "btf/text_bits.hpp"
#include "btf/text_names.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <iterator>

namespace skep {

namespace {

using namespace btf_text;

/// Parts of a value shown at most. Types can be made so that a few bytes have more parts than there
/// is memory for.
constexpr std::uint64_t max_parts = 1U << 20;
constexpr std::size_t max_text_bytes = 64U << 20;
/// Comparing with enumerators costs less than writing.
constexpr std::uint32_t enumerators_per_part = 16;

enum class Form : std::uint8_t { text, json };

std::string hex_bytes(std::span<const std::byte> bytes) {
  std::string text = "0x";
  for (const std::byte b : bytes)
    fmt::format_to(std::back_inserter(text), "{:02x}", std::to_integer<unsigned>(b));
  return text;
}

/// The shortest text that reads back as `value`; hex of its bits where there is none (payloads of
/// NaN).
template <class Float, class Bits>
std::string float_text(Float value) {
  const std::string text = fmt::format("{}", value);
  Float back;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), back);
  if (error == std::errc{} && end == text.data() + text.size() &&
      std::bit_cast<Bits>(back) == std::bit_cast<Bits>(value))
    return text;
  return hexadecimal(std::bit_cast<Bits>(value));
}

class ValueWriter {
 public:
  ValueWriter(const Btf& btf, std::span<const std::byte> bytes, Form form)
      : btf_(btf), bytes_(bytes), form_(form) {}

  std::string run(std::uint32_t id) {
    value(id, {}, 0, 0, 0);
    return std::move(text_);
  }

 private:
  bool is_json() const { return form_ == Form::json; }

  /// Takes one part from the allowance. False: it is used up, and the mark for that was written.
  bool may_go_on() {
    if (++parts_ <= max_parts && text_.size() <= max_text_bytes) return true;
    text_ += is_json() ? "\"…\"" : "…";
    return false;
  }

  std::span<const std::byte> part(std::uint64_t bit_offset, std::uint64_t bytes) const {
    const std::uint64_t at = std::min<std::uint64_t>(bit_offset / 8, bytes_.size());
    return bytes_.subspan(at, std::min<std::uint64_t>(bytes, bytes_.size() - at));
  }

  /// Text that JSON puts in quotes: names and numbers that are none in JSON. Names may hold Latin-1
  /// letters.
  void word(std::string_view plain) {
    if (!is_json()) {
      text_ += plain;
      return;
    }
    text_ += '"';
    for (const char c : plain) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte < 0x80) {
        text_ += c;
      } else {
        fmt::format_to(std::back_inserter(text_), "\\u{:04x}", byte);
      }
    }
    text_ += '"';
  }

  void value(std::uint32_t id, std::string_view name, std::uint64_t bit_offset,
             std::uint32_t bitfield_bits, unsigned depth) {
    const BtfType type = btf_.resolved(id);
    if (type.is(BtfKind::variable)) {
      // Not a deeper level: a VAR never refers to another.
      return value(type.target(), type.name(), bit_offset, bitfield_bits, depth);
    }
    const std::uint32_t bytes = btf_.size_of(id).value_or(0);
    if (depth > max_depth) return word(hex_bytes(part(bit_offset, bytes)));
    const Notation notation = bitfield_bits == 0 ? notation_of(btf_, id, name) : Notation::plain;
    switch (notation) {
      case Notation::characters:
        return characters(part(bit_offset, bytes));
      case Notation::ipv4:
        return address(AF_INET, part(bit_offset, bytes));
      case Notation::ipv6:
        return address(AF_INET6, part(bit_offset, bytes));
      case Notation::mac:
        return mac(part(bit_offset, bytes));
      case Notation::plain:
      case Notation::big_endian:
        break;
    }
    switch (type.kind()) {
      case BtfKind::integer:
        return integer(type, notation, bit_offset, bitfield_bits);
      case BtfKind::enumeration:
      case BtfKind::enumeration64:
        return enumeration(type, bit_offset, bitfield_bits);
      case BtfKind::pointer:
        return word(hexadecimal(load_bits(bytes_, bit_offset, 64)));
      case BtfKind::floating:
        return floating(part(bit_offset, bytes));
      case BtfKind::array:
        return array(type.array(), name, bit_offset, depth);
      case BtfKind::structure:
      case BtfKind::union_type:
      case BtfKind::data_section:
        return aggregate(type, bit_offset, depth);
      default:
        return word(hex_bytes(part(bit_offset, bytes)));
    }
  }

  void integer(const BtfType& type, Notation notation, std::uint64_t bit_offset,
               std::uint32_t bitfield_bits) {
    const BtfInteger integer = type.integer();
    const std::uint32_t bits = bitfield_bits != 0 ? bitfield_bits : integer.bits;
    Wide number = load_bits(bytes_, bit_offset + integer.bit_offset, bits);
    if (notation == Notation::big_endian) number = swap_bytes(number, bits / 8);
    if (integer.is_bool && number <= 1) {
      text_ += number != 0 ? "true" : "false";
    } else if (is_character(type) && bits == 8 && number >= 0x20 && number < 0x7f) {
      character(static_cast<char>(number));
    } else if (bits > 64) {
      word(hexadecimal(number));
    } else {
      text_ += decimal(number, bits, integer.is_signed);
    }
  }

  void character(char c) {
    const char quote = is_json() ? '"' : '\'';
    text_ += quote;
    if (c == quote || c == '\\') text_ += '\\';
    text_ += c;
    text_ += quote;
  }

  void enumeration(const BtfType& type, std::uint64_t bit_offset, std::uint32_t bitfield_bits) {
    const std::uint32_t bits = bitfield_bits != 0 ? bitfield_bits : 8 * type.bytes();
    const Wide number = load_bits(bytes_, bit_offset, bits);
    parts_ += type.count() / enumerators_per_part;
    for (const BtfEnumerator enumerator : type.enumerators())
      if ((Wide{enumerator.value} & low_bits(bits)) == number) return word(enumerator.name);
    text_ += decimal(number, bits, type.is_signed_enumeration());
  }

  void floating(std::span<const std::byte> bytes) {
    std::string text;
    if (bytes.size() == sizeof(float)) {
      float number;
      std::memcpy(&number, bytes.data(), sizeof number);
      text = float_text<float, std::uint32_t>(number);
    } else if (bytes.size() == sizeof(double)) {
      double number;
      std::memcpy(&number, bytes.data(), sizeof number);
      text = float_text<double, std::uint64_t>(number);
    } else {
      return word(hex_bytes(bytes));
    }
    // JSON has no word for infinity and "not a number", nor hex.
    if (text.find_first_not_of("0123456789.e+-") == std::string::npos) {
      text_ += text;
    } else {
      word(text);
    }
  }

  /// An array of char up to its last byte that is not 0.
  void characters(std::span<const std::byte> bytes) {
    while (!bytes.empty() && bytes.back() == std::byte{0}) bytes = bytes.first(bytes.size() - 1);
    text_ += '"';
    for (const std::byte b : bytes) {
      const auto c = std::to_integer<unsigned char>(b);
      if (c == '"' || c == '\\') {
        text_ += '\\';
        text_ += static_cast<char>(c);
      } else if (c >= 0x20 && c < 0x7f) {
        text_ += static_cast<char>(c);
      } else if (is_json()) {
        fmt::format_to(std::back_inserter(text_), "\\u{:04x}", c);
      } else {
        fmt::format_to(std::back_inserter(text_), "\\x{:02x}", c);
      }
    }
    text_ += '"';
  }

  void address(int family, std::span<const std::byte> bytes) {
    const std::size_t needed = family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr);
    std::array<char, INET6_ADDRSTRLEN> text;
    // An IPv4-mapped address is read from its dotted form as well, and people know that one.
    constexpr std::size_t mapped_at = 12;  // RFC 4291 section 2.5.5.2
    if (family == AF_INET6 && bytes.size() == needed &&
        IN6_IS_ADDR_V4MAPPED(reinterpret_cast<const in6_addr*>(bytes.data()))) {
      return address(AF_INET, bytes.subspan(mapped_at));
    }
    if (bytes.size() != needed || ::inet_ntop(family, bytes.data(), text.data(),
                                              static_cast<socklen_t>(text.size())) == nullptr)
      return word(hex_bytes(bytes));
    word(text.data());
  }

  void mac(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte b : bytes)
      fmt::format_to(std::back_inserter(text), "{}{:02x}", text.empty() ? "" : ":",
                     std::to_integer<unsigned>(b));
    word(text);
  }

  void array(const BtfArray& array, std::string_view name, std::uint64_t bit_offset,
             unsigned depth) {
    const std::uint64_t element_bits = 8 * std::uint64_t{btf_.size_of(array.element).value_or(0)};
    text_ += '[';
    // Elements without size are not worth a word, however many there are.
    for (std::uint32_t i = 0; element_bits != 0 && i < array.count; ++i) {
      if (i != 0) text_ += ',';
      if (!may_go_on()) break;
      value(array.element, name, bit_offset + i * element_bits, 0, depth + 1);
    }
    text_ += ']';
  }

  void aggregate(const BtfType& type, std::uint64_t bit_offset, unsigned depth) {
    text_ += '{';
    bool first = true;
    if (type.is(BtfKind::data_section)) {
      for (const BtfVariable entry : type.variables())
        if (!field(entry.type, btf_.type(entry.type).name(), bit_offset + 8ULL * entry.offset, 0,
                   first, depth))
          break;
    } else {
      members(type, bit_offset, first, depth);
    }
    text_ += '}';
  }

  /// The members of a struct, or the one that stands for a union; those of anonymous ones among
  /// them. False: enough.
  bool members(const BtfType& type, std::uint64_t bit_offset, bool& first, unsigned depth) {
    if (type.is(BtfKind::union_type)) {
      parts_ += type.count();
      const std::uint32_t shown = shown_member(btf_, type);
      return shown == type.count() || member(type.member(shown), bit_offset, first, depth);
    }
    for (const BtfMember part : type.members())
      if (!member(part, bit_offset, first, depth)) return false;
    return true;
  }

  bool member(const BtfMember& member, std::uint64_t bit_offset, bool& first, unsigned depth) {
    const std::uint64_t at = bit_offset + member.bit_offset;
    if (!member.name.empty())
      return field(member.type, member.name, at, member.bitfield_bits, first, depth);
    const BtfType type = btf_.resolved(member.type);
    if (!type.is_aggregate()) return true;  // padding
    if (depth > max_depth || ++parts_ > max_parts) return false;
    return members(type, at, first, depth + 1);
  }

  bool field(std::uint32_t id, std::string_view name, std::uint64_t bit_offset,
             std::uint32_t bitfield_bits, bool& first, unsigned depth) {
    if (!first) text_ += ',';
    first = false;
    word(name);
    text_ += is_json() ? ':' : '=';
    if (!may_go_on()) return false;
    value(id, name, bit_offset, bitfield_bits, depth + 1);
    return true;
  }

  const Btf& btf_;
  const std::span<const std::byte> bytes_;
  const Form form_;
  std::string text_;
  std::uint64_t parts_ = 0;
};

bool explains(const Btf& btf, std::uint32_t id, std::span<const std::byte> bytes) {
  const Result<std::uint32_t> size = btf.size_of(id);
  return size && *size == bytes.size();
}

bool is_integer_size(std::size_t bytes) {
  return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
}

}  // namespace

std::string format_value(const Btf& btf, std::uint32_t id, std::span<const std::byte> bytes) {
  if (!explains(btf, id, bytes)) return format_bytes(bytes);
  return ValueWriter(btf, bytes, Form::text).run(id);
}

std::string format_json(const Btf& btf, std::uint32_t id, std::span<const std::byte> bytes) {
  if (!explains(btf, id, bytes)) return format_bytes_json(bytes);
  return ValueWriter(btf, bytes, Form::json).run(id);
}

std::string format_bytes(std::span<const std::byte> bytes) {
  if (!is_integer_size(bytes.size())) return hex_bytes(bytes);
  const auto bits = static_cast<std::uint32_t>(8 * bytes.size());
  return decimal(load_bits(bytes, 0, bits), bits, false);
}

std::string format_bytes_json(std::span<const std::byte> bytes) {
  const std::string text = format_bytes(bytes);
  return is_integer_size(bytes.size()) ? text : '"' + text + '"';
}

}  // namespace skep
