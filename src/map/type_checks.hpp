// SPDX-License-Identifier: Apache-2.0
// What the creation checks of several map types share.
#pragma once

#include "map/map.hpp"

#include <cstdint>
#include <optional>

namespace skep {

inline constexpr std::uint32_t access_flags =
    uapi::BPF_F_RDONLY | uapi::BPF_F_WRONLY | uapi::BPF_F_RDONLY_PROG | uapi::BPF_F_WRONLY_PROG;

inline bool has_both_program_access_flags(std::uint32_t flags) {
  constexpr std::uint32_t both = uapi::BPF_F_RDONLY_PROG | uapi::BPF_F_WRONLY_PROG;
  return (flags & both) == both;
}

/// Where the bpf_spin_lock of a value lies.
inline std::optional<std::uint32_t> lock_offset(const MapSpec& spec) {
  const SpecialField* const field = spec.record.find(FieldKind::spin_lock);
  return field != nullptr ? std::optional(field->offset) : std::nullopt;
}

/// maps.md 1.4 step 5, last part. Errors: EOPNOTSUPP (the value has a special field outside of
/// `supported`, or a lock that packing moved off its alignment. Differs: Linux takes such a lock;
/// ours is a word that threads park on, which must be aligned).
inline Result<void> check_special_fields(const MapSpec& spec, FieldKinds supported) {
  if ((spec.record.kinds() & ~supported) != 0) return Errno{EOPNOTSUPP};
  if (lock_offset(spec).value_or(0) % alignof(std::uint32_t) != 0) return Errno{EOPNOTSUPP};
  return ok();
}

/// The rule of arrays: the key is a plain 32-bit integer; typedefs and qualifiers are looked
/// through. Errors: EINVAL.
inline Result<void> check_index_key(const MapSpec& spec) {
  const BtfType key = spec.btf->resolved(spec.btf_key_type_id);
  if (!key.is(BtfKind::integer)) return Errno{EINVAL};
  const BtfInteger integer = key.integer();
  if (integer.bits != 32 || integer.bit_offset != 0) return Errno{EINVAL};
  return ok();
}

}  // namespace skep
