// SPDX-License-Identifier: Apache-2.0
#include "net/port/pcap_port.hpp"

#include "net/port/flow_hash.hpp"

#include <fmt/format.h>
#include <pcap/pcap.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

namespace skep {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

std::string reason(int error) {
  return fmt::format("{} ({})", std::strerror(error), ::strerrorname_np(error));
}

/// Nanoseconds since 1970. libpcap was asked for nanoseconds: they are in tv_usec. A stamp after
/// 2262, which only a damaged file has, becomes the last one possible.
std::uint64_t to_ns(const timeval& stamp) {
  constexpr std::int64_t ns_per_second = 1'000'000'000;
  constexpr std::int64_t most = INT64_MAX;
  std::int64_t seconds = stamp.tv_sec;
  const std::int64_t ns = stamp.tv_usec;
  // The seconds of the pcap format have no sign; libpcap 1.10 gives those from 2038 on one.
  if (seconds < 0) seconds += std::int64_t{1} << 32;
  if (seconds < 0 || ns < 0) return 0;
  if (seconds > (most - ns) / ns_per_second) return most;
  return static_cast<std::uint64_t>(seconds * ns_per_second + ns);
}

/// Chunks that a frame of so many bytes takes.
std::uint32_t chunks_for(std::size_t bytes) {
  const std::size_t beyond = bytes - std::min(bytes, max_linear_bytes);
  return static_cast<std::uint32_t>(1 + (beyond + chunk_bytes - 1) / chunk_bytes);
}

struct File {
  std::unique_ptr<std::FILE, CloseFile> stream;
  FileIdentity identity;
  bool is_regular;
};

/// Opens a capture for reading. Errors: as open(2), EISDIR, EBUSY (a port writes it).
Result<File> open_file(const std::string& path, std::string& why) {
  std::unique_ptr<std::FILE, CloseFile> stream(std::fopen(path.c_str(), "re"));
  struct stat status{};
  int error = 0;
  if (stream == nullptr || ::fstat(::fileno(stream.get()), &status) != 0) {
    error = errno;
  } else if (S_ISDIR(status.st_mode)) {
    error = EISDIR;
  }
  if (error != 0) {
    why = fmt::format("{}: cannot read the capture: {}", path, reason(error));
    return Errno{error};
  }
  // Shared: any number of ports may read it while none writes it. File systems without locks do
  // without.
  const bool is_regular = S_ISREG(status.st_mode);
  if (is_regular && ::flock(::fileno(stream.get()), LOCK_SH | LOCK_NB) != 0 &&
      errno == EWOULDBLOCK) {
    why = fmt::format("{}: is the output of another port", path);
    return Errno{EBUSY};
  }
  return File{std::move(stream), {status.st_dev, status.st_ino}, is_regular};
}

/// Hands `stream` to libpcap and checks that frames in it are Ethernet. Who calls owns the capture.
/// Errors: EINVAL.
Result<pcap*> open_capture(const std::string& path, std::unique_ptr<std::FILE, CloseFile> stream,
                           std::string& why) {
  char trouble[PCAP_ERRBUF_SIZE] = "";
  pcap* const capture =
      ::pcap_fopen_offline_with_tstamp_precision(stream.get(), PCAP_TSTAMP_PRECISION_NANO, trouble);
  if (capture == nullptr) {
    why = fmt::format("{}: is not a capture that can be read: {}\nhint: give a pcap or pcapng file",
                      path, trouble);
    return Errno{EINVAL};
  }
  (void)stream.release();  // pcap_close() closes it
  const int link_type = ::pcap_datalink(capture);
  if (link_type == DLT_EN10MB) return capture;
  const char* const name = ::pcap_datalink_val_to_name(link_type);
  why = fmt::format(
      "{}: has link type {}, but a port needs Ethernet\n"
      "hint: capture on one Ethernet interface, not on \"any\"",
      path, name != nullptr ? std::string(name) : std::to_string(link_type));
  ::pcap_close(capture);
  return Errno{EINVAL};
}

void give_back_all(Slot& slot, std::span<Buff* const> frames) {
  for (Buff* frame : frames) frame->pool->give_back(slot, frame);
}

}  // namespace

void PcapPort::ClosePcap::operator()(pcap* capture) const { ::pcap_close(capture); }

