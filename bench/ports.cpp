// SPDX-License-Identifier: Apache-2.0
// ports/PORT/CASE: frames per second that a port gives, in polls of 64, to a device without a
// program that throws them away. No equal in the kernel: live frames are made by nobody.
#include "bench.hpp"
#include "cpu/slot.hpp"
#include "host.hpp"
#include "net/port/gen_port.hpp"
#include "net/port/pcap_port.hpp"
#include "object/budget.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

namespace skep::bench {
namespace {

constexpr std::size_t poll_frames = 64;
constexpr const char* note = "no kernel column: the kernel has no such port";

/// Members are in the order in which they need each other.
struct PortSide {
  RealClock clock;
  CpuSlots slots{1, clock, 1};
  Budget budget{std::uint64_t{1} << 30};
  std::unique_ptr<PacketPool> packets;
  std::unique_ptr<Port> port;
  int input_fd = -1;  // or what the port reads

  ~PortSide() {
    port.reset();
    if (input_fd >= 0) ::close(input_fd);
  }
};

/// Receives `items` frames and gives them back; plays the input again when it ends.
Attempt<Sample> receive(PortSide& side, std::uint64_t items) {
  const SlotGuard slot = side.slots.enter(0);
  std::array<Buff*, poll_frames> frames;
  std::uint64_t received = 0;
  bool rewound = false;
  const std::int64_t start = now_ns();
  while (received < items) {
    const std::size_t count = side.port->receive(*slot, 0, UINT64_MAX, frames);
    for (Buff* const frame : std::span(frames).first(count)) side.packets->give_back(*slot, frame);
    received += count;
    if (count != 0) {
      rewound = false;
      continue;
    }
    if (!side.port->error().empty()) return std::unexpected(side.port->error());
    if (rewound) return std::unexpected("the port has no frames");
    if (auto again = side.port->rewind(); !again)
      return std::unexpected(failure("playing the input again", again.error().code));
    rewound = true;
  }
  return Sample{.items = received, .ns = now_ns() - start};
}

Attempt<std::shared_ptr<PortSide>> make_side() {
  auto side = std::make_shared<PortSide>();
  auto packets = PacketPool::make(1024, side->slots, side->budget);
  if (!packets) return std::unexpected(failure("packet memory", packets.error().code));
  side->packets = std::move(packets).take();
  return side;
}

Sides sides_of(std::shared_ptr<PortSide> side, const Effort& effort) {
  return {
      .skep = timed([side = std::move(side)](std::uint64_t items) { return receive(*side, items); },
                    frames_per_second, effort),
      .kernel = {},
      .note = note};
}

/// Frames of 64 bytes of one flow.
Attempt<Sides> prepare_gen(const Effort& effort) {
  auto side = make_side();
  if (!side) return std::unexpected(side.error());
  std::string why;
  auto port =
      GenPort::make({.frames = GenPort::max_frames, .frame_bytes = 64}, *(*side)->packets, why);
  if (!port) return std::unexpected(why);
  (*side)->port = std::move(port).take();
  return sides_of(std::move(*side), effort);
}

/// A capture of 24,000 frames of 64, 570 and 1514 bytes, in every dozen seven, four and one, in
/// memory.
Attempt<int> make_capture() {
  constexpr std::uint32_t frames = 24'000;
  constexpr std::uint32_t sizes[] = {64, 570, 64, 64, 570, 64, 1514, 64, 570, 64, 64, 570};
  std::string file;
  const auto append = [&file](auto value) {
    file.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  append(std::uint32_t{0xa1b23c4d});  // nanosecond stamps
  append(std::uint16_t{2});           // version 2.4
  append(std::uint16_t{4});
  append(std::uint64_t{0});
  append(std::uint32_t{262144});
  append(std::uint32_t{1});  // Ethernet
  for (std::uint32_t i = 0; i < frames; ++i) {
    const std::uint32_t bytes = sizes[i % std::size(sizes)];
    append(std::uint32_t{1});         // seconds
    append(std::uint32_t{i * 1000});  // nanoseconds
    append(bytes);
    append(bytes);
    file.append(bytes, static_cast<char>(i));
  }
  const int fd = ::memfd_create("capture", MFD_CLOEXEC);
  if (fd < 0) return std::unexpected(failure("memory for a capture", errno));
  std::size_t done = 0;
  while (done < file.size()) {
    const ssize_t wrote = ::write(fd, file.data() + done, file.size() - done);
    if (wrote < 0) {
      const int error = errno;
      ::close(fd);
      return std::unexpected(failure("writing a capture", error));
    }
    done += static_cast<std::size_t>(wrote);
  }
  return fd;
}

Attempt<Sides> prepare_pcap(const Effort& effort) {
  auto side = make_side();
  if (!side) return std::unexpected(side.error());
  auto capture = make_capture();
  if (!capture) return std::unexpected(capture.error());
  (*side)->input_fd = *capture;
  std::string why;
  auto port =
      PcapPort::open({.in = fmt::format("/proc/self/fd/{}", *capture), .out = {}, .host = {}},
                     *(*side)->packets, why);
  if (!port) return std::unexpected(why);
  (*side)->port = std::move(port).take();
  return sides_of(std::move(*side), effort);
}

}  // namespace

std::vector<Case> ports_cases() {
  return {{.name = "ports/gen/64B", .unit = frames_per_second, .prepare = prepare_gen},
          {.name = "ports/pcap/read", .unit = frames_per_second, .prepare = prepare_pcap}};
}

}  // namespace skep::bench
