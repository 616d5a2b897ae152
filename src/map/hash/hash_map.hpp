// SPDX-License-Identifier: Apache-2.0
// HASH: separate chaining, a lock per bucket for writers, none for readers; elements are recycled
// the moment they are free. Linux counterpart: kernel/bpf/hashtab.c; contract: maps.md section 2.
//
// Guarantees
// G1  lookup() takes no lock unless writers disturbed it 32 times in a row; it never loops forever.
// G2  A key that is present all the time, even while it is replaced or while its neighbours come
// and go, is found, and
//     with it the complete old or the complete new value.
// G3  What lookup() returned had the key at one moment during the call. The value may be recycled
// afterwards, but it
//     stays a value of this map: another key's at worst, with its lock word intact.
// G4  Elements never move between buckets: a walk over buckets meets each key that stays exactly
// once.
// G5  Insertion fails with E2BIG only if the key was absent while no element was free
// anywhere.
// G6  Two tables with ZERO_SEED, equal geometry and equal history iterate alike.
#pragma once

#include "cpu/slot.hpp"
#include "map/hash/element_pool.hpp"
#include "map/hash/key_hash.hpp"
#include "map/map.hpp"
#include "map/memory.hpp"
#include "map/spin_lock.hpp"
#include "map/value_layout.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace skep {

class HashMap final : public Map {
 public:
  static const MapType type_entry;

  /// Errors: E2BIG (more than 2^27 buckets), ENOMEM.
  static Result<Ref<Map>> make(const MapType& type, MapSpec spec,
                               const MapEnvironment& environment);

  std::byte* lookup(Slot& slot, const std::byte* key) override;
  Result<void> update(Slot& slot, const std::byte* key, const std::byte* value,
                      std::uint64_t flags) override;
  Result<void> erase(Slot& slot, const std::byte* key) override;
  Result<std::uint64_t> for_each(
      Slot& slot, FunctionRef<bool(const std::byte* key, std::byte* value)> visit) override;

  Result<void> command_lookup(MapCommand& command, const std::byte* key, std::byte* value,
                              std::uint64_t flags) override;
  Result<void> command_update(MapCommand& command, const std::byte* key, const std::byte* value,
                              std::uint64_t flags) override;
  Result<void> command_erase(MapCommand& command, const std::byte* key) override;
  Result<void> command_lookup_and_erase(MapCommand& command, const std::byte* key, std::byte* value,
                                        std::uint64_t flags) override;
  Result<void> next_key(MapCommand& command, const std::byte* key, std::byte* next) override;
  Result<void> batch_buckets(MapCommand& command, BucketBatch& batch,
                             std::uint32_t& delivered) override;
  std::uint64_t memory_bytes() const override;

  std::uint32_t buckets() const { return bucket_mask_ + 1; }
  /// Number of keys: exact while nobody writes.
  std::uint64_t element_count() const;

 private:
  template <class T, class... Args>
  friend Ref<T> make_object(Args&&... args);

  /// 16 bytes; zeroed memory is an empty bucket.
  struct Bucket {
    // First element, or 0 or an end mark if there is none. Written under the lock.
    std::atomic<std::uintptr_t> head;
    CompactLock<LockRank::map_bucket> lock;
    // Counts replacements, which move a key to the front where a reader already under way has
    // passed. Written under the lock.
    std::atomic<std::uint32_t> replacements;
  };
  static_assert(sizeof(Bucket) == 16);

  /// An element and the tag with which its key matched.
  struct Found {
    HashElement* element = nullptr;
    std::uint64_t tag = 0;
  };
  /// An element and the link that leads to it, under the bucket's lock.
  struct Place {
    HashElement* element = nullptr;
    std::atomic<std::uintptr_t>* link = nullptr;
  };
  enum class Walk : std::uint8_t { found, absent, disturbed };

  HashMap(const MapType& type, MapSpec spec, const MapEnvironment& environment, MapMemory memory);
  ~HashMap() override = default;

  // ---- reading ----
  std::uint32_t hash_of(const std::byte* key) const { return hash_(key, spec().key_bytes); }
  Found find(const std::byte* key, std::uint32_t hash);
  Walk walk(const std::byte* key, std::uint32_t hash, Found& found) const;
  bool key_equals(const std::byte* stored, const std::byte* key) const;
  std::byte* value_of(HashElement* element) const { return element->key() + key_stride_; }

  // ---- writing; all but the first two hold the lock of the bucket ----
  Result<HashElement*> take_spare(Slot& slot, bool for_insertion);
  void return_spare(Slot& slot, HashElement* spare);
  Place find_locked(Bucket& bucket, const std::byte* key, std::uint32_t hash) const;
  void fill(HashElement* element, const std::byte* key, const std::byte* value) const;
  void link_front(Bucket& bucket, HashElement* element, std::uint32_t hash) const;
  static void unlink(const Place& place);
  void remove(Slot& slot, const Place& place);
  /// Room for one key more. False: the table is full.
  bool reserve();

  // ---- walking ----
  Bucket& bucket_of(std::uint32_t hash) const { return buckets_[hash & bucket_mask_]; }
  std::uint32_t number_of(const Bucket& bucket) const {
    return static_cast<std::uint32_t>(&bucket - buckets_);
  }
  static bool is_end(std::uintptr_t link) { return link == 0 || (link & 1) != 0; }
  static HashElement* to_element(std::uintptr_t link) {
    return is_end(link) ? nullptr : reinterpret_cast<HashElement*>(link);
  }
  static bool is_linked(std::uint64_t tag) { return (tag & 1) == 0; }
  bool copy_first_key(std::uint32_t from_bucket, std::byte* key) const;
  void copy_value_out(std::byte* to, HashElement* element, std::uint64_t flags) const;

  const ValueLayout layout_;
  const KeyHash hash_;
  const std::uint32_t bucket_mask_;
  const std::uint32_t key_stride_;  // from key to value
  const MapMemory memory_;          // buckets, then the elements of the pool
  Bucket* const buckets_;
  ElementPool pool_;
  // NO_PREALLOC: keys present or being inserted, never above max_entries.
  std::atomic<std::uint32_t> reserved_{0};
  // Otherwise: insertions minus removals by each slot, for the count.
  PerSlot<std::atomic<std::int64_t>> changes_;
};

}  // namespace skep
