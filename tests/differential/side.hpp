// SPDX-License-Identifier: Apache-2.0
// One side of a differential test: it runs a scenario against one bpf(2) and writes down everything
// observable. A scenario is a function of a Side; it runs once against the host and once against
// skep, and the two transcripts must be equal. What may differ (ids, descriptors, addresses, times)
// never enters the transcript.
#pragma once

#include "host/host_kernel.hpp"
#include "uapi/bpf.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace skep::testing {

/// Bytes of an attribute block that are not compared: [begin, end).
struct Hidden {
  std::size_t begin, end;
};

class Side {
 public:
  Side(BpfEntry& entry, std::uint64_t seed) : random_(seed), entry_(entry) {}
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;
  /// Closes all descriptors that the scenario got.
  ~Side();

  /// One command. Notes `what`, the result, and the bytes of the block that the command changed.
  /// `size` may be anything; the block is followed by zero bytes.
  template <class Attr>
  long call(std::string what, std::uint32_t cmd, Attr& attr, std::size_t size = sizeof(Attr),
            std::initializer_list<Hidden> hidden = {}) {
    return call_bytes(std::move(what), cmd, std::as_writable_bytes(std::span(&attr, 1)), size,
                      hidden);
  }
  /// A command whose block lies at a bad address.
  long call_at(std::string what, std::uint32_t cmd, std::uint64_t address, std::size_t size);

  /// Adds a line to the transcript.
  void note(std::string line) { lines_.push_back(std::move(line)); }
  void note_bytes(std::string what, std::span<const std::byte> bytes);
  const std::vector<std::string>& lines() const { return lines_; }

  /// The same choices on both sides.
  std::uint64_t pick(std::uint64_t below) { return random_() % below; }
  template <class T>
  T pick_from(std::initializer_list<T> items) {
    return items.begin()[pick(items.size())];
  }

  void close(long fd);
  BpfEntry& entry() { return entry_; }

 private:
  long call_bytes(std::string what, std::uint32_t cmd, std::span<std::byte> attr, std::size_t size,
                  std::initializer_list<Hidden> hidden);

  std::mt19937_64 random_;
  BpfEntry& entry_;
  std::vector<std::string> lines_;
  std::vector<int> descriptors_;
};

/// Bytes as "00 a5 …".
std::string hex(std::span<const std::byte> bytes);

template <class T>
std::uint64_t address_of(const T* object) {
  return reinterpret_cast<std::uint64_t>(object);
}

/// Addresses that nobody can read or write.
inline constexpr std::uint64_t bad_addresses[] = {8, std::uint64_t{1} << 63, ~std::uint64_t{0}};

/// A descriptor number that is not open.
inline constexpr std::uint32_t closed_fd = 99999;

/// What the transcripts do not say the same about: the first difference with the lines before it,
/// and how many there are. Empty if they are equal.
std::string difference(const Side& host, const Side& skep);

/// Why the host cannot be the judge; empty if it can. Its kernel must be one whose behaviour the
/// specification describes.
std::string host_unavailable();

/// Runs the scenario on both sides once per seed and reports differences. More seeds run when the
/// environment variable SKEP_DIFFERENTIAL_ROUNDS says how many times as many.
void expect_same(const std::function<void(Side&)>& scenario, std::uint64_t seeds = 1);

}  // namespace skep::testing

/// At the start of each test.
#define SKEP_NEEDS_HOST()                                                              \
  if (const std::string reason = ::skep::testing::host_unavailable(); !reason.empty()) \
  GTEST_SKIP() << reason
