// SPDX-License-Identifier: Apache-2.0
// Made-up traffic: a number of UDP or TCP flows that take turns at a fixed rate, the same bytes for
// the same seed. What is transmitted or passed up vanishes.
#pragma once

#include "net/port/port.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace skep {

enum class GenProto : std::uint8_t { udp, tcp };
enum class IpVersion : std::uint8_t { v4, v6 };

struct GenOptions {
  std::uint64_t frames = 1'000'000;  // over all queues
  std::uint32_t flows = 1;
  std::optional<std::uint32_t> frame_bytes;  // Ethernet header to payload, no FCS; the smallest
                                             // possible from 64 on if not given
  std::uint64_t rate = 1'000'000;            // frames per second, for arrival times
  GenProto proto = GenProto::udp;
  IpVersion ip = IpVersion::v4;
  std::optional<std::uint16_t> vlan;  // 802.1Q tag with this id
  std::uint32_t queues = 1;
  std::uint64_t seed = 1;  // source ports and payload
};

/// Frame k of the whole port belongs to flow k % flows, and a flow to queue `flow % queues`. Flow f
/// comes from 10.0.0.0 + f + 1 (2001:db8:: + f + 1) and goes to port 80 of 198.18.0.1
/// (2001:db8:1::1).
///
/// Arrival times count from 0; frames are stamped as the virtual clock would: 2020-01-01 plus the
/// arrival time.
///
/// Guarantees
/// G1  What a queue gives depends on the options only. Queues share nothing: one thread for each,
/// no locks.
class GenPort final : public Port {
 public:
  static constexpr std::uint32_t max_queues = 256;
  static constexpr std::uint32_t max_flows = 1U << 20;
  static constexpr std::uint64_t max_frames = 1'000'000'000'000;
  static constexpr std::uint64_t max_rate = 1'000'000'000;
  static constexpr std::uint32_t least_frame_bytes = 64, most_frame_bytes = 1514;

  /// Prepares one template per flow. On failure `why` is a sentence. `pool` outlives the port.
  /// Errors: EINVAL (an option out of its range), ENOMEM.
  static Result<std::unique_ptr<GenPort>> make(const GenOptions& options, PacketPool& pool,
                                               std::string& why);

  std::string_view kind() const override { return "gen"; }
  std::uint64_t xdp_features() const override { return software_xdp_features; }
  std::uint32_t rx_queues() const override { return queue_count_; }
  bool counts_from_zero() const override { return true; }
  Result<void> rewind() override;
  std::optional<std::uint64_t> next_arrival_ns(Slot& slot, std::uint32_t queue) override;
  std::size_t receive(Slot& slot, std::uint32_t queue, std::uint64_t until_ns,
                      std::span<Buff*> out) override;
  Result<std::size_t> transmit(Slot& slot, std::span<Buff* const> frames, bool flush) override;
  void to_host(Slot& slot, std::span<Buff* const> frames) override;
  void finish() override {}

 private:
  /// The start of every frame of a flow: headers with checksums, then payload as far as it fits.
  struct alignas(64) Head {
    static constexpr std::size_t bytes = 128;
    std::array<std::byte, bytes> data;
  };
  /// How far a queue is. Its thread only.
  struct alignas(64) Queue {
    std::uint64_t round_start = 0;  // number of the first frame of this turn of all flows
    std::uint32_t flow = 0;         // next to come
    std::uint64_t arrival_ns = 0;   // of its frame
    bool ended = false;
  };

  GenPort(const GenOptions& options, std::uint32_t frame_bytes, std::unique_ptr<Head[]> heads,
          std::vector<std::byte> tail, PacketPool& pool);
  void start_queues();
  void settle(Queue& queue) const;
  void advance(Queue& queue) const;

  PacketPool& pool_;
  const std::uint32_t queue_count_, flows_, frame_bytes_;
  const std::uint64_t frames_, rate_;
  const std::uint64_t whole_interval_ns_;      // between frames, if it is a whole number, else 0
  const std::unique_ptr<const Head[]> heads_;  // by flow
  const std::vector<std::byte> tail_;          // what follows the head in every frame
  std::vector<Queue> queues_;
};

}  // namespace skep