PcapPort::PcapPort(PacketPool& pool, std::string path) : pool_(pool), path_(std::move(path)) {}

Result<std::unique_ptr<PcapPort>> PcapPort::open(const PcapOptions& options, PacketPool& pool,
                                                 std::string& why) {
  if (options.queues == 0 || options.queues > max_queues) {
    why = fmt::format("queues={}: must be 1 … {}", options.queues, max_queues);
    return Errno{EINVAL};
  }
  if (options.snaplen == 0 || options.snaplen > CaptureWriter::default_snaplen) {
    why =
        fmt::format("snaplen={}: must be 1 … {}", options.snaplen, CaptureWriter::default_snaplen);
    return Errno{EINVAL};
  }
  std::unique_ptr<PcapPort> port(new PcapPort(pool, options.in));
  std::optional<FileIdentity> input;
  TRY(port->open_readers(options.queues, input, why));
  const auto create = [&](const std::string& path, Output& output) -> Result<void> {
    if (path.empty()) return ok();
    output.writer =
        TRY(CaptureWriter::create(path, options.snaplen, input ? &*input : nullptr, why));
    return ok();
  };
  TRY(port->out_.with([&](Output& output) { return create(options.out, output); }));
  TRY(port->host_.with([&](Output& output) { return create(options.host, output); }));
  return port;
}

Result<void> PcapPort::open_readers(std::uint32_t queues, std::optional<FileIdentity>& input,
                                    std::string& why) {
  do {
    auto reader = std::make_unique<LockedReader>();
    if (!path_.empty()) {
      File file = TRY(open_file(path_, why));
      input = file.identity;
      can_be_read_again_ = file.is_regular;
      pcap* const capture = TRY(open_capture(path_, std::move(file.stream), why));
      reader->with([&](Reader& fresh) { fresh.capture.reset(capture); });
    }
    readers_.push_back(std::move(reader));
  } while (can_be_read_again_ && readers_.size() < queues);
  return ok();
}

/// What is wrong with the packet that was just read, as a sentence; empty if nothing.
std::string PcapPort::fault(const Reader& reader, int got, std::uint32_t captured_bytes,
                            std::uint32_t frame_bytes) const {
  constexpr std::string_view rest = "what was before it was processed";
  const std::uint64_t number = reader.packets_read;
  if (got != 1) {
    return fmt::format("{}: capture damaged at packet {}: {}: {}", path_, number,
                       ::pcap_geterr(reader.capture.get()), rest);
  }
  if (captured_bytes > frame_bytes) {
    return fmt::format("{}: capture damaged at packet {}: {} bytes captured of a packet of {}: {}",
                       path_, number, captured_bytes, frame_bytes, rest);
  }
  if (captured_bytes < frame_bytes) {
    return fmt::format(
        "{}: packet {} is truncated: only {} of its {} bytes were captured: {}\n"
        "hint: capture again with -s 0",
        path_, number, captured_bytes, frame_bytes, rest);
  }
  return {};
}

/// Makes sure that the next packet of `queue` is in `pending`; false at the end or where the
/// capture is damaged.
bool PcapPort::load_pending(Reader& reader, std::uint32_t queue) {
  const auto queues = static_cast<std::uint32_t>(readers_.size());
  while (!reader.pending) {
    if (reader.capture == nullptr) return false;
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    const int got = ::pcap_next_ex(reader.capture.get(), &header, &data);
    if (got == PCAP_ERROR_BREAK) {
      reader.capture = nullptr;
      return false;
    }
    ++reader.packets_read;
    reader.error =
        got == 1 ? fault(reader, got, header->caplen, header->len) : fault(reader, got, 0, 0);
    if (!reader.error.empty()) {
      reader.capture = nullptr;
      return false;
    }
    const std::uint64_t timestamp_ns = to_ns(header->ts);
    reader.last_due_ns = std::max(reader.last_due_ns, timestamp_ns);
    const auto bytes = std::as_bytes(std::span(data, header->caplen));
    if (queues != 1 && queue_of(flow_hash(bytes), queues) != queue) continue;
    // relaxed: statistics.
    if (bytes.size() > max_frame_bytes) {
      too_long_.fetch_add(1, std::memory_order_relaxed);
    } else if (chunks_for(bytes.size()) > std::max<std::size_t>(pool_.chunks() / 2, 1)) {
      // Slots may keep back the other half: waiting might never end.
      no_memory_.fetch_add(1, std::memory_order_relaxed);
    } else {
      reader.pending = {.bytes = bytes, .timestamp_ns = timestamp_ns, .due_ns = reader.last_due_ns};
    }
  }
  return true;
}

