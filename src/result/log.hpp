// SPDX-License-Identifier: Apache-2.0
// The words beside an errno: what the verifier and the BTF checks write for people and for tools
// that parse it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace skep {

/// Collects the text of one verification. Bounded: past `max_bytes` the middle is lost, never the
/// end, where the reason stands. How much of it a caller sees (the first or the last bytes) is
/// decided in syscall/.
class Log {
 public:
  static constexpr std::uint32_t errors = 1;  // level bits as bpf(2) has them
  static constexpr std::uint32_t trace = 2;
  static constexpr std::uint32_t statistics = 4;
  static constexpr std::uint32_t fixed = 8;
  static constexpr std::size_t max_bytes = 16U << 20;

  explicit Log(std::uint32_t level = errors) : level_(level) {}

  std::uint32_t level() const { return level_; }
  bool has(std::uint32_t bits) const { return (level_ & bits) != 0; }

  /// Adds `text` and a newline.
  void line(std::string_view text) {
    written_bytes_ += text.size() + 1;
    if (text_.size() + text.size() + 1 > max_bytes) {
      text_.erase(0, std::min(text_.size(), max_bytes / 2));
      if (text.size() + 1 > max_bytes / 2) text.remove_prefix(text.size() + 1 - max_bytes / 2);
    }
    text_ += text;
    text_ += '\n';
  }

  std::string_view text() const { return text_; }
  /// Bytes ever written, lost ones included.
  std::uint64_t written_bytes() const { return written_bytes_; }

 private:
  const std::uint32_t level_;
  std::string text_;
  std::uint64_t written_bytes_ = 0;
};

}  // namespace skep
