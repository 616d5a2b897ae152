// SPDX-License-Identifier: Apache-2.0
#include "btf/record.hpp"

#include "btf/check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

namespace skep {

namespace {

struct FieldType {
  FieldKind kind;
  std::string_view name;  // of the struct type; pointers: of the type tag
  std::uint32_t bytes;
  std::uint32_t align_bytes;
  bool once;        // in one struct
  bool repeatable;  // may stand in an array
};

constexpr std::array<FieldType, 10> struct_fields = {{
    {FieldKind::spin_lock, "bpf_spin_lock", 4, 4, true, false},
    {FieldKind::res_spin_lock, "bpf_res_spin_lock", 4, 4, true, false},
    {FieldKind::timer, "bpf_timer", 16, 8, true, false},
    {FieldKind::workqueue, "bpf_wq", 16, 8, true, false},
    {FieldKind::task_work, "bpf_task_work", 8, 8, true, false},
    {FieldKind::refcount, "bpf_refcount", 4, 4, false, false},
    {FieldKind::list_head, "bpf_list_head", 16, 8, false, true},
    {FieldKind::list_node, "bpf_list_node", 24, 8, false, false},
    {FieldKind::rb_root, "bpf_rb_root", 16, 8, false, true},
    {FieldKind::rb_node, "bpf_rb_node", 32, 8, false, false},
}};

constexpr std::array<FieldType, 4> pointer_fields = {{
    {FieldKind::kptr_untrusted, "kptr_untrusted", 8, 8, false, true},
    {FieldKind::kptr_referenced, "kptr", 8, 8, false, true},
    {FieldKind::kptr_percpu, "percpu_kptr", 8, 8, false, true},
    {FieldKind::user_pointer, "uptr", 8, 8, false, true},
}};

/// What BTF_LOAD looks for in the structs that it examines.
constexpr FieldKinds loaded_fields =
    field_bit(FieldKind::spin_lock) | field_bit(FieldKind::res_spin_lock) |
    field_bit(FieldKind::refcount) | kernel_pointers | graph_roots | graph_nodes;

/// What makes BTF_LOAD examine a struct. The resilient lock does not.
constexpr FieldKinds examined_fields = loaded_fields & ~field_bit(FieldKind::res_spin_lock);

/// Members looked at in one load. Hostile types can nest so that a walk visits more than any
/// machine can; honest ones stay far below.
constexpr std::uint64_t max_visits = 64U << 20;

constexpr std::string_view contains_prefix = "contains:";

bool is_repeatable(FieldKind kind) {
  const FieldKinds repeatable = kernel_pointers | graph_roots | field_bit(FieldKind::user_pointer);
  return (repeatable & field_bit(kind)) != 0;
}

const FieldType* struct_field(const BtfType& type) {
  const auto found = std::ranges::find(struct_fields, type.name(), &FieldType::name);
  return found == struct_fields.end() ? nullptr : &*found;
}

}  // namespace

std::string_view to_string(FieldKind kind) {
  for (const FieldType& field : struct_fields)
    if (field.kind == kind) return field.name;
  for (const FieldType& field : pointer_fields)
    if (field.kind == kind) return field.name;
  return "unknown";
}

const SpecialField* Record::find(FieldKind kind) const {
  const SpecialField* last = nullptr;
  for (const SpecialField& field : fields())
    if (field.kind == kind) last = &field;
  return last;
}

/// One walk over a type and all that is nested in it.
class RecordScan {
 public:
  RecordScan(const Btf& btf, FieldKinds kinds, std::uint64_t& visits)
      : btf_(btf), kinds_(kinds), visits_(visits) {}

