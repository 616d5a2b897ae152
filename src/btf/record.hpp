// SPDX-License-Identifier: Apache-2.0
// The special fields of a value: locks, timers, kernel pointers and graph nodes that commands must
// not copy and that programs reach only through helpers. They are found by the names of their
// struct types and by type tags.
#pragma once

#include "btf/btf.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace skep {

enum class FieldKind : std::uint8_t {
  spin_lock,
  res_spin_lock,
  timer,
  workqueue,
  task_work,
  refcount,
  kptr_untrusted,
  kptr_referenced,
  kptr_percpu,
  user_pointer,
  list_head,
  list_node,
  rb_root,
  rb_node,
};

/// A set of field kinds, one bit each.
using FieldKinds = std::uint32_t;
constexpr FieldKinds field_bit(FieldKind kind) {
  return FieldKinds{1} << static_cast<unsigned>(kind);
}
inline constexpr FieldKinds kernel_pointers = field_bit(FieldKind::kptr_untrusted) |
                                              field_bit(FieldKind::kptr_referenced) |
                                              field_bit(FieldKind::kptr_percpu);
inline constexpr FieldKinds graph_roots =
    field_bit(FieldKind::list_head) | field_bit(FieldKind::rb_root);
inline constexpr FieldKinds graph_nodes =
    field_bit(FieldKind::list_node) | field_bit(FieldKind::rb_node);
/// What counts in a map value. Nodes do not: they live in allocated objects.
inline constexpr FieldKinds map_value_fields =
    field_bit(FieldKind::spin_lock) | field_bit(FieldKind::res_spin_lock) |
    field_bit(FieldKind::timer) | field_bit(FieldKind::workqueue) |
    field_bit(FieldKind::task_work) | field_bit(FieldKind::refcount) |
    field_bit(FieldKind::user_pointer) | kernel_pointers | graph_roots;

/// "bpf_spin_lock", "kptr", …: the field as programs write it.
std::string_view to_string(FieldKind kind);

struct SpecialField {
  FieldKind kind;
  std::uint32_t offset;  // in the value, bytes
  std::uint32_t bytes;
  // Pointers: the struct pointed to. Roots: the struct contained. Otherwise 0.
  std::uint32_t pointee = 0;
  std::uint32_t node_offset = 0;  // roots: where the node lies in the contained struct
};

/// The special fields of one type, ascending by offset. A value type: small and copied.
class Record {
 public:
  static constexpr std::size_t max_fields = 11;

  /// The record of a map value. Empty when the type has no special fields, and also when they are
  /// used wrongly: the map is created as if there were none, and programs that use them are refused
  /// later, as Linux does (6.12 to 6.18). Whether the map type, its flags and the caller permit the
  /// fields is for the caller to decide. `id` may be any id.
  static Record of_value(const Btf& btf, std::uint32_t id) {
    Result<Record> record = scan(btf, id, map_value_fields);
    return record ? *record : Record{};
  }

  /// Looks for fields of `kinds` in a struct or data section and everything nested in it by value.
  /// A field of a wrong size, inside a union, or misaligned in the struct that declares it is not
  /// one. That struct may itself be misaligned in the value: who uses a field checks its offset.
  /// Errors: EINVAL (neither struct nor data section; bad pointee; unknown type tag on a pointer;
  /// bad `contains:` tag; a bit field that does not start a byte; an array of what cannot be in
  /// arrays; graph root without a lock; two sorts of lock), ENOENT (`contains:` names no struct or
  /// field), E2BIG (a field that may be there only once is repeated; more than 11; nested deeper
  /// than 32; a hostile type), EEXIST (fields overlap), EFAULT (past the end of the value).
  static Result<Record> scan(const Btf& btf, std::uint32_t id, FieldKinds kinds);

  std::span<const SpecialField> fields() const { return {fields_.data(), count_}; }
  bool empty() const { return count_ == 0; }
  FieldKinds kinds() const { return kinds_; }
  bool has(FieldKind kind) const { return (kinds_ & field_bit(kind)) != 0; }
  /// The last field of that kind; there is only one of most. Null: none.
  const SpecialField* find(FieldKind kind) const;

 private:
  friend class RecordScan;
  std::array<SpecialField, max_fields> fields_{};
  std::uint32_t count_ = 0;
  FieldKinds kinds_ = 0;
};

/// What BTF_LOAD itself demands of structs that directly hold a lock, graph node or root, refcount
/// or kernel pointer.
/// Errors: as Record::scan, and EFAULT (such a member is misaligned or of a wrong size), ELOOP
/// (owner of itself).
Result<void> check_special_structs(const Btf& btf, Log& log);

}  // namespace skep