std::optional<std::uint64_t> PcapPort::next_arrival_ns(Slot& /*slot*/, std::uint32_t queue) {
  ASSERT(queue < readers_.size());
  return readers_[queue]->with([&](Reader& reader) -> std::optional<std::uint64_t> {
    if (!load_pending(reader, queue)) return std::nullopt;
    return reader.pending->due_ns;
  });
}

std::size_t PcapPort::receive(Slot& slot, std::uint32_t queue, std::uint64_t until_ns,
                              std::span<Buff*> out) {
  ASSERT(queue < readers_.size());
  return readers_[queue]->with([&](Reader& reader) -> std::size_t {
    std::size_t received = 0;
    while (received < out.size() && load_pending(reader, queue) &&
           reader.pending->due_ns <= until_ns) {
      Buff* const frame = pool_.take_copy(slot, reader.pending->bytes);
      if (frame == nullptr) break;  // it comes later, when there is room
      frame->timestamp_ns = reader.pending->timestamp_ns;
      frame->rx_queue = queue;
      out[received++] = frame;
      reader.pending.reset();
    }
    return received;
  });
}

Result<void> PcapPort::rewind() {
  if (path_.empty()) return ok();
  // Not opened to find out: that would wait for somebody who writes to the pipe.
  if (!can_be_read_again_) return Errno{ESPIPE};
  for (const auto& locked : readers_) {
    TRY(locked->with([&](Reader& reader) -> Result<void> {
      if (!reader.error.empty()) return ok();  // it ended there for good
      std::string why;
      File file = TRY(open_file(path_, why));
      pcap* const capture = TRY(open_capture(path_, std::move(file.stream), why));
      reader = Reader{};
      reader.capture.reset(capture);
      return ok();
    }));
  }
  return ok();
}

Result<std::size_t> PcapPort::transmit(Slot& slot, std::span<Buff* const> frames, bool /*flush*/) {
  // The end of a burst is no reason for a system call: files are written when the buffer is full,
  // and by finish().
  const std::size_t accepted = out_.with([&](Output& output) {
    if (output.writer == nullptr) return frames.size();
    std::size_t written = 0;
    while (written < frames.size() && output.writer->write(*frames[written])) ++written;
    return written;
  });
  if (accepted == 0 && !frames.empty()) return Errno{EIO};
  give_back_all(slot, frames.first(accepted));
  return accepted;
}

void PcapPort::to_host(Slot& slot, std::span<Buff* const> frames) {
  host_.with([&](Output& output) {
    if (output.writer == nullptr) return;
    for (Buff* frame : frames)
      if (!output.writer->write(*frame)) break;  // the reason waits in error()
  });
  give_back_all(slot, frames);
}

void PcapPort::finish() {
  const auto flush = [](Output& output) {
    if (output.writer != nullptr) (void)output.writer->flush();  // the reason waits in error()
  };
  out_.with(flush);
  host_.with(flush);
}

std::uint64_t PcapPort::refused(DropReason reason) const {
  // relaxed: statistics.
  if (reason == DropReason::rx_too_long) return too_long_.load(std::memory_order_relaxed);
  if (reason == DropReason::rx_no_memory) return no_memory_.load(std::memory_order_relaxed);
  return 0;
}

std::string PcapPort::error() const {
  const auto of = [](const Output& output) {
    return output.writer != nullptr ? output.writer->error() : std::string();
  };
  // The input's comes first: it ended the run. All queues meet the same damage. One sentence for
  // each that failed.
  std::string all;
  for (const auto& reader : readers_) {
    all = reader->with([](const Reader& input) { return input.error; });
    if (!all.empty()) break;
  }
  for (const std::string& one : {out_.with(of), host_.with(of)}) {
    if (!all.empty() && !one.empty()) all += '\n';
    all += one;
  }
  return all;
}

}  // namespace skep
