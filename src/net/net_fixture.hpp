// SPDX-License-Identifier: Apache-2.0
// What the unit tests of net/ share: slots, a pool, frames from bytes and back, files that vanish.
#pragma once

#include "cpu/clock.hpp"
#include "cpu/slot.hpp"
#include "net/packet.hpp"
#include "object/budget.hpp"
#include "support/expect.hpp"

#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace skep::testing {

using Bytes = std::vector<std::byte>;

/// Slots of four CPUs and one pool.
struct NetBench {
  static constexpr std::uint32_t cpus = 4;

  explicit NetBench(std::uint32_t chunks = 4096) {
    auto made = PacketPool::make(chunks, slots, budget);
    EXPECT_OK(made);
    pool = std::move(*made);
  }

  VirtualClock clock;
  CpuSlots slots{cpus, clock, 1};
  Budget budget{std::uint64_t{1} << 30};
  std::unique_ptr<PacketPool> pool;
};

/// `count` bytes, different from their neighbours and by `seed`.
inline Bytes pattern(std::size_t count, std::uint8_t seed = 0) {
  Bytes bytes(count);
  for (std::size_t i = 0; i < count; ++i)
    bytes[i] = static_cast<std::byte>((i * 7 + i / 251 + seed) & 0xff);
  return bytes;
}

inline Bytes contents(Buff& frame) {
  Bytes bytes(frame.frame_bytes());
  frame.pool->copy_out(frame, 0, bytes);
  return bytes;
}

/// A directory of the test's own; removed with all that is in it.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "skep-net-XXXXXX").string();
    const char* const made = ::mkdtemp(name.data());
    EXPECT_NE(made, nullptr);
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  EXPECT_TRUE(file.good());
}

inline Bytes read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  Bytes bytes(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) bytes[i] = static_cast<std::byte>(text[i]);
  return bytes;
}

}  // namespace skep::testing
