// SPDX-License-Identifier: Apache-2.0
// Checks of the references between types: what refers to what, that nothing contains itself, that
// all parts fit.
//
// A depth-first walk with an explicit stack of at most 32 types. What ends a path depends on what
// the walk is about: a chain of pointers ends at the first type that is neither pointer nor
// modifier, a value's layout ends at pointers, because what they point to takes no room in it. So
// `struct node { struct node *next; }` is fine, while a struct that holds itself and a pointer that
// only ever points to itself are loops.
#include "btf/check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace skep::btf_check {

namespace {

constexpr std::uint64_t pointer_bytes = 8;
constexpr std::uint64_t max_integer_bits = 128;
constexpr std::uint32_t enum_bits = 32;  // how wide a bit field of an enum may be

/// Variables, sections and decl tags stand for things, not for types of things: nothing but the
/// like may refer to them.
bool is_declaration(const BtfType& type) {
  return type.is(BtfKind::variable) || type.is(BtfKind::data_section) || type.is(BtfKind::decl_tag);
}

bool refers_to_types(const BtfType& type) {
  return type.is_modifier() || type.is_aggregate() || is_declaration(type) ||
         type.is(BtfKind::pointer) || type.is(BtfKind::array) || type.is(BtfKind::function);
}

class Resolver {
 public:
  Resolver(BtfTables& tables, Log& log) : tables_(tables), log_(log) {
    states_.resize(tables.type_count(), State::unseen);
    tables.resolved.resize(tables.type_count());
    tables.sizes.resize(tables.type_count(), 0);
    for (std::uint32_t id = 0; id < tables.type_count(); ++id) tables.resolved[id] = id;
  }

  Result<void> run() {
    for (std::uint32_t id = 1; id < tables_.type_count(); ++id) {
      TRY(walk(id));
      if (type(id).is(BtfKind::function_prototype)) TRY(check_prototype(type(id)));
    }
    return {};
  }

 private:
  enum class State : std::uint8_t { unseen, open, done };
  enum class Subject : std::uint8_t { undecided, pointers, values };
  enum class Step : std::uint8_t {
    entered,   // a type below has to be resolved first; come back
    finished,  // the type on top is resolved
  };
  struct Frame {
    std::uint32_t id;
    std::uint32_t next = 0;  // the member or variable to look at
  };

  BtfType type(std::uint32_t id) const { return tables_.type(id); }
  BtfType resolved(std::uint32_t id) const { return type(tables_.resolved[id]); }
  bool is_done(std::uint32_t id) const { return states_[id] == State::done; }
  Errno refuse(const BtfType& type, std::string_view why) const {
    return btf_check::refuse(type, EINVAL, why, log_);
  }

  /// Whether the present walk stops at `type`.
  bool ends_walk(const BtfType& type) const {
    switch (subject_) {
      case Subject::undecided:
        return !refers_to_types(type);
      case Subject::pointers:
        return !type.is_modifier() && !type.is(BtfKind::pointer);
      case Subject::values:
        return !type.is_modifier() && !type.is_aggregate() && !type.is(BtfKind::array);
    }
    return true;
  }

  /// Resolves `id` and all that it needs.
  Result<void> walk(std::uint32_t id) {
    if (!refers_to_types(type(id)) || is_done(id)) return {};
    subject_ = Subject::undecided;
    TRY(enter(id));
    while (!stack_.empty()) {
      if (TRY(step(stack_.back())) == Step::entered) continue;
      states_[stack_.back().id] = State::done;
      stack_.pop_back();
    }
    return {};
  }

  /// Errors: E2BIG (too deep), EEXIST (already being resolved: a loop).
  Result<void> enter(std::uint32_t id) {
    if (stack_.size() == Btf::max_resolve_depth)
      return btf_check::refuse(type(id), E2BIG, "Exceeded max resolving depth:32", log_);
    if (states_[id] == State::open)
      return btf_check::refuse(type(id), EEXIST, "Loop detected", log_);
    states_[id] = State::open;
    stack_.push_back({.id = id});
    if (subject_ == Subject::undecided) {
      if (type(id).is(BtfKind::pointer)) subject_ = Subject::pointers;
      if (type(id).is_aggregate() || type(id).is(BtfKind::array)) subject_ = Subject::values;
    }
    return {};
  }

