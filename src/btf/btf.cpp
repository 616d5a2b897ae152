// SPDX-License-Identifier: Apache-2.0
// Loading a BTF blob: header and sections; the types themselves are checked in check.cpp and
// record.cpp.
#include "btf/btf.hpp"

#include "btf/check.hpp"
#include "btf/record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <tuple>
#include <utility>

namespace skep {

static_assert(std::endian::native == std::endian::little, "blobs and values are little-endian");

namespace {

constexpr std::uint16_t btf_magic = 0xeb9f;
constexpr std::uint8_t btf_version = 1;

/// The header of a blob. Section offsets count from its end.
struct Header {
  std::uint16_t magic = 0;
  std::uint8_t version = 0;
  std::uint8_t flags = 0;
  std::uint32_t header_bytes = 0;
  std::uint32_t types_offset = 0;
  std::uint32_t types_bytes = 0;
  std::uint32_t strings_offset = 0;
  std::uint32_t strings_bytes = 0;
};
static_assert(sizeof(Header) == 24);

Errno refuse(Log& log, int code, std::string_view why) {
  log.line(why);
  return Errno{code};
}

/// Reads and checks the header alone. What a short header does not have reads as 0.
Result<Header> read_header(std::span<const std::byte> blob, Log& log) {
  constexpr std::size_t length_end = offsetof(Header, types_offset);
  if (blob.size() < length_end) return refuse(log, EINVAL, "hdr_len not found: under 8 bytes");
  std::uint32_t header_bytes;
  std::memcpy(&header_bytes, &blob[offsetof(Header, header_bytes)], sizeof header_bytes);
  if (header_bytes > blob.size())
    return refuse(
        log, EINVAL,
        fmt::format("btf_header not found: hdr_len {} of {} bytes", header_bytes, blob.size()));
  if (header_bytes > sizeof(Header)) {
    const auto tail = blob.subspan(sizeof(Header), header_bytes - sizeof(Header));
    if (std::ranges::any_of(tail, [](std::byte b) { return b != std::byte{0}; }))
      return refuse(log, E2BIG, "Unsupported btf_header: not zero after the known fields");
  }
  Header header;
  std::memcpy(&header, blob.data(), std::min<std::size_t>(header_bytes, sizeof header));
  header.header_bytes = header_bytes;
  if (header.magic != btf_magic)
    return refuse(log, EINVAL, fmt::format("Invalid magic {:#06x}", header.magic));
  if (header.version != btf_version)
    return refuse(log, ENOTSUPP, fmt::format("Unsupported version {}", header.version));
  if (header.flags != 0)
    return refuse(log, ENOTSUPP, fmt::format("Unsupported flags {:#x}", header.flags));
  if (header_bytes == blob.size()) return refuse(log, EINVAL, "No data after the header");
  return header;
}

/// The two sections must follow each other without gap or overlap and fill what the header leaves,
/// strings last.
Result<void> check_sections(std::span<const std::byte> blob, const Header& header, Log& log) {
  struct Section {
    std::uint64_t offset, bytes;
  };
  std::array sections{Section{header.types_offset, header.types_bytes},
                      Section{header.strings_offset, header.strings_bytes}};
  if (sections[1].offset < sections[0].offset) std::swap(sections[0], sections[1]);

  const std::uint64_t expected = blob.size() - header.header_bytes;
  std::uint64_t end = 0;
  for (const Section& section : sections) {
    if (section.offset != end)
      return refuse(log, EINVAL,
                    fmt::format("section at {}: expected one at {}", section.offset, end));
    end += section.bytes;
    if (end > expected)
      return refuse(log, EINVAL,
                    fmt::format("section at {} ends at {}, past the data of {} bytes",
                                section.offset, end, expected));
  }
  if (end != expected)
    return refuse(log, EINVAL,
                  fmt::format("sections end at {}, but there are {} bytes", end, expected));

  if (std::uint64_t{header.strings_offset} + header.strings_bytes != expected)
    return refuse(log, EINVAL, "String section is not at the end");
  if (header.strings_bytes == 0 ||
      blob[header.header_bytes + header.strings_offset] != std::byte{0} ||
      blob.back() != std::byte{0})
    return refuse(log, EINVAL, "Invalid string section: must start and end with a 0 byte");
  if (header.types_offset % sizeof(std::uint32_t) != 0)
    return refuse(log, EINVAL, fmt::format("Unaligned type_off {}", header.types_offset));
  if (header.types_bytes == 0) return refuse(log, EINVAL, "No type found");
  return {};
}

/// Bytes that the tables of a blob can take at most: a type takes at least 12 bytes there and a
/// word in each table.
std::uint64_t worst_table_bytes(const Header& header) {
  constexpr std::uint64_t record_bytes = 12;
  constexpr std::uint64_t words_per_type = 5;
  return (header.types_bytes / record_bytes + 1) * words_per_type * sizeof(std::uint32_t);
}

/// Fills `named` and puts `decl_tags` in order.
void sort_indexes(BtfTables& tables) {
  for (std::uint32_t id = 1; id < tables.type_count(); ++id)
    if (const auto name = tables.type(id).name(); !name.empty() && name.size() < max_name_bytes)
      tables.named.push_back(id);
  std::ranges::sort(tables.named, {}, [&](std::uint32_t id) {
    return std::tuple(tables.type(id).name(), tables.type(id).kind(), id);
  });
  std::ranges::sort(tables.decl_tags, {}, [&](std::uint32_t id) {
    const BtfType tag = tables.type(id);
    return std::tuple(tag.target(), tag.component(), id);
  });
}

}  // namespace

Result<Ref<Btf>> Btf::parse(std::span<const std::byte> blob, Budget& budget, Log& log) {
  if (blob.size() > max_bytes)
    return refuse(log, E2BIG, fmt::format("{} bytes are more than {}", blob.size(), max_bytes));
  const Header header = TRY(read_header(blob, log));
  TRY(check_sections(blob, header, log));

  BtfTables tables;
  tables.charge = TRY(budget.charge(blob.size() + worst_table_bytes(header)));
  tables.blob.assign(blob.begin(), blob.end());
  tables.types_at = header.header_bytes + header.types_offset;
  tables.types_end = tables.types_at + header.types_bytes;
  tables.strings_at = header.header_bytes + header.strings_offset;

  TRY(btf_check::index_types(tables, log));
  TRY(btf_check::resolve_types(tables, log));
  TRY(btf_check::check_tag_order(tables, log));
  sort_indexes(tables);
  auto btf = make_object<Btf>(std::move(tables));
  TRY(check_special_structs(*btf, log));
  return btf;
}

Result<std::uint32_t> Btf::size_of(std::uint32_t id) const {
  BtfType type = resolved(id);
  if (type.is(BtfKind::variable)) type = resolved(type.target());
  switch (type.kind()) {
    case BtfKind::integer:
    case BtfKind::structure:
    case BtfKind::union_type:
    case BtfKind::enumeration:
    case BtfKind::enumeration64:
    case BtfKind::floating:
    case BtfKind::data_section:
      return type.bytes();
    case BtfKind::pointer:
      return std::uint32_t{sizeof(std::uint64_t)};
    case BtfKind::array:
      return tables_.sizes[type.id()];
    default:
      return Errno{EINVAL};
  }
}

std::optional<std::uint32_t> Btf::find(std::string_view name, BtfKind kind) const {
  const auto place = [&](std::uint32_t id) { return std::pair(type(id).name(), type(id).kind()); };
  const auto first = std::ranges::lower_bound(tables_.named, std::pair(name, kind), {}, place);
  if (first == tables_.named.end() || place(*first) != std::pair(name, kind)) return std::nullopt;
  return *first;
}

std::span<const std::uint32_t> Btf::decl_tags_of(std::uint32_t type, std::int32_t component) const {
  const auto place = [&](std::uint32_t id) {
    const BtfType tag = tables_.type(id);
    return std::pair(tag.target(), tag.component());
  };
  return std::ranges::equal_range(tables_.decl_tags, std::pair(type, component), {}, place);
}

bool Btf::has_decl_tag(std::uint32_t type, std::int32_t component, std::string_view text) const {
  bool found = false;
  for_each_decl_tag(type, component, [&](std::string_view tag) { found = found || tag == text; });
  return found;
}

}  // namespace skep
