// SPDX-License-Identifier: Apache-2.0
// MAP_CREATE: which combinations pass, which errno the others get, and what the map says about
// itself.
#include "btf/btf_builder.hpp"
#include "differential/side.hpp"
#include "uapi/bpf.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>

namespace skep::testing {
namespace {

using uapi::map_create_attr;

/// Notes what the map's info says, without its ids.
void note_info(Side& side, long fd) {
  uapi::bpf_map_info info{};
  uapi::info_by_fd_attr attr{
      .bpf_fd = static_cast<std::uint32_t>(fd), .info_len = sizeof info, .info = address_of(&info)};
  side.call("info", uapi::BPF_OBJ_GET_INFO_BY_FD, attr);
  info.id = 0;
  if (info.btf_id != 0) info.btf_id = 1;
  side.note_bytes("info", std::as_bytes(std::span(&info, 1)));
}

std::string text_of(const map_create_attr& attr) {
  std::string name;
  for (const char c : attr.map_name) name += hex(std::as_bytes(std::span(&c, 1)));
  return "create type " + std::to_string(attr.map_type) + " key " + std::to_string(attr.key_size) +
         " value " + std::to_string(attr.value_size) + " max " + std::to_string(attr.max_entries) +
         " flags " + std::to_string(attr.map_flags) + " numa " + std::to_string(attr.numa_node) +
         " inner " + std::to_string(attr.inner_map_fd) + " ifindex " +
         std::to_string(attr.map_ifindex) + " btf key " + std::to_string(attr.btf_key_type_id) +
         " value " + std::to_string(attr.btf_value_type_id) + " vmlinux " +
         std::to_string(attr.btf_vmlinux_value_type_id) + " extra " +
         std::to_string(attr.map_extra) + " token " + std::to_string(attr.map_token_fd) +
         " exclusive " + std::to_string(attr.excl_prog_hash_size) + " name " + name;
}

long create(Side& side, map_create_attr attr) {
  const long fd = side.call(text_of(attr), uapi::BPF_MAP_CREATE, attr);
  if (fd >= 0) {
    note_info(side, fd);
    side.close(fd);
  }
  return fd;
}

/// A map that can be created.
map_create_attr good(std::uint32_t type) {
  map_create_attr attr{};
  attr.map_type = type;
  attr.key_size = 4;
  attr.value_size = 4;
  attr.max_entries = 4;
  return attr;
}

constexpr std::uint32_t types[] = {uapi::BPF_MAP_TYPE_HASH,         uapi::BPF_MAP_TYPE_ARRAY,
                                   uapi::BPF_MAP_TYPE_PERCPU_ARRAY, uapi::BPF_MAP_TYPE_PROG_ARRAY,
                                   uapi::BPF_MAP_TYPE_DEVMAP,       uapi::BPF_MAP_TYPE_DEVMAP_HASH};

// One field away from a good map: which values each field takes.
TEST(DifferentialMapCreate, OneFieldAtATime) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (const std::uint32_t type : types) {
      create(side, good(type));
      for (const std::uint32_t bytes : {0U, 1U, 3U, 5U, 8U, 12U, 512U, 513U, 4096U}) {
        map_create_attr attr = good(type);
        attr.key_size = bytes;
        create(side, attr);
        attr = good(type);
        attr.value_size = bytes;
        create(side, attr);
      }
      // The limits of maps.md 2.1 and 4.1: 4 MiB less 48 for key and value together, 32768 per CPU,
      // 2^31 - 1.
      for (const std::uint32_t bytes :
           {32760U, 32768U, 32769U, 4194251U, 4194252U, 4194304U, 0x80000000U, 0xffffffffU}) {
        map_create_attr attr = good(type);
        attr.value_size = bytes;
        attr.max_entries = 1;
        if (type != uapi::BPF_MAP_TYPE_ARRAY || bytes > 0x7fffffff || bytes < 5000000)
          create(side, attr);
        attr = good(type);
        attr.key_size = bytes;
        create(side, attr);
      }
      for (const std::uint32_t entries : {0U, 1U, 3U, 65536U}) {
        map_create_attr attr = good(type);
        attr.max_entries = entries;
        create(side, attr);
      }
      for (std::uint32_t bit = 0; bit < 32; ++bit) {
        map_create_attr attr = good(type);
        attr.map_flags = 1U << bit;
        if (attr.map_flags == uapi::BPF_F_TOKEN_FD) attr.map_token_fd = closed_fd;
        create(side, attr);
        attr.numa_node = 0xffffffff;
        create(side, attr);
        attr.numa_node = 0xfffffffe;
        create(side, attr);
        // Together with both modes for programs, which nobody takes.
        attr.map_flags |= uapi::BPF_F_RDONLY_PROG | uapi::BPF_F_WRONLY_PROG;
        create(side, attr);
      }
    }
    map_create_attr many = good(uapi::BPF_MAP_TYPE_HASH);
    many.map_flags = uapi::BPF_F_NO_PREALLOC;
    for (const std::uint32_t entries : {(1U << 27) + 1, 1U << 31, (1U << 31) + 1, 0xffffffffU}) {
      many.max_entries = entries;
      create(side, many);
    }
  });
}