  /// Enters what `id`, referred to by `from`, still needs. False: nothing, and `resolved` of it is
  /// final.
  Result<bool> needs(const BtfType& from, std::uint32_t id, std::string_view invalid) {
    if (id >= tables_.type_count() || is_declaration(type(id))) return refuse(from, invalid);
    if (!ends_walk(type(id)) && !is_done(id)) {
      TRY(enter(id));
      return true;
    }
    return false;
  }

  /// As needs(), and also the type behind modifiers: they may have been resolved by a walk that had
  /// no need of it.
  Result<bool> needs_through_modifiers(const BtfType& from, std::uint32_t id,
                                       std::string_view invalid) {
    if (TRY(needs(from, id, invalid))) return true;
    const std::uint32_t behind = tables_.resolved[id];
    if (ends_walk(type(behind)) || is_done(behind)) return false;
    TRY(enter(behind));
    return true;
  }

  Result<Step> step(Frame& frame) {
    const BtfType top = type(frame.id);
    switch (top.kind()) {
      case BtfKind::pointer:
        return step_pointer(top);
      case BtfKind::array:
        return step_array(top);
      case BtfKind::structure:
      case BtfKind::union_type:
        return step_aggregate(top, frame);
      case BtfKind::variable:
        return step_variable(top);
      case BtfKind::data_section:
        return step_data_section(top, frame);
      case BtfKind::decl_tag:
        return step_decl_tag(top);
      case BtfKind::function:
        return step_function(top);
      default:
        return step_modifier(top);
    }
  }

  Result<Step> step_modifier(const BtfType& top) {
    if (TRY(needs(top, top.target(), "Invalid type_id"))) return Step::entered;
    if (is_open_function(top.target())) return refuse(top, "Invalid type_id");
    tables_.resolved[top.id()] = tables_.resolved[top.target()];
    return Step::finished;
  }

  Result<Step> step_pointer(const BtfType& top) {
    if (TRY(needs_through_modifiers(top, top.target(), "Invalid type_id"))) return Step::entered;
    if (is_open_function(top.target())) return refuse(top, "Invalid type_id");
    return Step::finished;
  }

  /// A FUNC may be referred to only once it is resolved itself, and then counts as its prototype.
  /// (Observed on Linux 6.18: `ptr -> func` is accepted exactly where the FUNC comes first.)
  bool is_open_function(std::uint32_t id) const {
    return type(id).is(BtfKind::function) && !is_done(id);
  }

  Result<Step> step_array(const BtfType& top) {
    const BtfArray array = top.array();
    if (TRY(needs_through_modifiers(top, array.index, "Invalid index"))) return Step::entered;
    if (!is_regular_integer(resolved(array.index))) return refuse(top, "Invalid index");
    if (TRY(needs_through_modifiers(top, array.element, "Invalid elem"))) return Step::entered;
    const BtfType element = resolved(array.element);
    const std::optional<std::uint64_t> element_bytes = size_of(element);
    if (!element_bytes) return refuse(top, "Invalid elem");
    if (element.is(BtfKind::integer) && !is_regular_integer(element))
      return refuse(top, "Invalid array of int");
    const std::uint64_t bytes = *element_bytes * array.count;
    if (bytes > UINT32_MAX) return refuse(top, "Array size overflows u32");
    tables_.sizes[top.id()] = static_cast<std::uint32_t>(bytes);
    return Step::finished;
  }

  Result<Step> step_aggregate(const BtfType& top, Frame& frame) {
    while (frame.next < top.count()) {
      const BtfMember member = top.member(frame.next);
      // Copied: entering another type may move the stack.
      if (TRY(needs_through_modifiers(top, member.type, "Invalid member"))) return Step::entered;
      if (const std::string why = misfit(top, member); !why.empty())
        return refuse(top, fmt::format("member {} \"{}\": {}", frame.next, member.name, why));
      ++frame.next;
    }
    return Step::finished;
  }

