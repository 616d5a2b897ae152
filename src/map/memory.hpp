// SPDX-License-Identifier: Apache-2.0
// Memory of maps: page-aligned, zero, charged to the budget before the operating system is asked.
// Pages are touched when they are first used, so a large map costs nothing to create.
#pragma once

#include "object/budget.hpp"
#include "result/result.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>

namespace skep {

/// A mapping and its charge, given back together.
class MapMemory {
 public:
  static constexpr std::uint64_t page_bytes = 4096;
  /// `n` rounded up to whole pages.
  static constexpr std::uint64_t round_up_page(std::uint64_t n) {
    return (n + page_bytes - 1) & ~(page_bytes - 1);
  }

  MapMemory() = default;
  MapMemory(MapMemory&& other) noexcept
      : begin_(std::exchange(other.begin_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        fd_(std::exchange(other.fd_, -1)),
        charge_(std::move(other.charge_)) {}
  MapMemory& operator=(MapMemory&& other) noexcept {
    std::swap(begin_, other.begin_);
    std::swap(bytes_, other.bytes_);
    std::swap(fd_, other.fd_);
    std::swap(charge_, other.charge_);
    return *this;
  }
  ~MapMemory();

  /// Anonymous memory of this process. Errors: ENOMEM (budget, or the system refuses).
  static Result<MapMemory> anonymous(Budget& budget, std::uint64_t bytes);
  /// A memfd named "bpf-map" that can neither grow nor shrink, and our own writable mapping of it.
  /// Errors: ENOMEM, EMFILE, ENFILE.
  static Result<MapMemory> shared(Budget& budget, std::uint64_t bytes);

  std::byte* begin() const { return begin_; }
  std::uint64_t bytes() const { return bytes_; }
  /// The memfd, borrowed; -1 for anonymous memory.
  int fd() const { return fd_; }
  /// From now on nobody can map the memfd writable; mappings that exist, ours too, stay as they
  /// are. Without effect if a holder of the descriptor has sealed its seals: it only harms itself.
  void seal_future_writes() const;

 private:
  std::byte* begin_ = nullptr;
  std::uint64_t bytes_ = 0;  // whole pages
  int fd_ = -1;
  Charge charge_;
};

}  // namespace skep
