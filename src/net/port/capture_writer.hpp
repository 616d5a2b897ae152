// SPDX-License-Identifier: Apache-2.0
// Writes frames to a capture file in the pcap format with nanosecond stamps, as Wireshark and
// tcpdump read it. The file is a valid capture at any time that matters: empty from the start,
// whole packets only even when the disk is full.
#pragma once

#include "net/packet.hpp"
#include "result/result.hpp"

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace skep {

/// What makes two paths the same file.
struct FileIdentity {
  dev_t device;
  ino_t inode;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// Thread: one at a time.
class CaptureWriter {
 public:
  static constexpr std::uint32_t default_snaplen = 262144;  // more than any frame: nothing is cut

  /// Creates or empties `path`. `input`, if not null, is a file that must not be overwritten. On
  /// failure `why` is a sentence. Errors: EINVAL (is the input), EBUSY (another port uses the
  /// file), otherwise as open(2) and write(2).
  static Result<std::unique_ptr<CaptureWriter>> create(const std::string& path,
                                                       std::uint32_t snaplen,
                                                       const FileIdentity* input, std::string& why);
  ~CaptureWriter();
  CaptureWriter(const CaptureWriter&) = delete;
  CaptureWriter& operator=(const CaptureWriter&) = delete;

  /// Appends the frame without its metadata, stamped with its arrival. It may stay in the buffer
  /// until flush(). Errors: EIO (writing failed now or before; see error()).
  Result<void> write(Buff& frame);
  /// Errors: as write().
  Result<void> flush();
  /// A sentence that names the path and the reason; empty if all is well.
  const std::string& error() const { return error_; }

 private:
  CaptureWriter(int fd, std::string path, std::uint32_t snaplen);
  void keep_whole_packets(std::size_t written_bytes);

  const int fd_;
  const std::string path_;
  const std::uint32_t snaplen_;
  std::vector<std::byte> buffer_;      // fixed capacity
  std::size_t buffered_bytes_ = 0;     // whole records only
  std::uint64_t file_bytes_ = 0;       // written so far
  std::uint64_t packets_ = 0;          // given to write()
  std::uint64_t packets_missing_ = 0;  // of packets_, not in the file since writing failed
  std::string error_;
};

}  // namespace skep
