// SPDX-License-Identifier: Apache-2.0
// The commands on single elements: every flag, bad addresses, access modes, freezing, and random
// sequences.
#include "differential/side.hpp"
#include "differential/skep_kernel.hpp"
#include "uapi/bpf.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace skep::testing {
namespace {

struct Shape {
  std::uint32_t type;
  std::uint32_t key_bytes;
  std::uint32_t value_bytes;
  std::uint32_t max_entries;
  std::uint32_t flags = 0;
};

constexpr Shape shapes[] = {
    {uapi::BPF_MAP_TYPE_ARRAY, 4, 4, 4},
    {uapi::BPF_MAP_TYPE_ARRAY, 4, 13, 5},
    {uapi::BPF_MAP_TYPE_ARRAY, 4, 8, 3, uapi::BPF_F_MMAPABLE},
    {uapi::BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4},
    {uapi::BPF_MAP_TYPE_PERCPU_ARRAY, 4, 5, 3},
    {uapi::BPF_MAP_TYPE_HASH, 4, 8, 4},
    {uapi::BPF_MAP_TYPE_HASH, 4, 8, 4, uapi::BPF_F_NO_PREALLOC},
    {uapi::BPF_MAP_TYPE_HASH, 3, 5, 5},
    {uapi::BPF_MAP_TYPE_HASH, 20, 40, 3, uapi::BPF_F_NO_PREALLOC},
    {uapi::BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 3},
    {uapi::BPF_MAP_TYPE_DEVMAP, 4, 4, 3},
    {uapi::BPF_MAP_TYPE_DEVMAP, 4, 8, 3},
    {uapi::BPF_MAP_TYPE_DEVMAP_HASH, 4, 8, 3},
};

bool is_hash(const Shape& shape) {
  return shape.type == uapi::BPF_MAP_TYPE_HASH || shape.type == uapi::BPF_MAP_TYPE_DEVMAP_HASH;
}
bool is_per_cpu(const Shape& shape) { return shape.type == uapi::BPF_MAP_TYPE_PERCPU_ARRAY; }
bool holds_others(const Shape& shape) {
  return shape.type == uapi::BPF_MAP_TYPE_PROG_ARRAY || shape.type == uapi::BPF_MAP_TYPE_DEVMAP ||
         shape.type == uapi::BPF_MAP_TYPE_DEVMAP_HASH;
}
std::size_t command_bytes(const Shape& shape) {
  return is_per_cpu(shape) ? (shape.value_bytes + 7) / 8 * 8 * possible_cpus() : shape.value_bytes;
}

/// A map under test, with what values of it can refer to.
class Elements {
 public:
  Elements(Side& side, const Shape& shape, std::uint32_t extra_flags = 0)
      : side_(side), shape_(shape) {
    uapi::map_create_attr attr{};
    attr.map_type = shape.type;
    attr.key_size = shape.key_bytes;
    attr.value_size = shape.value_bytes;
    attr.max_entries = shape.max_entries;
    attr.map_flags = shape.flags | extra_flags;
    fd_ = static_cast<std::uint32_t>(side.call(
        "create type " + std::to_string(shape.type) + " flags " + std::to_string(attr.map_flags),
        uapi::BPF_MAP_CREATE, attr));
    if (shape.type == uapi::BPF_MAP_TYPE_PROG_ARRAY) {
      load(uapi::BPF_PROG_TYPE_XDP, 0);
      load(uapi::BPF_PROG_TYPE_XDP, 0);
      load(uapi::BPF_PROG_TYPE_SOCKET_FILTER, 0);
    }
    if (holds_others(shape) && shape.type != uapi::BPF_MAP_TYPE_PROG_ARRAY) {
      load(uapi::BPF_PROG_TYPE_XDP, uapi::BPF_XDP_DEVMAP);
      load(uapi::BPF_PROG_TYPE_XDP, 0);
    }
  }

  std::uint32_t fd() const { return fd_; }
  void use(std::uint32_t fd) { fd_ = fd; }
  const Shape& shape() const { return shape_; }

