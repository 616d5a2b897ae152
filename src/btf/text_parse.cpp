// SPDX-License-Identifier: Apache-2.0
// Typed values read from text. A recursive descent that follows the type: the text never decides
// how deep it goes.
#include "btf/text.hpp"
#include "btf/text_bits.hpp"
#include "btf/text_names.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <set>
#include <vector>

namespace skep {

namespace {

using namespace btf_text;

/// Members looked at while one field name is searched. Hostile types can nest anonymous unions
/// without end.
constexpr std::uint32_t max_search = 1U << 20;
/// Names listed when one was not found.
constexpr std::size_t max_listed = 16;
/// Characters of the text repeated in an error.
constexpr std::size_t max_quoted = 64;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool ends_token(char c) {
  return is_space(c) || c == ',' || c == ']' || c == '}' || c == '[' || c == '{' || c == '"';
}
/// What a field name given without quotes may consist of: what BTF permits.
bool is_name(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || byte >= 0xc0;
}

std::string shortened(std::string_view text) {
  if (text.size() <= max_quoted) return std::string(text);
  return std::string(text.substr(0, max_quoted)) + "…";
}

std::string bytes_word(std::size_t bytes) {
  return fmt::format("{} {}", bytes, bytes == 1 ? "byte" : "bytes");
}

/// Pairs of hex digits, at most one separator of `separators` between them. Nothing if not exactly
/// out.size() bytes.
bool read_hex_bytes(std::string_view digits, std::string_view separators,
                    std::span<std::byte> out) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (i != 0 && at < digits.size() && separators.contains(digits[at])) ++at;
    if (at + 2 > digits.size()) return false;
    const int high = hex_digit(digits[at]);
    const int low = hex_digit(digits[at + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = std::byte(high << 4 | low);
    at += 2;
  }
  return at == digits.size();
}

/// Something that may be given a value: a member, a variable, an element or the whole.
struct Target {
  std::uint32_t type;
  std::string_view name;
  std::uint64_t bit_offset;
  std::uint32_t bitfield_bits = 0;
};

class ValueReader {
 public:
  ValueReader(const Btf& btf, std::string_view text, std::span<std::byte> out, std::string& why)
      : btf_(btf), text_(text), out_(out), why_(why) {}

  Result<void> run(std::uint32_t id) {
    std::ranges::fill(out_, std::byte{0});
    TRY(value({.type = id, .name = {}, .bit_offset = 0}, 0));
    skip_space();
    if (at_ != text_.size())
      return refuse(
          fmt::format("\"{}\" is left over after the value", shortened(text_.substr(at_))));
    return {};
  }

 private:
  struct Token {
    std::string_view text;
    bool quoted;
  };

  /// Writes "path: reason".
  Errno refuse(std::string_view reason) {
    std::string_view path = path_;
    if (path.starts_with('.')) path.remove_prefix(1);
    why_ = path.empty() ? std::string(reason) : fmt::format("{}: {}", path, reason);
    return Errno{EINVAL};
  }

  void skip_space() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  /// What stands at the present place, for errors.
  std::string here() {
    skip_space();
    return at_ == text_.size() ? "the end of the text" : '"' + shortened(text_.substr(at_)) + '"';
  }

  // ---- values ----

