// SPDX-License-Identifier: Apache-2.0
#include "cpu/slot.hpp"

#include "result/result.hpp"

#include <utility>

namespace skep {

SlotGuard::SlotGuard(SlotGuard&& other) noexcept
    : slots_(other.slots_), slot_(std::exchange(other.slot_, nullptr)) {}

SlotGuard::~SlotGuard() {
  if (slot_ != nullptr) slots_.leave(*slot_);
}

CpuSlots::CpuSlots(std::uint32_t cpus, const Clock& clock, std::uint64_t seed)
    : cpus_(cpus), clock_(clock) {
  ASSERT(cpus >= 1 && cpus <= max_cpus);
  for (std::uint32_t i = 0; i < total(); ++i) {
    const bool control = i >= cpus;
    slots_.push_back(std::unique_ptr<Slot>(new Slot(i, control ? 0 : i, control, clock, seed)));
  }
}

CpuSlots::~CpuSlots() {
  for (const auto& slot : slots_) ASSERT(!slot->owned_);
}

SlotGuard CpuSlots::enter(std::uint32_t cpu) {
  ASSERT(cpu < cpus_);
  Slot& slot = *slots_[cpu];
  std::unique_lock lock(mutex_);
  left_.wait(lock, [&] { return !slot.owned_; });
  slot.owned_ = true;
  return SlotGuard(*this, slot);
}

SlotGuard CpuSlots::enter_control() {
  std::unique_lock lock(mutex_);
  Slot* free = nullptr;
  left_.wait(lock, [&] {
    for (std::uint32_t i = cpus_; i < total() && free == nullptr; ++i)
      if (!slots_[i]->owned_) free = slots_[i].get();
    return free != nullptr;
  });
  free->owned_ = true;
  return SlotGuard(*this, *free);
}

void CpuSlots::leave(Slot& slot) {
  {
    const std::lock_guard guard(mutex_);
    slot.owned_ = false;
  }
  left_.notify_all();
}

}  // namespace skep
