// SPDX-License-Identifier: Apache-2.0
// PROG_LOAD and BTF_LOAD around the verifier: attributes, order of checks, names, licences, logs.
// The words inside a log are not compared, only what becomes of them.
#include "btf/btf_builder.hpp"
#include "differential/side.hpp"
#include "uapi/bpf.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace skep::testing {
namespace {

using uapi::bpf_insn;
using uapi::prog_load_attr;

constexpr bpf_insn mov_r0_0{.code = 0xb7, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0};
constexpr bpf_insn exit_insn{.code = 0x95, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0};
constexpr bpf_insn unknown_insn{.code = 0xff, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0};
const std::array good_program{mov_r0_0, exit_insn};
const std::array bad_program{unknown_insn, exit_insn};
constexpr char gpl[] = "GPL";

prog_load_attr good() {
  prog_load_attr attr{};
  attr.prog_type = uapi::BPF_PROG_TYPE_XDP;
  attr.insn_cnt = good_program.size();
  attr.insns = address_of(good_program.data());
  attr.license = address_of(gpl);
  return attr;
}

long load(Side& side, const std::string& what, prog_load_attr& attr,
          std::size_t size = sizeof(prog_load_attr)) {
  const long fd = side.call(what, uapi::BPF_PROG_LOAD, attr, size,
                            {{140, 144}});  // log_true_size: as long as the words are
  side.close(fd);
  return fd;
}

TEST(DifferentialProgLoad, OneFieldAtATime) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (const std::uint32_t type : {uapi::BPF_PROG_TYPE_XDP, uapi::BPF_PROG_TYPE_SOCKET_FILTER}) {
      const auto named = [&](std::string_view what, std::uint64_t value) {
        return "type " + std::to_string(type) + " " + std::string(what) + " " +
               std::to_string(value);
      };
      const auto typed = [&] {
        prog_load_attr attr = good();
        attr.prog_type = type;
        return attr;
      };
      for (std::uint32_t bit = 0; bit < 32; ++bit) {
        prog_load_attr attr = typed();
        attr.prog_flags = 1U << bit;
        attr.prog_token_fd = static_cast<std::int32_t>(closed_fd);
        load(side, named("flags", attr.prog_flags), attr);
      }
      for (const std::uint32_t count : {0U, 1U, 2U, 1'000'001U, 0xffffffffU}) {
        prog_load_attr attr = typed();
        attr.insn_cnt = count;
        load(side, named("instructions", count), attr);
      }
      for (const std::uint32_t attach : {0U, 1U, 33U, 35U, 37U, 46U, 1000U, 0xffffffffU}) {
        prog_load_attr attr = typed();
        attr.expected_attach_type = attach;
        load(side, named("attach type", attach), attr);
      }
      for (const std::uint64_t bad : {std::uint64_t{0}, bad_addresses[0], bad_addresses[1]}) {
        prog_load_attr attr = typed();
        attr.insns = bad;
        load(side, named("instructions at", bad), attr);
        attr = typed();
        attr.license = bad;
        load(side, named("license at", bad), attr);
      }
      for (const std::uint32_t ifindex : {1U, 99999U}) {
        for (const std::uint32_t flags : {0U, 1U, 32U, 64U, 96U}) {
          prog_load_attr attr = typed();
          attr.prog_ifindex = ifindex;
          attr.prog_flags = flags;
          load(side, named("ifindex", ifindex) + " flags " + std::to_string(flags), attr);
        }
      }
      for (const std::uint32_t id : {1U, 0xfffffU, 0x100000U}) {
        prog_load_attr attr = typed();
        attr.attach_btf_id = id;
        load(side, named("attach to type", id), attr);
        attr.attach_prog_fd = closed_fd;
        load(side, named("attach to type of closed", id), attr);
      }
      prog_load_attr attr = typed();
      attr.attach_prog_fd = closed_fd;
      load(side, named("attach to closed", closed_fd), attr);
      attr = typed();
      attr.prog_btf_fd = closed_fd;
      load(side, named("unused closed BTF", closed_fd), attr);
      attr.func_info_cnt = 1;
      load(side, named("used closed BTF", closed_fd), attr);
      attr = typed();
      attr.kern_version = 0xffffffff;
      load(side, named("version", attr.kern_version), attr);
      attr.fd_array = bad_addresses[0];
      load(side, named("unused fd_array", attr.fd_array), attr);
      attr.fd_array_cnt = 1;
      load(side, named("used fd_array", attr.fd_array), attr);
      const std::uint32_t closed = closed_fd;
      attr.fd_array = address_of(&closed);
      load(side, named("closed in fd_array", 1), attr);
    }
    for (const std::uint32_t type : {0U, 33U, 1000U, 0xffffffffU}) {
      prog_load_attr attr = good();
      attr.prog_type = type;
      load(side, "type " + std::to_string(type), attr);
    }
  });
}

