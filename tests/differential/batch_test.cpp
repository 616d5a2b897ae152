// SPDX-License-Identifier: Apache-2.0
// The batch commands. Hash walks are compared as sets: which bucket holds a key is not part of the
// contract.
#include "differential/side.hpp"
#include "differential/skep_kernel.hpp"
#include "uapi/bpf.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace skep::testing {
namespace {

constexpr std::uint32_t entries = 8;
constexpr std::uint32_t commands[] = {uapi::BPF_MAP_LOOKUP_BATCH,
                                      uapi::BPF_MAP_LOOKUP_AND_DELETE_BATCH,
                                      uapi::BPF_MAP_UPDATE_BATCH, uapi::BPF_MAP_DELETE_BATCH};

/// A map of u32 to u64 with arrays for a batch.
class Batches {
 public:
  Batches(Side& side, std::uint32_t type, std::uint32_t flags)
      : side_(side),
        is_hash_(type == uapi::BPF_MAP_TYPE_HASH),
        copies_(type == uapi::BPF_MAP_TYPE_PERCPU_ARRAY ? possible_cpus() : 1),
        values_(std::size_t{2} * entries * copies_) {
    const bool holds_others =
        type == uapi::BPF_MAP_TYPE_PROG_ARRAY || type == uapi::BPF_MAP_TYPE_DEVMAP;
    uapi::map_create_attr attr{};
    attr.map_type = type;
    attr.key_size = 4;
    attr.value_size = holds_others ? 4 : 8;
    attr.max_entries = entries;
    attr.map_flags = flags;
    fd_ = static_cast<std::uint32_t>(
        side.call("create type " + std::to_string(type) + " flags " + std::to_string(flags),
                  uapi::BPF_MAP_CREATE, attr));
  }

  bool is_hash() const { return is_hash_; }

  void fill(std::uint32_t count) {
    for (std::uint32_t k = 0; k < count; ++k) {
      std::vector<std::uint64_t> value(copies_, 100 + k);
      uapi::map_elem_attr attr{fd_, 0, address_of(&k), address_of(value.data()), 0};
      side_.call("update " + std::to_string(k), uapi::BPF_MAP_UPDATE_ELEM, attr);
    }
  }

  /// A block with all addresses good. Arrays hold keys 1, 3, 5, … and values to match.
  uapi::map_batch_attr block(std::uint32_t count) {
    for (std::uint32_t i = 0; i < keys_.size(); ++i) keys_[i] = 2 * i + 1;
    for (std::size_t i = 0; i < values_.size(); ++i) values_[i] = 1000 + i;
    out_ = 0xa5a5a5a5;
    return {.in_batch = 0,
            .out_batch = address_of(&out_),
            .keys = address_of(keys_.data()),
            .values = address_of(values_.data()),
            .count = count,
            .map_fd = fd_,
            .elem_flags = 0,
            .flags = 0};
  }

  long call(const std::string& what, std::uint32_t command, uapi::map_batch_attr& attr) {
    return side_.call(what, command, attr);
  }

  /// Notes what a walk gave, keys with their values, in order of keys.
  void note_items(std::uint32_t count) {
    std::vector<std::string> items;
    for (std::uint32_t i = 0; i < std::min<std::uint32_t>(count, keys_.size()); ++i) {
      std::string item = std::to_string(keys_[i]) + ":";
      for (std::uint32_t c = 0; c < copies_; ++c)
        item += " " + std::to_string(values_[std::size_t{i} * copies_ + c]);
      items.push_back(item);
    }
    note_sorted(std::move(items));
  }
  void note_sorted(std::vector<std::string> items) {
    std::ranges::sort(items);
    std::string line = "  items";
    for (const std::string& item : items) line += " (" + item + ")";
    side_.note(line);
  }
  void note_out() { side_.note("  out " + std::to_string(out_)); }

  /// Walks the whole map with room for `room` items in each call, and more when a bucket asks for
  /// it.
  void walk(std::uint32_t command, std::uint32_t room) {
    std::vector<std::string> items;
    std::uint32_t cursor = 0;
    bool started = false;
    bool ended = false;
    // Bound: one call for each item and one for each time the room grows.
    for (int turn = 0; turn < 64 && !ended; ++turn) {
      uapi::map_batch_attr attr = block(room);
      if (started) attr.in_batch = address_of(&cursor);
      const long result = side_.entry().bpf(command, &attr, sizeof attr);
      if (result == -ENOSPC) {
        room *= 2;
      } else if (result != 0 && result != -ENOENT) {
        side_.note("walk failed: " + std::to_string(result));
        return;
      } else {
        for (std::uint32_t i = 0; i < attr.count; ++i)
          items.push_back(std::to_string(keys_[i]) + ":" +
                          std::to_string(values_[std::size_t{i} * copies_]));
      }
      ended = result == -ENOENT;
      if (out_ != 0xa5a5a5a5) {
        cursor = out_;
        started = true;
      }
    }
    side_.note(ended ? "walk ended" : "walk without end");
    note_sorted(std::move(items));
  }

