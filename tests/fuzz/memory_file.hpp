// SPDX-License-Identifier: Apache-2.0
// A file that is only memory, for code that wants a path.
#pragma once

#include "fuzz/target.hpp"
#include "result/result.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <string>

namespace skep::fuzz {

class MemoryFile {
 public:
  explicit MemoryFile(Input content = {}) : fd_(::memfd_create("skep-fuzz", MFD_CLOEXEC)) {
    ASSERT(fd_ >= 0);
    while (!content.empty()) {
      const ssize_t written = ::write(fd_, content.data(), content.size());
      ASSERT(written > 0);
      content = content.subspan(static_cast<std::size_t>(written));
    }
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  const int fd_;
};

}  // namespace skep::fuzz
