// SPDX-License-Identifier: Apache-2.0
// Integers of any width at any bit of a value, as words and back. Private to btf/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace skep::btf_text {

__extension__ using Wide = unsigned __int128;

/// `bits` (at most 128) from bit `at` on, counted from the lowest bit of the first byte. What lies
/// past the end is 0.
Wide load_bits(std::span<const std::byte> bytes, std::uint64_t at, std::uint32_t bits);
/// What lies past the end is dropped.
void store_bits(std::span<std::byte> bytes, std::uint64_t at, std::uint32_t bits, Wide value);

/// All ones in the lowest `bits`.
constexpr Wide low_bits(std::uint32_t bits) {
  return bits >= 128 ? ~Wide{0} : (Wide{1} << bits) - 1;
}
constexpr bool is_negative(Wide value, std::uint32_t bits) {
  return bits != 0 && (value >> (bits - 1) & 1) != 0;
}
/// The order of the lowest `bytes` bytes turned round.
Wide swap_bytes(Wide value, std::uint32_t bytes);

/// Decimal, with a sign where `is_signed` asks for it.
std::string decimal(Wide value, std::uint32_t bits, bool is_signed);
std::string hexadecimal(Wide value);

/// An integer as written: sign and magnitude.
struct Literal {
  Wide magnitude;
  bool negative;
  bool hexadecimal;
};
/// "17", "-1", "0x11". Nothing for all else and above 128 bits.
std::optional<Literal> read_literal(std::string_view text);

enum class Sign : std::uint8_t { is_unsigned, is_signed, either };
/// The bits of `literal` as an integer of that width; nothing if out of range. Hex may also set the
/// sign bit.
std::optional<Wide> fit(const Literal& literal, std::uint32_t bits, Sign sign);
/// "0 … 65535"
std::string range_text(std::uint32_t bits, Sign sign);

/// Value of a hex digit, or -1.
int hex_digit(char c);

}  // namespace skep::btf_text