  Result<Step> step_variable(const BtfType& top) {
    if (TRY(needs_through_modifiers(top, top.target(), "Invalid type_id"))) return Step::entered;
    if (!size_of(resolved(top.target()))) return refuse(top, "Invalid type_id");
    return Step::finished;
  }

  Result<Step> step_data_section(const BtfType& top, Frame& frame) {
    while (frame.next < top.count()) {
      const BtfVariable entry = top.variable(frame.next);
      const auto why = [&](std::string_view reason) {
        return refuse(top, fmt::format("variable {}: {}", frame.next, reason));
      };
      if (entry.type >= tables_.type_count() || !type(entry.type).is(BtfKind::variable))
        return why("Not a VAR kind member");
      if (!is_done(entry.type)) {
        subject_ = Subject::undecided;  // each variable is a subject of its own
        TRY(enter(entry.type));
        return Step::entered;
      }
      if (entry.bytes < size_of(resolved(type(entry.type).target())).value_or(0))
        return why("Invalid size");
      ++frame.next;
    }
    return Step::finished;
  }

  Result<Step> step_decl_tag(const BtfType& top) {
    if (top.target() >= tables_.type_count()) return refuse(top, "Invalid type_id");
    const BtfType target = type(top.target());
    const bool has_parts = target.is_aggregate() || target.is(BtfKind::function);
    if (!has_parts && !target.is(BtfKind::variable) && !target.is(BtfKind::type_definition))
      return refuse(top, "Invalid type_id");
    if (!ends_walk(target) && !is_done(target.id())) {
      TRY(enter(target.id()));
      return Step::entered;
    }
    if (top.component() != -1) {
      if (!has_parts) return refuse(top, "Invalid component_idx");
      const BtfType whole = target.is(BtfKind::function) ? type(target.target()) : target;
      if (static_cast<std::uint32_t>(top.component()) >= whole.count())
        return refuse(top, "Invalid component_idx");
    }
    return Step::finished;
  }

  Result<Step> step_function(const BtfType& top) {
    if (top.target() >= tables_.type_count() || !type(top.target()).is(BtfKind::function_prototype))
      return refuse(top, "Invalid type_id");
    const BtfType prototype = type(top.target());
    for (std::uint32_t i = 0; i < prototype.count(); ++i) {
      const bool variable_arguments = prototype.param_type(i) == 0;
      if (!variable_arguments && prototype.param_name_offset(i) == 0)
        return refuse(top, fmt::format("Invalid arg#{}", i + 1));
    }
    return Step::finished;
  }

  Result<void> check_prototype(const BtfType& prototype) {
    if (prototype.target() != 0)
      TRY(check_parameter_type(prototype, prototype.target(), "Invalid return type"));
    std::uint32_t params = prototype.count();
    if (params != 0 && prototype.param_type(params - 1) == 0) {  // variable arguments
      if (prototype.param_name_offset(params - 1) != 0)
        return refuse(prototype, fmt::format("Invalid arg#{}", params));
      --params;
    }
    for (std::uint32_t i = 0; i < params; ++i) {
      const std::string invalid = fmt::format("Invalid arg#{}", i + 1);
      const std::uint32_t name = prototype.param_name_offset(i);
      if (name != 0 && (name >= tables_.string_bytes() ||
                        !is_identifier({tables_.strings() + name,
                                        ::strnlen(tables_.strings() + name, max_name_bytes)})))
        return refuse(prototype, invalid);
      TRY(check_parameter_type(prototype, prototype.param_type(i), invalid));
    }
    return {};
  }

  Result<void> check_parameter_type(const BtfType& prototype, std::uint32_t id,
                                    std::string_view invalid) {
    if (id >= tables_.type_count() || is_declaration(type(id))) return refuse(prototype, invalid);
    TRY(walk(id));
    if (!size_of(resolved(id))) return refuse(prototype, invalid);
    return {};
  }

