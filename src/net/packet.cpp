// SPDX-License-Identifier: Apache-2.0
#include "net/packet.hpp"

#include "sync/locked.hpp"
#include "sync/racy.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define SKEP_ASAN 1
#endif
#endif

namespace skep {
namespace {

/// A free chunk must not be touched: the address sanitizer is told so.
void close_chunk([[maybe_unused]] void* chunk) {
#ifdef SKEP_ASAN
  ASAN_POISON_MEMORY_REGION(chunk, chunk_bytes);
#endif
}

void open_chunk([[maybe_unused]] void* chunk) {
#ifdef SKEP_ASAN
  ASAN_UNPOISON_MEMORY_REGION(chunk, chunk_bytes);
#endif
}

/// Makes a descriptor unusable: whoever gives the frame back again is caught by its pool pointer.
void poison_descriptor(Buff* frame) {
#ifndef NDEBUG
  std::memset(static_cast<void*>(frame), 0x6b, sizeof(Buff));
#else
  frame->pool = nullptr;
#endif
}

std::uint32_t batch_for(std::uint32_t chunks, const CpuSlots& slots, std::uint32_t most) {
  // G2: slots * 2 * batch ≤ chunks / 2. A pool too small for that lets a slot keep one chunk or
  // two.
  return std::clamp<std::uint32_t>(chunks / (4 * slots.total()), 1, most);
}

}  // namespace

struct PacketPool::Shared {
  struct Chunks {
    std::unique_ptr<std::uint32_t[]> stack;  // room for all chunks of the pool
    std::uint32_t count = 0;
  };
  Locked<Chunks, LockRank::packet_pool> free;
};

std::size_t Buff::fragment_bytes() const {
  std::size_t bytes = 0;
  for (const Fragment& fragment : frags()) bytes += fragment.bytes;
  return bytes;
}

Result<std::unique_ptr<PacketPool>> PacketPool::make(std::uint32_t chunks, CpuSlots& slots,
                                                     Budget& budget) {
  if (chunks == 0) return Errno{EINVAL};
  const std::size_t region_bytes = std::size_t{chunks} * chunk_bytes;
  Charge charge = TRY(budget.charge(region_bytes + std::size_t{chunks} * sizeof(std::uint32_t)));
  auto shared = std::make_unique<Shared>();
  std::unique_ptr<std::uint32_t[]> stack(new (std::nothrow) std::uint32_t[chunks]);
  if (stack == nullptr) return Errno{ENOMEM};
  // Low chunks first: a quiet pool touches few pages.
  for (std::uint32_t i = 0; i < chunks; ++i) stack[i] = chunks - 1 - i;
  shared->free.with([&](Shared::Chunks& free) {
    free.stack = std::move(stack);
    free.count = chunks;
  });
  void* const region = ::mmap(nullptr, region_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) return Errno{ENOMEM};
  return std::unique_ptr<PacketPool>(new PacketPool(static_cast<std::byte*>(region), chunks, slots,
                                                    std::move(shared), std::move(charge)));
}

PacketPool::PacketPool(std::byte* region, std::uint32_t chunks, CpuSlots& slots,
                       std::unique_ptr<Shared> shared, Charge charge)
    : region_(region),
      chunks_(chunks),
      batch_(batch_for(chunks, slots, max_batch)),
      charge_(std::move(charge)),
      free_(slots),
      shared_(std::move(shared)) {
  for (std::uint32_t i = 0; i < chunks_; ++i) close_chunk(chunk_data(i));
}

PacketPool::~PacketPool() {
  ASSERT(in_use() == 0);  // somebody still owns a frame of memory that goes away
  for (std::uint32_t i = 0; i < chunks_; ++i) open_chunk(chunk_data(i));
  ::munmap(region_, std::size_t{chunks_} * chunk_bytes);
}

std::uint32_t PacketPool::in_use() const {
  std::uint32_t free =
      shared_->free.with([](const Shared::Chunks& chunks) { return chunks.count; });
  free_.for_each([&](const FreeList& list) { free += list.count.load(std::memory_order_relaxed); });
  return chunks_ - free;
}

std::uint32_t PacketPool::chunk_of(const Buff* frame) const {
  const auto offset = static_cast<std::size_t>(reinterpret_cast<const std::byte*>(frame) - region_);
  ASSERT(offset / chunk_bytes < chunks_ &&
         offset % chunk_bytes == chunk_bytes - tail_reserve_bytes);  // no frame of this pool
  return static_cast<std::uint32_t>(offset / chunk_bytes);
}

/// Moves a batch from the shared list to an empty one; returns how many came.
std::uint32_t PacketPool::refill(FreeList& list) {
  return shared_->free.with([&](Shared::Chunks& free) {
    const std::uint32_t moved = std::min(batch_, free.count);
    // The top of the shared stack becomes the top here: chunks come out in the order of the stack.
    free.count -= moved;
    std::copy_n(&free.stack[free.count], moved, list.chunks.begin());
    list.count.store(moved, std::memory_order_relaxed);
    return moved;
  });
}

/// Moves the older half of a full list to the shared one.
void PacketPool::spill(FreeList& list) {
  shared_->free.with([&](Shared::Chunks& free) {
    std::copy_n(list.chunks.begin(), batch_, &free.stack[free.count]);
    free.count += batch_;
  });
  std::copy_n(list.chunks.begin() + batch_, batch_, list.chunks.begin());
  list.count.store(batch_, std::memory_order_relaxed);
}

std::uint32_t PacketPool::take_chunk(Slot& slot) {
  FreeList& list = free_[slot];
  std::uint32_t count = list.count.load(std::memory_order_relaxed);
  if (count == 0 && (count = refill(list)) == 0) return no_chunk;
  const std::uint32_t chunk = list.chunks[--count];
  list.count.store(count, std::memory_order_relaxed);
  open_chunk(chunk_data(chunk));
  return chunk;
}

void PacketPool::put_chunk(Slot& slot, std::uint32_t chunk) {
  close_chunk(chunk_data(chunk));
  FreeList& list = free_[slot];
  if (list.count.load(std::memory_order_relaxed) == 2 * batch_) spill(list);
  const std::uint32_t count = list.count.load(std::memory_order_relaxed);
  list.chunks[count] = chunk;
  list.count.store(count + 1, std::memory_order_relaxed);
}

Buff* PacketPool::take(Slot& slot) {
  const std::uint32_t chunk = take_chunk(slot);
  if (chunk == no_chunk) return nullptr;
  std::byte* const start = chunk_data(chunk);
  // The fragment table needs no clearing: entries from fragment_count on mean nothing.
  auto* const frame = ::new (start + chunk_bytes - tail_reserve_bytes) Buff;
  frame->data_meta = frame->data = frame->data_end = start + headroom_bytes;
  frame->pool = this;
  frame->rx_device = nullptr;
  frame->timestamp_ns = 0;
  frame->rx_queue = 0;
  frame->fragment_count = 0;
  return frame;
}

Buff* PacketPool::take_copy(Slot& slot, std::span<const std::byte> bytes) {
  ASSERT(bytes.size() <= max_frame_bytes);
  Buff* const frame = take(slot);
  if (frame == nullptr) return nullptr;
  const std::size_t linear = std::min(bytes.size(), max_linear_bytes);
  if (linear != 0)
    racy_copy(frame->data, bytes.data(), linear);  // no bytes may mean a null pointer
  frame->data_end += linear;
  for (bytes = bytes.subspan(linear); !bytes.empty();) {
    Buff::Fragment* const fragment = add_fragment(slot, *frame);
    if (fragment == nullptr) {
      give_back(slot, frame);
      return nullptr;
    }
    const std::size_t piece = std::min(bytes.size(), chunk_bytes);
    racy_copy(fragment_data(*fragment), bytes.data(), piece);
    fragment->bytes = static_cast<std::uint16_t>(piece);
    bytes = bytes.subspan(piece);
  }
  return frame;
}

Buff* PacketPool::clone(Slot& slot, Buff& frame) {
  if (frame.has_fragments()) return nullptr;
  Buff* const copy = take(slot);
  if (copy == nullptr) return nullptr;
  std::byte* const start = copy->hard_start();
  racy_copy(start, frame.hard_start(),
            static_cast<std::size_t>(frame.data_end - frame.hard_start()));
  copy->data_meta = start + (frame.data_meta - frame.hard_start());
  copy->data = start + (frame.data - frame.hard_start());
  copy->data_end = start + (frame.data_end - frame.hard_start());
  copy->rx_device = frame.rx_device;
  copy->timestamp_ns = frame.timestamp_ns;
  copy->rx_queue = frame.rx_queue;
  return copy;
}

void PacketPool::give_back(Slot& slot, Buff* frame) {
  ASSERT(frame->pool == this);  // given back twice, or to another pool
  const std::uint32_t chunk = chunk_of(frame);
  for (const Buff::Fragment& fragment : frame->frags()) put_chunk(slot, fragment.chunk);
  poison_descriptor(frame);
  put_chunk(slot, chunk);
}

Buff::Fragment* PacketPool::add_fragment(Slot& slot, Buff& frame) {
  if (frame.fragment_count == max_fragments) return nullptr;
  const std::uint32_t chunk = take_chunk(slot);
  if (chunk == no_chunk) return nullptr;
  Buff::Fragment& fragment = frame.fragments[frame.fragment_count++];
  fragment = {.chunk = chunk, .offset = 0, .bytes = 0};
  return &fragment;
}

void PacketPool::drop_fragment(Slot& slot, Buff& frame) {
  ASSERT(frame.fragment_count != 0 && frame.fragment_count <= max_fragments);
  put_chunk(slot, frame.fragments[--frame.fragment_count].chunk);
}

std::byte* PacketPool::fragment_data(const Buff::Fragment& fragment) {
  ASSERT(fragment.chunk < chunks_ && std::size_t{fragment.offset} + fragment.bytes <= chunk_bytes);
  return chunk_data(fragment.chunk) + fragment.offset;
}

template <class Body>
void PacketPool::for_each_piece(Buff& frame, std::size_t offset, std::size_t bytes, Body&& body) {
  const auto visit = [&](std::byte* data, std::size_t held) {
    if (offset >= held) {
      offset -= held;
      return;
    }
    const std::size_t piece = std::min(bytes, held - offset);
    if (piece != 0) body(data + offset, piece);
    offset = 0;
    bytes -= piece;
  };
  visit(frame.data, frame.linear_bytes());
  for (const Buff::Fragment& fragment : frame.frags()) {
    if (bytes == 0) return;
    visit(fragment_data(fragment), fragment.bytes);
  }
  ASSERT(bytes == 0);  // the range was not inside the frame
}

void PacketPool::copy_out(Buff& frame, std::size_t offset, std::span<std::byte> into) {
  for_each_piece(frame, offset, into.size(), [&](std::byte* data, std::size_t bytes) {
    racy_copy(into.data(), data, bytes);
    into = into.subspan(bytes);
  });
}

void PacketPool::copy_in(Buff& frame, std::size_t offset, std::span<const std::byte> from) {
  for_each_piece(frame, offset, from.size(), [&](std::byte* data, std::size_t bytes) {
    racy_copy(data, from.data(), bytes);
    from = from.subspan(bytes);
  });
}

}  // namespace skep
