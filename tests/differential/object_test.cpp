// SPDX-License-Identifier: Apache-2.0
// Ids, descriptors by id and object info: lengths in and out, capacities of arrays, bad addresses.
#include "btf/btf_builder.hpp"
#include "differential/side.hpp"
#include "uapi/bpf.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace skep::testing {
namespace {

const std::array<uapi::bpf_insn, 2> return_zero{
    {{.code = 0xb7, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
     {.code = 0x95, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}}};

std::uint32_t make_map(Side& side, std::uint32_t flags = 0) {
  uapi::map_create_attr attr{};
  attr.map_type = uapi::BPF_MAP_TYPE_ARRAY;
  attr.key_size = 4;
  attr.value_size = 13;
  attr.max_entries = 3;
  attr.map_flags = flags;
  std::memcpy(attr.map_name, "some_map", 8);
  return static_cast<std::uint32_t>(side.call("map", uapi::BPF_MAP_CREATE, attr));
}

std::uint32_t make_prog(Side& side) {
  uapi::prog_load_attr attr{};
  attr.prog_type = uapi::BPF_PROG_TYPE_XDP;
  attr.insn_cnt = return_zero.size();
  attr.insns = address_of(return_zero.data());
  attr.license = address_of("Dual BSD/GPL");
  std::memcpy(attr.prog_name, "some_prog", 9);
  return static_cast<std::uint32_t>(side.call("program", uapi::BPF_PROG_LOAD, attr));
}

std::uint32_t make_btf(Side& side) {
  BtfBuilder builder;
  builder.integer("int", 4, 1);
  const auto blob = builder.blob();
  uapi::btf_load_attr attr{};
  attr.btf = address_of(blob.data());
  attr.btf_size = static_cast<std::uint32_t>(blob.size());
  return static_cast<std::uint32_t>(side.call("btf", uapi::BPF_BTF_LOAD, attr));
}

/// Asks with every length that matters. Only lengths and results are noted: ids differ.
void ask_lengths(Side& side, const std::string& what, std::uint32_t fd, std::uint32_t known) {
  for (const std::uint32_t bytes :
       {0U, 1U, 4U, 8U, known - 8, known - 4, known - 1, known, known + 1, 512U, 4096U, 4097U}) {
    for (const bool with_tail : {false, true}) {
      std::vector<std::byte> info(8192);
      if (with_tail) info[known] = std::byte{1};
      uapi::info_by_fd_attr attr{fd, bytes, address_of(info.data())};
      side.call(what + " length " + std::to_string(bytes) + (with_tail ? " with a tail" : ""),
                uapi::BPF_OBJ_GET_INFO_BY_FD, attr);
      std::size_t written = info.size();
      while (written > 0 && info[written - 1] == std::byte{0}) --written;
      EXPECT_LE(written, std::max<std::size_t>(bytes, with_tail ? known + 1 : 0));
    }
  }
  for (const std::uint64_t bad : {std::uint64_t{0}, bad_addresses[0]}) {
    for (const std::uint32_t bytes : {0U, 8U, known, 4096U}) {
      uapi::info_by_fd_attr attr{fd, bytes, bad};
      side.call(what + " at " + std::to_string(bad) + " length " + std::to_string(bytes),
                uapi::BPF_OBJ_GET_INFO_BY_FD, attr);
    }
  }
}

TEST(DifferentialObjects, InfoLengths) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    ask_lengths(side, "map", make_map(side), sizeof(uapi::bpf_map_info));
    ask_lengths(side, "map for writing", make_map(side, uapi::BPF_F_WRONLY),
                sizeof(uapi::bpf_map_info));
    ask_lengths(side, "program", make_prog(side), sizeof(uapi::bpf_prog_info));
    ask_lengths(side, "btf", make_btf(side), sizeof(uapi::bpf_btf_info));
    const int ordinary = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (const std::uint32_t fd : {closed_fd, 0xffffffffU, static_cast<std::uint32_t>(ordinary)}) {
      uapi::bpf_map_info info{};
      uapi::info_by_fd_attr attr{fd, sizeof info, address_of(&info)};
      side.call("not an object", uapi::BPF_OBJ_GET_INFO_BY_FD, attr);
    }
    ::close(ordinary);
  });
}

