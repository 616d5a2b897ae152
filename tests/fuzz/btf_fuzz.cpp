// SPDX-License-Identifier: Apache-2.0
#include "btf/btf.hpp"

#include "btf/record.hpp"
#include "btf/text.hpp"
#include "fuzz/target.hpp"
#include "object/budget.hpp"
#include "rcu/rcu.hpp"
#include "result/log.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace skep::fuzz {
namespace {

constexpr std::size_t max_value_bytes = 512;
// Types that are looked at and, of those, values that are printed: the rest shows nothing new.
constexpr std::uint32_t max_types = 400, max_values = 40;
constexpr FieldKinds all_fields = map_value_fields | graph_nodes;

/// Everything that can be asked about one type.
void query(const Btf& btf, std::uint32_t id) {
  const BtfType type = btf.type(id);
  ASSERT(type.id() == id || !btf.has_type(id));
  ASSERT(to_string(type.kind()).size() > 0);
  const std::uint32_t behind = btf.resolve(id);
  ASSERT(btf.has_type(behind) && !btf.type(behind).is_modifier());
  if (btf.has_type(id) && !type.name().empty() && type.name().size() < max_name_bytes) {
    const auto found = btf.find(type.name(), type.kind());
    ASSERT(found && *found <= id && btf.type(*found).name() == type.name());
  }
  for (const BtfMember member : type.members()) ASSERT(btf.has_type(member.type));
  for (const BtfParam param : type.params()) ASSERT(btf.has_type(param.type));
  for (const BtfVariable entry : type.variables())
    ASSERT(btf.type(entry.type).is(BtfKind::variable));
  for (const BtfEnumerator item : type.enumerators()) ASSERT(item.name.size() <= max_name_bytes);
  for (const std::int32_t component : {-1, 0, 1})
    btf.for_each_decl_tag(
        id, component, [&](std::string_view tag) { ASSERT(btf.has_decl_tag(id, component, tag)); });
  if (type.is(BtfKind::integer)) ASSERT(type.integer().bits <= 8 * type.bytes());

  const Record of_value = Record::of_value(btf, id);
  const auto size = btf.size_of(id);
  for (const SpecialField& field : of_value.fields())
    ASSERT(size && field.offset + field.bytes <= *size);
  if (const auto fields = Record::scan(btf, id, all_fields))
    ASSERT(fields->fields().size() <= Record::max_fields);
}

/// A value made of the input's own bytes, as text and back.
void convert(const Btf& btf, std::uint32_t id, std::size_t value_bytes, Input pattern) {
  std::vector<std::byte> value(value_bytes);
  for (std::size_t i = 0; i < value_bytes; ++i) value[i] = pattern[i % pattern.size()];
  const std::string text = format_value(btf, id, value);
  const std::string json = format_json(btf, id, value);
  ASSERT(!text.empty() && !json.empty());
  std::string why;
  // Hostile types (members that overlap or share a name) need not read back; they must not crash.
  for (const std::string& words : {text, json})
    if (!parse_value(btf, id, words, value, why)) ASSERT(!why.empty());
  ASSERT(!format_value(btf, id, {value.data(), value_bytes / 2}).empty());
}

}  // namespace

void btf(Input input) {
  Budget budget(8U << 20);
  Log log;
  {
    const auto parsed = Btf::parse(input, budget, log);
    if (!parsed) {
      // Only running out of memory needs no words.
      ASSERT(!log.text().empty() || parsed.error().code == ENOMEM);
    } else {
      const Btf& btf = **parsed;
      ASSERT(std::ranges::equal(btf.blob(), input));
      std::uint32_t values = 0;
      // One past the last: an id that does not exist.
      for (std::uint32_t id = 0; id <= std::min(btf.type_count(), max_types); ++id) {
        query(btf, id);
        const auto size = btf.size_of(id);
        if (!size || *size > max_value_bytes || values == max_values) continue;
        ++values;
        convert(btf, id, *size, input);
      }
    }
  }
  rcu::barrier();
  ASSERT(budget.used_bytes() == 0);
}

}  // namespace skep::fuzz
