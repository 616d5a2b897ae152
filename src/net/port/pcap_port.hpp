// SPDX-License-Identifier: Apache-2.0
// Captures as a wire: frames come from a pcap or pcapng file with their nanosecond stamps, frames
// that are transmitted and frames that go up to the host side are written to files of their own.
// Metadata is not written.
//
// Every queue reads the file by itself and takes the frames that are its own. That costs each a
// look at all frames, but queues share nothing: none waits for another, and nothing has to be read
// ahead and kept.
//
// Guarantees
// G1  Every queue gets its frames in the order of the capture, and which queue a frame goes to
// depends on its bytes alone.
// G2  Nothing is lost between the file and the queues: while the pool
// is empty, frames wait in the file.
// G3  Queues may be received from in parallel, and any number of
// threads may transmit.
#pragma once

#include "net/port/capture_writer.hpp"
#include "net/port/port.hpp"
#include "sync/locked.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

struct pcap;

namespace skep {

struct PcapOptions {
  std::string in;            // capture to read; empty: nothing comes in
  std::string out;           // capture of transmitted frames; empty: they vanish
  std::string host;          // capture of frames passed up; empty: they vanish
  std::uint32_t queues = 1;  // a pipe has one, whatever is asked for
  std::uint32_t snaplen = CaptureWriter::default_snaplen;  // bytes of a frame that outputs keep
};

class PcapPort final : public Port {
 public:
  static constexpr std::uint32_t max_queues = 256;

  /// Opens the input and creates both outputs. On failure `why` says path and reason, perhaps with
  /// a hint on a second line. Errors: EINVAL (no capture, not Ethernet, an output is the input,
  /// number of queues or snaplen), EBUSY (a file of another port), otherwise as open(2) and
  /// write(2). `pool` outlives the port.
  static Result<std::unique_ptr<PcapPort>> open(const PcapOptions& options, PacketPool& pool,
                                                std::string& why);

  std::string_view kind() const override { return "pcap"; }
  std::uint64_t xdp_features() const override { return software_xdp_features; }
  std::uint32_t rx_queues() const override { return static_cast<std::uint32_t>(readers_.size()); }

  /// Stamps of the capture; one that goes back counts as that of the packet before.
  std::optional<std::uint64_t> next_arrival_ns(Slot& slot, std::uint32_t queue) override;
  std::size_t receive(Slot& slot, std::uint32_t queue, std::uint64_t until_ns,
                      std::span<Buff*> out) override;
  Result<void> rewind() override;
  Result<std::size_t> transmit(Slot& slot, std::span<Buff* const> frames, bool flush) override;
  void to_host(Slot& slot, std::span<Buff* const> frames) override;
  void finish() override;
  std::uint64_t refused(DropReason reason) const override;
  std::string error() const override;

 private:
  /// The packet of a queue that comes next, not copied yet.
  struct Pending {
    std::span<const std::byte> bytes;  // in libpcap's buffer until the next one is read
    std::uint64_t timestamp_ns;
    std::uint64_t due_ns;
  };

  struct ClosePcap {
    void operator()(pcap* capture) const;
  };
  /// How far a queue is in the file.
  struct Reader {
    std::unique_ptr<pcap, ClosePcap> capture;  // null: no input, or at its end
    std::uint64_t packets_read = 0;            // of all queues
    std::uint64_t last_due_ns = 0;             // of all queues
    std::optional<Pending> pending;
    std::string error;
  };
  struct Output {
    std::unique_ptr<CaptureWriter> writer;  // null: frames vanish
  };
  // The lock is for error(): nobody else than the queue's thread takes it in a run.
  using LockedReader = Locked<Reader, LockRank::port>;

  PcapPort(PacketPool& pool, std::string path);

  Result<void> open_readers(std::uint32_t queues, std::optional<FileIdentity>& input,
                            std::string& why);
  bool load_pending(Reader& reader, std::uint32_t queue);
  std::string fault(const Reader& reader, int got, std::uint32_t captured_bytes,
                    std::uint32_t frame_bytes) const;

  PacketPool& pool_;
  const std::string path_;         // of the input
  bool can_be_read_again_ = true;  // not a pipe; immutable after open()
  std::atomic<std::uint64_t> too_long_{0}, no_memory_{0};
  std::vector<std::unique_ptr<LockedReader>> readers_;  // by queue; immutable after open()
  Locked<Output, LockRank::port> out_, host_;
};

}  // namespace skep
