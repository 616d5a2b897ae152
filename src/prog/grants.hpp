// SPDX-License-Identifier: Apache-2.0
// The map values that one run may touch: exactly those that helpers gave it. Adding and finding
// take constant time; the first values of a run need no memory from the heap, later ones a table
// that lives until the run ends.
#pragma once

#include "object/budget.hpp"
#include "result/result.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace skep {

class Map;

/// Bytes that a program may touch.
struct Region {
  std::uint64_t begin = 0;  // address
  std::uint64_t bytes = 0;
  const Map* map = nullptr;  // whose value it is; null only in a region that holds nothing
  bool readable = true;
  bool writable = true;

  /// Whether [address, address + size) lies inside. Any numbers may be asked for.
  bool contains(std::uint64_t address, std::uint64_t size) const {
    const std::uint64_t offset = address - begin;  // wraps to something huge below `begin`
    return offset < bytes && size <= bytes - offset;
  }
};

/// Thread: the one that runs the program.
class Grants {
 public:
  explicit Grants(Budget& budget) : budget_(budget) {}
  Grants(const Grants&) = delete;
  Grants& operator=(const Grants&) = delete;

  /// Adds `region` unless it is there already. False: no memory (or budget) for it.
  bool add(const Region& region) {
    if (last_.begin == region.begin && last_.bytes == region.bytes) return true;
    last_ = region;
    for (std::uint32_t i = 0; i < count_; ++i)
      if (first_[i].begin == region.begin && first_[i].bytes >= region.bytes) return true;
    if (count_ < first_.size()) {
      first_[count_++] = region;
      return true;
    }
    return add_to_table(region);
  }

  /// The region that holds [address, address + bytes), or null. Valid until the next call.
  const Region* find(std::uint64_t address, std::uint64_t bytes) {
    if (last_.contains(address, bytes)) return &last_;
    for (std::uint32_t i = 0; i < count_; ++i) {
      if (first_[i].contains(address, bytes)) {
        last_ = first_[i];
        return &last_;
      }
    }
    return entries_ == nullptr ? nullptr : find_in_table(address, bytes);
  }

  /// For messages: any region that holds or almost holds `address`, or null.
  const Region* nearest(std::uint64_t address) const;

  /// Lets go of all regions.
  void clear() {
    last_ = {};
    count_ = 0;
    regions_.reset();
    entries_.reset();
    region_count_ = region_room_ = entry_room_ = 0;
    classes_ = 0;
    charge_ = {};
  }

 private:
  // A region of up to 2^k bytes is entered under each block of 2^k bytes that it touches: one or
  // two. Regions do not overlap, so few share a block, and finding one means probing one block per
  // class in use.
  struct Entry {
    std::uint64_t key;     // block number << 6 | class; 0: free (no region lies in block 0)
    std::uint32_t region;  // index
  };
  bool add_to_table(const Region& region);
  const Region* find_in_table(std::uint64_t address, std::uint64_t bytes);
  bool grow();
  void enter(std::uint32_t region);

  Budget& budget_;
  Region last_;  // added or found most recently
  std::array<Region, 8> first_;
  std::uint32_t count_ = 0;
  std::unique_ptr<Region[]> regions_;
  std::unique_ptr<Entry[]> entries_;  // open addressing, linear probing, at most half full
  std::uint32_t region_count_ = 0, region_room_ = 0, entry_room_ = 0;
  std::uint64_t classes_ = 0;  // bit k: class k is in use
  Charge charge_;
};

}  // namespace skep
