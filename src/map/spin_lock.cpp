// SPDX-License-Identifier: Apache-2.0
#include "map/spin_lock.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace skep::detail {
namespace {

/// Tells the core that this thread only waits.
void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

}  // namespace

void spin_lock_contended(std::uint32_t* word) {
  // A section is a few copied words; if it is not over by now its holder has probably lost its
  // core.
  constexpr int spins = 64;
  for (int i = 0; i < spins; ++i) {
    relax();
    std::uint32_t expected = spin_lock_free;
    // relaxed: only a look before the expensive write. acquire: as in spin_lock().
    if (__atomic_load_n(word, __ATOMIC_RELAXED) == spin_lock_free &&
        __atomic_compare_exchange_n(word, &expected, spin_lock_held, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED))
      return;
  }
  // Taken as "awaited" although nobody else may wait: at worst one wake-up too many.
  // acquire: as in spin_lock().
  while (__atomic_exchange_n(word, spin_lock_awaited, __ATOMIC_ACQUIRE) != spin_lock_free)
    ::syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, spin_lock_awaited, nullptr, nullptr, 0);
}

void spin_unlock_wake(std::uint32_t* word) {
  ::syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

}  // namespace skep::detail