  /// Key number `n`: for arrays the index, for others n spread over all bytes.
  std::vector<std::byte> key(std::uint32_t n) const {
    std::vector<std::byte> bytes(shape_.key_bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = i < 4 ? std::byte(n >> 8 * i) : std::byte(n * i);
    return bytes;
  }

  /// Value number `n`: for maps that refer to things one of those, good or bad.
  std::vector<std::byte> value(std::uint32_t n) const {
    std::vector<std::byte> bytes(command_bytes(shape_));
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(n * 31 + i);
    // What lies between a per-CPU value and the next one is nobody's.
    if (is_per_cpu(shape_)) {
      const std::size_t stride = bytes.size() / possible_cpus();
      for (std::size_t i = 0; i < bytes.size(); ++i)
        if (i % stride >= shape_.value_bytes) bytes[i] = std::byte{0};
    }
    if (!holds_others(shape_)) return bytes;
    std::array<std::uint32_t, 2> words{};
    if (shape_.type == uapi::BPF_MAP_TYPE_PROG_ARRAY) {
      const std::uint32_t choices[] = {programs_[0], programs_[1], programs_[2],
                                       closed_fd,    fd_,          programs_[0]};
      words[0] = choices[n % std::size(choices)];
    } else {
      const std::uint32_t interfaces[] = {1, 1, 1, 0, 99999};  // 1: loopback, on both sides
      const std::uint32_t programs[] = {0, 0xffffffff, programs_[0], programs_[1], closed_fd, fd_};
      words[0] = interfaces[n % std::size(interfaces)];
      words[1] = programs[n / std::size(interfaces) % std::size(programs)];
    }
    std::memcpy(bytes.data(), words.data(), bytes.size());
    return bytes;
  }

  /// A value as the transcript may hold it: ids of programs become their numbers.
  std::string text(std::vector<std::byte> bytes) const {
    const std::size_t id_at = shape_.type == uapi::BPF_MAP_TYPE_PROG_ARRAY ? 0 : 4;
    if (holds_others(shape_) && bytes.size() >= id_at + 4) {
      std::uint32_t id;
      std::memcpy(&id, bytes.data() + id_at, 4);
      for (std::uint32_t i = 0; i < ids_.size(); ++i) {
        if (id != ids_[i]) continue;
        const std::uint32_t name = 0xf0 + i;
        std::memcpy(bytes.data() + id_at, &name, 4);
      }
    }
    return hex(bytes);
  }

  long update(std::uint32_t k, std::uint32_t v, std::uint64_t flags) {
    const auto key_bytes = key(k);
    const auto value_bytes = value(v);
    uapi::map_elem_attr attr{fd_, 0, address_of(key_bytes.data()), address_of(value_bytes.data()),
                             flags};
    return side_.call("update " + std::to_string(k) + " to " + std::to_string(v) + " flags " +
                          std::to_string(flags),
                      uapi::BPF_MAP_UPDATE_ELEM, attr);
  }

  long lookup(std::uint32_t k, std::uint64_t flags,
              std::uint32_t command = uapi::BPF_MAP_LOOKUP_ELEM) {
    const auto key_bytes = key(k);
    std::vector<std::byte> into(command_bytes(shape_) + 8, std::byte{0xa5});
    uapi::map_elem_attr attr{fd_, 0, address_of(key_bytes.data()), address_of(into.data()), flags};
    const long result = side_.call((command == uapi::BPF_MAP_LOOKUP_ELEM ? "lookup " : "take ") +
                                       std::to_string(k) + " flags " + std::to_string(flags),
                                   command, attr);
    side_.note("  " + text(into));
    return result;
  }

  long erase(std::uint32_t k) {
    const auto key_bytes = key(k);
    uapi::map_elem_attr attr{fd_, 0, address_of(key_bytes.data()), 0, 0};
    return side_.call("delete " + std::to_string(k), uapi::BPF_MAP_DELETE_ELEM, attr);
  }

  /// The order of a hash is its own affair: only whether there is a next key is noted, and only
  /// where order cannot matter. Gives the key, empty at the end.
  std::vector<std::byte> next(const std::vector<std::byte>* after, bool noted) {
    std::vector<std::byte> into(shape_.key_bytes, std::byte{0xa5});
    uapi::map_elem_attr attr{fd_, 0, after != nullptr ? address_of(after->data()) : 0,
                             address_of(into.data()), 0};
    if (noted) {
      const long result = side_.call("next key", uapi::BPF_MAP_GET_NEXT_KEY, attr);
      if (!is_hash(shape_)) side_.note("  " + hex(into));
      if (result != 0) into.clear();
      return into;
    }
    if (side_.entry().bpf(uapi::BPF_MAP_GET_NEXT_KEY, &attr, sizeof attr) != 0) into.clear();
    return into;
  }

  /// All keys, each exactly once, as a sorted list.
  void walk() {
    std::vector<std::string> keys;
    std::vector<std::byte> key = next(nullptr, false);
    // Bound: twice what fits, so that a walk without end shows.
    while (!key.empty() && keys.size() <= 2 * shape_.max_entries) {
      keys.push_back(hex(key));
      key = next(&key, false);
    }
    if (is_hash(shape_)) std::ranges::sort(keys);
    std::string line = "walk:";
    for (const std::string& k : keys) line += " (" + k + ")";
    side_.note(line);
  }

 private:
  void load(std::uint32_t type, std::uint32_t attach_type) {
    static const std::array<uapi::bpf_insn, 2> instructions{
        {{.code = 0xb7, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
         {.code = 0x95, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}}};
    uapi::prog_load_attr attr{};
    attr.prog_type = type;
    attr.insn_cnt = instructions.size();
    attr.insns = address_of(instructions.data());
    attr.license = address_of("GPL");
    attr.expected_attach_type = attach_type;
    const long fd = side_.call("program", uapi::BPF_PROG_LOAD, attr);
    uapi::bpf_prog_info info{};
    uapi::info_by_fd_attr get{static_cast<std::uint32_t>(fd), 8, address_of(&info)};
    side_.entry().bpf(uapi::BPF_OBJ_GET_INFO_BY_FD, &get, sizeof get);
    programs_.push_back(static_cast<std::uint32_t>(fd));
    ids_.push_back(info.id);
  }

  Side& side_;
  const Shape shape_;
  std::uint32_t fd_ = 0;
  std::vector<std::uint32_t> programs_;  // descriptors
  std::vector<std::uint32_t> ids_;
};

constexpr std::uint64_t flag_values[] = {0, 1, 2, 3,  4,  5,           6,
                                         7, 8, 9, 12, 99, 0x100000000, ~std::uint64_t{0}};

TEST(DifferentialElements, EveryFlagOnPresentMissingAndImpossibleKeys) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (const Shape& shape : shapes) {
      Elements map(side, shape);
      for (const std::uint64_t flags : flag_values) {
        for (const std::uint32_t k : {0U, 1U, 2U, shape.max_entries, 0xffffffffU}) {
          map.update(k, 0, flags);
          map.lookup(k, flags);
          map.lookup(k, flags, uapi::BPF_MAP_LOOKUP_AND_DELETE_ELEM);
          map.erase(k);
          map.update(k, 0, 0);
          map.update(k, 1, flags);
          map.erase(k);
        }
        map.walk();
      }
    }
  });
}

