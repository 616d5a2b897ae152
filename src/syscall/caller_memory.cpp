// SPDX-License-Identifier: Apache-2.0
#include "syscall/caller_memory.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <string_view>

namespace skep {

Result<void> expect_zero(Caller& caller, std::uint64_t address, std::uint64_t bytes) {
  std::array<std::byte, 4096> chunk;
  for (std::uint64_t done = 0; done < bytes;) {
    const std::size_t part = std::min<std::uint64_t>(bytes - done, chunk.size());
    TRY(caller.read(address + done, std::span(chunk).first(part)));
    for (std::size_t i = 0; i < part; ++i)
      if (chunk[i] != std::byte{0}) return Errno{E2BIG};
    done += part;
  }
  return ok();
}

Result<std::string> read_string(Caller& caller, std::uint64_t address, std::size_t max_chars) {
  // Never across a boundary of this size in one piece: what follows the NUL may be unmapped.
  constexpr std::size_t piece_bytes = 256;
  std::string text;
  while (text.size() < max_chars) {
    std::array<char, piece_bytes> piece;
    const std::uint64_t at = address + text.size();
    const std::size_t part =
        std::min(max_chars - text.size(), piece_bytes - static_cast<std::size_t>(at % piece_bytes));
    TRY(caller.read(at, std::as_writable_bytes(std::span(piece).first(part))));
    const std::string_view read(piece.data(), part);
    text += read.substr(0, read.find('\0'));
    if (read.contains('\0')) break;
  }
  return text;
}

Result<Buffer> Buffer::make(Budget& budget, std::uint64_t bytes) {
  Charge charge = TRY(budget.charge(bytes));
  std::unique_ptr<std::byte[]> memory(new (std::nothrow) std::byte[bytes]());
  if (!memory) return Errno{ENOMEM};
  return Buffer(std::move(charge), std::move(memory), bytes);
}

}  // namespace skep
