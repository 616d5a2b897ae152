// SPDX-License-Identifier: Apache-2.0
// Type information (BTF) as programs and maps carry it: checked once when loaded, immutable
// afterwards.
//
// `BtfType` and what it hands out are views into the blob: cheap values that live as long as the
// `Btf`. Because every reference, offset and size was checked by `Btf::parse`, queries have no
// error cases and cannot loop.
#pragma once

#include "object/budget.hpp"
#include "object/object.hpp"
#include "result/log.hpp"
#include "result/result.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace skep {

/// The kinds of BTF types, numbered as in the blob. `none` is type 0, the C type void.
enum class BtfKind : std::uint8_t {
  none = 0,
  integer = 1,
  pointer = 2,
  array = 3,
  structure = 4,
  union_type = 5,
  enumeration = 6,
  forward = 7,
  type_definition = 8,
  volatile_qualifier = 9,
  const_qualifier = 10,
  restrict_qualifier = 11,
  function = 12,
  function_prototype = 13,
  variable = 14,
  data_section = 15,
  floating = 16,
  decl_tag = 17,
  type_tag = 18,
  enumeration64 = 19,
};
inline constexpr std::uint8_t btf_last_kind = 19;

/// "STRUCT", "TYPEDEF", …: the kind as tools print it.
std::string_view to_string(BtfKind kind);

struct BtfInteger {
  std::uint32_t bits;        // the value's width; at most 8 times the type's size
  std::uint32_t bit_offset;  // of the value inside the type; not 0 only in hand-made blobs
  bool is_signed;
  bool is_char;
  bool is_bool;
};

struct BtfArray {
  std::uint32_t element;  // type id
  std::uint32_t index;    // type id
  std::uint32_t count;
};

/// A field of a struct or union.
struct BtfMember {
  std::string_view name;        // empty: anonymous
  std::uint32_t type;           // type id
  std::uint32_t bit_offset;     // from the start of the struct
  std::uint32_t bitfield_bits;  // width of a bit field; 0: as wide as its type
};

struct BtfEnumerator {
  std::string_view name;
  std::uint64_t value;  // sign-extended to 64 bits where the enum is signed
};

/// A parameter of a function prototype. Type 0 as the last one: variable arguments.
struct BtfParam {
  std::string_view name;
  std::uint32_t type;
};

/// An entry of a data section.
struct BtfVariable {
  std::uint32_t type;    // id of the VAR
  std::uint32_t offset;  // in the section, bytes
  std::uint32_t bytes;
};

/// `size()` items computed by `get(view, i)` when asked for: what iterates the parts of a type.
template <class View, class Item, Item (View::*get)(std::uint32_t) const>
class BtfParts {
 public:
  class Iterator {
   public:
    Iterator(const View& view, std::uint32_t index) : view_(view), index_(index) {}
    Item operator*() const { return (view_.*get)(index_); }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    bool operator==(const Iterator& other) const { return index_ == other.index_; }

   private:
    View view_;
    std::uint32_t index_;
  };

  BtfParts(const View& view, std::uint32_t size) : view_(view), size_(size) {}
  Iterator begin() const { return {view_, 0}; }
  Iterator end() const { return {view_, size_}; }
  std::uint32_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  Item operator[](std::uint32_t index) const { return (view_.*get)(index); }

 private:
  View view_;
  std::uint32_t size_;
};

/// Longer names are cut where they are read, so that hostile ones cost no more than others. No
/// identifier is longer than 512 bytes.
inline constexpr std::size_t max_name_bytes = 1024;

/// One type: a view of its record in the blob. Asking for what its kind does not have is a bug of
/// the caller (ASSERT).
class BtfType {
 public:
  /// `record` points to a whole, checked record and `strings` to the string section.
  BtfType(std::uint32_t id, const std::byte* record, const char* strings)
      : record_(record), strings_(strings), id_(id) {}