  Result<void> value(const Target& target, unsigned depth) {
    if (depth > max_depth) return refuse("the type is nested too deeply to be written as text");
    const BtfType type = btf_.resolved(target.type);
    if (type.is(BtfKind::variable)) {
      Target inner = target;
      inner.type = type.target();
      inner.name = type.name();
      return value(inner, depth);  // not a deeper level: a VAR never refers to another
    }
    const bool is_aggregate = type.is_aggregate() || type.is(BtfKind::data_section);
    if (is_aggregate && peek() == '{') return aggregate(type, target, depth);
    if (type.is(BtfKind::array) && peek() == '[') return array(type.array(), target, depth);

    const Notation notation =
        target.bitfield_bits == 0 ? notation_of(btf_, target.type, target.name) : Notation::plain;
    if (notation == Notation::characters) return characters(type.array(), target);
    if (is_aggregate && notation == Notation::plain)
      return refuse(
          fmt::format("{} is not {}, expected {{field=value,…}}", here(), name_of(target)));
    if (type.is(BtfKind::array) && notation == Notation::plain)
      return refuse(fmt::format("{} is not {}, expected [value,…]", here(), name_of(target)));

    const Token token = TRY(read_token(target));
    switch (notation) {
      case Notation::ipv4:
        return ipv4(token.text, target);
      case Notation::ipv6:
        return ipv6(token.text, target);
      case Notation::mac:
        return mac(token.text, target);
      default:
        break;
    }
    switch (type.kind()) {
      case BtfKind::integer:
        return integer(type, token, target, notation);
      case BtfKind::enumeration:
      case BtfKind::enumeration64:
        return enumeration(type, token.text, target);
      case BtfKind::pointer:
        return number(token.text, target, 64, Sign::is_unsigned, Notation::plain);
      case BtfKind::floating:
        return floating(type.bytes(), token.text, target);
      default:
        return refuse(fmt::format("{} has no values", name_of(target)));
    }
  }

  std::string name_of(const Target& target) const { return type_name(btf_, target.type); }

  std::span<std::byte> part(const Target& target, std::size_t bytes) {
    const std::size_t at = std::min<std::uint64_t>(target.bit_offset / 8, out_.size());
    return out_.subspan(at, std::min(bytes, out_.size() - at));
  }

  /// A word up to the next separator, or what stands in quotes.
  Result<Token> read_token(const Target& target) {
    const char first = peek();
    if (first == '"' || first == '\'') {
      const std::size_t start = ++at_;
      while (at_ < text_.size() && text_[at_] != first) at_ += text_[at_] == '\\' ? 2 : 1;
      if (at_ >= text_.size()) {
        at_ = text_.size();
        return refuse(fmt::format("the quote {} is not closed", first));
      }
      return Token{text_.substr(start, at_++ - start), true};
    }
    const std::size_t start = at_;
    while (at_ < text_.size() && !ends_token(text_[at_])) ++at_;
    if (at_ == start) return refuse(fmt::format("expected {}, found {}", name_of(target), here()));
    return Token{text_.substr(start, at_ - start), false};
  }

  Result<void> integer(const BtfType& type, const Token& token, const Target& target,
                       Notation notation) {
    const BtfInteger integer = type.integer();
    const std::uint32_t bits = target.bitfield_bits != 0 ? target.bitfield_bits : integer.bits;
    Target place = target;
    place.bit_offset += integer.bit_offset;
    if (integer.is_bool && (token.text == "true" || token.text == "false")) {
      store_bits(out_, place.bit_offset, bits, token.text == "true" ? 1 : 0);
      return {};
    }
    if (integer.is_bool && !read_literal(token.text))
      return refuse(fmt::format("\"{}\" is not true or false", shortened(token.text)));
    if (is_character(type) && token.quoted) {
      const auto text = unescape(token.text);
      if (!text || text->size() != 1)
        return refuse(fmt::format("'{}' is not one character", shortened(token.text)));
      store_bits(out_, place.bit_offset, bits, static_cast<unsigned char>((*text)[0]));
      return {};
    }
    return number(token.text, place, bits, integer.is_signed ? Sign::is_signed : Sign::is_unsigned,
                  notation);
  }

  Result<void> number(std::string_view text, const Target& target, std::uint32_t bits, Sign sign,
                      Notation notation) {
    const std::string range = range_text(bits, sign);
    const auto literal = read_literal(text);
    if (!literal)
      return refuse(fmt::format("\"{}\" is not a number, expected {} ({})", shortened(text),
                                name_of(target), range));
    auto fitting = fit(*literal, bits, sign);
    if (!fitting)
      return refuse(
          fmt::format("{} does not fit {} ({})", shortened(text), name_of(target), range));
    if (notation == Notation::big_endian) fitting = swap_bytes(*fitting, bits / 8);
    store_bits(out_, target.bit_offset, bits, *fitting);
    return {};
  }