TEST(DifferentialMapCreate, TypesThatDoNotExist) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (const std::uint32_t type : {0U, 34U, 100U, 0x80000000U, 0xffffffffU})
      create(side, good(type));
  });
}

TEST(DifferentialMapCreate, EveryByteInANameAtEveryPlace) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (int byte = 0; byte < 256; ++byte) {
      for (const std::size_t place : {0, 7, 14, 15}) {
        map_create_attr attr = good(uapi::BPF_MAP_TYPE_ARRAY);
        std::memset(attr.map_name, 'a', place);
        attr.map_name[place] = static_cast<char>(byte);
        create(side, attr);
      }
    }
    map_create_attr attr = good(uapi::BPF_MAP_TYPE_ARRAY);
    std::memcpy(attr.map_name, "good\0bad name!", 15);
    create(side, attr);
  });
}

TEST(DifferentialMapCreate, ExclusiveHashes) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    const std::array<std::byte, 32> hash{};
    for (const std::uint32_t bytes : {0U, 1U, 31U, 33U, 0xffffffffU}) {
      map_create_attr attr = good(uapi::BPF_MAP_TYPE_ARRAY);
      attr.excl_prog_hash_size = bytes;
      create(side, attr);
      attr.excl_prog_hash = address_of(hash.data());
      create(side, attr);
    }
    for (const std::uint64_t bad : bad_addresses) {
      map_create_attr attr = good(uapi::BPF_MAP_TYPE_ARRAY);
      attr.excl_prog_hash = bad;
      attr.excl_prog_hash_size = 32;
      create(side, attr);
    }
  });
}