 private:
  Side& side_;
  const bool is_hash_;
  const std::uint32_t copies_;
  std::uint32_t fd_ = 0;
  std::array<std::uint32_t, 2 * entries> keys_{};
  std::vector<std::uint64_t> values_;
  std::uint32_t out_ = 0;
};

struct Variant {
  std::uint32_t type, flags;
};
constexpr Variant variants[] = {
    {uapi::BPF_MAP_TYPE_ARRAY, 0},      {uapi::BPF_MAP_TYPE_PERCPU_ARRAY, 0},
    {uapi::BPF_MAP_TYPE_HASH, 0},       {uapi::BPF_MAP_TYPE_HASH, uapi::BPF_F_NO_PREALLOC},
    {uapi::BPF_MAP_TYPE_PROG_ARRAY, 0}, {uapi::BPF_MAP_TYPE_DEVMAP, 0}};

TEST(DifferentialBatch, FlagsCountsAndAddresses) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (const Variant& variant : variants) {
      Batches map(side, variant.type, variant.flags);
      // An empty hash has no buckets whose order could differ.
      if (!map.is_hash()) map.fill(entries);
      for (const std::uint32_t command : commands) {
        const std::string name = "batch " + std::to_string(command) + " ";
        for (const std::uint64_t flags : {1, 2, 4, 8, 99}) {
          uapi::map_batch_attr attr = map.block(1);
          attr.elem_flags = flags;
          map.call(name + "element flags " + std::to_string(flags), command, attr);
          attr = map.block(1);
          attr.flags = flags;
          map.call(name + "flags " + std::to_string(flags), command, attr);
          map.note_items(attr.count);
        }
        for (const std::uint32_t fd : {closed_fd, 0xffffffffU}) {
          uapi::map_batch_attr attr = map.block(1);
          attr.map_fd = fd;
          map.call(name + "closed", command, attr);
        }
        uapi::map_batch_attr attr = map.block(0);
        map.call(name + "count 0", command, attr);
        map.note_out();
        for (const std::uint64_t bad : {std::uint64_t{0}, bad_addresses[0]}) {
          const std::string text = name + "bad " + std::to_string(bad) + " ";
          attr = map.block(2);
          attr.keys = bad;
          map.call(text + "keys", command, attr);
          attr = map.block(2);
          attr.values = bad;
          map.call(text + "values", command, attr);
          attr = map.block(2);
          attr.out_batch = bad;
          map.call(text + "out", command, attr);
          attr = map.block(2);
          attr.in_batch = bad;
          map.call(text + "in", command, attr);
          map.note_out();
        }
      }
      map.walk(uapi::BPF_MAP_LOOKUP_BATCH, entries);
    }
  });
}

TEST(DifferentialBatch, CursorsOfArrays) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (const std::uint32_t type : {uapi::BPF_MAP_TYPE_ARRAY, uapi::BPF_MAP_TYPE_PERCPU_ARRAY}) {
      Batches map(side, type, 0);
      map.fill(entries);
      for (std::uint32_t count = 1; count <= entries + 2; ++count) {
        uapi::map_batch_attr attr = map.block(count);
        map.call("from the start, " + std::to_string(count), uapi::BPF_MAP_LOOKUP_BATCH, attr);
        map.note_items(attr.count);
        map.note_out();
        for (const std::uint32_t cursor :
             {0U, 3U, entries - 2, entries - 1, entries, 0xffffffffU}) {
          attr = map.block(count);
          attr.in_batch = address_of(&cursor);
          map.call("from " + std::to_string(cursor) + ", " + std::to_string(count),
                   uapi::BPF_MAP_LOOKUP_BATCH, attr);
          map.note_items(attr.count);
          map.note_out();
        }
      }
      map.walk(uapi::BPF_MAP_LOOKUP_BATCH, 3);
    }
  });
}

TEST(DifferentialBatch, CursorsOfHashes) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (const std::uint32_t flags : {0U, uapi::BPF_F_NO_PREALLOC}) {
      for (const std::uint32_t command :
           {uapi::BPF_MAP_LOOKUP_BATCH, uapi::BPF_MAP_LOOKUP_AND_DELETE_BATCH}) {
        for (std::uint32_t room = 1; room <= entries + 1; ++room) {
          Batches map(side, uapi::BPF_MAP_TYPE_HASH, flags);
          map.walk(command, room);  // empty
          map.fill(entries);
          map.walk(command, room);
          map.walk(command, entries);
          // The cursor behind the last bucket, and beyond: 8 entries make 8 buckets.
          for (const std::uint32_t cursor : {8U, 9U, 0xffffffffU}) {
            uapi::map_batch_attr attr = map.block(entries);
            attr.in_batch = address_of(&cursor);
            map.call("from bucket " + std::to_string(cursor), command, attr);
            map.note_out();
          }
          uapi::map_batch_attr attr = map.block(2 * entries);
          map.call("all at once", command, attr);
          map.note_items(attr.count);
          map.note_out();
        }
      }
    }
  });
}

TEST(DifferentialBatch, ChangesStopAtTheFirstError) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (const Variant& variant : variants) {
      for (std::uint32_t count = 1; count <= entries + 2; ++count) {
        Batches map(side, variant.type, variant.flags);
        uapi::map_batch_attr attr = map.block(count);
        map.call("update " + std::to_string(count), uapi::BPF_MAP_UPDATE_BATCH, attr);
        map.walk(uapi::BPF_MAP_LOOKUP_BATCH, entries);
        attr = map.block(entries);
        map.call("delete", uapi::BPF_MAP_DELETE_BATCH, attr);
        map.walk(uapi::BPF_MAP_LOOKUP_BATCH, entries);
      }
    }
  });
}

}  // namespace
}  // namespace skep::testing