  std::uint32_t id() const { return id_; }
  BtfKind kind() const { return static_cast<BtfKind>((word(1) >> 24) & 0x1f); }
  /// Empty: anonymous.
  std::string_view name() const { return string(word(0)); }
  /// Members, enumerators, parameters or variables; for FUNC the linkage.
  std::uint32_t count() const { return word(1) & 0xffff; }
  bool kind_flag() const { return (word(1) >> 31) != 0; }

  /// The size field. Only for kinds that have one: int, struct, union, enum, enum64, float,
  /// datasec.
  std::uint32_t bytes() const { return word(2); }
  /// The type referred to: the target of a pointer, modifier, VAR or tag, the prototype of a FUNC,
  /// the return type of a prototype.
  std::uint32_t target() const { return word(2); }

  bool is(BtfKind kind) const { return this->kind() == kind; }
  bool is_aggregate() const { return is(BtfKind::structure) || is(BtfKind::union_type); }
  bool is_enumeration() const { return is(BtfKind::enumeration) || is(BtfKind::enumeration64); }
  /// Typedefs, qualifiers and type tags: what `Btf::resolve` looks through.
  bool is_modifier() const {
    const BtfKind k = kind();
    return (k >= BtfKind::type_definition && k <= BtfKind::restrict_qualifier) ||
           k == BtfKind::type_tag;
  }

  BtfInteger integer() const;
  BtfArray array() const;
  /// Static 0, global 1 (for VAR: allocated), extern 2. Only FUNC and VAR.
  std::uint32_t linkage() const;
  /// DECL_TAG: the member or parameter that is tagged, -1: the target itself.
  std::int32_t component() const;
  /// Whether values of an enum are signed.
  bool is_signed_enumeration() const { return kind_flag(); }

  BtfMember member(std::uint32_t index) const;
  BtfEnumerator enumerator(std::uint32_t index) const;
  BtfParam param(std::uint32_t index) const;
  BtfVariable variable(std::uint32_t index) const;
  /// The parts of param(), for those who check them. The name starts there in the string section;
  /// 0: none.
  std::uint32_t param_name_offset(std::uint32_t index) const;
  std::uint32_t param_type(std::uint32_t index) const;

  using Members = BtfParts<BtfType, BtfMember, &BtfType::member>;
  using Enumerators = BtfParts<BtfType, BtfEnumerator, &BtfType::enumerator>;
  using Params = BtfParts<BtfType, BtfParam, &BtfType::param>;
  using Variables = BtfParts<BtfType, BtfVariable, &BtfType::variable>;
  /// Empty for other kinds.
  Members members() const { return {*this, is_aggregate() ? count() : 0}; }
  Enumerators enumerators() const { return {*this, is_enumeration() ? count() : 0}; }
  Params params() const { return {*this, is(BtfKind::function_prototype) ? count() : 0}; }
  Variables variables() const { return {*this, is(BtfKind::data_section) ? count() : 0}; }

 private:
  /// 32-bit word of the record; records need not be aligned in memory.
  std::uint32_t word(std::size_t index) const {
    std::uint32_t value;
    std::memcpy(&value, record_ + index * sizeof value, sizeof value);
    return value;
  }

  std::string_view string(std::uint32_t offset) const {
    return {strings_ + offset, ::strnlen(strings_ + offset, max_name_bytes)};
  }

  const std::byte* record_;
  const char* strings_;
  std::uint32_t id_;
};

/// The blob and the tables that make it addressable by type id. Filled by `Btf::parse` and constant
/// afterwards.
struct BtfTables {
  std::vector<std::byte> blob;
  std::size_t types_at = 0;  // start and end of the type section in `blob`
  std::size_t types_end = 0;
  std::size_t strings_at = 0;  // the string section reaches to the end; its last byte is 0

  // Indexed by type id; entry 0 is void.
  std::vector<std::uint32_t> records;   // where the type's record starts in `blob`
  std::vector<std::uint32_t> resolved;  // the type behind all modifiers; never one itself
  std::vector<std::uint32_t> sizes;     // bytes of arrays; 0 for all others