TEST(DifferentialElements, BadAddressesAndDescriptors) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (const Shape& shape : shapes) {
      Elements map(side, shape);
      const auto key = map.key(0);
      const auto value = map.value(0);
      map.update(0, 0, 0);
      for (const std::uint32_t command :
           {uapi::BPF_MAP_LOOKUP_ELEM, uapi::BPF_MAP_UPDATE_ELEM, uapi::BPF_MAP_DELETE_ELEM,
            uapi::BPF_MAP_GET_NEXT_KEY, uapi::BPF_MAP_LOOKUP_AND_DELETE_ELEM}) {
        for (const std::uint32_t fd : {map.fd(), closed_fd, 0xffffffffU}) {
          for (const std::uint64_t key_at :
               {address_of(key.data()), std::uint64_t{0}, bad_addresses[0]}) {
            for (const std::uint64_t value_at : {std::uint64_t{0}, bad_addresses[0]}) {
              for (const std::uint64_t flags : {0, 4, 99}) {
                const bool no_value = command == uapi::BPF_MAP_DELETE_ELEM;
                uapi::map_elem_attr attr{fd, 77, key_at, no_value ? 0 : value_at, flags};
                side.call("command " + std::to_string(command) + " fd " +
                              (fd == map.fd() ? "map" : std::to_string(fd)) + " key " +
                              (key_at == address_of(key.data()) ? "good" : std::to_string(key_at)) +
                              " value " + std::to_string(value_at) + " flags " +
                              std::to_string(flags),
                          command, attr);
              }
            }
          }
        }
        map.walk();
      }
    }
  });
}