TEST(DifferentialProgLoad, NamesAndLicences) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    const auto gpl_compatible = [&](long fd) {
      uapi::bpf_prog_info info{};
      uapi::info_by_fd_attr get{static_cast<std::uint32_t>(fd), sizeof info, address_of(&info)};
      side.call("info", uapi::BPF_OBJ_GET_INFO_BY_FD, get);
      side.note(info.gpl_compatible != 0 ? "compatible" : "not compatible");
      side.note_bytes("name", std::as_bytes(std::span(info.name)));
    };
    for (const char* license :
         {"", "GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL",
          "Dual MPL/GPL", "gpl", "GPLv2", "GPL ", "Proprietary", "Apache-2.0"}) {
      prog_load_attr attr = good();
      attr.license = address_of(license);
      gpl_compatible(side.call(std::string("license ") + license, uapi::BPF_PROG_LOAD, attr));
    }
    for (const std::size_t length : {126, 127, 128, 200}) {
      const std::string license(length, 'x');
      prog_load_attr attr = good();
      attr.license = address_of(license.c_str());
      gpl_compatible(side.call("long license", uapi::BPF_PROG_LOAD, attr));
    }
    for (const char* name : {"", "a", "with_underscore", "with.dot", "with space", "with-dash",
                             "fifteen_chars_1", "sixteen_chars_16"}) {
      prog_load_attr attr = good();
      std::memcpy(attr.prog_name, name, std::min<std::size_t>(std::strlen(name), 16));
      const long fd = side.call(std::string("name ") + name, uapi::BPF_PROG_LOAD, attr);
      if (fd >= 0) gpl_compatible(fd);
    }
  });
}

// Every level with buffers of every kind, for a program that loads and for one that does not.
TEST(DifferentialProgLoad, LogRules) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    std::vector<char> buffer(1 << 16);
    for (const bool loads : {true, false}) {
      for (std::uint32_t level = 0; level < 18; ++level) {
        for (const std::uint32_t bytes :
             {0U, 1U, 2U, 10U, 65536U, 0x3fffffffU, 0x40000000U, 0xffffffffU}) {
          for (const std::uint64_t at :
               {address_of(buffer.data()), std::uint64_t{0}, bad_addresses[0]}) {
            // More than a page of buffer that is not ours would be overwritten.
            std::ranges::fill(buffer, '#');
            prog_load_attr attr = good();
            if (!loads) attr.insns = address_of(bad_program.data());
            attr.log_level = level;
            attr.log_size = bytes;
            attr.log_buf = at;
            const long fd =
                load(side,
                     std::string(loads ? "good" : "bad") + " level " + std::to_string(level) +
                         " size " + std::to_string(bytes) + " at " +
                         (at == address_of(buffer.data()) ? "good" : std::to_string(at)),
                     attr);
            (void)fd;
            side.note(std::string("  true size ") + (attr.log_true_size != 0 ? "set" : "0") +
                      (buffer[0] == '#' ? ", untouched" : ", written"));
          }
        }
      }
    }
  });
}

