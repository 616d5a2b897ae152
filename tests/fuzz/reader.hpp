// SPDX-License-Identifier: Apache-2.0
// Takes an input apart from front to back. What is missing at the end reads as 0.
#pragma once

#include "fuzz/target.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace skep::fuzz {

class Reader {
 public:
  explicit Reader(Input input) : rest_(input) {}

  bool at_end() const { return rest_.empty(); }

  template <class Integer>
  Integer take() {
    Integer value = 0;
    const Input bytes = take_bytes(sizeof value);
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  std::uint8_t take_byte() { return take<std::uint8_t>(); }

  /// The next bytes, at most `count`.
  Input take_bytes(std::size_t count) {
    const Input taken = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

 private:
  Input rest_;
};

}  // namespace skep::fuzz