  Result<Record> run(std::uint32_t id) {
    const BtfType whole = btf_.resolved(id);
    if (whole.is(BtfKind::structure)) {
      TRY(scan_struct(whole, 0, 0));
    } else if (whole.is(BtfKind::data_section)) {
      FieldKinds seen = 0;
      for (const BtfVariable entry : whole.variables()) {
        TRY(visit());
        const BtfType variable = btf_.type(entry.type);
        TRY(scan_part({variable, -1}, variable.target(), 0, entry.offset, 0, seen));
      }
    } else {
      return Errno{EINVAL};
    }
    TRY(check(whole.bytes()));
    return record_;
  }

  /// What a member of `type` is taken for; nothing for one that is none or must be ignored.
  /// Errors: EINVAL (a tagged pointer to something that is no struct, with an unknown tag or with
  /// more than one).
  Result<std::optional<SpecialField>> pointer_field(BtfType type) const {
    if (type.is(BtfKind::volatile_qualifier)) type = btf_.type(type.target());
    if (!type.is(BtfKind::pointer)) return std::nullopt;
    const BtfType tag = btf_.type(type.target());
    if (!tag.is(BtfKind::type_tag) || tag.kind_flag()) return std::nullopt;
    const auto found = std::ranges::find(pointer_fields, tag.name(), &FieldType::name);
    if (btf_.type(tag.target()).is(BtfKind::type_tag)) return Errno{EINVAL};
    if (found == pointer_fields.end()) return Errno{EINVAL};
    if ((kinds_ & field_bit(found->kind)) == 0) return std::nullopt;
    const std::uint32_t pointee = btf_.resolve(tag.target());
    if (!btf_.type(pointee).is(BtfKind::structure)) return Errno{EINVAL};
    return SpecialField{
        .kind = found->kind, .offset = 0, .bytes = found->bytes, .pointee = pointee};
  }

 private:
  /// Where a part is declared: tags on it name the type and the member.
  struct Declaration {
    BtfType type;
    std::int32_t component;
  };

  Result<void> visit() {
    if (++visits_ > max_visits) return Errno{E2BIG};
    return {};
  }

  Result<void> scan_struct(const BtfType& type, std::uint32_t offset, std::size_t level) {
    if (level >= Btf::max_resolve_depth) return Errno{E2BIG};
    FieldKinds seen = 0;  // by name, whether or not the member is taken for a field in the end
    std::int32_t component = 0;
    for (const BtfMember member : type.members()) {
      TRY(visit());
      // Observed on Linux 6.18: any bit field inside a byte, even beside the special fields, spoils
      // the scan.
      if (member.bit_offset % 8 != 0) return Errno{EINVAL};
      TRY(scan_part({type, component}, member.type, offset, member.bit_offset / 8, level, seen));
      ++component;
    }
    return {};
  }

  /// A member or variable of type `id`, at `inner_offset` in what declares it, which is at
  /// `outer_offset` in the value. Typedefs hide a field; arrays are looked into. Alignment is
  /// judged by the inner offset alone, as Linux does.
  Result<void> scan_part(const Declaration& declaration, std::uint32_t id,
                         std::uint32_t outer_offset, std::uint32_t inner_offset, std::size_t level,
                         FieldKinds& seen) {
    const std::uint32_t offset = outer_offset + inner_offset;
    BtfType type = btf_.type(id);
    std::uint64_t repeats = 1;
    // Ends: arrays cannot hold themselves. Their sizes were checked, so only zero-sized elements
    // reach a large count.
    while (type.is(BtfKind::array)) {
      TRY(visit());
      repeats = std::min<std::uint64_t>(repeats * type.array().count, UINT32_MAX);
      type = btf_.type(type.array().element);
    }
    if (repeats == 0) return {};

    const std::uint32_t first = record_.count_;
    const FieldType* named = struct_field(type);
    if (named != nullptr && (kinds_ & field_bit(named->kind)) != 0) {
      if (named->once && (seen & field_bit(named->kind)) != 0) return Errno{E2BIG};
      seen |= field_bit(named->kind);
      if (!type.is(BtfKind::structure) || type.bytes() != named->bytes) return {};
      if (inner_offset % named->align_bytes != 0) return {};
      SpecialField field{.kind = named->kind, .offset = offset, .bytes = named->bytes};
      std::string_view node;
      if ((graph_roots & field_bit(named->kind)) != 0)
        node = TRY(find_contained(declaration, field.pointee));
      TRY(add(field, node));
    } else if (type.is(BtfKind::structure)) {
      TRY(scan_struct(type, offset, level + 1));
    } else if (const auto pointer = TRY(pointer_field(type))) {
      if (inner_offset % pointer->bytes != 0) return {};
      SpecialField field = *pointer;
      field.offset = offset;
      TRY(add(field));
    } else {
      return {};
    }
    return repeat(first, repeats, TRY(btf_.size_of(type.id())));
  }

