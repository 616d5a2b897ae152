// SPDX-License-Identifier: Apache-2.0
// For tests: the type information in the object compiled from types.bpf.c.
#pragma once

#include "btf/btf.hpp"

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace skep::testing {

/// What a loader does before it hands the types over: the compiler leaves sizes of data sections
/// and offsets of their variables to it. Here each variable gets the next multiple of 8.
inline void lay_out_sections(std::vector<std::byte>& blob) {
  const auto word = [&](std::size_t at) {
    std::uint32_t value;
    std::memcpy(&value, &blob[at], sizeof value);
    return value;
  };
  const auto set_word = [&](std::size_t at, std::uint32_t value) {
    std::memcpy(&blob[at], &value, sizeof value);
  };
  const std::size_t types_at = word(4) + word(8);
  const std::size_t types_end = types_at + word(12);
  for (std::size_t at = types_at; at < types_end;) {
    const auto kind = static_cast<BtfKind>(word(at + 4) >> 24 & 0x1f);
    const std::uint32_t count = word(at + 4) & 0xffff;
    std::size_t tail = 0;
    switch (kind) {
      case BtfKind::integer:
      case BtfKind::variable:
      case BtfKind::decl_tag:
        tail = 4;
        break;
      case BtfKind::array:
        tail = 12;
        break;
      case BtfKind::structure:
      case BtfKind::union_type:
      case BtfKind::enumeration64:
        tail = 12 * count;
        break;
      case BtfKind::enumeration:
      case BtfKind::function_prototype:
        tail = 8 * count;
        break;
      case BtfKind::data_section: {
        tail = 12 * count;
        std::uint32_t end = 0;
        for (std::size_t entry = at + 12; entry < at + 12 + tail; entry += 12) {
          set_word(entry + 4, end);
          end += (word(entry + 8) + 7) / 8 * 8;
        }
        set_word(at + 8, end);
        break;
      }
      default:
        break;
    }
    at += 12 + tail;
  }
}

/// The section .BTF, ready to be loaded; empty if there is none.
inline std::vector<std::byte> compiled_types() {
  std::vector<std::byte> blob;
  ::elf_version(EV_CURRENT);
  const int fd = ::open(SKEP_BTF_TYPES_OBJECT, O_RDONLY | O_CLOEXEC);
  Elf* elf = ::elf_begin(fd, ELF_C_READ, nullptr);
  std::size_t names = 0;
  if (elf != nullptr && ::elf_getshdrstrndx(elf, &names) == 0) {
    for (Elf_Scn* section = ::elf_nextscn(elf, nullptr); section != nullptr;
         section = ::elf_nextscn(elf, section)) {
      GElf_Shdr header;
      if (::gelf_getshdr(section, &header) == nullptr) continue;
      const char* name = ::elf_strptr(elf, names, header.sh_name);
      const Elf_Data* data = ::elf_getdata(section, nullptr);
      if (name == nullptr || data == nullptr || std::string_view(name) != ".BTF") continue;
      const auto* bytes = static_cast<const std::byte*>(data->d_buf);
      blob.assign(bytes, bytes + data->d_size);
    }
  }
  ::elf_end(elf);
  ::close(fd);
  if (!blob.empty()) lay_out_sections(blob);
  return blob;
}

}  // namespace skep::testing
