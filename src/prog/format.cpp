// SPDX-License-Identifier: Apache-2.0
#include "prog/format.hpp"

#include "prog/run.hpp"
#include "sync/racy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <limits>

namespace skep {
namespace {

constexpr std::size_t max_text_bytes = 512;  // of one %s, as on Linux
constexpr std::size_t max_width = 512;       // wider fields are cut: the text is bounded

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Walks a format string. One object per call of format_text().
class Formatter {
 public:
  Formatter(Run& run, std::string_view format, std::span<const std::uint64_t> arguments)
      : run_(run), format_(format), arguments_(arguments) {}

  Result<std::string> text() {
    while (at_ < format_.size()) {
      const char c = format_[at_++];
      const auto byte = static_cast<unsigned char>(c);
      if (byte >= 0x80 || (std::isprint(byte) == 0 && std::isspace(byte) == 0))
        return Errno{EINVAL};
      if (c != '%') {
        out_ += c;
      } else if (peek() == '%') {
        ++at_;
        out_ += '%';
      } else {
        TRY(conversion());
      }
    }
    return std::move(out_);
  }

 private:
  struct Field {
    bool left = false, zero = false, plus = false, space = false;
    std::size_t width = 0;
  };

  char peek() const { return at_ < format_.size() ? format_[at_] : '\0'; }
  char next() { return at_ < format_.size() ? format_[at_++] : '\0'; }

  Result<std::uint64_t> argument() {
    if (used_ == arguments_.size()) return Errno{EINVAL};
    return arguments_[used_++];
  }

  Result<void> conversion() {
    Field field;
    for (;; ++at_) {
      const char c = peek();
      if (c == '-')
        field.left = true;
      else if (c == '0')
        field.zero = true;
      else if (c == '+')
        field.plus = true;
      else if (c == ' ')
        field.space = true;
      else
        break;
    }
    while (is_digit(peek()))
      field.width = std::min(max_width, field.width * 10 + static_cast<std::size_t>(next() - '0'));
    switch (peek()) {
      case 'p':
        ++at_;
        return pointer(field);
      case 's': {
        ++at_;
        const std::uint64_t address = TRY(argument());
        pad(field, text_at(address));
        return ok();
      }
      case 'c': {
        ++at_;
        const std::uint64_t character = TRY(argument());
        pad(field, std::string(1, static_cast<char>(character)));
        return ok();
      }
      default:
        return number(field);
    }
  }

  Result<void> number(Field field) {
    bool wide = false;
    for (int n = 0; n < 2 && peek() == 'l'; ++n, ++at_) wide = true;
    const char kind = next();
    if (kind != 'd' && kind != 'i' && kind != 'u' && kind != 'x' && kind != 'X')
      return Errno{EINVAL};
    std::uint64_t value = TRY(argument());
    std::string_view sign;
    if (kind == 'd' || kind == 'i') {
      const std::int64_t number =
          wide ? static_cast<std::int64_t>(value)
               : static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
      value =
          number < 0 ? 0 - static_cast<std::uint64_t>(number) : static_cast<std::uint64_t>(number);
      sign = number < 0 ? "-" : field.plus ? "+" : field.space ? " " : "";
    } else if (!wide) {
      value = static_cast<std::uint32_t>(value);
    }
    std::string digits = kind == 'x'   ? fmt::format("{:x}", value)
                         : kind == 'X' ? fmt::format("{:X}", value)
                                       : fmt::format("{}", value);
    if (field.zero && !field.left && sign.size() + digits.size() < field.width)
      digits.insert(0, field.width - sign.size() - digits.size(), '0');
    pad(field, std::string(sign) + digits);
    return ok();
  }

  Result<void> pointer(Field field) {
    const char kind = peek();
    const char which = at_ + 1 < format_.size() ? format_[at_ + 1] : '\0';
    if (kind == 'k' || kind == 'u') {
      // Text of the kernel or of a process: neither is memory of this subsystem.
      if (which != 's') return Errno{EINVAL};
      at_ += 2;
      const std::uint64_t address = TRY(argument());
      pad(field, kind == 'k' ? text_at(address) : std::string());
      return ok();
    }
    if (kind == 'I' || kind == 'i') {
      if (which != '4' && which != '6') return Errno{EINVAL};
      at_ += 2;
      const std::uint64_t address = TRY(argument());
      pad(field, which == '4' ? ipv4(address, kind == 'i') : ipv6(address, kind == 'I'));
      return ok();
    }
    if (kind == 'x' || kind == 'B' || kind == 'K' || kind == 's' || kind == 'S')
      ++at_;
    else if (std::isalnum(static_cast<unsigned char>(kind)) != 0)
      return Errno{EINVAL};
    const std::uint64_t value = TRY(argument());
    pad(field, fmt::format("{:016x}", value));
    return ok();
  }

  /// "192.168.0.1", or with leading zeros "192.168.000.001".
  std::string ipv4(std::uint64_t address, bool leading_zeros) {
    const std::array<std::uint8_t, 4> b = bytes_at<4>(address);
    return leading_zeros ? fmt::format("{:03}.{:03}.{:03}.{:03}", b[0], b[1], b[2], b[3])
                         : fmt::format("{}.{}.{}.{}", b[0], b[1], b[2], b[3]);
  }

  /// Eight groups of four digits, with or without colons.
  std::string ipv6(std::uint64_t address, bool colons) {
    const std::array<std::uint8_t, 16> b = bytes_at<16>(address);
    std::string text;
    for (std::size_t n = 0; n < b.size(); n += 2)
      text += fmt::format("{}{:02x}{:02x}", colons && n != 0 ? ":" : "", b[n], b[n + 1]);
    return text;
  }

  template <std::size_t count>
  std::array<std::uint8_t, count> bytes_at(std::uint64_t address) {
    std::array<std::uint8_t, count> bytes{};
    if (const std::byte* from = run_.readable(address, count)) racy_copy(bytes.data(), from, count);
    return bytes;
  }

  std::string text_at(std::uint64_t address) {
    std::string text;
    while (text.size() < max_text_bytes) {
      const std::byte* from = run_.readable(address + text.size(), 1);
      const auto c = from == nullptr ? '\0' : static_cast<char>(racy_load<std::uint8_t>(from));
      if (c == '\0') break;
      text += c;
    }
    return text;
  }

  void pad(Field field, std::string_view text) {
    const std::size_t fill = field.width > text.size() ? field.width - text.size() : 0;
    if (!field.left) out_.append(fill, ' ');
    out_ += text;
    if (field.left) out_.append(fill, ' ');
  }

  Run& run_;
  const std::string_view format_;
  const std::span<const std::uint64_t> arguments_;
  std::size_t at_ = 0;    // position in format_
  std::size_t used_ = 0;  // arguments consumed
  std::string out_;
};

}  // namespace

Result<std::string> format_text(Run& run, std::string_view format,
                                std::span<const std::uint64_t> arguments) {
  return Formatter(run, format, arguments).text();
}

Result<std::string> read_format(Run& run, std::uint64_t address, std::uint64_t bytes) {
  std::string text;
  for (std::uint64_t n = 0; n < std::min(bytes, max_format_bytes); ++n) {
    const std::byte* from = run.readable(address + n, 1);
    if (from == nullptr) return Errno{EINVAL};
    const auto c = static_cast<char>(racy_load<std::uint8_t>(from));
    if (c == '\0') return text;
    text += c;
  }
  return Errno{EINVAL};
}

}  // namespace skep
