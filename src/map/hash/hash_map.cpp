// SPDX-License-Identifier: Apache-2.0
#include "map/hash/hash_map.hpp"

#include "map/type_checks.hpp"
#include "rcu/rcu.hpp"
#include "sync/racy.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

namespace skep {
namespace {

using namespace uapi;

constexpr std::uint32_t creation_flags =
    BPF_F_NO_PREALLOC | BPF_F_NO_COMMON_LRU | BPF_F_NUMA_NODE | access_flags | BPF_F_ZERO_SEED;
// The kernel's largest allocation less its element header: what a key and a value must stay below
// together.
constexpr std::uint64_t max_key_and_value_bytes = (4U << 20) - 48;
constexpr std::uint32_t max_buckets = 1U
                                      << 27;  // 2^32 bytes less one bucket of 16, as a power of two

// Figures of Linux 6.18 (maps.md 2.11), for fdinfo only.
constexpr std::uint64_t kernel_map_bytes = 832;
constexpr std::uint64_t kernel_bucket_bytes = 16;
constexpr std::uint64_t kernel_element_header_bytes = 48;

constexpr int max_disturbed_walks = 32;

std::uint32_t generation(std::uint64_t tag) { return static_cast<std::uint32_t>(tag); }
std::uint32_t hash_in(std::uint64_t tag) { return static_cast<std::uint32_t>(tag >> 32); }
std::uint64_t make_tag(std::uint32_t hash, std::uint32_t generation) {
  return std::uint64_t{hash} << 32 | generation;
}
std::uintptr_t end_mark(std::uint32_t bucket) { return std::uintptr_t{bucket} << 1 | 1; }

/// The rule of maps.md 2.4. Errors: EEXIST, ENOENT.
Result<void> check_existence(std::uint64_t flags, bool exists) {
  if (exists && (flags & BPF_NOEXIST) != 0) return Errno{EEXIST};
  if (!exists && (flags & BPF_EXIST) != 0) return Errno{ENOENT};
  return ok();
}

Result<void> check_hash(const MapSpec& spec, const Caller& caller) {
  if ((spec.flags & BPF_F_ZERO_SEED) != 0 && !caller.capable(Capability::sys_admin))
    return Errno{EPERM};
  if ((spec.flags & ~creation_flags) != 0 || has_both_program_access_flags(spec.flags))
    return Errno{EINVAL};
  if ((spec.flags & BPF_F_NO_COMMON_LRU) != 0) return Errno{EINVAL};
  if (spec.max_entries == 0 || spec.key_bytes == 0 || spec.value_bytes == 0) return Errno{EINVAL};
  if (std::uint64_t{spec.key_bytes} + spec.value_bytes >= max_key_and_value_bytes)
    return Errno{E2BIG};
  return ok();
}

Result<void> check_hash_btf(const MapSpec& spec) {
  TRY(check_special_fields(spec, field_bit(FieldKind::spin_lock)));
  if (spec.btf_key_type_id == 0) return Errno{EINVAL};
  return ok();
}

std::uint32_t bucket_count(const MapSpec& spec) { return std::bit_ceil(spec.max_entries); }

ElementPool::Geometry pool_geometry(const MapSpec& spec) {
  return {.allocation = (spec.flags & BPF_F_NO_PREALLOC) != 0 ? ElementPool::Allocation::on_demand
                                                              : ElementPool::Allocation::in_advance,
          .capacity = spec.max_entries,
          .body_bytes = round_up_8(spec.key_bytes) + round_up_8(spec.value_bytes)};
}

}  // namespace

const MapType HashMap::type_entry = {
    .number = BPF_MAP_TYPE_HASH,
    .name = "hash",
    .capability = std::nullopt,
    .check_before_permissions = true,
    .batch =
        {.lookup = true, .lookup_and_delete = true, .update = true, .erase = true, .buckets = true},
    .lookup_and_delete = true,
    .spin_lock = true,
    .needs_btf_key = true,
    .check = check_hash,
    .check_btf = check_hash_btf,
    .make = HashMap::make,
};

Result<Ref<Map>> HashMap::make(const MapType& type, MapSpec spec,
                               const MapEnvironment& environment) {
  if (spec.max_entries > max_buckets) return Errno{E2BIG};
  const std::uint64_t bytes = std::uint64_t{bucket_count(spec)} * sizeof(Bucket) +
                              pool_geometry(spec).memory_bytes(environment.slots);
  MapMemory memory = TRY(MapMemory::anonymous(environment.budget, bytes));
  return Ref<Map>(make_object<HashMap>(type, std::move(spec), environment, std::move(memory)));
}

HashMap::HashMap(const MapType& type, MapSpec spec, const MapEnvironment& environment,
                 MapMemory memory)
    : Map(type, std::move(spec), environment),
      layout_(this->spec().value_bytes, lock_offset(this->spec())),
      hash_((this->spec().flags & BPF_F_ZERO_SEED) != 0 ? KeyHash() : KeyHash(environment.random)),
      bucket_mask_(bucket_count(this->spec()) - 1),
      key_stride_(static_cast<std::uint32_t>(round_up_8(this->spec().key_bytes))),
      memory_(std::move(memory)),
      buckets_(reinterpret_cast<Bucket*>(memory_.begin())),
      pool_(pool_geometry(this->spec()), memory_.begin() + buckets() * sizeof(Bucket),
            environment.slots, environment.budget),
      changes_(environment.slots) {}

// ---- reading
// -------------------------------------------------------------------------------------------------------
//
// A reader walks a bucket's chain while writers change it. Elements are recycled at once, so the
// one under its feet may leave the chain, get another key and enter another chain. What can go
// wrong, and what tells:
//  1. The element is carried to another bucket and the reader follows it there: the chain ends with
//  that bucket's mark.
//  2. The key is replaced: its new element enters at the front, which the reader has passed, and
//  the old one is gone
//     before it gets there. `replacements` is counted between the two steps, so it differs.
//  3. The element gets another key while the keys are compared: its tag changes first.
// Elements that leave keep their link, and what follows them stays reachable unless 1 or 2 happens;
// an element that is recycled into the same bucket enters at the front and leads the reader over
// the whole chain.

HashMap::Walk HashMap::walk(const std::byte* key, std::uint32_t hash, Found& found) const {
  const Bucket& bucket = bucket_of(hash);
  // acquire: pairs with the release in update(); who sees a count sees the new element at the
  // front.
  const std::uint32_t replacements = bucket.replacements.load(std::memory_order_acquire);
  // acquire: pairs with link_front(); the element is complete.
  std::uintptr_t link = bucket.head.load(std::memory_order_acquire);
  while (HashElement* const element = to_element(link)) {
    // acquire: pairs with link_front(): key and value were written before this tag.
    const std::uint64_t tag = element->tag.load(std::memory_order_acquire);
    if (hash_in(tag) == hash && is_linked(tag) && key_equals(element->key(), key)) {
      // acquire: pairs with the fence in fill(); if we read a byte of a later key we see the
      // changed tag too (3).
      std::atomic_thread_fence(std::memory_order_acquire);
      if (element->tag.load(std::memory_order_relaxed) == tag) {
        found = {element, tag};
        return Walk::found;
      }
    }
    // acquire: as for the head.
    link = element->next.load(std::memory_order_acquire);
  }
  if (link != 0 && link != end_mark(number_of(bucket))) return Walk::disturbed;  // 1
  // acquire: pairs with the fence in fill() and the releases of unlink(): who missed the key
  // because of a replacement sees it counted (2).
  std::atomic_thread_fence(std::memory_order_acquire);
  if (bucket.replacements.load(std::memory_order_relaxed) != replacements) return Walk::disturbed;
  return Walk::absent;
}

HashMap::Found HashMap::find(const std::byte* key, std::uint32_t hash) {
  Found found;
  for (int i = 0; i < max_disturbed_walks; ++i) {
    const Walk outcome = walk(key, hash, found);
    if (outcome != Walk::disturbed) return found;
  }
  Bucket& bucket = bucket_of(hash);
  const std::lock_guard guard(bucket.lock);
  found.element = find_locked(bucket, key, hash).element;
  // relaxed: its writers are locked out.
  if (found.element != nullptr) found.tag = found.element->tag.load(std::memory_order_relaxed);
  return found;
}

bool HashMap::key_equals(const std::byte* stored, const std::byte* key) const {
  std::size_t left = spec().key_bytes;
  for (; left >= 8; left -= 8, stored += 8, key += 8) {
    if (racy_load<std::uint64_t>(stored) != racy_load<std::uint64_t>(key)) return false;
  }
  if (left >= 4) {
    if (racy_load<std::uint32_t>(stored) != racy_load<std::uint32_t>(key)) return false;
    left -= 4, stored += 4, key += 4;
  }
  for (; left > 0; --left, ++stored, ++key) {
    if (racy_load<std::uint8_t>(stored) != racy_load<std::uint8_t>(key)) return false;
  }
  return true;
}

std::byte* HashMap::lookup(Slot& /*slot*/, const std::byte* key) {
  HashElement* const element = find(key, hash_of(key)).element;
  return element != nullptr ? value_of(element) : nullptr;
}

Result<void> HashMap::command_lookup(MapCommand& /*command*/, const std::byte* key,
                                     std::byte* value, std::uint64_t flags) {
  const std::uint32_t hash = hash_of(key);
  const rcu::ReadGuard rcu;
  for (int i = 0; i < max_disturbed_walks; ++i) {
    const Found found = find(key, hash);
    if (found.element == nullptr) return Errno{ENOENT};
    copy_value_out(value, found.element, flags);
    // acquire: pairs with the fence in fill(): an unchanged tag means that no byte belongs to
    // another key.
    std::atomic_thread_fence(std::memory_order_acquire);
    if (found.element->tag.load(std::memory_order_relaxed) == found.tag) return ok();
  }
  Bucket& bucket = bucket_of(hash);
  const std::lock_guard guard(bucket.lock);
  const Place place = find_locked(bucket, key, hash);
  if (place.element == nullptr) return Errno{ENOENT};
  copy_value_out(value, place.element, flags);
  return ok();
}

void HashMap::copy_value_out(std::byte* to, HashElement* element, std::uint64_t flags) const {
  if ((flags & BPF_F_LOCK) != 0) {
    layout_.copy_out_locked(to, value_of(element));
  } else {
    layout_.copy_out(to, value_of(element));
  }
}

// ---- writing
// -------------------------------------------------------------------------------------------------------

Result<void> HashMap::update(Slot& slot, const std::byte* key, const std::byte* value,
                             std::uint64_t flags) {
  const bool locked_copy = (flags & BPF_F_LOCK) != 0;
  if ((flags & ~BPF_F_LOCK) > BPF_EXIST) return Errno{EINVAL};
  if (locked_copy && !layout_.has_lock()) return Errno{EINVAL};
  const std::uint32_t hash = hash_of(key);
  const bool expect_replacement = find(key, hash).element != nullptr;
  TRY(check_existence(flags, expect_replacement));

  // The new element of a replacement is written before the bucket is locked: the longest part of
  // the work.
  HashElement* spare = TRY(take_spare(slot, !expect_replacement));
  const bool filled = expect_replacement && !locked_copy;
  if (filled) fill(spare, key, value);

  Bucket& bucket = bucket_of(hash);
  const Result<void> result = [&]() -> Result<void> {
    const std::lock_guard guard(bucket.lock);
    const Place old = find_locked(bucket, key, hash);
    TRY(check_existence(flags, old.element != nullptr));
    if (old.element != nullptr && locked_copy) {
      // In place: the element keeps identity and position. Under the bucket's lock it cannot be
      // recycled meanwhile.
      layout_.copy_in_locked(value_of(old.element), value);
      return ok();
    }
    if (old.element != nullptr) {
      if (!filled) fill(spare, key, value);
      link_front(bucket, spare, hash);
      // release: pairs with the acquire loads in walk(). Between the new one's entry and the old
      // one's exit: see there.
      bucket.replacements.store(bucket.replacements.load(std::memory_order_relaxed) + 1,
                                std::memory_order_release);
      // The old one may now be behind the new one.
      unlink({old.element, old.link == &bucket.head ? &spare->next : old.link});
      spare = old.element;
      return ok();
    }
    if (!reserve()) return Errno{E2BIG};
    HashElement* const fresh =
        pool_.in_advance() ? pool_.take(slot) : std::exchange(spare, nullptr);
    if (fresh == nullptr) return Errno{E2BIG};
    fill(fresh, key, value);
    link_front(bucket, fresh, hash);
    // relaxed: a statistic, written by the slot's owner only.
    changes_[slot].store(changes_[slot].load(std::memory_order_relaxed) + 1,
                         std::memory_order_relaxed);
    return ok();
  }();
  return_spare(slot, spare);
  return result;
}

Result<HashElement*> HashMap::take_spare(Slot& slot, bool for_insertion) {
  if (pool_.in_advance()) return pool_.spare(slot);
  if (HashElement* const element = pool_.take(slot)) return element;
  Result<HashElement*> element = pool_.grow(slot);
  // A full table says so even if memory is short as well. relaxed: the same look as in reserve().
  if (!element && for_insertion && reserved_.load(std::memory_order_relaxed) >= spec().max_entries)
    return Errno{E2BIG};
  return element;
}

void HashMap::return_spare(Slot& slot, HashElement* spare) {
  if (pool_.in_advance()) {
    pool_.spare(slot) = spare;
  } else if (spare != nullptr) {
    pool_.give_back(slot, spare);
  }
}

bool HashMap::reserve() {
  if (pool_.in_advance()) return true;  // elements are counted by their number
  // relaxed: a count that decides nothing but itself.
  std::uint32_t reserved = reserved_.load(std::memory_order_relaxed);
  do {
    if (reserved >= spec().max_entries) return false;
  } while (!reserved_.compare_exchange_weak(reserved, reserved + 1, std::memory_order_relaxed));
  return true;
}

HashMap::Place HashMap::find_locked(Bucket& bucket, const std::byte* key,
                                    std::uint32_t hash) const {
  std::atomic<std::uintptr_t>* link = &bucket.head;
  // relaxed: writers of this chain are locked out.
  while (HashElement* const element = to_element(link->load(std::memory_order_relaxed))) {
    if (hash_in(element->tag.load(std::memory_order_relaxed)) == hash &&
        key_equals(element->key(), key))
      return {element, link};
    link = &element->next;
  }
  return {};
}

/// Writes key and value of an element that is not linked. Readers may still stand on it. The lock
/// word stays as it is: a reader of the former value may hold it.
void HashMap::fill(HashElement* element, const std::byte* key, const std::byte* value) const {
  // release: pairs with the acquire fences of readers. Whoever reads a byte written below sees what
  // came before: that the tag is odd, and that the replacement that freed this element was counted.
  std::atomic_thread_fence(std::memory_order_release);
  racy_copy(element->key(), key, spec().key_bytes);
  layout_.copy_in(value_of(element), value);
}

void HashMap::link_front(Bucket& bucket, HashElement* element, std::uint32_t hash) const {
  // relaxed: written under the bucket's lock, which we hold.
  const std::uintptr_t first = bucket.head.load(std::memory_order_relaxed);
  // release: a reader of a former life may stand here and go on into this chain.
  element->next.store(to_element(first) != nullptr ? first : end_mark(number_of(bucket)),
                      std::memory_order_release);
  // relaxed load: the element is ours. release: key and value are complete; pairs with walk().
  element->tag.store(make_tag(hash, generation(element->tag.load(std::memory_order_relaxed)) + 1),
                     std::memory_order_release);
  // release: pairs with the acquire in walk().
  bucket.head.store(reinterpret_cast<std::uintptr_t>(element), std::memory_order_release);
}

void HashMap::unlink(const Place& place) {
  // relaxed load: the chain is locked. release: who sees the element gone sees what was done
  // before, a replacement counted among it.
  place.link->store(place.element->next.load(std::memory_order_relaxed), std::memory_order_release);
  const std::uint64_t tag = place.element->tag.load(std::memory_order_relaxed);
  // release: as above; readers that held on to the element learn that its key has left.
  place.element->tag.store(make_tag(hash_in(tag), generation(tag) + 1), std::memory_order_release);
}

/// Takes an element out of the table. Under the bucket's lock to the end, so that whoever inserts
/// the key again finds the room.
void HashMap::remove(Slot& slot, const Place& place) {
  unlink(place);
  pool_.give_back(slot, place.element);
  // relaxed: counts.
  if (!pool_.in_advance()) reserved_.fetch_sub(1, std::memory_order_relaxed);
  changes_[slot].store(changes_[slot].load(std::memory_order_relaxed) - 1,
                       std::memory_order_relaxed);
}

Result<void> HashMap::erase(Slot& slot, const std::byte* key) {
  const std::uint32_t hash = hash_of(key);
  if (find(key, hash).element == nullptr) return Errno{ENOENT};
  Bucket& bucket = bucket_of(hash);
  const std::lock_guard guard(bucket.lock);
  const Place place = find_locked(bucket, key, hash);
  if (place.element == nullptr) return Errno{ENOENT};
  remove(slot, place);
  return ok();
}

Result<void> HashMap::command_update(MapCommand& command, const std::byte* key,
                                     const std::byte* value, std::uint64_t flags) {
  const rcu::ReadGuard rcu;
  return update(command.slot, key, value, flags);
}

Result<void> HashMap::command_erase(MapCommand& command, const std::byte* key) {
  const rcu::ReadGuard rcu;
  return erase(command.slot, key);
}

Result<void> HashMap::command_lookup_and_erase(MapCommand& command, const std::byte* key,
                                               std::byte* value, std::uint64_t flags) {
  const std::uint32_t hash = hash_of(key);
  Bucket& bucket = bucket_of(hash);
  const std::lock_guard guard(bucket.lock);
  const Place place = find_locked(bucket, key, hash);
  if (place.element == nullptr) return Errno{ENOENT};
  copy_value_out(value, place.element, flags);
  remove(command.slot, place);
  return ok();
}

// ---- walking
// -------------------------------------------------------------------------------------------------------

bool HashMap::copy_first_key(std::uint32_t from_bucket, std::byte* key) const {
  for (std::uint64_t number = from_bucket; number <= bucket_mask_; ++number) {
    Bucket& bucket = buckets_[number];
    // relaxed: only to pass over empty buckets; looked at again under the lock.
    if (is_end(bucket.head.load(std::memory_order_relaxed))) continue;
    const std::lock_guard guard(bucket.lock);
    HashElement* const first = to_element(bucket.head.load(std::memory_order_relaxed));
    if (first == nullptr) continue;
    racy_copy(key, first->key(), spec().key_bytes);
    return true;
  }
  return false;
}

Result<void> HashMap::next_key(MapCommand& /*command*/, const std::byte* key, std::byte* next) {
  std::uint32_t from_bucket = 0;
  if (key != nullptr) {
    const std::uint32_t hash = hash_of(key);
    Bucket& bucket = bucket_of(hash);
    const std::lock_guard guard(bucket.lock);
    const Place place = find_locked(bucket, key, hash);
    if (place.element != nullptr) {
      // relaxed: the chain is locked.
      const auto link = place.element->next.load(std::memory_order_relaxed);
      if (HashElement* const after = to_element(link)) {
        racy_copy(next, after->key(), spec().key_bytes);
        return ok();
      }
      if (number_of(bucket) == bucket_mask_) return Errno{ENOENT};
      from_bucket = number_of(bucket) + 1;
    }
  }
  if (!copy_first_key(from_bucket, next)) return Errno{ENOENT};
  return ok();
}

Result<std::uint64_t> HashMap::for_each(
    Slot& /*slot*/, FunctionRef<bool(const std::byte* key, std::byte* value)> visit) {
  // Elements are noted under the lock, a few at a time, and shown without it: the callback may
  // change this very bucket. One that it removes before its turn is not shown; one that it replaces
  // was shown already.
  constexpr std::size_t noted_max = 32;
  std::array<Found, noted_max + 1> noted;  // the last one is where the next round starts
  std::uint64_t calls = 0;
  for (std::uint64_t number = 0; number <= bucket_mask_; ++number) {
    Bucket& bucket = buckets_[number];
    // relaxed: only to pass over empty buckets.
    if (is_end(bucket.head.load(std::memory_order_relaxed))) continue;
    Found start;  // null: the front
    do {
      std::size_t count = 0;
      {
        const std::lock_guard guard(bucket.lock);
        // relaxed: the chain is locked.
        HashElement* element = to_element(bucket.head.load(std::memory_order_relaxed));
        if (start.element != nullptr) {
          // An unchanged tag: still linked, here. Otherwise others took it away and the rest of
          // this bucket is skipped.
          element = start.element->tag.load(std::memory_order_relaxed) == start.tag ? start.element
                                                                                    : nullptr;
        }
        for (; element != nullptr && count < noted.size(); ++count) {
          noted[count] = {element, element->tag.load(std::memory_order_relaxed)};
          element = to_element(element->next.load(std::memory_order_relaxed));
        }
      }
      start = count > noted_max ? noted[noted_max] : Found{};
      for (std::size_t i = 0; i < std::min(count, noted_max); ++i) {
        HashElement* const element = noted[i].element;
        // acquire: pairs with link_front(), as in walk().
        if (element->tag.load(std::memory_order_acquire) != noted[i].tag) continue;
        ++calls;
        if (!visit(element->key(), value_of(element))) return calls;
      }
    } while (start.element != nullptr);
  }
  return calls;
}

Result<void> HashMap::batch_buckets(MapCommand& command, BucketBatch& batch,
                                    std::uint32_t& delivered) {
  const std::uint64_t key_bytes = spec().key_bytes;
  const std::uint64_t value_bytes = spec().value_bytes;
  delivered = 0;
  // Grown outside of the lock, so that one bucket fits.
  std::unique_ptr<std::byte[]> keys, values;
  std::uint64_t room = 0;
  while (batch.cursor <= bucket_mask_) {
    Bucket& bucket = buckets_[batch.cursor];
    // relaxed: only to pass over empty buckets.
    if (is_end(bucket.head.load(std::memory_order_relaxed))) {
      ++batch.cursor;
      continue;
    }
    std::uint32_t count = 0;
    bool copied = false;
    {
      const std::lock_guard guard(bucket.lock);
      // relaxed, here and below: the chain is locked.
      const auto first = [&] { return to_element(bucket.head.load(std::memory_order_relaxed)); };
      const auto after = [](HashElement* element) {
        return to_element(element->next.load(std::memory_order_relaxed));
      };
      for (HashElement* element = first(); element != nullptr; element = after(element)) ++count;
      if (count > batch.max_items - delivered) {
        if (delivered == 0) return Errno{ENOSPC};
        return ok();
      }
      if (count <= room) {
        std::uint64_t i = 0;
        for (HashElement* element = first(); element != nullptr; element = after(element), ++i) {
          racy_copy(&keys[i * key_bytes], element->key(), key_bytes);
          copy_value_out(&values[i * value_bytes], element, batch.elem_flags);
        }
        while (batch.erase && first() != nullptr) remove(command.slot, {first(), &bucket.head});
        copied = true;
      }
    }
    if (!copied) {
      room = std::bit_ceil(std::uint64_t{count});
      keys.reset(new (std::nothrow) std::byte[room * key_bytes]);
      values.reset(new (std::nothrow) std::byte[room * value_bytes]);
      if (keys == nullptr || values == nullptr) return Errno{ENOMEM};
      continue;
    }
    if (count != 0) {
      TRY(batch.deliver({keys.get(), count * key_bytes}, {values.get(), count * value_bytes},
                        count));
    }
    delivered += count;
    ++batch.cursor;
  }
  return Errno{ENOENT};
}

// ---- figures
// -------------------------------------------------------------------------------------------------------

std::uint64_t HashMap::element_count() const {
  std::int64_t sum = 0;
  // relaxed: a statistic.
  changes_.for_each([&](const std::atomic<std::int64_t>& change) {
    sum += change.load(std::memory_order_relaxed);
  });
  return static_cast<std::uint64_t>(std::max<std::int64_t>(sum, 0));
}

std::uint64_t HashMap::memory_bytes() const {
  const std::uint64_t base =
      kernel_map_bytes + kernel_bucket_bytes * buckets() + 4 * cpus() * sizeof(void*);
  const std::uint64_t element =
      kernel_element_header_bytes + round_up_8(spec().key_bytes) + round_up_8(spec().value_bytes);
  if (!pool_.in_advance()) return base + (element + sizeof(void*)) * element_count();
  return base + element * (std::uint64_t{spec().max_entries} + cpus()) + sizeof(void*) * cpus();
}

}  // namespace skep
