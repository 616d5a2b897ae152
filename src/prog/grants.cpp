// SPDX-License-Identifier: Apache-2.0
#include "prog/grants.hpp"

#include <algorithm>
#include <bit>
#include <new>

namespace skep {
namespace {

constexpr unsigned smallest_class = 3;  // 8 bytes

unsigned class_of(std::uint64_t bytes) {
  return std::max<unsigned>(smallest_class, static_cast<unsigned>(std::bit_width(bytes - 1)));
}
std::uint64_t key_of(std::uint64_t address, unsigned size_class) {
  return (address >> size_class) << 6 | size_class;
}
std::uint32_t slot_of(std::uint64_t key, std::uint32_t room) {
  // Fibonacci hashing: the upper bits of the product are well mixed. `room` is a power of two.
  return static_cast<std::uint32_t>((key * 0x9e3779b97f4a7c15ULL) >> 32) & (room - 1);
}

}  // namespace

void Grants::enter(std::uint32_t region) {
  const Region& r = regions_[region];
  const unsigned size_class = class_of(r.bytes);
  classes_ |= std::uint64_t{1} << size_class;
  const std::uint64_t first = key_of(r.begin, size_class);
  const std::uint64_t last = key_of(r.begin + r.bytes - 1, size_class);
  for (std::uint64_t key = first;; key = last) {
    std::uint32_t slot = slot_of(key, entry_room_);
    while (entries_[slot].key != 0) slot = (slot + 1) & (entry_room_ - 1);
    entries_[slot] = {key, region};
    if (key == last) return;
  }
}

bool Grants::grow() {
  const std::uint32_t room = region_room_ == 0 ? 64 : region_room_ * 2;
  // Four entries per region: two are used at most.
  const std::uint64_t bytes = std::uint64_t{room} * (sizeof(Region) + 4 * sizeof(Entry));
  if (room > (1U << 28)) return false;
  Result<Charge> charge = budget_.charge(bytes);
  if (!charge) return false;
  std::unique_ptr<Region[]> regions(new (std::nothrow) Region[room]);
  std::unique_ptr<Entry[]> entries(new (std::nothrow) Entry[std::size_t{room} * 4]());
  if (regions == nullptr || entries == nullptr) return false;
  std::copy_n(regions_.get(), region_count_, regions.get());
  regions_ = std::move(regions);
  entries_ = std::move(entries);
  region_room_ = room;
  entry_room_ = room * 4;
  charge_ = std::move(*charge);
  for (std::uint32_t i = 0; i < region_count_; ++i) enter(i);
  return true;
}

bool Grants::add_to_table(const Region& region) {
  if (region.bytes == 0) return true;
  if (entries_ != nullptr) {
    if (find_in_table(region.begin, region.bytes) != nullptr) return true;
    last_ = region;
  }
  if (region_count_ == region_room_ && !grow()) return false;
  regions_[region_count_] = region;
  enter(region_count_++);
  return true;
}

const Region* Grants::find_in_table(std::uint64_t address, std::uint64_t bytes) {
  for (std::uint64_t left = classes_; left != 0; left &= left - 1) {
    const std::uint64_t key = key_of(address, static_cast<unsigned>(std::countr_zero(left)));
    for (std::uint32_t slot = slot_of(key, entry_room_); entries_[slot].key != 0;
         slot = (slot + 1) & (entry_room_ - 1)) {
      if (entries_[slot].key == key && regions_[entries_[slot].region].contains(address, bytes)) {
        last_ = regions_[entries_[slot].region];
        return &last_;
      }
    }
  }
  return nullptr;
}

const Region* Grants::nearest(std::uint64_t address) const {
  const Region* best = nullptr;
  std::uint64_t best_distance = 4096;  // farther away says nothing
  const auto consider = [&](const Region& region) {
    const std::uint64_t distance =
        address < region.begin ? region.begin - address
                               : std::max(address - region.begin, region.bytes) - region.bytes;
    if (region.bytes != 0 && distance < best_distance) {
      best = &region;
      best_distance = distance;
    }
  };
  for (std::uint32_t i = 0; i < count_; ++i) consider(first_[i]);
  for (std::uint32_t i = 0; i < region_count_; ++i) consider(regions_[i]);
  return best;
}

}  // namespace skep
