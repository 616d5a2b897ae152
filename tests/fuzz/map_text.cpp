// SPDX-License-Identifier: Apache-2.0
#include "fuzz/map_text.hpp"

#include "btf/btf.hpp"
#include "btf/btf_object_types.hpp"
#include "btf/text.hpp"
#include "fuzz/must.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skep::fuzz {
namespace {

const Btf& rich_types() {
  static Budget budget(8U << 20);
  static const Ref<Btf> types = [] {
    Log log;
    return must(Btf::parse(testing::compiled_types(), budget, log));
  }();
  return *types;
}

std::optional<std::uint32_t> type_of(std::string_view name) {
  for (std::uint8_t kind = 1; kind <= btf_last_kind; ++kind)
    if (const auto id = rich_types().find(name, static_cast<BtfKind>(kind)))
      if (rich_types().size_of(*id)) return id;
  return std::nullopt;
}

/// Reads `text` as a value. What can be read is shown, and what is shown is read back the same.
void read_typed(std::uint32_t id, std::string_view text) {
  const Btf& btf = rich_types();
  std::vector<std::byte> value(btf.size_of(id).value_or(0)), again(value.size());
  std::string why;
  if (!parse_value(btf, id, text, value, why)) {
    ASSERT(!why.empty());
    return;
  }
  const std::string shown = format_value(btf, id, value);
  ASSERT(parse_value(btf, id, shown, again, why).has_value());
  ASSERT(format_value(btf, id, again) == shown);
  const std::string json = format_json(btf, id, value);
  ASSERT(parse_value(btf, id, json, again, why).has_value());
  ASSERT(format_json(btf, id, again) == json);
}

void read_untyped(std::size_t bytes, std::string_view text) {
  std::vector<std::byte> value(bytes), again(bytes);
  std::string why;
  if (!parse_bytes(text, value, why)) {
    ASSERT(!why.empty());
    return;
  }
  ASSERT(parse_bytes(format_bytes(value), again, why).has_value());
  ASSERT(again == value);
  ASSERT(!format_bytes_json(value).empty());
}

void read(std::string_view type, std::string_view text) {
  if (const auto id = type_of(type))
    read_typed(*id, text);
  else
    read_untyped(std::min<std::size_t>(type.size(), 64), text);
}

}  // namespace

void set_entry(const cli::MapAssignment& assignment) {
  const std::string_view name = assignment.map;
  const std::size_t colon = std::min(name.find(':'), name.size());
  read(name.substr(0, colon), assignment.key);
  read(name.substr(std::min(colon + 1, name.size())), assignment.value);
}

}  // namespace skep::fuzz
