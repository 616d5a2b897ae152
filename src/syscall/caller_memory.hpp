// SPDX-License-Identifier: Apache-2.0
// What commands do with a caller's memory: typed copies, strings, tails that must be zero, and
// buffers of their own for keys and values.
#pragma once

#include "object/budget.hpp"
#include "object/caller.hpp"
#include "result/result.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>

namespace skep {

/// Errors: EFAULT.
template <class T>
  requires std::is_trivially_copyable_v<T>
Result<T> read_value(Caller& caller, std::uint64_t address) {
  T value{};
  TRY(caller.read(address, std::as_writable_bytes(std::span(&value, 1))));
  return value;
}

/// Errors: EFAULT.
template <class T>
  requires std::is_trivially_copyable_v<T>
Result<void> write_value(Caller& caller, std::uint64_t address, const T& value) {
  return caller.write(address, std::as_bytes(std::span(&value, 1)));
}

/// Bytes that a caller sent in a longer struct than we know must say nothing. Errors: EFAULT, E2BIG
/// (not all zero).
Result<void> expect_zero(Caller& caller, std::uint64_t address, std::uint64_t bytes);

/// The text up to its NUL, or its first `max_chars` characters if there is none among them. Bytes
/// after the NUL are not touched. Errors: EFAULT.
Result<std::string> read_string(Caller& caller, std::uint64_t address, std::size_t max_chars);

/// Zeroed memory of a command, charged to the budget.
class Buffer {
 public:
  /// Errors: ENOMEM.
  static Result<Buffer> make(Budget& budget, std::uint64_t bytes);

  std::byte* data() { return bytes_.get(); }
  std::size_t size() const { return size_; }
  std::span<std::byte> span() { return {bytes_.get(), size_}; }

 private:
  Buffer(Charge charge, std::unique_ptr<std::byte[]> bytes, std::size_t size)
      : charge_(std::move(charge)), bytes_(std::move(bytes)), size_(size) {}
  Charge charge_;
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t size_;
};

}  // namespace skep