  Result<void> enumeration(const BtfType& type, std::string_view text, const Target& target) {
    const std::uint32_t bits = target.bitfield_bits != 0 ? target.bitfield_bits : 8 * type.bytes();
    std::string known;
    std::size_t listed = 0;
    for (const BtfEnumerator enumerator : type.enumerators()) {
      if (enumerator.name == text) {
        const Wide number = Wide{enumerator.value} & low_bits(bits);
        store_bits(out_, target.bit_offset, bits, number);
        return {};
      }
      append_name(known, enumerator.name, listed);
    }
    if (!read_literal(text))
      return refuse(fmt::format("\"{}\" is not a value of {} (has: {})", shortened(text),
                                name_of(target), known));
    const Sign sign = type.is_signed_enumeration() ? Sign::is_signed : Sign::is_unsigned;
    return number(text, target, bits, sign, Notation::plain);
  }

  Result<void> floating(std::uint32_t bytes, std::string_view text, const Target& target) {
    const std::span<std::byte> out = part(target, bytes);
    if (text.starts_with("0x")) {
      if (bytes == sizeof(float) || bytes == sizeof(double))
        return number(text, target, 8 * bytes, Sign::is_unsigned, Notation::plain);
      if (read_hex_bytes(text.substr(2), "", out)) return {};
    } else if (bytes == sizeof(float) ? read_float<float>(text, out)
                                      : bytes == sizeof(double) && read_float<double>(text, out)) {
      return {};
    }
    return refuse(
        fmt::format("\"{}\" is not {} of {}", shortened(text), name_of(target), bytes_word(bytes)));
  }

  template <class Float>
  static bool read_float(std::string_view text, std::span<std::byte> out) {
    Float number;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return false;
    std::memcpy(out.data(), &number, std::min(sizeof number, out.size()));
    return true;
  }

  /// A C string for inet_pton(); nothing for texts that no address has.
  static std::optional<std::array<char, INET6_ADDRSTRLEN>> c_string(std::string_view text) {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    if (text.size() >= buffer.size() || text.contains('\0')) return std::nullopt;
    std::ranges::copy(text, buffer.begin());
    return buffer;
  }

  Result<void> ipv4(std::string_view text, const Target& target) {
    const std::span<std::byte> out = part(target, sizeof(in_addr));
    if (const auto buffer = c_string(text)) {
      in_addr address;
      if (::inet_pton(AF_INET, buffer->data(), &address) == 1) {
        std::memcpy(out.data(), &address, out.size());
        return {};
      }
    }
    if (const auto literal = read_literal(text)) {
      const auto number = fit(*literal, 32, Sign::is_unsigned);
      if (!number)
        return refuse(fmt::format("{} does not fit an IPv4 address ({})", shortened(text),
                                  range_text(32, Sign::is_unsigned)));
      store_bits(out_, target.bit_offset, 32, swap_bytes(*number, 4));
      return {};
    }
    return refuse(
        fmt::format("\"{}\" is not an IPv4 address, expected one like 10.0.0.1", shortened(text)));
  }

  Result<void> ipv6(std::string_view text, const Target& target) {
    const std::span<std::byte> out = part(target, sizeof(in6_addr));
    if (const auto buffer = c_string(text)) {
      in6_addr address{};
      if (::inet_pton(AF_INET6, buffer->data(), &address) == 1) {
        std::memcpy(out.data(), &address, out.size());
        return {};
      }
      constexpr std::size_t mapped_at = 12;  // ::ffff:a.b.c.d, RFC 4291 section 2.5.5.2
      if (::inet_pton(AF_INET, buffer->data(), &address.s6_addr[mapped_at]) == 1) {
        address.s6_addr[mapped_at - 2] = address.s6_addr[mapped_at - 1] = 0xff;
        std::memcpy(out.data(), &address, out.size());
        return {};
      }
    }
    return refuse(fmt::format("\"{}\" is not an IPv6 or IPv4 address, expected one like fe80::1",
                              shortened(text)));
  }

