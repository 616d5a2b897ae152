// SPDX-License-Identifier: Apache-2.0
// What bpf_printk writes, kept until somebody reads it. Bounded: when it is full, new lines are
// counted and lost.
#pragma once

#include "prog/program.hpp"
#include "sync/locked.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace skep {

class TraceLog final : public TraceSink {
 public:
  static constexpr std::size_t max_bytes = 1U << 20;

  struct Lines {
    std::vector<std::string> lines;  // oldest first: `[cpu] seconds.microseconds: prog: text`
    std::uint64_t lost = 0;
    std::size_t bytes = 0;
  };

  void write(std::string_view prog, std::uint32_t cpu, std::uint64_t time_ns,
             std::string_view text) override;
  /// Takes everything out.
  Lines take();

 private:
  Locked<Lines, LockRank::trace> lines_;
};

}  // namespace skep
