// SPDX-License-Identifier: Apache-2.0
#include "net/port/gen_port.hpp"

#include "cpu/clock.hpp"
#include "cpu/random.hpp"
#include "sync/racy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace skep {
namespace {

constexpr std::uint64_t ns_per_second = 1'000'000'000;
constexpr std::size_t vlan_tag_bytes = 4, ipv4_bytes = 20, ipv6_bytes = 40, udp_bytes = 8,
                      tcp_bytes = 20;
constexpr std::uint16_t destination_port = 80;

/// Appends wire fields in network byte order.
class FrameWriter {
 public:
  explicit FrameWriter(std::vector<std::byte>& frame) : frame_(frame) {}
  std::size_t position() const { return frame_.size(); }
  FrameWriter& u8(std::uint32_t value) {
    frame_.push_back(static_cast<std::byte>(value & 0xff));
    return *this;
  }
  FrameWriter& be16(std::uint32_t value) { return u8(value >> 8).u8(value); }
  FrameWriter& be32(std::uint32_t value) { return be16(value >> 16).be16(value); }
  FrameWriter& bytes(std::span<const std::byte> data) {
    frame_.insert(frame_.end(), data.begin(), data.end());
    return *this;
  }

 private:
  std::vector<std::byte>& frame_;
};

/// The internet checksum's sum (RFC 1071) of `bytes`, on top of `sum`, not folded.
std::uint64_t add_words(std::span<const std::byte> bytes, std::uint64_t sum) {
  for (std::size_t i = 0; i < bytes.size(); ++i)
    sum += std::to_integer<std::uint64_t>(bytes[i]) << (i % 2 == 0 ? 8 : 0);
  return sum;
}

std::uint16_t folded_complement(std::uint64_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

void put_be16(std::vector<std::byte>& frame, std::size_t offset, std::uint16_t value) {
  frame[offset] = static_cast<std::byte>(value >> 8);
  frame[offset + 1] = static_cast<std::byte>(value & 0xff);
}

std::size_t transport_bytes(GenProto proto) {
  return proto == GenProto::udp ? udp_bytes : tcp_bytes;
}
std::uint8_t proto_number(GenProto proto) { return proto == GenProto::udp ? 17 : 6; }

std::uint32_t header_bytes(const GenOptions& options) {
  return static_cast<std::uint32_t>(ethernet_header_bytes + (options.vlan ? vlan_tag_bytes : 0) +
                                    (options.ip == IpVersion::v4 ? ipv4_bytes : ipv6_bytes) +
                                    transport_bytes(options.proto));
}

void write_ethernet(FrameWriter& out, const GenOptions& options) {
  out.be32(0x02000000)
      .be16(0x0001)
      .be32(0x02000000)
      .be16(0x0002);  // locally administered: to …:01 from …:02
  if (options.vlan) out.be16(0x8100).be16(*options.vlan);
  out.be16(options.ip == IpVersion::v4 ? 0x0800 : 0x86dd);
}

/// Returns the offset of the addresses, which the transport checksum covers.
std::size_t write_ip(FrameWriter& out, std::vector<std::byte>& frame, const GenOptions& options,
                     std::uint32_t flow, std::size_t payload_bytes) {
  constexpr std::uint32_t hops = 64;
  const auto length = static_cast<std::uint32_t>(transport_bytes(options.proto) + payload_bytes);
  const std::size_t start = out.position();
  if (options.ip == IpVersion::v6) {
    out.be32(0x60000000).be16(length).u8(proto_number(options.proto)).u8(hops);
    out.be32(0x20010db8).be32(0).be32(0).be32(flow + 1);
    out.be32(0x20010db8).be32(0x00010000).be32(0).be32(1);
    return start + 8;
  }
  out.be16(0x4500)
      .be16(static_cast<std::uint32_t>(ipv4_bytes) + length)
      .be16(0)
      .be16(0x4000);  // don't fragment
  out.u8(hops).u8(proto_number(options.proto)).be16(0);
  out.be32(0x0a000001 + flow).be32(0xc6120001);
  put_be16(frame, start + 10,
           folded_complement(add_words(std::span(frame).subspan(start, ipv4_bytes), 0)));
  return start + 12;
}

/// Returns the offset of the checksum.
std::size_t write_transport(FrameWriter& out, const GenOptions& options, std::uint16_t source_port,
                            std::size_t payload_bytes) {
  const std::size_t start = out.position();
  out.be16(source_port).be16(destination_port);
  if (options.proto == GenProto::udp) {
    out.be16(static_cast<std::uint32_t>(udp_bytes + payload_bytes)).be16(0);
    return start + 6;
  }
  out.be32(1).be32(1).be16(0x5018).be16(0xffff).be16(0).be16(0);  // 20 bytes of header; PSH, ACK
  return start + 16;
}

/// The whole frame of a flow.
void build_frame(std::vector<std::byte>& frame, const GenOptions& options, std::uint32_t flow,
                 std::uint16_t source_port, std::span<const std::byte> payload) {
  frame.clear();
  FrameWriter out(frame);
  write_ethernet(out, options);
  const std::size_t addresses = write_ip(out, frame, options, flow, payload.size());
  const std::size_t transport = out.position();
  const std::size_t checksum = write_transport(out, options, source_port, payload.size());
  out.bytes(payload);
  // The pseudo header: addresses, protocol, length.
  const std::size_t addresses_bytes = options.ip == IpVersion::v4 ? 8 : 32;
  std::uint64_t sum = proto_number(options.proto) + (frame.size() - transport);
  sum = add_words(std::span(frame).subspan(addresses, addresses_bytes), sum);
  sum = add_words(std::span(frame).subspan(transport), sum);
  std::uint16_t value = folded_complement(sum);
  if (options.proto == GenProto::udp && value == 0)
    value = 0xffff;  // 0 says "no checksum" (RFC 768)
  put_be16(frame, checksum, value);
}

/// Checks that `value` is in [least, most]; otherwise says so.
bool in_range(std::string_view name, std::uint64_t value, std::uint64_t least, std::uint64_t most,
              std::string& why) {
  if (value >= least && value <= most) return true;
  why = fmt::format("{}={}: must be {} … {}", name, value, least, most);
  return false;
}

}  // namespace

Result<std::unique_ptr<GenPort>> GenPort::make(const GenOptions& options, PacketPool& pool,
                                               std::string& why) {
  const std::uint32_t headers = header_bytes(options);
  const std::uint32_t frame_bytes =
      options.frame_bytes.value_or(std::max(least_frame_bytes, headers));
  const bool valid = in_range("frames", options.frames, 1, max_frames, why) &&
                     in_range("flows", options.flows, 1, max_flows, why) &&
                     in_range("bytes", frame_bytes, least_frame_bytes, most_frame_bytes, why) &&
                     in_range("rate", options.rate, 1, max_rate, why) &&
                     in_range("queues", options.queues, 1, max_queues, why) &&
                     (!options.vlan || in_range("vlan", *options.vlan, 1, 4094, why));
  if (!valid) return Errno{EINVAL};
  if (frame_bytes < headers) {
    why = fmt::format("bytes={}: the headers alone take {}", frame_bytes, headers);
    return Errno{EINVAL};
  }

  std::unique_ptr<Head[]> heads(new (std::nothrow) Head[options.flows]());
  if (heads == nullptr) {
    why = fmt::format("flows={}: not enough memory for their templates", options.flows);
    return Errno{ENOMEM};
  }
  Random random(options.seed, 0);
  std::vector<std::byte> payload(frame_bytes - headers);
  for (std::byte& byte : payload) byte = static_cast<std::byte>(random.next_u32() & 0xff);
  std::vector<std::byte> frame;
  frame.reserve(frame_bytes);
  for (std::uint32_t flow = 0; flow < options.flows; ++flow) {
    constexpr std::uint32_t first_port = 1024, ports = 65536 - first_port;
    const auto source_port = static_cast<std::uint16_t>(first_port + random.next_u32() % ports);
    build_frame(frame, options, flow, source_port, payload);
    std::memcpy(heads[flow].data.data(), frame.data(), std::min(frame.size(), Head::bytes));
  }
  // Beyond the head there is payload only, the same for all flows.
  static_assert(Head::bytes >= ethernet_header_bytes + vlan_tag_bytes + ipv6_bytes + tcp_bytes);
  frame.erase(frame.begin(),
              frame.begin() + static_cast<std::ptrdiff_t>(std::min(frame.size(), Head::bytes)));
  return std::unique_ptr<GenPort>(
      new GenPort(options, frame_bytes, std::move(heads), std::move(frame), pool));
}

GenPort::GenPort(const GenOptions& options, std::uint32_t frame_bytes,
                 std::unique_ptr<Head[]> heads, std::vector<std::byte> tail, PacketPool& pool)
    : pool_(pool),
      queue_count_(options.queues),
      flows_(options.flows),
      frame_bytes_(frame_bytes),
      frames_(options.frames),
      rate_(options.rate),
      whole_interval_ns_(ns_per_second % options.rate == 0 ? ns_per_second / options.rate : 0),
      heads_(std::move(heads)),
      tail_(std::move(tail)),
      queues_(options.queues) {
  start_queues();
}

void GenPort::start_queues() {
  for (std::uint32_t i = 0; i < queue_count_; ++i) {
    queues_[i] = {};
    queues_[i].flow = i;
    queues_[i].ended = i >= flows_;  // more queues than flows: this one stays empty
    settle(queues_[i]);
  }
}

Result<void> GenPort::rewind() {
  start_queues();
  return ok();
}

/// Sets what follows from the frame number: its arrival time, or that there is none.
void GenPort::settle(Queue& queue) const {
  const std::uint64_t number = queue.round_start + queue.flow;
  queue.ended = queue.ended || number >= frames_;
  if (whole_interval_ns_ != 0) {
    queue.arrival_ns = number * whole_interval_ns_;
  } else {
    // Split so that nothing overflows: the remainder is below rate_ ≤ 10^9.
    queue.arrival_ns = number / rate_ * ns_per_second + number % rate_ * ns_per_second / rate_;
  }
}

void GenPort::advance(Queue& queue) const {
  queue.flow += queue_count_;
  if (queue.flow >= flows_) {
    queue.flow = static_cast<std::uint32_t>(&queue - queues_.data());
    queue.round_start += flows_;
  }
  settle(queue);
}

std::optional<std::uint64_t> GenPort::next_arrival_ns(Slot& /*slot*/, std::uint32_t queue) {
  ASSERT(queue < queue_count_);
  const Queue& state = queues_[queue];
  if (state.ended) return std::nullopt;
  return state.arrival_ns;
}

std::size_t GenPort::receive(Slot& slot, std::uint32_t queue, std::uint64_t until_ns,
                             std::span<Buff*> out) {
  ASSERT(queue < queue_count_);
  Queue& state = queues_[queue];
  std::size_t received = 0;
  while (received < out.size() && !state.ended && state.arrival_ns <= until_ns) {
    Buff* const frame = pool_.take(slot);
    if (frame == nullptr) break;  // the frame comes later, when there is room
    // Constant sizes, the chunk has room beyond a short frame: two or four vector stores instead of
    // a call.
    const std::byte* const head = heads_[state.flow].data.data();
    racy_copy(frame->data, head, Head::bytes / 2);
    if (frame_bytes_ > Head::bytes / 2)
      racy_copy(frame->data + Head::bytes / 2, head + Head::bytes / 2, Head::bytes / 2);
    if (!tail_.empty()) racy_copy(frame->data + Head::bytes, tail_.data(), tail_.size());
    frame->data_end = frame->data + frame_bytes_;
    frame->timestamp_ns = VirtualClock::start_realtime_ns + state.arrival_ns;
    frame->rx_queue = queue;
    out[received++] = frame;
    advance(state);
  }
  return received;
}

Result<std::size_t> GenPort::transmit(Slot& slot, std::span<Buff* const> frames, bool /*flush*/) {
  for (Buff* frame : frames) frame->pool->give_back(slot, frame);
  return frames.size();
}

void GenPort::to_host(Slot& slot, std::span<Buff* const> frames) {
  for (Buff* frame : frames) frame->pool->give_back(slot, frame);
}

}  // namespace skep
