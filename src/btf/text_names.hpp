// SPDX-License-Identifier: Apache-2.0
// Which network convention a value is written in; see text.hpp. Private to btf/.
#pragma once

#include "btf/btf.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace skep::btf_text {

enum class Notation : std::uint8_t {
  plain,
  big_endian,  // an integer in host order, stored big-endian
  ipv4,        // 4 bytes
  ipv6,        // 16 bytes
  mac,         // 6 bytes
  characters,  // an array of char: text
};

/// `name`: of the field or variable that holds the value; may be empty.
Notation notation_of(const Btf& btf, std::uint32_t id, std::string_view name);

/// The name of the type as people write it: "__be16", "struct flow", "int[4]". Bounded.
std::string type_name(const Btf& btf, std::uint32_t id);

/// Whether single values of this int are characters.
inline bool is_character(const BtfType& type) {
  return type.is(BtfKind::integer) && type.bytes() == 1 &&
         (type.integer().is_char || type.name() == "char");
}

/// The member of a union that stands for it: the first that is as large as the whole, else the
/// largest. The index of the member, or count() if there is none.
std::uint32_t shown_member(const Btf& btf, const BtfType& union_type);

/// How deep values are shown and read; what lies deeper is treated as bytes.
inline constexpr unsigned max_depth = 64;

}  // namespace skep::btf_text