// The digest of an array's content: SHA-256 over elements at their strides.
TEST(DifferentialObjects, ContentHash) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    const std::uint32_t map = make_map(side);
    for (std::uint32_t k = 0; k < 3; ++k) {
      std::array<std::uint8_t, 13> value;
      value.fill(static_cast<std::uint8_t>(k + 1));
      uapi::map_elem_attr attr{map, 0, address_of(&k), address_of(value.data()), 0};
      side.call("update", uapi::BPF_MAP_UPDATE_ELEM, attr);
    }
    const auto ask = [&](std::uint64_t at, std::uint32_t bytes) {
      uapi::bpf_map_info info{};
      info.hash = at;
      info.hash_size = bytes;
      uapi::info_by_fd_attr attr{map, sizeof info, address_of(&info)};
      side.call("hash of " + std::to_string(bytes), uapi::BPF_OBJ_GET_INFO_BY_FD, attr);
      info.id = 0;
      if (info.hash == at) info.hash = 1;
      side.note_bytes("info", std::as_bytes(std::span(&info, 1)));
    };
    std::array<std::byte, 32> digest{};
    for (int frozen = 0; frozen < 2; ++frozen) {
      for (const std::uint32_t bytes : {0U, 31U, 32U, 33U}) {
        ask(address_of(digest.data()), bytes);
        side.note_bytes("digest", digest);
        ask(0, bytes);
        ask(bad_addresses[0], bytes);
      }
      uapi::map_elem_attr attr{};
      attr.map_fd = map;
      side.call("freeze", uapi::BPF_MAP_FREEZE, attr, 4);
    }
  });
}

// Each array of a program's info: no room, too little, enough; a bad address; a wrong record size.
TEST(DifferentialObjects, ProgramInfoArrays) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    const std::uint32_t prog = make_prog(side);
    const std::uint32_t map = make_map(side);
    uapi::prog_bind_map_attr bind{prog, map, 0};
    side.call("bind", uapi::BPF_PROG_BIND_MAP, bind);
    side.call("bind again", uapi::BPF_PROG_BIND_MAP, bind);

    using Info = uapi::bpf_prog_info;
    struct Array {
      const char* name;
      std::uint32_t Info::* count;
      std::uint64_t Info::* address;
      bool comparable;  // the count does not depend on the machine code
    };
    const Array arrays[] = {
        {"maps", &Info::nr_map_ids, &Info::map_ids, true},
        {"xlated", &Info::xlated_prog_len, &Info::xlated_prog_insns, true},
        {"func_info", &Info::nr_func_info, &Info::func_info, true},
        {"line_info", &Info::nr_line_info, &Info::line_info, true},
        {"ksyms", &Info::nr_jited_ksyms, &Info::jited_ksyms, true},
        {"func_lens", &Info::nr_jited_func_lens, &Info::jited_func_lens, true},
        {"tags", &Info::nr_prog_tags, &Info::prog_tags, true},
    };
    for (const Array& array : arrays) {
      for (const std::uint32_t room : {0U, 1U, 8U, 100U}) {
        std::array<std::byte, 1024> into;
        for (const std::uint64_t at :
             {address_of(into.data()), std::uint64_t{0}, bad_addresses[0]}) {
          into.fill(std::byte{0xa5});
          Info info{};
          info.*array.count = room;
          info.*array.address = at;
          // A count of records asks for their size too.
          if (info.nr_func_info != 0) info.func_info_rec_size = 8;
          if (info.nr_line_info != 0) info.line_info_rec_size = 16;
          uapi::info_by_fd_attr attr{prog, sizeof info, address_of(&info)};
          side.call(std::string(array.name) + " room " + std::to_string(room) + " at " +
                        (at == address_of(into.data()) ? "good" : std::to_string(at)),
                    uapi::BPF_OBJ_GET_INFO_BY_FD, attr);
          side.note("  count " + std::to_string(info.*array.count));
          std::size_t written = 0;
          for (std::size_t i = 0; i < into.size(); ++i)
            if (into[i] != std::byte{0xa5}) written = i + 1;
          // Addresses and lengths of machine code and ids may hold any bytes; the others are
          // compared whole.
          const std::string name = array.name;
          if (name == "xlated" || name == "tags") side.note_bytes("  bytes", into);
          EXPECT_LE(written, std::size_t{room} * 8);
        }
      }
    }
    for (std::uint32_t Info::* size :
         {&Info::func_info_rec_size, &Info::line_info_rec_size, &Info::jited_line_info_rec_size}) {
      for (const std::uint32_t bytes : {1U, 8U, 16U, 24U}) {
        Info info{};
        info.*size = bytes;
        uapi::info_by_fd_attr attr{prog, sizeof info, address_of(&info)};
        side.call("record size " + std::to_string(bytes), uapi::BPF_OBJ_GET_INFO_BY_FD, attr);
        side.note(std::to_string(info.func_info_rec_size) + " " +
                  std::to_string(info.line_info_rec_size) + " " +
                  std::to_string(info.jited_line_info_rec_size));
      }
    }
    Info info{};
    uapi::info_by_fd_attr attr{prog, sizeof info, address_of(&info)};
    side.call("info", uapi::BPF_OBJ_GET_INFO_BY_FD, attr);
    EXPECT_NE(info.load_time, 0u);
    // Ids, times and machine code are the side's own.
    info.id = 0;
    info.load_time = 0;
    info.jited_prog_len = 0;
    info.nr_jited_line_info = 0;
    side.note_bytes("info", std::as_bytes(std::span(&info, 1)));
  });
}