  std::vector<std::uint32_t> decl_tags;  // ids of all DECL_TAGs, by target and component
  std::vector<std::uint32_t> named;      // ids of all types with a name, by name, kind and id
  Charge charge;

  std::uint32_t type_count() const { return static_cast<std::uint32_t>(records.size()); }
  const char* strings() const { return reinterpret_cast<const char*>(blob.data() + strings_at); }
  std::size_t string_bytes() const { return blob.size() - strings_at; }
  /// Ids beyond the last read as void.
  BtfType type(std::uint32_t id) const;
};

/// The type information of one BTF_LOAD. Thread: any.
class Btf final : public Object {
 public:
  static constexpr ObjectKind object_kind = ObjectKind::btf;
  static constexpr std::size_t max_bytes = 16U << 20;
  static constexpr std::uint32_t last_type_id = 0xfffff;
  /// How deep a type may nest while it is first resolved.
  static constexpr std::size_t max_resolve_depth = 32;

  /// Checks `blob`, any bytes at all, and keeps a copy. The reason of a refusal is one line in
  /// `log`.
  /// Errors: EINVAL (malformed), E2BIG (over 16 MiB, unknown header fields set, too many types,
  /// nested too deeply, too many or repeated special fields), 524 (version, flags, int encoding),
  /// EEXIST (a type contains itself; special fields overlap), ELOOP (list or tree ownership goes
  /// round), EFAULT, ENOENT (special fields, see record.hpp), ENOMEM (budget).
  /// Differs: a struct that contains itself through an array behind a qualifier is refused (EEXIST)
  /// wherever it stands; Linux 6.18 accepts it when a pointer to that qualifier has a smaller id.
  /// Sizes behind such a qualifier likewise.
  static Result<Ref<Btf>> parse(std::span<const std::byte> blob, Budget& budget, Log& log);

  /// The bytes that were loaded, as OBJ_GET_INFO_BY_FD hands them out.
  std::span<const std::byte> blob() const { return tables_.blob; }

  /// Ids are 0 (void) to type_count() - 1.
  std::uint32_t type_count() const { return tables_.type_count(); }
  bool has_type(std::uint32_t id) const { return id < type_count(); }
  /// Any id may be asked for: one that does not exist reads as void.
  BtfType type(std::uint32_t id) const { return tables_.type(id); }
  /// The id behind typedefs, qualifiers and type tags; 0 for an id that does not exist.
  std::uint32_t resolve(std::uint32_t id) const { return has_type(id) ? tables_.resolved[id] : 0; }
  BtfType resolved(std::uint32_t id) const { return type(resolve(id)); }

  /// Bytes of a value of the type (modifiers and VARs are looked through).
  /// Errors: EINVAL (unknown id, void, forward, function, tag: has no size).
  Result<std::uint32_t> size_of(std::uint32_t id) const;

  /// The type of that name and kind with the lowest id. Anonymous types are not found.
  std::optional<std::uint32_t> find(std::string_view name, BtfKind kind) const;

  /// Calls `visit(std::string_view tag)` for each decl tag on `type` itself (component -1) or on
  /// one of its members or parameters.
  template <class Visit>
  void for_each_decl_tag(std::uint32_t type, std::int32_t component, Visit&& visit) const {
    for (const std::uint32_t id : decl_tags_of(type, component)) visit(tables_.type(id).name());
  }
  bool has_decl_tag(std::uint32_t type, std::int32_t component, std::string_view text) const;

  /// Whether `offset` lies in the string section (line records name files and lines so).
  bool has_string(std::uint32_t offset) const { return offset < tables_.string_bytes(); }
  /// Precondition: has_string(offset).
  std::string_view string(std::uint32_t offset) const {
    ASSERT(has_string(offset));
    return tables_.strings() + offset;
  }

  /// For make_object(); use parse().
  explicit Btf(BtfTables tables) : Object(object_kind), tables_(std::move(tables)) {}

 private:
  std::span<const std::uint32_t> decl_tags_of(std::uint32_t type, std::int32_t component) const;

  const BtfTables tables_;
};

}  // namespace skep