  Result<void> mac(std::string_view text, const Target& target) {
    constexpr std::size_t mac_bytes = 6;
    if (text.size() == 3 * mac_bytes - 1 && read_hex_bytes(text, ":-", part(target, mac_bytes)))
      return {};
    return refuse(fmt::format("\"{}\" is not a MAC address, expected one like 02:00:00:00:00:01",
                              shortened(text)));
  }

  Result<void> characters(const BtfArray& array, const Target& target) {
    const Token token = TRY(read_token(target));
    const std::optional<std::string> text =
        token.quoted ? unescape(token.text) : std::string(token.text);
    if (!text)
      return refuse(
          fmt::format("\"{}\" has an escape other than \\\\ \\\" \\' \\n \\r \\t \\0 "
                      "\\xNN \\u00NN",
                      shortened(token.text)));
    if (text->size() > array.count)
      return refuse(fmt::format("\"{}\" is {} long, but there is room for {}",
                                shortened(token.text), bytes_word(text->size()), array.count));
    const auto characters = std::as_bytes(std::span(*text));
    const std::span<std::byte> out = part(target, characters.size());
    std::ranges::copy(characters.first(out.size()), out.begin());
    return {};
  }

  static std::optional<std::string> unescape(std::string_view text) {
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        plain += text[i];
        continue;
      }
      if (++i == text.size()) return std::nullopt;
      switch (text[i]) {
        case 'n':
          plain += '\n';
          break;
        case 'r':
          plain += '\r';
          break;
        case 't':
          plain += '\t';
          break;
        case '0':
          plain += '\0';
          break;
        case '\\':
        case '"':
        case '/':
        case '\'':
          plain += text[i];
          break;
        case 'x':
        case 'u': {
          const std::string_view zeros = text[i] == 'u' ? "00" : "";
          std::array<std::byte, 1> byte;
          if (!text.substr(i + 1).starts_with(zeros) ||
              !read_hex_bytes(text.substr(i + 1 + zeros.size(), 2), "", byte))
            return std::nullopt;
          plain += static_cast<char>(byte[0]);
          i += zeros.size() + 2;
          break;
        }
        default:
          return std::nullopt;
      }
    }
    return plain;
  }

  // ---- arrays and structs ----

  Result<void> array(const BtfArray& array, const Target& target, unsigned depth) {
    take('[');
    const std::uint64_t element_bits = 8 * std::uint64_t{btf_.size_of(array.element).value_or(0)};
    const std::size_t outer = path_.size();
    for (std::uint64_t i = 0; !take(']'); ++i) {
      if (i != 0 && !take(',')) return refuse(fmt::format("expected , or ] but found {}", here()));
      if (i != 0 && take(']')) break;  // a trailing comma
      if (i == array.count)
        return refuse(fmt::format("too many elements, {} holds {}", name_of(target), array.count));
      path_ += fmt::format("[{}]", i);
      TRY(value({.type = array.element,
                 .name = target.name,
                 .bit_offset = target.bit_offset + i * element_bits},
                depth + 1));
      path_.resize(outer);
    }
    return {};
  }

  /// Which member of each union was given, so that a second one can be refused.
  struct UnionChoice {
    std::uint64_t bit_offset;
    std::uint32_t type;
    std::uint32_t member;
  };
  /// What was given of one {…}.
  struct Given {
    std::set<std::string_view> names;
    std::vector<UnionChoice> choices;
    std::vector<UnionChoice> path;  // the unions on the way to the field found last
  };

