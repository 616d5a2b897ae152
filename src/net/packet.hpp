// SPDX-License-Identifier: Apache-2.0
// Packet memory: page-sized chunks in one region that could be registered as an AF_XDP UMEM. A
// frame is one chunk for its linear part (256 bytes headroom, 320 bytes tail reserve) and up to 17
// chunks of fragments. The descriptor of a frame lives in its tail reserve, so that a frame is one
// pointer and nothing is allocated on the way through.
#pragma once

#include "cpu/slot.hpp"
#include "object/budget.hpp"
#include "result/result.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace skep {

class Device;
class PacketPool;

inline constexpr std::size_t chunk_bytes = 4096;
inline constexpr std::size_t headroom_bytes = 256;  // XDP_PACKET_HEADROOM
inline constexpr std::size_t frame_area_bytes =
    40;  // start of the headroom that a frame descriptor needs on Linux
inline constexpr std::size_t tail_reserve_bytes =
    320;  // fragment table on Linux, the descriptor here
inline constexpr std::size_t max_fragments = 17;
/// Most bytes of a linear part: 3520.
inline constexpr std::size_t max_linear_bytes = chunk_bytes - headroom_bytes - tail_reserve_bytes;
/// Most bytes of a frame: 73152.
inline constexpr std::size_t max_frame_bytes = max_linear_bytes + max_fragments * chunk_bytes;
inline constexpr std::size_t ethernet_header_bytes = 14;

/// A frame. hard_start ≤ data_meta ≤ data ≤ data_end ≤ hard_end. Owned by who received it, until
/// handed on.
class Buff {
 public:
  struct Fragment {
    std::uint32_t chunk;   // index in the pool
    std::uint16_t offset;  // of the first byte in the chunk
    std::uint16_t bytes;
  };

  std::byte* hard_start() { return reinterpret_cast<std::byte*>(this) - linear_offset; }
  std::byte* hard_end() { return reinterpret_cast<std::byte*>(this); }
  std::size_t linear_bytes() const { return static_cast<std::size_t>(data_end - data); }
  std::size_t meta_bytes() const { return static_cast<std::size_t>(data - data_meta); }
  std::size_t fragment_bytes() const;
  /// Linear part and fragments, without metadata.
  std::size_t frame_bytes() const { return linear_bytes() + fragment_bytes(); }
  bool has_fragments() const { return fragment_count != 0; }
  std::span<Fragment> frags() { return {fragments.data(), fragment_count}; }
  std::span<const Fragment> frags() const { return {fragments.data(), fragment_count}; }

  std::byte* data_meta;
  std::byte* data;
  std::byte* data_end;
  PacketPool* pool;            // where it goes back to
  Device* rx_device;           // where it came in; kept by the read section
  std::uint64_t timestamp_ns;  // arrival, since 1970 UTC
  std::uint32_t rx_queue;
  std::uint32_t fragment_count;
  std::array<Fragment, max_fragments> fragments;

 private:
  static constexpr std::size_t linear_offset = chunk_bytes - tail_reserve_bytes;
};
static_assert(sizeof(Buff) <= tail_reserve_bytes);

/// Chunks and their per-slot free lists. Data path: never blocks for long, never calls malloc.
///
/// Guarantees
/// G1  take and give_back of a slot touch only that slot's list, except for one exchange with the
/// shared list in
///     `batch` chunks.
/// G2  Slots keep back at most half of all chunks for themselves (in a pool of fewer than four
/// chunks per slot: two
///     chunks each); the rest is there for whoever asks.
/// G3  A frame may be given back by another slot than the one that took it.
class PacketPool {
 public:
  /// Errors: ENOMEM (budget or memory), EINVAL (no chunks asked for).
  static Result<std::unique_ptr<PacketPool>> make(std::uint32_t chunks, CpuSlots& slots,
                                                  Budget& budget);
  ~PacketPool();

  /// An empty linear frame: data = data_end = data_meta = hard_start + headroom; everything else
  /// zero. The bytes are those of the chunk's last use. Null if no chunk is free.
  Buff* take(Slot& slot);
  /// A frame that holds `bytes` (≤ max_frame_bytes), linear part first, then fragments. Null if
  /// chunks are short.
  Buff* take_copy(Slot& slot, std::span<const std::byte> bytes);
  /// A copy of headroom, metadata, linear part and fields. Null if chunks are short or the frame
  /// has fragments.
  Buff* clone(Slot& slot, Buff& frame);
  /// Gives a frame and its fragments back.
  void give_back(Slot& slot, Buff* frame);

  /// Adds a fragment chunk to `frame`; null if none is free or the table is full. Fragment bytes
  /// start at 0.
  Buff::Fragment* add_fragment(Slot& slot, Buff& frame);
  /// Frees the last fragment.
  void drop_fragment(Slot& slot, Buff& frame);
  std::byte* fragment_data(const Buff::Fragment& fragment);

  /// Copies [offset, offset + into.size()) of the frame, fragments included. Precondition: inside
  /// the frame.
  void copy_out(Buff& frame, std::size_t offset, std::span<std::byte> into);
  void copy_in(Buff& frame, std::size_t offset, std::span<const std::byte> from);

  std::uint32_t chunks() const { return chunks_; }
  /// Chunks in frames now. Exact only while no slot is in use.
  std::uint32_t in_use() const;

 private:
  static constexpr std::uint32_t no_chunk = ~0U;
  static constexpr std::uint32_t max_batch = 64;

  /// A stack of free chunks; changed by the owner of the slot only.
  struct FreeList {
    // relaxed everywhere: only in_use() reads it from elsewhere, as a statistic.
    std::atomic<std::uint32_t> count{0};
    std::array<std::uint32_t, std::size_t{2} * max_batch> chunks;
  };
  struct Shared;  // chunks that no slot has, under a lock; moved in batches

  PacketPool(std::byte* region, std::uint32_t chunks, CpuSlots& slots,
             std::unique_ptr<Shared> shared, Charge charge);

  std::byte* chunk_data(std::uint32_t chunk) const {
    return region_ + std::size_t{chunk} * chunk_bytes;
  }
  std::uint32_t chunk_of(const Buff* frame) const;
  std::uint32_t take_chunk(Slot& slot);  // no_chunk if none
  void put_chunk(Slot& slot, std::uint32_t chunk);
  std::uint32_t refill(FreeList& list);
  void spill(FreeList& list);
  /// Calls `body(bytes of the frame, their number)` for each contiguous piece of [offset, offset +
  /// bytes).
  template <class Body>
  void for_each_piece(Buff& frame, std::size_t offset, std::size_t bytes, Body&& body);

  std::byte* const region_;  // chunks_ * chunk_bytes, page aligned
  const std::uint32_t chunks_;
  const std::uint32_t batch_;  // 1 … max_batch: chunks per exchange with the shared list; a slot
                               // holds at most twice that
  Charge charge_;
  PerSlot<FreeList> free_;
  std::unique_ptr<Shared> shared_;
};

}  // namespace skep
