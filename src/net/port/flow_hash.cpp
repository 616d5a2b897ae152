// SPDX-License-Identifier: Apache-2.0
#include "net/port/flow_hash.hpp"

#include <algorithm>

namespace skep {
namespace {

constexpr std::size_t ethernet_bytes = 14;
constexpr std::uint16_t ethertype_ipv4 = 0x0800, ethertype_ipv6 = 0x86dd;
constexpr std::uint16_t ethertype_vlan = 0x8100, ethertype_service_vlan = 0x88a8;
constexpr std::uint8_t proto_tcp = 6, proto_udp = 17, proto_sctp = 132;

/// FNV-1a with a last mixing, byte by byte: the same on every machine. (Fowler, Noll, Vo; the
/// finish is that of MurmurHash3, Appleby.)
class Hash {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes)
      state_ = (state_ ^ std::to_integer<std::uint8_t>(byte)) * 0x100000001b3ULL;
  }
  std::uint32_t value() const {
    std::uint64_t mixed = state_;
    mixed = (mixed ^ mixed >> 33) * 0xff51afd7ed558ccdULL;
    mixed = (mixed ^ mixed >> 33) * 0xc4ceb9fe1a85ec53ULL;
    return static_cast<std::uint32_t>(mixed >> 32);
  }

 private:
  std::uint64_t state_ = 0xcbf29ce484222325ULL;
};

std::uint8_t byte_at(std::span<const std::byte> bytes, std::size_t offset) {
  return std::to_integer<std::uint8_t>(bytes[offset]);
}

std::uint16_t be16_at(std::span<const std::byte> bytes, std::size_t offset) {
  return static_cast<std::uint16_t>(byte_at(bytes, offset) << 8 | byte_at(bytes, offset + 1));
}

void add_transport(Hash& hash, std::uint8_t proto, std::span<const std::byte> segment) {
  constexpr std::size_t ports_bytes = 4;
  const bool has_ports = proto == proto_tcp || proto == proto_udp || proto == proto_sctp;
  if (has_ports && segment.size() >= ports_bytes) hash.add(segment.first(ports_bytes));
}

/// False if `packet` is too short to be one.
bool add_ipv4(Hash& hash, std::span<const std::byte> packet) {
  constexpr std::size_t shortest = 20;
  if (packet.size() < shortest) return false;
  const std::size_t header_bytes = std::size_t{byte_at(packet, 0) & 0xfU} * 4;
  const std::uint8_t proto = byte_at(packet, 9);
  hash.add(packet.subspan(12, 8));  // both addresses
  hash.add(packet.subspan(9, 1));
  // All fragments of a packet must agree, and only the first has ports.
  const bool is_fragment = (be16_at(packet, 6) & 0x3fff) != 0;
  if (!is_fragment && header_bytes >= shortest)
    add_transport(hash, proto, packet.subspan(std::min(header_bytes, packet.size())));
  return true;
}

bool add_ipv6(Hash& hash, std::span<const std::byte> packet) {
  constexpr std::size_t header_bytes = 40;
  if (packet.size() < header_bytes) return false;
  hash.add(packet.subspan(8, 32));  // both addresses
  hash.add(packet.subspan(6, 1));
  add_transport(hash, byte_at(packet, 6), packet.subspan(header_bytes));
  return true;
}

}  // namespace

std::uint32_t flow_hash(std::span<const std::byte> frame) {
  Hash hash;
  if (frame.size() < ethernet_bytes) {
    hash.add(frame);
    return hash.value();
  }
  std::uint16_t ethertype = be16_at(frame, 12);
  std::span<const std::byte> packet = frame.subspan(ethernet_bytes);
  for (int tags = 0; tags < 2; ++tags) {
    const bool tagged = ethertype == ethertype_vlan || ethertype == ethertype_service_vlan;
    if (!tagged || packet.size() < 4) break;
    ethertype = be16_at(packet, 2);
    packet = packet.subspan(4);
  }
  const bool is_ip = (ethertype == ethertype_ipv4 && add_ipv4(hash, packet)) ||
                     (ethertype == ethertype_ipv6 && add_ipv6(hash, packet));
  if (!is_ip) hash.add(frame.first(ethernet_bytes));
  return hash.value();
}

}  // namespace skep
