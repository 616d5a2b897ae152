// SPDX-License-Identifier: Apache-2.0
#include "runtime/trace_log.hpp"

#include <fmt/format.h>

#include <utility>

namespace skep {

void TraceLog::write(std::string_view prog, std::uint32_t cpu, std::uint64_t time_ns,
                     std::string_view text) {
  std::string line = fmt::format("[{:03}] {}.{:06}: {}: {}", cpu, time_ns / 1'000'000'000,
                                 time_ns / 1'000 % 1'000'000, prog, text);
  lines_.with([&](Lines& kept) {
    if (kept.bytes + line.size() > max_bytes) {
      ++kept.lost;
      return;
    }
    kept.bytes += line.size();
    kept.lines.push_back(std::move(line));
  });
}

TraceLog::Lines TraceLog::take() {
  return lines_.with([](Lines& kept) { return std::exchange(kept, Lines{}); });
}

}  // namespace skep