// What is kept of a log, for logs whose words are the same on both sides by themselves.
TEST(DifferentialProgLoad, LogsAreCutAlike) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (const std::uint32_t level : {1U, 9U}) {
      std::uint32_t whole = 0;
      for (std::uint32_t bytes = 1; bytes < 200; bytes += 7) {
        std::vector<char> buffer(256, '#');
        prog_load_attr attr = good();
        attr.insns = address_of(bad_program.data());
        attr.log_level = level;
        attr.log_size = bytes;
        attr.log_buf = address_of(buffer.data());
        const long result = load(side, "level " + std::to_string(level), attr);
        if (whole == 0) whole = attr.log_true_size;
        EXPECT_EQ(attr.log_true_size, whole);
        EXPECT_EQ(result == -ENOSPC, whole > bytes);
        const std::size_t end = std::string_view(buffer.data(), buffer.size()).find('\0');
        EXPECT_EQ(end, std::min(bytes, whole) - 1);
        EXPECT_EQ(buffer[end + 1], '#');
      }
    }
  });
}

TEST(DifferentialProgLoad, TheTrueSizeIsWrittenOnlyIntoABlockThatHasIt) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (const std::size_t size : {24, 48, 72, 120, 140, 143, 144, 148, 168}) {
      prog_load_attr attr = good();
      attr.log_level = 1;
      load(side, "size " + std::to_string(size), attr, size);
      side.note(attr.log_true_size != 0 ? "set" : "not set");
      uapi::btf_load_attr btf{};
      btf.btf_log_level = 1;
      side.call("btf size " + std::to_string(size), uapi::BPF_BTF_LOAD, btf,
                std::min(size, sizeof btf), {{28, 32}});
      side.note(btf.btf_log_true_size != 0 ? "set" : "not set");
    }
  });
}

// Several things wrong at once: the order of the checks decides.
TEST(DifferentialProgLoad, OrderOfChecks) {
  SKEP_NEEDS_HOST();
  expect_same(
      [](Side& side) {
        std::array<char, 4096> buffer{};
        for (int round = 0; round < 400; ++round) {
          prog_load_attr attr = good();
          const auto odd = [&] { return side.pick(5) == 0; };
          if (odd()) attr.prog_type = side.pick_from({0U, 33U, 1U});
          if (odd()) attr.insn_cnt = side.pick_from({0U, 1U, 1'000'001U});
          if (odd()) attr.insns = bad_addresses[0];
          if (odd()) attr.license = 0;
          if (odd()) attr.prog_flags = side.pick_from({1U, 16U, 32U, 64U, 256U});
          if (odd()) attr.prog_name[0] = side.pick_from({'!', 'a'});
          if (odd()) attr.prog_ifindex = side.pick_from({1U, 99999U});
          if (odd()) attr.expected_attach_type = 33;
          if (odd()) attr.attach_prog_fd = closed_fd;
          if (odd()) attr.attach_btf_id = 1;
          if (odd()) attr.signature = 8;
          if (odd()) attr.core_relo_cnt = 1;
          if (odd()) {
            attr.prog_btf_fd = closed_fd;
            attr.func_info_cnt = 1;
          }
          if (odd()) attr.log_level = side.pick_from({1U, 2U, 4U, 16U});
          if (odd()) attr.log_size = side.pick_from({1U, 4096U, 0x40000000U});
          if (odd()) attr.log_buf = side.pick_from({address_of(buffer.data()), bad_addresses[0]});
          const std::string text =
              "type " + std::to_string(attr.prog_type) + " count " + std::to_string(attr.insn_cnt) +
              " insns " + (attr.insns == bad_addresses[0] ? "bad" : "good") + " license " +
              (attr.license == 0 ? "null" : "good") + " flags " + std::to_string(attr.prog_flags) +
              " name " + (attr.prog_name[0] == '!' ? "bad" : "good") + " ifindex " +
              std::to_string(attr.prog_ifindex) + " attach " +
              std::to_string(attr.expected_attach_type) + " target " +
              std::to_string(attr.attach_prog_fd) + " type " + std::to_string(attr.attach_btf_id) +
              " btf " + std::to_string(attr.prog_btf_fd) + " log " +
              std::to_string(attr.log_level) + " " + std::to_string(attr.log_size) + " " +
              (attr.log_buf == 0                  ? "none"
               : attr.log_buf == bad_addresses[0] ? "bad"
                                                  : "good");
          load(side, text, attr);
        }
      },
      4);
}

