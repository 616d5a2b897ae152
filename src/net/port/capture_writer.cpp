// SPDX-License-Identifier: Apache-2.0
#include "net/port/capture_writer.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

namespace skep {
namespace {

// The pcap file format (draft-ietf-opsawg-pcap), in the byte order of this machine, which the magic
// tells.
struct FileHeader {
  std::uint32_t magic = 0xa1b23c4d;  // nanosecond stamps
  std::uint16_t major = 2, minor = 4;
  std::uint32_t reserved[2] = {};
  std::uint32_t snaplen;
  std::uint32_t link_type = 1;  // Ethernet
};
struct RecordHeader {
  std::uint32_t seconds, nanoseconds;
  std::uint32_t captured_bytes, frame_bytes;
};
static_assert(sizeof(FileHeader) == 24 && sizeof(RecordHeader) == 16);

constexpr std::size_t buffer_bytes = 256 << 10;
static_assert(buffer_bytes >= sizeof(RecordHeader) + max_frame_bytes);
constexpr std::uint64_t ns_per_second = 1'000'000'000;

std::string reason(int error) {
  return fmt::format("{} ({})", std::strerror(error), ::strerrorname_np(error));
}

/// Writes all of `bytes`; returns how many were written, with errno set if fewer.
std::size_t write_all(int fd, std::span<const std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

}  // namespace

Result<std::unique_ptr<CaptureWriter>> CaptureWriter::create(const std::string& path,
                                                             std::uint32_t snaplen,
                                                             const FileIdentity* input,
                                                             std::string& why) {
  // Not emptied yet: it may turn out to be the input.
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
  if (fd < 0) {
    const int error = errno;
    why = fmt::format("{}: cannot create the capture: {}", path, reason(error));
    return Errno{error};
  }
  std::unique_ptr<CaptureWriter> writer(new CaptureWriter(fd, path, snaplen));
  struct stat status{};
  if (::fstat(fd, &status) != 0) {
    const int error = errno;
    why = fmt::format("{}: cannot look at the file: {}", path, reason(error));
    return Errno{error};
  }
  if (input != nullptr && *input == FileIdentity{status.st_dev, status.st_ino}) {
    why = fmt::format(
        "{}: is the input capture and would be overwritten\nhint: choose another output file",
        path);
    return Errno{EINVAL};
  }
  if (S_ISREG(status.st_mode)) {
    // A lock on the open file tells ports of this and other processes apart; file systems without
    // locks do without.
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      why = fmt::format("{}: is in use by another port\nhint: choose another output file", path);
      return Errno{EBUSY};
    }
    if (::ftruncate(fd, 0) != 0) {
      const int error = errno;
      why = fmt::format("{}: cannot empty the file: {}", path, reason(error));
      return Errno{error};
    }
  }
  const FileHeader header = {.snaplen = snaplen};
  errno = 0;
  if (write_all(fd, std::as_bytes(std::span(&header, 1))) != sizeof header) {
    const int error = errno != 0 ? errno : EIO;
    why = fmt::format("{}: cannot write the capture: {}", path, reason(error));
    return Errno{error};
  }
  writer->file_bytes_ = sizeof header;
  return writer;
}

CaptureWriter::CaptureWriter(int fd, std::string path, std::uint32_t snaplen)
    : fd_(fd), path_(std::move(path)), snaplen_(snaplen), buffer_(buffer_bytes) {}

CaptureWriter::~CaptureWriter() {
  (void)flush();  // finish() comes first where somebody wants to hear of errors
  ::close(fd_);
}

Result<void> CaptureWriter::write(Buff& frame) {
  if (!error_.empty()) return Errno{EIO};
  const std::size_t frame_bytes = frame.frame_bytes();
  const std::size_t kept = std::min<std::size_t>(frame_bytes, snaplen_);
  if (buffered_bytes_ + sizeof(RecordHeader) + kept > buffer_.size()) TRY(flush());
  // The format ends in 2106; later stamps stand still there.
  const RecordHeader header = {
      .seconds = static_cast<std::uint32_t>(
          std::min<std::uint64_t>(frame.timestamp_ns / ns_per_second, UINT32_MAX)),
      .nanoseconds = static_cast<std::uint32_t>(frame.timestamp_ns % ns_per_second),
      .captured_bytes = static_cast<std::uint32_t>(kept),
      .frame_bytes = static_cast<std::uint32_t>(frame_bytes),
  };
  std::byte* const place = buffer_.data() + buffered_bytes_;
  std::memcpy(place, &header, sizeof header);
  frame.pool->copy_out(frame, 0, {place + sizeof header, kept});
  buffered_bytes_ += sizeof header + kept;
  ++packets_;
  return ok();
}

Result<void> CaptureWriter::flush() {
  if (!error_.empty()) return Errno{EIO};
  errno = 0;
  const std::size_t written = write_all(fd_, std::span(buffer_).first(buffered_bytes_));
  if (written == buffered_bytes_) {
    file_bytes_ += written;
    buffered_bytes_ = 0;
    return ok();
  }
  const int error = errno != 0 ? errno : EIO;
  keep_whole_packets(written);
  error_ =
      fmt::format("{}: cannot write the capture: {}: the last {} of {} packets are missing in it",
                  path_, reason(error), packets_missing_, packets_);
  return Errno{EIO};
}

/// After a failure: cuts the file behind the last packet that is wholly in it, and counts those
/// that are not.
void CaptureWriter::keep_whole_packets(std::size_t written_bytes) {
  std::size_t end = 0;
  for (std::size_t next = 0; next < buffered_bytes_;) {
    RecordHeader header;
    std::memcpy(&header, buffer_.data() + next, sizeof header);
    next += sizeof header + header.captured_bytes;
    if (next <= written_bytes) {
      end = next;
    } else {
      ++packets_missing_;
    }
  }
  // Best effort: a pipe or device cannot be cut, and the failure is reported anyway.
  if (::ftruncate(fd_, static_cast<off_t>(file_bytes_ + end)) != 0) errno = 0;
  buffered_bytes_ = 0;
}

}  // namespace skep