  /// Bytes of a value; nothing for void, functions and what is only declared. Precondition: no
  /// modifier.
  std::optional<std::uint64_t> size_of(const BtfType& type) const {
    switch (type.kind()) {
      case BtfKind::integer:
      case BtfKind::structure:
      case BtfKind::union_type:
      case BtfKind::enumeration:
      case BtfKind::enumeration64:
      case BtfKind::floating:
        return type.bytes();
      case BtfKind::pointer:
        return pointer_bytes;
      case BtfKind::array:
        return tables_.sizes[type.id()];
      default:
        return std::nullopt;
    }
  }

  /// An int that is all value and as wide as a machine's. Its size may still be larger, in
  /// hand-made blobs.
  static bool is_regular_integer(const BtfType& type) {
    if (!type.is(BtfKind::integer)) return false;
    const BtfInteger integer = type.integer();
    return integer.bit_offset == 0 && integer.bits >= 8 && std::has_single_bit(integer.bits);
  }

  /// Why `member` does not fit into `whole`; empty: it does.
  std::string misfit(const BtfType& whole, const BtfMember& member) const {
    const BtfType kind = resolved(member.type);
    if (kind.is(BtfKind::integer)) return misfit_integer(whole, member, kind);
    if (kind.is_enumeration() && whole.kind_flag()) return misfit_enum_bits(whole, member);

    const std::optional<std::uint64_t> bytes = size_of(kind);
    if (!bytes) return "Invalid member";
    if (member.bitfield_bits != 0) return "Invalid member bitfield_size";
    if (kind.is(BtfKind::floating)) {
      const std::uint64_t align_bits = 8 * std::min(*bytes, pointer_bytes);
      if (member.bit_offset % align_bits != 0) return "Member is not properly aligned";
    }
    if (member.bit_offset % 8 != 0) return "Member is not byte aligned";
    if (member.bit_offset / 8 + *bytes > whole.bytes()) return "Member exceeds struct_size";
    return {};
  }

  static std::string misfit_integer(const BtfType& whole, const BtfMember& member,
                                    const BtfType& type) {
    const BtfInteger integer = type.integer();
    std::uint64_t offset = member.bit_offset;
    std::uint64_t bits = integer.bits;
    if (whole.kind_flag()) {
      if (!is_regular_integer(type)) return "Invalid member base type";
      if (member.bitfield_bits > integer.bits) return "Invalid member bitfield_size";
      if (member.bitfield_bits == 0 && offset % 8 != 0) return "Invalid member offset";
      if (member.bitfield_bits != 0) bits = member.bitfield_bits;
    } else {
      offset += integer.bit_offset;
      if (offset > UINT32_MAX) return "bits_offset exceeds U32_MAX";
    }
    const std::uint64_t bits_to_copy = bits + offset % 8;
    if (bits_to_copy > max_integer_bits) return "nr_copy_bits exceeds 128";
    if (offset / 8 + (bits_to_copy + 7) / 8 > whole.bytes()) return "Member exceeds struct_size";
    return {};
  }

  static std::string misfit_enum_bits(const BtfType& whole, const BtfMember& member) {
    if (member.bitfield_bits > enum_bits) return "Invalid member bitfield_size";
    if (member.bitfield_bits == 0 && member.bit_offset % 8 != 0) return "Invalid member offset";
    const std::uint64_t bits = member.bitfield_bits != 0 ? member.bitfield_bits : enum_bits;
    if ((member.bit_offset + bits + 7) / 8 > whole.bytes()) return "Member exceeds struct_size";
    return {};
  }

  BtfTables& tables_;
  Log& log_;
  std::vector<State> states_;
  std::vector<Frame> stack_;
  Subject subject_ = Subject::undecided;
};

}  // namespace

Result<void> resolve_types(BtfTables& tables, Log& log) { return Resolver(tables, log).run(); }

}  // namespace skep::btf_check
