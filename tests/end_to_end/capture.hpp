// SPDX-License-Identifier: Apache-2.0
// Captures as the tests need them: taken apart into packets, and put together with damage on
// purpose. Only what the captures of this project are: little-endian pcap with nanosecond stamps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace skep::testing {

struct CapturedPacket {
  std::uint64_t time_ns = 0;
  std::string bytes;
  bool operator==(const CapturedPacket&) const = default;
};

/// The packets of a capture. Fails the test if `capture` is not one, or not whole.
std::vector<CapturedPacket> packets_of(std::string_view capture);

/// A capture of these packets.
std::string capture_of(const std::vector<CapturedPacket>& packets);

constexpr std::size_t capture_header_bytes = 24, record_header_bytes = 16;

/// Where the record of packet `number` (from 1) begins.
std::size_t record_offset(std::string_view capture, std::size_t number);

void put_u32(std::string& bytes, std::size_t offset, std::uint32_t value);
std::uint32_t get_u32(std::string_view bytes, std::size_t offset);

}  // namespace skep::testing
