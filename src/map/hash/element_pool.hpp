// SPDX-License-Identifier: Apache-2.0
// The elements of one hash table and where the free ones are: a LIFO list per CPU slot above memory
// that no element was made of yet. Memory that was once an element stays an element of this table
// until the table dies: readers may stand on it at any time.
//
// Guarantees
// G1  What a slot returned last it takes first (maps.md 2.5).
// G2  take() fails only if at one moment during the call no element was free anywhere.
// G3  Finding out that nothing is free takes no lock.
// G4  `next` and `tag` of a free element keep what they said when it was unlinked.
#pragma once

#include "cpu/slot.hpp"
#include "map/spin_lock.hpp"
#include "object/budget.hpp"
#include "result/result.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace skep {

/// One key with its value, linked into a bucket or free. The key follows, 8-aligned; the value
/// follows the key, 8-aligned.
struct HashElement {
  // The next element of the bucket, or an end mark: bucket number << 1 | 1. Written under the lock
  // of its bucket.
  std::atomic<std::uintptr_t> next{1};
  // Hash of the key << 32 | generation. The generation is even while the element is linked and
  // grows with every change between linked and free, so an unchanged even tag means: the same key
  // all the time. Written by who links or unlinks it.
  std::atomic<std::uint64_t> tag{1};
  // The next free element. Guarded by the lock of the free list that it is on. Apart from `next`:
  // see G4.
  HashElement* next_free = nullptr;

  std::byte* key() { return reinterpret_cast<std::byte*>(this + 1); }
};
static_assert(sizeof(HashElement) % 8 == 0);

/// Thread: any that owns the slot it shows.
class ElementPool {
 public:
  enum class Allocation : std::uint8_t {
    in_advance,  // `capacity` elements to take and one spare per slot, from one piece of memory
    on_demand,  // pieces as needed, no spares; never given back before the table dies, and recycled
                // before new ones
  };

  struct Geometry {
    Allocation allocation;
    std::uint32_t capacity;    // elements that take() can hand out if in_advance
    std::uint64_t body_bytes;  // of a key and a value, each rounded up to 8

    std::uint64_t element_bytes() const { return sizeof(HashElement) + body_bytes; }
    /// The memory that the constructor wants.
    std::uint64_t memory_bytes(const CpuSlots& slots) const {
      if (allocation == Allocation::on_demand) return 0;
      return (std::uint64_t{capacity} + slots.total()) * element_bytes();
    }
  };

  /// `memory`: Geometry::memory_bytes() zero bytes that only this pool uses. It lives as long as
  /// the pool, as do `slots` and `budget`.
  ElementPool(const Geometry& geometry, std::byte* memory, const CpuSlots& slots, Budget& budget);
  ElementPool(const ElementPool&) = delete;
  ElementPool& operator=(const ElementPool&) = delete;
  ~ElementPool();

  bool in_advance() const { return geometry_.allocation == Allocation::in_advance; }

  /// A free element: of this slot, else a new one, else of another slot. Null if there is none;
  /// on_demand: see grow().
  HashElement* take(Slot& slot);
  void give_back(Slot& slot, HashElement* element);

  /// in_advance only. The slot's spare, with which it replaces an element before it has the old one
  /// back.
  HashElement*& spare(Slot& slot);

  /// on_demand only. A new element; its neighbours go to the slot's list. Errors: ENOMEM.
  /// Allocates: hold no bucket.
  Result<HashElement*> grow(Slot& slot);

 private:
  struct FreeList {
    CompactLock<LockRank::free_list> lock;
    // Written under the lock; read without it only to see that the list is empty.
    std::atomic<HashElement*> head{nullptr};
    std::atomic<std::uint64_t> returns{0};  // elements ever given back here; written under the lock
    HashElement* spare = nullptr;           // of the slot's owner
  };
  /// A piece of memory made on demand; elements follow.
  struct Piece {
    Piece* next;
    Charge charge;
  };

  static HashElement* take_from(FreeList& list);
  HashElement* take_fresh();
  /// Makes the element `index` of memory that never was one.
  HashElement* make_element(std::byte* base, std::uint64_t index) const;
  std::uint64_t returns() const;

  const Geometry geometry_;
  std::byte* const memory_;  // in_advance
  Budget& budget_;
  PerSlot<FreeList> lists_;
  std::atomic<std::uint64_t> fresh_{0};  // in_advance: index of the first element never taken
  std::atomic<Piece*> pieces_{nullptr};  // on_demand
};

}  // namespace skep
