// SPDX-License-Identifier: Apache-2.0
// CPU slots: "preemption disabled" in user space. Per-CPU state (free lists, bulk queues, redirect
// info, per-CPU values) belongs to a slot. A thread enters a slot before it touches that state,
// hands the slot on as a parameter and owns it until it leaves.
//
// Guarantees
// G1  At most one thread owns a slot; ownership passes with acquire/release, so per-slot state
// needs no atomics.
// G2  Slots 0 … cpus-1 are the possible CPUs that programs see. The control slots
// above have free lists and caches but
//     no per-CPU values: commands run there and never wait for a busy worker.
#pragma once

#include "cpu/clock.hpp"
#include "cpu/random.hpp"

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace skep {

class CpuSlots;

/// One CPU slot. Only its owner may use it.
class Slot {
 public:
  /// Position among all slots, the control slots last: index of per-slot storage.
  std::uint32_t index() const { return index_; }
  /// The CPU that a program running here sees. A control slot shows CPU 0.
  std::uint32_t cpu() const { return cpu_; }
  bool is_control() const { return control_; }
  Random& random() { return random_; }
  const Clock& clock() const { return clock_; }

 private:
  friend class CpuSlots;
  friend class SlotGuard;
  Slot(std::uint32_t index, std::uint32_t cpu, bool control, const Clock& clock, std::uint64_t seed)
      : index_(index), cpu_(cpu), control_(control), random_(seed, index + 1), clock_(clock) {}

  const std::uint32_t index_, cpu_;  // immutable
  const bool control_;               // immutable
  Random random_;                    // owner
  const Clock& clock_;
  bool owned_ = false;  // guarded by CpuSlots::mutex_
};

/// Ownership of a slot; leaves it when it dies.
class [[nodiscard]] SlotGuard {
 public:
  SlotGuard(SlotGuard&& other) noexcept;
  SlotGuard& operator=(SlotGuard&&) = delete;
  ~SlotGuard();
  Slot& operator*() const { return *slot_; }
  Slot* operator->() const { return slot_; }

 private:
  friend class CpuSlots;
  SlotGuard(CpuSlots& slots, Slot& slot) : slots_(slots), slot_(&slot) {}
  CpuSlots& slots_;
  Slot* slot_;
};

/// All slots of a runtime.
class CpuSlots {
 public:
  static constexpr std::uint32_t max_cpus = 256;
  static constexpr std::uint32_t control_slots = 4;

  /// `cpus` possible CPUs, 1 … max_cpus.
  CpuSlots(std::uint32_t cpus, const Clock& clock, std::uint64_t seed);
  ~CpuSlots();

  std::uint32_t cpus() const { return cpus_; }
  /// Visible and control slots together: how much per-slot storage is needed.
  std::uint32_t total() const { return cpus_ + control_slots; }
  const Clock& clock() const { return clock_; }

  /// Enters the slot of CPU `cpu` (< cpus()). Blocks until its owner leaves. A thread must not
  /// enter a slot that it owns.
  SlotGuard enter(std::uint32_t cpu);
  /// Enters any free control slot. Blocks only while all are taken.
  SlotGuard enter_control();

 private:
  friend class SlotGuard;
  void leave(Slot& slot);

  const std::uint32_t cpus_;
  const Clock& clock_;
  std::mutex mutex_;  // a leaf; slots are entered before any ranked lock is taken
  std::condition_variable left_;
  std::vector<std::unique_ptr<Slot>> slots_;  // immutable after construction
};

/// One `T` per slot, each on cache lines of its own. Reached by showing the slot.
template <class T>
class PerSlot {
 public:
  explicit PerSlot(const CpuSlots& slots) : items_(slots.total()) {}
  T& operator[](const Slot& slot) { return items_[slot.index()].value; }
  const T& operator[](const Slot& slot) const { return items_[slot.index()].value; }
  /// All of them: for sums and for tearing down. The caller answers for no slot being in use, or T
  /// for being atomic.
  template <class Body>
  void for_each(Body&& body) {
    for (auto& item : items_) body(item.value);
  }
  template <class Body>
  void for_each(Body&& body) const {
    for (const auto& item : items_) body(item.value);
  }

 private:
  struct alignas(64) Padded {
    T value{};
  };
  std::vector<Padded> items_;
};

}  // namespace skep
