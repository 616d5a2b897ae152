// SPDX-License-Identifier: Apache-2.0
#include "loader/btf_references.hpp"

#include <bpf/btf.h>
#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <span>

namespace skep {
namespace {

struct FreeBtf {
  void operator()(btf* types) const { btf__free(types); }
};

/// Types that say something about another one and are looked through.
bool is_transparent(const btf_type& type) { return btf_is_mod(&type) || btf_is_typedef(&type); }

class References {
 public:
  explicit References(const btf& types) : types_(types), count_(btf__type_cnt(&types)) {}

  std::string first_bad() {
    for (std::uint32_t id = 1; id < count_ && why_.empty(); ++id) {
      id_ = id;
      check(*btf__type_by_id(&types_, id));
    }
    for (std::uint32_t id = 1; id < count_ && why_.empty(); ++id) check_end(id);
    return why_;
  }

 private:
  void check(const btf_type& type) {
    name(type.name_off);
    switch (btf_kind(&type)) {
      case BTF_KIND_ARRAY:
        reference(btf_array(&type)->type);
        reference(btf_array(&type)->index_type);
        break;
      case BTF_KIND_STRUCT:
      case BTF_KIND_UNION:
        for (const btf_member& member : std::span(btf_members(&type), btf_vlen(&type))) {
          name(member.name_off);
          reference(member.type);
        }
        break;
      case BTF_KIND_ENUM:
        for (const struct btf_enum& value : std::span(btf_enum(&type), btf_vlen(&type)))
          name(value.name_off);
        break;
      case BTF_KIND_ENUM64:
        for (const struct btf_enum64& value : std::span(btf_enum64(&type), btf_vlen(&type)))
          name(value.name_off);
        break;
      case BTF_KIND_FUNC_PROTO:
        reference(type.type);
        for (const btf_param& parameter : std::span(btf_params(&type), btf_vlen(&type))) {
          name(parameter.name_off);
          reference(parameter.type);
        }
        break;
      case BTF_KIND_DATASEC:
        for (const btf_var_secinfo& variable : std::span(btf_var_secinfos(&type), btf_vlen(&type)))
          reference(variable.type);
        break;
      case BTF_KIND_PTR:
      case BTF_KIND_TYPEDEF:
      case BTF_KIND_VOLATILE:
      case BTF_KIND_CONST:
      case BTF_KIND_RESTRICT:
      case BTF_KIND_TYPE_TAG:
      case BTF_KIND_FUNC:
      case BTF_KIND_VAR:
      case BTF_KIND_DECL_TAG:
        reference(type.type);
        break;
      default:
        break;  // integers, floating point and forward declarations refer to nothing
    }
  }

  void reference(std::uint32_t id) {
    if (id >= count_ && why_.empty())
      why_ = fmt::format("type {} refers to type {}, but the last one is {}", id_, id, count_ - 1);
  }

  void name(std::uint32_t offset) {
    if (btf__name_by_offset(&types_, offset) == nullptr && why_.empty())
      why_ = fmt::format("type {} has a name at {}, where there is none", id_, offset);
  }

  /// Whoever looks through typedefs and qualifiers must come to an end.
  void check_end(std::uint32_t id) {
    const btf_type* type = btf__type_by_id(&types_, id);
    for (std::uint32_t steps = 0; is_transparent(*type); ++steps) {
      if (steps == max_depth) {
        why_ = fmt::format("type {} leads through more than {} typedefs and qualifiers", id,
                           max_depth);
        return;
      }
      if (type->type == 0) return;  // void
      type = btf__type_by_id(&types_, type->type);
    }
  }

  static constexpr std::uint32_t max_depth = 32;  // as the kernel's
  const btf& types_;
  const std::uint32_t count_;
  std::uint32_t id_ = 0;
  std::string why_;
};

}  // namespace

std::string bad_btf_reference(const std::string& path) {
  const std::unique_ptr<btf, FreeBtf> types(btf__parse_elf(path.c_str(), nullptr));
  return types == nullptr ? std::string() : References(*types).first_bad();
}

}  // namespace skep
