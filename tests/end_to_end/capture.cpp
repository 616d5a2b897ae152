// SPDX-License-Identifier: Apache-2.0
#include "end_to_end/capture.hpp"

#include <gtest/gtest.h>

#include <cstring>

namespace skep::testing {
namespace {

constexpr std::uint32_t nanosecond_magic = 0xa1b23c4d;
constexpr std::uint64_t ns_per_second = 1'000'000'000;

}  // namespace

void put_u32(std::string& bytes, std::size_t offset, std::uint32_t value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

std::uint32_t get_u32(std::string_view bytes, std::size_t offset) {
  std::uint32_t value = 0;
  if (offset + sizeof value <= bytes.size())
    std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

std::vector<CapturedPacket> packets_of(std::string_view capture) {
  std::vector<CapturedPacket> packets;
  EXPECT_GE(capture.size(), capture_header_bytes);
  EXPECT_EQ(get_u32(capture, 0), nanosecond_magic);
  std::size_t at = capture_header_bytes;
  while (at + record_header_bytes <= capture.size()) {
    const std::uint32_t bytes = get_u32(capture, at + 8);
    EXPECT_EQ(get_u32(capture, at + 12), bytes) << "a truncated packet";
    packets.push_back({.time_ns = get_u32(capture, at) * ns_per_second + get_u32(capture, at + 4),
                       .bytes = std::string(capture.substr(at + record_header_bytes, bytes))});
    at += record_header_bytes + bytes;
  }
  EXPECT_EQ(at, capture.size()) << "the capture does not end where its last packet does";
  return packets;
}

std::string capture_of(const std::vector<CapturedPacket>& packets) {
  std::string capture(capture_header_bytes, '\0');
  put_u32(capture, 0, nanosecond_magic);
  put_u32(capture, 4, 0x00040002);  // version 2.4
  put_u32(capture, 16, 262'144);    // snap length
  put_u32(capture, 20, 1);          // Ethernet
  for (const CapturedPacket& packet : packets) {
    const std::size_t at = capture.size();
    capture.append(record_header_bytes, '\0');
    put_u32(capture, at, static_cast<std::uint32_t>(packet.time_ns / ns_per_second));
    put_u32(capture, at + 4, static_cast<std::uint32_t>(packet.time_ns % ns_per_second));
    put_u32(capture, at + 8, static_cast<std::uint32_t>(packet.bytes.size()));
    put_u32(capture, at + 12, static_cast<std::uint32_t>(packet.bytes.size()));
    capture += packet.bytes;
  }
  return capture;
}

std::size_t record_offset(std::string_view capture, std::size_t number) {
  std::size_t at = capture_header_bytes;
  for (std::size_t i = 1; i < number; ++i) at += record_header_bytes + get_u32(capture, at + 8);
  EXPECT_LT(at, capture.size()) << "there is no packet " << number;
  return at;
}

}  // namespace skep::testing
