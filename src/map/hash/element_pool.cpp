// SPDX-License-Identifier: Apache-2.0
#include "map/hash/element_pool.hpp"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

namespace skep {

ElementPool::ElementPool(const Geometry& geometry, std::byte* memory, const CpuSlots& slots,
                         Budget& budget)
    : geometry_(geometry), memory_(memory), budget_(budget), lists_(slots) {
  if (!in_advance()) return;
  std::uint64_t index = geometry_.capacity;
  lists_.for_each([&](FreeList& list) { list.spare = make_element(memory_, index++); });
}

ElementPool::~ElementPool() {
  // relaxed: nobody else uses the pool any more.
  Piece* piece = pieces_.load(std::memory_order_relaxed);
  while (piece != nullptr) {
    Piece* const next = piece->next;
    piece->~Piece();
    std::free(piece);
    piece = next;
  }
}

HashElement* ElementPool::take(Slot& slot) {
  if (HashElement* const own = take_from(lists_[slot])) return own;
  if (HashElement* const fresh = take_fresh()) return fresh;
  // Every further round means that another thread gave an element back meanwhile.
  for (;;) {
    const std::uint64_t before = returns();
    HashElement* found = nullptr;
    lists_.for_each([&](FreeList& list) {
      if (found == nullptr) found = take_from(list);
    });
    if (found != nullptr) return found;
    // An element may have hopped from a list not yet looked at to one that was. Lists seen empty
    // that nobody returned to are empty still: now none is free (G2).
    if (returns() == before) return nullptr;
  }
}

void ElementPool::give_back(Slot& slot, HashElement* element) {
  FreeList& list = lists_[slot];
  const std::lock_guard guard(list.lock);
  // relaxed: written under the lock only.
  element->next_free = list.head.load(std::memory_order_relaxed);
  list.returns.store(list.returns.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  // release: pairs with the acquire in take_from(): who sees this list as it is from now on sees
  // the return counted.
  list.head.store(element, std::memory_order_release);
}

HashElement*& ElementPool::spare(Slot& slot) { return lists_[slot].spare; }

HashElement* ElementPool::take_from(FreeList& list) {
  // acquire: pairs with give_back() and with the store below; see take().
  if (list.head.load(std::memory_order_acquire) == nullptr) return nullptr;
  const std::lock_guard guard(list.lock);
  // relaxed: written under the lock only.
  HashElement* const element = list.head.load(std::memory_order_relaxed);
  // release: who finds the list empty because of this sees what we did before, returns to other
  // lists among it.
  if (element != nullptr) list.head.store(element->next_free, std::memory_order_release);
  return element;
}

HashElement* ElementPool::take_fresh() {
  if (!in_advance()) return nullptr;
  // relaxed: hands out numbers; the memory behind them was never used.
  std::uint64_t index = fresh_.load(std::memory_order_relaxed);
  do {
    if (index == geometry_.capacity) return nullptr;
  } while (!fresh_.compare_exchange_weak(index, index + 1, std::memory_order_relaxed));
  return make_element(memory_, index);
}

Result<HashElement*> ElementPool::grow(Slot& slot) {
  // Small elements come in pieces of about 32 KiB, but never more of them than the table can hold
  // beside one replacement.
  constexpr std::uint64_t piece_bytes = 32 << 10;
  const std::uint64_t elements = std::clamp<std::uint64_t>(
      piece_bytes / geometry_.element_bytes(), 1, std::uint64_t{geometry_.capacity} + 1);
  const std::uint64_t bytes = sizeof(Piece) + elements * geometry_.element_bytes();
  Charge charge = TRY(budget_.charge(bytes));
  void* const memory = std::calloc(1, bytes);
  if (memory == nullptr) return Errno{ENOMEM};
  // relaxed: only the destructor walks the pieces.
  auto* const piece =
      new (memory) Piece{pieces_.load(std::memory_order_relaxed), std::move(charge)};
  while (!pieces_.compare_exchange_weak(piece->next, piece, std::memory_order_relaxed)) {
  }
  auto* const base = reinterpret_cast<std::byte*>(piece + 1);
  for (std::uint64_t index = elements - 1; index > 0; --index)
    give_back(slot, make_element(base, index));
  return make_element(base, 0);
}

HashElement* ElementPool::make_element(std::byte* base, std::uint64_t index) const {
  return new (base + index * geometry_.element_bytes()) HashElement;
}

std::uint64_t ElementPool::returns() const {
  std::uint64_t sum = 0;
  // acquire: a return seen here brings what came before it; see take().
  lists_.for_each(
      [&](const FreeList& list) { sum += list.returns.load(std::memory_order_acquire); });
  return sum;
}

}  // namespace skep
