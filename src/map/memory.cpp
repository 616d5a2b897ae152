// SPDX-License-Identifier: Apache-2.0
#include "map/memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <limits>

namespace skep {

MapMemory::~MapMemory() {
  if (begin_ != nullptr) ::munmap(begin_, bytes_);
  if (fd_ >= 0) ::close(fd_);
}

Result<MapMemory> MapMemory::anonymous(Budget& budget, std::uint64_t bytes) {
  if (bytes > std::numeric_limits<std::int64_t>::max()) return Errno{ENOMEM};
  MapMemory memory;
  memory.bytes_ = round_up_page(bytes);
  memory.charge_ = TRY(budget.charge(memory.bytes_));
  void* const begin =
      ::mmap(nullptr, memory.bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (begin == MAP_FAILED) return Errno{ENOMEM};
  memory.begin_ = static_cast<std::byte*>(begin);
  return memory;
}

Result<MapMemory> MapMemory::shared(Budget& budget, std::uint64_t bytes) {
  if (bytes > std::numeric_limits<std::int64_t>::max()) return Errno{ENOMEM};
  MapMemory memory;
  memory.bytes_ = round_up_page(bytes);
  memory.charge_ = TRY(budget.charge(memory.bytes_));
  memory.fd_ = ::memfd_create("bpf-map", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (memory.fd_ < 0) return Errno{errno == EMFILE || errno == ENFILE ? errno : ENOMEM};
  if (::ftruncate(memory.fd_, static_cast<off_t>(memory.bytes_)) != 0) return Errno{ENOMEM};
  // Whoever holds the descriptor must not be able to take pages away under our mapping.
  if (::fcntl(memory.fd_, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) != 0) return Errno{ENOMEM};
  void* const begin =
      ::mmap(nullptr, memory.bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd_, 0);
  if (begin == MAP_FAILED) return Errno{ENOMEM};
  memory.begin_ = static_cast<std::byte*>(begin);
  return memory;
}

void MapMemory::seal_future_writes() const {
  if (fd_ >= 0) (void)::fcntl(fd_, F_ADD_SEALS, F_SEAL_FUTURE_WRITE);
}

}  // namespace skep
