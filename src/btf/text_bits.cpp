// SPDX-License-Identifier: Apache-2.0
#include "btf/text_bits.hpp"

#include <algorithm>

namespace skep::btf_text {

Wide load_bits(std::span<const std::byte> bytes, std::uint64_t at, std::uint32_t bits) {
  Wide value = 0;
  for (std::uint32_t done = 0; done < bits;) {
    const std::uint64_t byte = (at + done) / 8;
    const std::uint32_t shift = (at + done) % 8;
    const std::uint32_t take = std::min(8 - shift, bits - done);
    const unsigned whole = byte < bytes.size() ? std::to_integer<unsigned>(bytes[byte]) : 0;
    value |= Wide{(whole >> shift) & ((1U << take) - 1)} << done;
    done += take;
  }
  return value;
}

void store_bits(std::span<std::byte> bytes, std::uint64_t at, std::uint32_t bits, Wide value) {
  for (std::uint32_t done = 0; done < bits;) {
    const std::uint64_t byte = (at + done) / 8;
    const std::uint32_t shift = (at + done) % 8;
    const std::uint32_t take = std::min(8 - shift, bits - done);
    const unsigned mask = ((1U << take) - 1) << shift;
    if (byte < bytes.size()) {
      const unsigned part = static_cast<unsigned>(value >> done) << shift & mask;
      bytes[byte] = std::byte((std::to_integer<unsigned>(bytes[byte]) & ~mask) | part);
    }
    done += take;
  }
}

Wide swap_bytes(Wide value, std::uint32_t bytes) {
  Wide swapped = 0;
  for (std::uint32_t i = 0; i < bytes; ++i) swapped = swapped << 8 | (value >> (8 * i) & 0xff);
  return swapped;
}

std::string decimal(Wide value, std::uint32_t bits, bool is_signed) {
  const bool negative = is_signed && is_negative(value, bits);
  if (negative) value = (~value + 1) & low_bits(bits);
  std::string digits;
  do {
    digits += static_cast<char>('0' + static_cast<int>(value % 10));
    value /= 10;
  } while (value != 0);
  if (negative) digits += '-';
  std::ranges::reverse(digits);
  return digits;
}

std::string hexadecimal(Wide value) {
  std::string digits;
  do {
    digits += "0123456789abcdef"[static_cast<unsigned>(value & 0xf)];
    value >>= 4;
  } while (value != 0);
  digits += "x0";
  std::ranges::reverse(digits);
  return digits;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<Literal> read_literal(std::string_view text) {
  Literal literal{.magnitude = 0, .negative = false, .hexadecimal = false};
  if (text.starts_with('-') || text.starts_with('+')) {
    literal.negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.starts_with("0x") || text.starts_with("0X")) {
    literal.hexadecimal = true;
    text.remove_prefix(2);
  }
  if (text.empty()) return std::nullopt;
  const unsigned base = literal.hexadecimal ? 16 : 10;
  for (const char c : text) {
    const int digit = hex_digit(c);
    if (digit < 0 || static_cast<unsigned>(digit) >= base) return std::nullopt;
    const Wide next = literal.magnitude * base + static_cast<unsigned>(digit);
    if (literal.magnitude > (~Wide{0} - static_cast<unsigned>(digit)) / base) return std::nullopt;
    literal.magnitude = next;
  }
  return literal;
}

std::optional<Wide> fit(const Literal& literal, std::uint32_t bits, Sign sign) {
  const Wide half = bits == 0 ? Wide{0} : Wide{1} << (bits - 1);
  if (literal.negative && literal.magnitude != 0) {
    if (sign == Sign::is_unsigned || literal.magnitude > half) return std::nullopt;
    return (~literal.magnitude + 1) & low_bits(bits);
  }
  const bool whole_width = sign != Sign::is_signed || literal.hexadecimal;
  const Wide largest = whole_width || bits == 0 ? low_bits(bits) : half - 1;
  if (literal.magnitude > largest) return std::nullopt;
  return literal.magnitude;
}

std::string range_text(std::uint32_t bits, Sign sign) {
  if (bits == 0) return "only 0";
  const Wide half = Wide{1} << (bits - 1);
  const std::string low = sign == Sign::is_unsigned ? "0" : decimal(half, bits, true);
  const Wide high = sign == Sign::is_signed ? half - 1 : low_bits(bits);
  return low + " … " + decimal(high, bits, false);
}

}  // namespace skep::btf_text