  Result<void> aggregate(const BtfType& type, const Target& target, unsigned depth) {
    take('{');
    Given given;
    std::uint32_t position = 0;
    enum class Style : std::uint8_t { open, named, positional } style = Style::open;
    const std::size_t outer = path_.size();
    for (bool first = true; !take('}'); first = false) {
      if (!first && !take(',')) return refuse(fmt::format("expected , or }} but found {}", here()));
      if (!first && take('}')) break;  // a trailing comma
      const std::optional<std::string_view> name = take_name();
      const Style now = name ? Style::named : Style::positional;
      if (style != Style::open && style != now)
        return refuse("fields are given either all by name or all by position");
      style = now;
      std::optional<Target> field =
          name ? TRY(named_field(type, target, *name, given)) : next_field(type, target, position);
      if (!field)
        return refuse(fmt::format("too many values, {} has {} (fields: {})", name_of(target),
                                  position, field_names(type)));
      path_ += '.';
      path_ += field->name;
      TRY(value(*field, depth + 1));
      path_.resize(outer);
    }
    return {};
  }

  /// `name=`, `"name"=` or `"name":`. Nothing, and the place unchanged, if a value stands here.
  std::optional<std::string_view> take_name() {
    skip_space();
    const std::size_t start = at_;
    const bool quoted = take('"');
    const std::size_t from = at_;
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    const std::string_view name = text_.substr(from, at_ - from);
    const bool closed = !quoted || (at_ < text_.size() && text_[at_++] == '"');
    if (!name.empty() && closed && (take('=') || (quoted && take(':')))) return name;
    at_ = start;
    return std::nullopt;
  }

  Result<Target> named_field(const BtfType& type, const Target& target, std::string_view name,
                             Given& given) {
    given.path.clear();
    searched_ = 0;
    const auto field = find_field(type, target.bit_offset, name, given, 0);
    if (!field)
      return refuse(fmt::format("{} has no field \"{}\" (has: {})", name_of(target),
                                shortened(name), field_names(type)));
    if (!given.names.insert(name).second)
      return refuse(fmt::format("field \"{}\" is given twice", name));
    for (const UnionChoice& choice : given.path) {
      const auto same = [&](const UnionChoice& other) {
        return other.bit_offset == choice.bit_offset && other.type == choice.type;
      };
      const auto earlier = std::ranges::find_if(given.choices, same);
      if (earlier == given.choices.end()) {
        given.choices.push_back(choice);
      } else if (earlier->member != choice.member) {
        return refuse(
            fmt::format("\"{}\" shares its bytes with a union member given before it", name));
      }
    }
    return *field;
  }

  std::optional<Target> find_field(const BtfType& type, std::uint64_t bit_offset,
                                   std::string_view name, Given& given, unsigned depth) {
    if (type.is(BtfKind::data_section)) {
      for (const BtfVariable entry : type.variables())
        if (const std::string_view variable = btf_.type(entry.type).name(); variable == name)
          return Target{
              .type = entry.type, .name = variable, .bit_offset = bit_offset + 8ULL * entry.offset};
      return std::nullopt;
    }
    for (std::uint32_t i = 0; i < type.count(); ++i) {
      const BtfMember member = type.member(i);
      if (depth > max_depth || ++searched_ > max_search) return std::nullopt;
      const bool in_union = type.is(BtfKind::union_type);
      if (in_union) given.path.push_back({bit_offset, type.id(), i});
      if (!member.name.empty()) {
        if (member.name == name) return target_of(member, bit_offset);
      } else if (const BtfType inner = btf_.resolved(member.type); inner.is_aggregate()) {
        if (const auto found =
                find_field(inner, bit_offset + member.bit_offset, name, given, depth + 1))
          return found;
      }
      if (in_union) given.path.pop_back();
    }
    return std::nullopt;
  }

  static Target target_of(const BtfMember& member, std::uint64_t bit_offset) {
    return {.type = member.type,
            .name = member.name,
            .bit_offset = bit_offset + member.bit_offset,
            .bitfield_bits = member.bitfield_bits};
  }