TEST(DifferentialElements, AccessModesAndFreezing) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    const auto use_all = [&](Elements& map) {
      map.update(0, 0, 0);
      map.update(0, 0, 99);
      map.lookup(0, 0);
      map.lookup(0, 0, uapi::BPF_MAP_LOOKUP_AND_DELETE_ELEM);
      map.next(nullptr, true);
      map.erase(0);
      for (std::uint32_t command = uapi::BPF_MAP_LOOKUP_BATCH;
           command <= uapi::BPF_MAP_DELETE_BATCH; ++command) {
        uapi::map_batch_attr attr{};
        attr.map_fd = map.fd();
        side.call("batch " + std::to_string(command), command, attr);
      }
    };
    const auto freeze = [&](Elements& map) {
      uapi::map_elem_attr attr{};
      attr.map_fd = map.fd();
      side.call("freeze", uapi::BPF_MAP_FREEZE, attr, 4);
    };
    for (const Shape& shape : shapes) {
      for (const std::uint32_t mode : {0U, uapi::BPF_F_RDONLY, uapi::BPF_F_WRONLY}) {
        Elements map(side, shape, mode);
        use_all(map);
        freeze(map);
        freeze(map);
        use_all(map);
        // Another descriptor of the same map, in every mode.
        uapi::bpf_map_info info{};
        uapi::info_by_fd_attr get{map.fd(), sizeof info, address_of(&info)};
        side.call("info", uapi::BPF_OBJ_GET_INFO_BY_FD, get);
        for (const std::uint32_t flags : {0U, uapi::BPF_F_RDONLY, uapi::BPF_F_WRONLY,
                                          uapi::BPF_F_RDONLY | uapi::BPF_F_WRONLY, 1U, 0x80U}) {
          uapi::get_id_attr open{info.id, 0, flags};
          const long fd = side.call("fd by id, flags " + std::to_string(flags),
                                    uapi::BPF_MAP_GET_FD_BY_ID, open);
          if (fd < 0) continue;
          map.use(static_cast<std::uint32_t>(fd));
          use_all(map);
          freeze(map);
        }
      }
    }
  });
}

TEST(DifferentialElements, RandomSequences) {
  SKEP_NEEDS_HOST();
  expect_same(
      [](Side& side) {
        for (const Shape& shape : shapes) {
          Elements map(side, shape);
          for (int step = 0; step < 150; ++step) {
            const auto k = static_cast<std::uint32_t>(side.pick(shape.max_entries + 3));
            const auto v = static_cast<std::uint32_t>(side.pick(60));
            const std::uint64_t flags =
                side.pick(3) == 0 ? flag_values[side.pick(std::size(flag_values))] : side.pick(3);
            switch (side.pick(8)) {
              case 0:
              case 1:
              case 2:
                map.update(k, v, flags);
                break;
              case 3:
              case 4:
                map.lookup(k, side.pick(8) == 0 ? flags : 0);
                break;
              case 5:
                map.erase(k);
                break;
              case 6:
                map.lookup(k, 0, uapi::BPF_MAP_LOOKUP_AND_DELETE_ELEM);
                break;
              default:
                if (is_hash(shape)) {
                  map.next(nullptr, true);
                } else {
                  const auto key = map.key(k);
                  map.next(&key, true);
                }
                map.walk();
            }
          }
        }
      },
      3);
}

}  // namespace
}  // namespace skep::testing
