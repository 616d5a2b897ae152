// SPDX-License-Identifier: Apache-2.0
// Arithmetic and comparison of the instruction set (RFC 9669, sections 4.1 to 4.3): one function
// per operation, used by the interpreter and by the loader's constant propagation, so that they
// cannot disagree.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace skep::alu {

// `T` is std::uint64_t or std::uint32_t: the width of the operation.
template <class T>
concept Word = std::same_as<T, std::uint64_t> || std::same_as<T, std::uint32_t>;

template <Word T>
using Signed = std::make_signed_t<T>;

// Wrapping is the semantics of the instruction set, so it is spelled with unsigned types
// throughout.
template <Word T>
constexpr T add(T a, T b) {
  return a + b;
}
template <Word T>
constexpr T sub(T a, T b) {
  return a - b;
}
template <Word T>
constexpr T mul(T a, T b) {
  return a * b;
}
template <Word T>
constexpr T div(T a, T b) {
  return b == 0 ? T{0} : a / b;
}
template <Word T>
constexpr T mod(T a, T b) {
  return b == 0 ? a : a % b;
}
/// Rounds to zero. MIN / -1 wraps to MIN.
template <Word T>
constexpr T sdiv(T a, T b) {
  if (b == 0) return 0;
  if (b == static_cast<T>(-1)) return T{0} - a;
  return static_cast<T>(static_cast<Signed<T>>(a) / static_cast<Signed<T>>(b));
}
/// The sign is that of the dividend. MIN % -1 is 0.
template <Word T>
constexpr T smod(T a, T b) {
  if (b == 0) return a;
  if (b == static_cast<T>(-1)) return 0;
  return static_cast<T>(static_cast<Signed<T>>(a) % static_cast<Signed<T>>(b));
}
template <Word T>
constexpr T bit_or(T a, T b) {
  return a | b;
}
template <Word T>
constexpr T bit_and(T a, T b) {
  return a & b;
}
template <Word T>
constexpr T bit_xor(T a, T b) {
  return a ^ b;
}
template <Word T>
constexpr T mov(T /*a*/, T b) {
  return b;
}
// Shift counts are taken modulo the width.
template <Word T>
constexpr T lsh(T a, T b) {
  return a << (b & (std::numeric_limits<T>::digits - 1));
}
template <Word T>
constexpr T rsh(T a, T b) {
  return a >> (b & (std::numeric_limits<T>::digits - 1));
}
template <Word T>
constexpr T arsh(T a, T b) {
  return static_cast<T>(static_cast<Signed<T>>(a) >> (b & (std::numeric_limits<T>::digits - 1)));
}

template <Word T>
constexpr bool jeq(T a, T b) {
  return a == b;
}
template <Word T>
constexpr bool jne(T a, T b) {
  return a != b;
}
template <Word T>
constexpr bool jgt(T a, T b) {
  return a > b;
}
template <Word T>
constexpr bool jge(T a, T b) {
  return a >= b;
}
template <Word T>
constexpr bool jlt(T a, T b) {
  return a < b;
}
template <Word T>
constexpr bool jle(T a, T b) {
  return a <= b;
}
template <Word T>
constexpr bool jset(T a, T b) {
  return (a & b) != 0;
}
template <Word T>
constexpr bool jsgt(T a, T b) {
  return static_cast<Signed<T>>(a) > static_cast<Signed<T>>(b);
}
template <Word T>
constexpr bool jsge(T a, T b) {
  return static_cast<Signed<T>>(a) >= static_cast<Signed<T>>(b);
}
template <Word T>
constexpr bool jslt(T a, T b) {
  return static_cast<Signed<T>>(a) < static_cast<Signed<T>>(b);
}
template <Word T>
constexpr bool jsle(T a, T b) {
  return static_cast<Signed<T>>(a) <= static_cast<Signed<T>>(b);
}

/// The low bits of `value` as a signed number of type `Narrow`, extended to 64 bits.
template <class Narrow>
constexpr std::uint64_t sign_extend(std::uint64_t value) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(
      static_cast<Narrow>(static_cast<std::make_unsigned_t<Narrow>>(value))));
}

}  // namespace skep::alu
