// SPDX-License-Identifier: Apache-2.0
#include "map/map.hpp"

namespace skep {
namespace {

constexpr std::uint32_t frozen_bit =
    1U << 31;  // in Map::write_state_; the rest counts writes in progress

}  // namespace

std::byte* Map::lookup_percpu(Slot& /*slot*/, const std::byte* /*key*/, std::uint32_t /*cpu*/) {
  return nullptr;
}

Result<std::uint64_t> Map::for_each(
    Slot& /*slot*/, FunctionRef<bool(const std::byte* key, std::byte* value)> /*visit*/) {
  return Errno{ENOTSUPP};
}

Result<std::byte*> Map::direct_value(std::uint32_t /*offset*/) { return Errno{EINVAL}; }

Result<void> Map::command_lookup_and_erase(MapCommand& /*command*/, const std::byte* /*key*/,
                                           std::byte* /*value*/, std::uint64_t /*flags*/) {
  return Errno{ENOTSUPP};
}

Result<void> Map::batch_buckets(MapCommand& /*command*/, BucketBatch& /*batch*/,
                                std::uint32_t& delivered) {
  delivered = 0;
  return Errno{ENOTSUPP};
}

Result<int> Map::memory_fd() const { return Errno{ENOTSUPP}; }

Result<void> Map::begin_write() {
  // relaxed: a first guess; the exchange decides.
  std::uint32_t state = write_state_.load(std::memory_order_relaxed);
  do {
    if ((state & frozen_bit) != 0) return Errno{EPERM};
    // acquire: pairs with end_write(), so that writers of commands see each other's writes. relaxed
    // on failure: no write follows.
  } while (!write_state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire,
                                               std::memory_order_relaxed));
  return ok();
}

void Map::end_write() {
  // release: pairs with freeze(): who froze the map sees all that commands ever wrote.
  const std::uint32_t before = write_state_.fetch_sub(1, std::memory_order_release);
  ASSERT((before & ~frozen_bit) != 0);
}

Result<void> Map::freeze() {
  std::uint32_t state = 0;
  // acquire: pairs with end_write(). release: pairs with frozen(), which thus sees the final
  // content too. relaxed on failure: the answer is an errno and nothing is read.
  if (!write_state_.compare_exchange_strong(state, frozen_bit, std::memory_order_acq_rel,
                                            std::memory_order_relaxed))
    return Errno{(state & frozen_bit) != 0 ? EPERM : EBUSY};
  on_freeze();
  return ok();
}

bool Map::frozen() const {
  // acquire: pairs with freeze(): the content read afterwards is what commands left for good.
  return (write_state_.load(std::memory_order_acquire) & frozen_bit) != 0;
}

}  // namespace skep