TEST(DifferentialMapCreate, TypeInformation) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    BtfBuilder builder;
    const std::uint32_t int32 = builder.integer("int", 4, 1);
    const std::uint32_t int64 = builder.integer("long", 8, 1);
    const std::uint32_t alias = builder.add(BtfKind::type_definition, "alias", 0, int32);
    const std::uint32_t pointer = builder.pointer(int32);
    const std::uint32_t pair = builder.structure("pair", 8, {{"a", int32, 0}, {"b", int32, 32}});
    const std::uint32_t one = builder.structure("one", 4, {{"a", int32, 0}});
    const std::uint32_t lock = builder.structure("bpf_spin_lock", 4, {{"val", int32, 0}});
    const std::uint32_t locked =
        builder.structure("locked", 8, {{"lock", lock, 0}, {"n", int32, 32}});
    const std::uint32_t elements = builder.array(int32, int32, 2);
    const auto blob = builder.blob();
    uapi::btf_load_attr load{};
    load.btf = address_of(blob.data());
    load.btf_size = static_cast<std::uint32_t>(blob.size());
    const long btf = side.call("btf", uapi::BPF_BTF_LOAD, load);

    const std::uint32_t ids[] = {0,   int32, int64,  alias,    pointer, pair,
                                 one, lock,  locked, elements, 99,      0xffffffff};
    for (const std::uint32_t type : types) {
      for (const std::uint32_t value_bytes : {4U, 8U}) {
        for (const std::uint32_t key : ids) {
          for (const std::uint32_t value : ids) {
            // Differs: a DEVMAP is read-only for programs, so Linux says EACCES about a lock in it,
            // and skep EOPNOTSUPP.
            const bool is_devmap =
                type == uapi::BPF_MAP_TYPE_DEVMAP || type == uapi::BPF_MAP_TYPE_DEVMAP_HASH;
            if (is_devmap && (value == lock || value == locked)) continue;
            for (const std::uint32_t flags : {0U, uapi::BPF_F_RDONLY_PROG}) {
              map_create_attr attr = good(type);
              attr.value_size = value_bytes;
              attr.map_flags = flags;
              attr.btf_fd = static_cast<std::uint32_t>(btf);
              attr.btf_key_type_id = key;
              attr.btf_value_type_id = value;
              create(side, attr);
            }
          }
        }
      }
    }
    const long array =
        side.call("array", uapi::BPF_MAP_CREATE,
                  *std::make_unique<map_create_attr>(good(uapi::BPF_MAP_TYPE_ARRAY)));
    for (const std::uint32_t fd : {closed_fd, 0xffffffffU, static_cast<std::uint32_t>(array)}) {
      map_create_attr attr = good(uapi::BPF_MAP_TYPE_ARRAY);
      attr.btf_fd = fd;
      attr.btf_key_type_id = int32;
      attr.btf_value_type_id = int32;
      const long result = side.call("btf_fd of another kind", uapi::BPF_MAP_CREATE, attr);
      EXPECT_LT(result, 0);
    }
  });
}

// Several things wrong at once: the order of the checks decides.
TEST(DifferentialMapCreate, OrderOfChecks) {
  SKEP_NEEDS_HOST();
  expect_same(
      [](Side& side) {
        for (int round = 0; round < 400; ++round) {
          map_create_attr attr = good(types[side.pick(std::size(types))]);
          // Each field is wrong (or odd) with a chance of one in four.
          const auto odd = [&] { return side.pick(4) == 0; };
          if (odd()) attr.map_type = side.pick_from({0U, 34U, 1U, 2U});
          if (odd()) attr.key_size = side.pick_from({0U, 1U, 8U, 4194304U});
          if (odd()) attr.value_size = side.pick_from({0U, 1U, 8U, 32769U, 0x80000000U});
          if (odd()) attr.max_entries = side.pick_from({0U, 1U, 7U});
          if (odd()) attr.map_flags |= 1U << side.pick(20);
          if (odd()) attr.map_flags |= 1U << side.pick(13);
          if (odd()) attr.map_flags |= uapi::BPF_F_RDONLY | uapi::BPF_F_WRONLY;
          if (odd()) attr.numa_node = side.pick_from({1U, 0xffffffffU, 0xfffffffeU});
          if (odd()) attr.map_ifindex = side.pick_from({1U, 99999U});
          if (odd()) attr.btf_key_type_id = 1;
          if (odd()) attr.btf_value_type_id = 1;
          if (odd()) attr.btf_vmlinux_value_type_id = 1;
          if (odd()) attr.map_extra = 1;
          if (odd()) attr.excl_prog_hash_size = side.pick_from({1U, 32U});
          if (odd()) attr.map_name[0] = side.pick_from({'a', '!', ' '});
          attr.btf_fd = closed_fd;
          attr.map_token_fd = closed_fd;
          // Sizes that only memory limits: the machines may differ.
          if (attr.map_type == uapi::BPF_MAP_TYPE_ARRAY && attr.value_size > 1'000'000) continue;
          create(side, attr);
        }
      },
      4);
}

}  // namespace
}  // namespace skep::testing