TEST(DifferentialProgLoad, MapsOfFdArrays) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    std::vector<std::uint32_t> maps;
    for (int i = 0; i < 65; ++i) {
      uapi::map_create_attr attr{};
      attr.map_type = uapi::BPF_MAP_TYPE_ARRAY;
      attr.key_size = 4;
      attr.value_size = 4;
      attr.max_entries = 1;
      maps.push_back(static_cast<std::uint32_t>(side.call("map", uapi::BPF_MAP_CREATE, attr)));
    }
    prog_load_attr plain = good();
    const auto prog = static_cast<std::uint32_t>(side.call("program", uapi::BPF_PROG_LOAD, plain));
    const auto load_with = [&](const std::string& what, const std::vector<std::uint32_t>& fds) {
      prog_load_attr attr = good();
      attr.fd_array = address_of(fds.data());
      attr.fd_array_cnt = static_cast<std::uint32_t>(fds.size());
      const long fd = side.call(what, uapi::BPF_PROG_LOAD, attr);
      if (fd < 0) return;
      uapi::bpf_prog_info info{};
      uapi::info_by_fd_attr get{static_cast<std::uint32_t>(fd), sizeof info, address_of(&info)};
      side.call("info", uapi::BPF_OBJ_GET_INFO_BY_FD, get);
      side.note("  maps " + std::to_string(info.nr_map_ids));
    };
    load_with("one map", {maps[0]});
    load_with("one map twice", {maps[0], maps[0]});
    load_with("two maps", {maps[0], maps[1]});
    load_with("a program", {prog});
    load_with("a map and a closed one", {maps[0], closed_fd});
    load_with("64 maps", {maps.begin(), maps.end() - 1});
    load_with("65 maps", maps);
    prog_load_attr attr = good();
    attr.fd_array_cnt = 0xffffffff;
    load(side, "too many", attr);
  });
}

TEST(DifferentialProgLoad, FunctionAndLineRecords) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    BtfBuilder builder;
    const std::uint32_t int32 = builder.integer("int", 4, 1);
    const std::uint32_t prototype = builder.prototype(int32, {});
    const std::uint32_t function = builder.function("main_function", prototype, 1);
    const auto blob = builder.blob();
    uapi::btf_load_attr btf_attr{};
    btf_attr.btf = address_of(blob.data());
    btf_attr.btf_size = static_cast<std::uint32_t>(blob.size());
    const auto btf = static_cast<std::uint32_t>(side.call("btf", uapi::BPF_BTF_LOAD, btf_attr));
    const auto with_records = [&](const std::string& what, std::uint32_t func_bytes,
                                  std::uint32_t line_bytes, std::uint32_t poke,
                                  std::uint32_t type_id, std::uint32_t offset) {
      std::array<std::uint32_t, 128> funcs{};
      funcs[0] = offset;
      funcs[1] = type_id;
      std::array<std::uint32_t, 128> lines{};
      if (poke != 0) funcs[poke] = 1;
      if (poke != 0) lines[poke] = 1;
      prog_load_attr attr = good();
      attr.prog_btf_fd = btf;
      attr.func_info_cnt = 1;
      attr.func_info_rec_size = func_bytes;
      attr.func_info = address_of(funcs.data());
      if (line_bytes != 0) {
        attr.line_info_cnt = 1;
        attr.line_info_rec_size = line_bytes;
        attr.line_info = address_of(lines.data());
      }
      load(side, what, attr);
    };
    for (const std::uint32_t bytes : {0U, 4U, 7U, 8U, 10U, 12U, 16U, 252U, 256U}) {
      with_records("functions of " + std::to_string(bytes), bytes, 0, 0, function, 0);
      with_records("functions with a tail of " + std::to_string(bytes), bytes, 0, 2, function, 0);
      with_records("lines of " + std::to_string(bytes), 8, bytes, 0, function, 0);
      with_records("lines with a tail of " + std::to_string(bytes), 8, bytes, 4, function, 0);
    }
    for (const std::uint32_t type_id : {0U, int32, prototype, function, 99U})
      with_records("function type " + std::to_string(type_id), 8, 0, 0, type_id, 0);
    for (const std::uint32_t offset : {0U, 1U, 2U})
      with_records("function at " + std::to_string(offset), 8, 0, 0, function, offset);
    for (const std::uint64_t bad : {std::uint64_t{0}, bad_addresses[0]}) {
      prog_load_attr attr = good();
      attr.prog_btf_fd = btf;
      attr.func_info_cnt = 1;
      attr.func_info_rec_size = 8;
      attr.func_info = bad;
      load(side, "functions at " + std::to_string(bad), attr);
    }
  });
}