  /// The fields from `first` on were found in the first element of an array: adds those of the
  /// others.
  Result<void> repeat(std::uint32_t first, std::uint64_t repeats, std::uint32_t element_bytes) {
    const std::uint32_t last = record_.count_;
    if (repeats <= 1 || first == last) return {};
    for (std::uint32_t i = first; i < last; ++i)
      if (!is_repeatable(record_.fields_[i].kind)) return Errno{EINVAL};
    if ((last - first) * repeats > Record::max_fields) return Errno{E2BIG};
    for (std::uint32_t element = 1; element < repeats; ++element) {
      for (std::uint32_t i = first; i < last; ++i) {
        SpecialField field = record_.fields_[i];
        field.offset += element * element_bytes;
        TRY(add(field, nodes_[i]));
      }
    }
    return {};
  }

  /// `node`: for roots, the name of the node field in the contained struct.
  Result<void> add(const SpecialField& field, std::string_view node = {}) {
    if (record_.count_ == Record::max_fields) return Errno{E2BIG};
    nodes_[record_.count_] = node;
    record_.fields_[record_.count_++] = field;
    record_.kinds_ |= field_bit(field.kind);
    return {};
  }

  /// Reads the tag `contains:STRUCT:FIELD` of a graph root: sets the struct and returns the name of
  /// the field.
  Result<std::string_view> find_contained(const Declaration& declaration,
                                          std::uint32_t& contained) const {
    std::string_view text;
    std::uint32_t tags = 0;
    btf_.for_each_decl_tag(declaration.type.id(), declaration.component, [&](std::string_view tag) {
      if (!tag.starts_with(contains_prefix)) return;
      text = tag.substr(contains_prefix.size());
      ++tags;
    });
    const std::size_t colon = text.find(':');
    if (tags != 1 || colon == std::string_view::npos) return Errno{EINVAL};
    const auto found = btf_.find(text.substr(0, colon), BtfKind::structure);
    if (!found) return Errno{ENOENT};
    if (colon + 1 == text.size()) return Errno{EINVAL};
    contained = *found;
    return text.substr(colon + 1);
  }

  Result<void> find_node(SpecialField& root, std::string_view node) {
    const FieldKind node_kind =
        root.kind == FieldKind::list_head ? FieldKind::list_node : FieldKind::rb_node;
    for (const BtfMember member : btf_.type(root.pointee).members()) {
      TRY(visit());
      if (member.name != node) continue;
      const BtfType type = btf_.type(member.type);
      const FieldType* named = struct_field(type);
      if (!type.is(BtfKind::structure) || named == nullptr || named->kind != node_kind ||
          member.bit_offset % (8 * named->align_bytes) != 0)
        return Errno{EINVAL};
      root.node_offset = member.bit_offset / 8;
      return {};
    }
    return Errno{ENOENT};
  }

