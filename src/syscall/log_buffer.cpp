// SPDX-License-Identifier: Apache-2.0
#include "syscall/log_buffer.hpp"

#include "syscall/caller_memory.hpp"

#include <algorithm>
#include <limits>
#include <string_view>

namespace skep {

Result<LogBuffer> LogBuffer::make(std::uint32_t level, std::uint64_t address, std::uint32_t bytes,
                                  Budget& budget) {
  constexpr std::uint32_t known = Log::errors | Log::trace | Log::statistics | Log::fixed;
  if ((address != 0) != (bytes != 0)) return Errno{EINVAL};
  if (address != 0 && level == 0) return Errno{EINVAL};
  if ((level & ~known) != 0 || bytes > max_bytes) return Errno{EINVAL};
  Charge charge = TRY(budget.charge(std::min<std::uint64_t>(bytes, Log::max_bytes)));
  return LogBuffer(level, address, bytes, std::move(charge));
}

Result<void> LogBuffer::deliver(Caller& caller, const Log& log, std::uint32_t& true_bytes) const {
  if (level_ == 0) {
    true_bytes = 0;
    return ok();
  }
  const std::uint64_t needed =
      std::min<std::uint64_t>(log.written_bytes() + 1, std::numeric_limits<std::uint32_t>::max());
  true_bytes = static_cast<std::uint32_t>(needed);
  if (address_ != 0) {
    const std::size_t kept = std::min<std::size_t>(log.text().size(), bytes_ - 1);
    const std::string_view text = (level_ & Log::fixed) != 0
                                      ? log.text().substr(0, kept)
                                      : log.text().substr(log.text().size() - kept);
    TRY(caller.write(address_, std::as_bytes(std::span(text))));
    TRY(write_value(caller, address_ + kept, '\0'));
  }
  if (address_ != 0 && needed > bytes_) return Errno{ENOSPC};
  return ok();
}

}  // namespace skep