TEST(DifferentialBtfLoad, Envelope) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    BtfBuilder builder;
    builder.integer("int", 4, 1);
    const auto blob = builder.blob();
    const auto load_btf = [&](const std::string& what, uapi::btf_load_attr attr) {
      side.call(what, uapi::BPF_BTF_LOAD, attr, sizeof attr, {{28, 32}});
    };
    const auto good_btf = [&] {
      uapi::btf_load_attr attr{};
      attr.btf = address_of(blob.data());
      attr.btf_size = static_cast<std::uint32_t>(blob.size());
      return attr;
    };
    load_btf("good", good_btf());
    for (std::uint32_t bit = 0; bit < 32; ++bit) {
      uapi::btf_load_attr attr = good_btf();
      attr.btf_flags = 1U << bit;
      attr.btf_token_fd = static_cast<std::int32_t>(closed_fd);
      load_btf("flags " + std::to_string(attr.btf_flags), attr);
    }
    for (std::uint32_t bytes = 0; bytes < blob.size(); ++bytes) {
      uapi::btf_load_attr attr = good_btf();
      attr.btf_size = bytes;
      load_btf("size " + std::to_string(bytes), attr);
    }
    for (const std::uint32_t bytes : {(16U << 20) + 1, 0xffffffffU}) {
      uapi::btf_load_attr attr = good_btf();
      attr.btf_size = bytes;
      load_btf("size " + std::to_string(bytes), attr);
    }
    for (const std::uint64_t bad : {std::uint64_t{0}, bad_addresses[0]}) {
      uapi::btf_load_attr attr = good_btf();
      attr.btf = bad;
      load_btf("at " + std::to_string(bad), attr);
      attr.btf_size = 0;
      load_btf("nothing at " + std::to_string(bad), attr);
    }
    std::vector<char> buffer(4096);
    for (std::uint32_t level = 0; level < 18; ++level) {
      for (const std::uint32_t bytes : {0U, 1U, 4096U, 0x40000000U}) {
        for (const std::uint64_t at :
             {address_of(buffer.data()), std::uint64_t{0}, bad_addresses[0]}) {
          for (const bool bad : {false, true}) {
            // Differs: Linux describes what it loaded even if all is well, so that one byte is too
            // few.
            if (!bad && bytes == 1) continue;
            uapi::btf_load_attr attr = good_btf();
            if (bad) attr.btf_size -= 1;
            attr.btf_log_level = level;
            attr.btf_log_size = bytes;
            attr.btf_log_buf = at;
            std::ranges::fill(buffer, '#');
            load_btf(std::string(bad ? "bad" : "good") + " level " + std::to_string(level) +
                         " size " + std::to_string(bytes) + " at " +
                         (at == address_of(buffer.data()) ? "good" : std::to_string(at)),
                     attr);
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace skep::testing