  /// What can only be said when all fields are known. Fields are in the order of their declaration.
  Result<void> check(std::uint32_t value_bytes) {
    std::uint64_t last_end = 0;
    for (std::uint32_t i = 0; i < record_.count_; ++i) {
      SpecialField& field = record_.fields_[i];
      if (std::uint64_t{field.offset} + field.bytes > value_bytes) return Errno{EFAULT};
      if (field.offset < last_end) return Errno{EEXIST};
      last_end = std::uint64_t{field.offset} + field.bytes;
      if ((graph_roots & field_bit(field.kind)) != 0) TRY(find_node(field, nodes_[i]));
    }
    const bool has_lock =
        record_.has(FieldKind::spin_lock) || record_.has(FieldKind::res_spin_lock);
    if (record_.has(FieldKind::spin_lock) && record_.has(FieldKind::res_spin_lock))
      return Errno{EINVAL};
    if ((record_.kinds() & graph_roots) != 0 && !has_lock) return Errno{EINVAL};
    return {};
  }

  const Btf& btf_;
  const FieldKinds kinds_;
  std::uint64_t& visits_;
  Record record_;
  std::array<std::string_view, Record::max_fields> nodes_;  // beside record_.fields_
};

Result<Record> Record::scan(const Btf& btf, std::uint32_t id, FieldKinds kinds) {
  std::uint64_t visits = 0;
  return RecordScan(btf, kinds, visits).run(id);
}

namespace {

/// Whether a member of exactly this type (no typedef, no array) makes BTF_LOAD examine the struct
/// around it.
std::vector<bool> examined_types(const Btf& btf, const RecordScan& scan) {
  std::vector<bool> examined(btf.type_count(), false);
  for (std::uint32_t id = 1; id < btf.type_count(); ++id) {
    const BtfType type = btf.type(id);
    if (type.is(BtfKind::structure)) {
      const FieldType* named = struct_field(type);
      examined[id] = named != nullptr && (examined_fields & field_bit(named->kind)) != 0 &&
                     btf.find(named->name, BtfKind::structure) == id;  // only the first of a name
    } else if (const auto pointer = scan.pointer_field(type)) {
      examined[id] = pointer->has_value();
    }
  }
  return examined;
}

bool holds_examined(const BtfType& type, const std::vector<bool>& examined) {
  for (const BtfMember member : type.members())
    if (examined[member.type]) return true;
  return false;
}

Errno refuse_struct(const BtfType& type, int code, Log& log) {
  const std::string_view why = code == E2BIG    ? "too many special fields, or one of them twice"
                               : code == EEXIST ? "special fields overlap"
                               : code == ENOENT ? "contains: names no such struct or node"
                               : code == EFAULT ? "special field misaligned or of a wrong size"
                               : code == ELOOP ? "graph root owns a struct that owns others in turn"
                                               : "Invalid special field";
  return btf_check::refuse(type, code, why, log);
}

}  // namespace

Result<void> check_special_structs(const Btf& btf, Log& log) {
  std::uint64_t visits = 0;
  const std::vector<bool> examined = examined_types(btf, RecordScan(btf, loaded_fields, visits));
  if (std::ranges::find(examined, true) == examined.end()) return {};

  struct Owner {
    std::uint32_t id;
    Record record;
  };
  std::vector<Owner> owners;  // structs with graph roots, ascending by id
  for (std::uint32_t id = 1; id < btf.type_count(); ++id) {
    const BtfType type = btf.type(id);
    if (!type.is(BtfKind::structure) || !holds_examined(type, examined)) continue;
    const Result<Record> record = RecordScan(btf, loaded_fields, visits).run(id);
    if (!record) return refuse_struct(type, record.error().code, log);
    if (record->empty()) return refuse_struct(type, EFAULT, log);
    if ((record->kinds() & graph_roots) != 0) owners.push_back({.id = id, .record = *record});
  }

  // A struct that is a node itself may only own structs that own nothing.
  for (const Owner& owner : owners) {
    if ((owner.record.kinds() & graph_nodes) == 0) continue;
    for (const SpecialField& field : owner.record.fields()) {
      if ((graph_roots & field_bit(field.kind)) == 0) continue;
      if (std::ranges::binary_search(owners, field.pointee, {}, &Owner::id))
        return refuse_struct(btf.type(owner.id), ELOOP, log);
    }
  }
  return {};
}

}  // namespace skep