  /// The field at `position`, which is moved on. An anonymous struct is one field; unnamed padding
  /// is none.
  std::optional<Target> next_field(const BtfType& type, const Target& target,
                                   std::uint32_t& position) {
    if (type.is(BtfKind::data_section)) {
      if (position == type.count()) return std::nullopt;
      const BtfVariable entry = type.variable(position++);
      return Target{.type = entry.type,
                    .name = btf_.type(entry.type).name(),
                    .bit_offset = target.bit_offset + 8ULL * entry.offset};
    }
    const std::uint32_t end =
        type.is(BtfKind::union_type) ? std::min(type.count(), 1U) : type.count();
    while (position < end) {
      const BtfMember member = type.member(position++);
      if (!member.name.empty() || btf_.resolved(member.type).is_aggregate())
        return target_of(member, target.bit_offset);
    }
    return std::nullopt;
  }

  /// "address, port, protocol"
  std::string field_names(const BtfType& type) {
    std::string names;
    searched_ = 0;
    std::size_t listed = 0;
    if (type.is(BtfKind::data_section)) {
      for (const BtfVariable entry : type.variables())
        append_name(names, btf_.type(entry.type).name(), listed);
    } else {
      list_members(type, names, listed, 0);
    }
    return names.empty() ? "none" : names;
  }

  void list_members(const BtfType& type, std::string& names, std::size_t& listed, unsigned depth) {
    for (const BtfMember member : type.members()) {
      if (listed > max_listed || depth > max_depth || ++searched_ > max_search) return;
      if (!member.name.empty()) {
        append_name(names, member.name, listed);
      } else if (const BtfType inner = btf_.resolved(member.type); inner.is_aggregate()) {
        list_members(inner, names, listed, depth + 1);
      }
    }
  }

  static void append_name(std::string& names, std::string_view name, std::size_t& listed) {
    if (listed > max_listed) return;
    if (!names.empty()) names += ", ";
    names += listed == max_listed ? "…" : shortened(name);
    ++listed;
  }

  const Btf& btf_;
  const std::string_view text_;
  std::size_t at_ = 0;
  const std::span<std::byte> out_;
  std::string& why_;
  std::string path_;
  std::uint32_t searched_ = 0;
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

Result<void> parse_value(const Btf& btf, std::uint32_t id, std::string_view text,
                         std::span<std::byte> out, std::string& why) {
  const Result<std::uint32_t> bytes = btf.size_of(id);
  if (!bytes || *bytes != out.size()) {
    why = bytes ? fmt::format("{} has {}, but the value has {}", btf_text::type_name(btf, id),
                              bytes_word(*bytes), bytes_word(out.size()))
                : fmt::format("{} has no values", btf_text::type_name(btf, id));
    return Errno{EINVAL};
  }
  return ValueReader(btf, text, out, why).run(id);
}

Result<void> parse_bytes(std::string_view text, std::span<std::byte> out, std::string& why) {
  text = trimmed(text);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"')
    text = text.substr(1, text.size() - 2);
  const bool is_integer = out.size() == 1 || out.size() == 2 || out.size() == 4 || out.size() == 8;
  const auto bits = static_cast<std::uint32_t>(8 * out.size());
  if (text.starts_with("hex ") || text == "hex") {
    if (read_hex_bytes(trimmed(text.substr(3)), " ", out)) return {};
    why = fmt::format("\"{}\" is not {} in hex", shortened(text), bytes_word(out.size()));
    return Errno{EINVAL};
  }
  if (is_integer) {
    const auto literal = read_literal(text);
    const auto number = literal ? fit(*literal, bits, Sign::either) : std::nullopt;
    if (number) {
      store_bits(out, 0, bits, *number);
      return {};
    }
    why = literal ? fmt::format("{} does not fit {} ({})", shortened(text), bytes_word(out.size()),
                                range_text(bits, Sign::either))
                  : fmt::format("\"{}\" is neither a number nor hex bytes (hex 0a 0b …)",
                                shortened(text));
    return Errno{EINVAL};
  }
  if (text.starts_with("0x") && read_hex_bytes(text.substr(2), "", out)) return {};
  why = fmt::format("\"{}\" is not {} in hex (0x0a0b… or hex 0a 0b …)", shortened(text),
                    bytes_word(out.size()));
  return Errno{EINVAL};
}

}  // namespace skep
