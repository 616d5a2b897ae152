// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// What the hash rows and their programs share: how keys are drawn and written, and the state of a
// program, which the benchmark reads and writes. skep's side of the rows does the same work with
// this same code: only then can the two figures be compared.
#pragma once

#include <linux/types.h>

#define HASH_OPERATIONS_PER_RUN 512
#define HASH_FILLER 0x5a5a5a5au

struct hash_state {
  __u64 random;     // state of the generator that draws keys
  __u64 keys;       // how many numbers are drawn from, beginning with
  __u64 first_key;  // this one
  __u64 found;      // lookups that found the value of their key
  __u64 failures;   // updates and deletions that failed
};

/// A number below `bound`: the high half of a 64-bit linear congruential generator (Knuth, MMIX),
/// scaled down by a multiplication.
static inline __attribute__((always_inline)) __u32 hash_draw(__u64* random, __u64 bound) {
  *random = *random * 6364136223846793005ull + 1442695040888963407ull;
  return (__u32)(((*random >> 32) * bound) >> 32);
}

/// Writes the key of `number`, of `words` 32-bit words, by stores of 32 bits, as programs do that
/// build a key from header fields. The words between the first and the last stay as they are.
static inline __attribute__((always_inline)) void hash_write_key(__u32* key, unsigned words,
                                                                 __u32 number) {
  key[0] = number;
  if (words > 1) key[words - 1] = number * 0x9e3779b1u;
}