TEST(DifferentialObjects, BtfInfo) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    const std::uint32_t btf = make_btf(side);
    for (const std::uint32_t room : {0U, 1U, 24U, 200U}) {
      for (const std::uint32_t name_room : {0U, 1U, 16U}) {
        for (const bool with_name : {false, true}) {
          std::array<std::byte, 256> blob{};
          std::array<char, 16> name;
          name.fill('#');
          uapi::bpf_btf_info info{};
          info.btf = address_of(blob.data());
          info.btf_size = room;
          info.name = with_name ? address_of(name.data()) : 0;
          info.name_len = name_room;
          uapi::info_by_fd_attr attr{btf, sizeof info, address_of(&info)};
          side.call("btf room " + std::to_string(room) + " name " + std::to_string(name_room) +
                        (with_name ? "" : " null"),
                    uapi::BPF_OBJ_GET_INFO_BY_FD, attr);
          side.note(std::to_string(info.btf_size) + " " + std::to_string(info.name_len) + " " +
                    std::to_string(info.kernel_btf));
          side.note_bytes("blob", blob);
          side.note_bytes("name", std::as_bytes(std::span(name)));
        }
      }
    }
    uapi::bpf_btf_info info{};
    info.btf = bad_addresses[0];
    info.btf_size = 8;
    uapi::info_by_fd_attr attr{btf, sizeof info, address_of(&info)};
    side.call("blob to a bad address", uapi::BPF_OBJ_GET_INFO_BY_FD, attr);
  });
}

TEST(DifferentialObjects, IdsAndDescriptorsById) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    const std::uint32_t fds[] = {make_map(side), make_prog(side), make_btf(side)};
    const std::uint32_t next[] = {uapi::BPF_MAP_GET_NEXT_ID, uapi::BPF_PROG_GET_NEXT_ID,
                                  uapi::BPF_BTF_GET_NEXT_ID};
    const std::uint32_t open[] = {uapi::BPF_MAP_GET_FD_BY_ID, uapi::BPF_PROG_GET_FD_BY_ID,
                                  uapi::BPF_BTF_GET_FD_BY_ID};
    const std::size_t id_at[] = {4, 4, 12};
    for (std::size_t kind = 0; kind < 3; ++kind) {
      std::array<std::byte, 32> info{};
      uapi::info_by_fd_attr get{fds[kind], info.size(), address_of(info.data())};
      side.call("info", uapi::BPF_OBJ_GET_INFO_BY_FD, get);
      std::uint32_t id;
      std::memcpy(&id, info.data() + id_at[kind], sizeof id);

      uapi::get_id_attr attr{id - 1, 0, 0};
      side.call("next after the one before", next[kind], attr, sizeof attr, {{4, 8}});
      side.note(attr.next_id == id ? "it" : "another");
      for (const std::uint32_t start : {0x7ffffffeU, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
        attr = {start, 7, 0};
        side.call("next after " + std::to_string(start), next[kind], attr);
      }
      for (const std::uint32_t flags : {0U, 1U, 2U, 8U, 16U, 24U, 32U}) {
        attr = {id, 0, flags};
        side.call("open with " + std::to_string(flags), open[kind], attr);
        attr = {0, 0, flags};
        side.call("open id 0 with " + std::to_string(flags), open[kind], attr);
        attr = {0x7ffffffe, 0, flags};
        side.call("open an unknown id with " + std::to_string(flags), open[kind], attr);
      }
    }
  });
}

TEST(DifferentialObjects, BindingMapsAndStatistics) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    const std::uint32_t map = make_map(side);
    const std::uint32_t prog = make_prog(side);
    for (const std::uint32_t p : {prog, map, closed_fd}) {
      for (const std::uint32_t m : {map, prog, closed_fd}) {
        for (const std::uint32_t flags : {0U, 1U}) {
          uapi::prog_bind_map_attr attr{p, m, flags};
          side.call("bind", uapi::BPF_PROG_BIND_MAP, attr);
        }
      }
    }
    for (const std::uint32_t type : {0U, 1U, 0xffffffffU}) {
      uapi::enable_stats_attr attr{type};
      side.call("statistics " + std::to_string(type), uapi::BPF_ENABLE_STATS, attr);
    }
  });
}

}  // namespace
}  // namespace skep::testing
