// SPDX-License-Identifier: Apache-2.0
// Typed values as words, both ways: how the command line sets map entries and how dumps show them.
//
//   {address=10.0.0.100,port=80,protocol=6}   a struct: fields by name, in any order; those not
//                                             given are 0. All by position: {10.0.0.100,80,6}.
//                                             A union: one member
//   [1,2,3]                                   an array; elements not given are 0
//   17  0x11  -1                              integers, checked against width and sign
//   TCP_SYN  true  'x'  "eth0"  1.5  0xff88   enumerator, bool, char, char array, float, pointer
//
// The members of an anonymous struct or union count as members of what is around it. What
// `format_value` prints, `parse_value` reads back into the same bytes, padding apart, and it reads
// what `format_json` prints, too.
//
// Network conventions, chosen by the names of fields, variables and typedefs in the chain of types:
//   * __be16, __be32 or __be64 in the chain: shown and given in host order, stored big-endian;
//   * such a __be32, or 4 unsigned bytes, called *addr* or ip (src_ip, ip4, vip; not skip): IPv4,
//     10.0.0.1 (for a __be32 a plain number is one in host order);
//   * 16 unsigned bytes or __be32[4] called so, and struct in6_addr: IPv6, fe80::1. 10.0.0.1 stands
//   for the
//     IPv4-mapped ::ffff:10.0.0.1 and is how that is shown;
//   * 6 unsigned bytes called *mac*, h_dest or h_source: aa:bb:cc:dd:ee:ff.
#pragma once

#include "btf/btf.hpp"
#include "result/result.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace skep {

/// `bytes` as one line. Never fails: what the type does not explain (no size, other length) is
/// shown by format_bytes(). Very large values end in "…": at most about a million parts are shown.
std::string format_value(const Btf& btf, std::uint32_t id, std::span<const std::byte> bytes);

/// `bytes` as one JSON value with field names. Integers are exact JSON numbers up to 64 bits, in
/// hex text above; enumerators, addresses, chars and pointers are text.
std::string format_json(const Btf& btf, std::uint32_t id, std::span<const std::byte> bytes);

/// Reads `text`, any text at all, into `out`, which must have the size of the type. What is not
/// given becomes 0. On error `why` is one sentence with the path of the field, the text and what
/// was expected, and `out` is undefined.
/// Errors: EINVAL.
Result<void> parse_value(const Btf& btf, std::uint32_t id, std::string_view text,
                         std::span<std::byte> out, std::string& why);

/// Values without type information: an unsigned integer in host order when 1, 2, 4 or 8 bytes, else
/// hex, `0x0a0b…`.
std::string format_bytes(std::span<const std::byte> bytes);
/// As a JSON value: a number or a string.
std::string format_bytes_json(std::span<const std::byte> bytes);

/// Reads an integer (decimal, 0x…, negative) for 1, 2, 4 or 8 bytes; and for any size `hex 0a 0b
/// …`, and for other sizes `0x0a0b…`, a pair of digits for each byte in memory order.
/// Errors: EINVAL, with one sentence in `why`.
Result<void> parse_bytes(std::string_view text, std::span<std::byte> out, std::string& why);

}  // namespace skep
