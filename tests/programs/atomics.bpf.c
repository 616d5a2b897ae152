// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves the atomic instructions, 32 and 64 bits wide, with and without fetching the old value, on
// map values, global variables and the stack.

#include "operands.h"
#include "results.h"

__u64 global64;
__u32 global32;

/// Writes what the operation returned, then what memory holds.
#define FETCHES(location)                                                       \
  put(n++, __sync_fetch_and_add(location, b)), put(n++, *(location));           \
  put(n++, __sync_fetch_and_and(location, b)), put(n++, *(location));           \
  put(n++, __sync_fetch_and_or(location, a)), put(n++, *(location));            \
  put(n++, __sync_fetch_and_xor(location, b)), put(n++, *(location));           \
  put(n++, __sync_lock_test_and_set(location, b)), put(n++, *(location));       \
  put(n++, __sync_val_compare_and_swap(location, b, a)), put(n++, *(location)); \
  put(n++, __sync_val_compare_and_swap(location, b + 1, b)), put(n++, *(location))

SEC("xdp")
int atomics64(struct xdp_md* ctx) {
  const struct operands* operands = operands_of(ctx);
  if (!operands) return XDP_ABORTED;
  __u64 a = operands->a, b = operands->b;
  __u32 key = MAX_RESULTS - 1;
  __s64* value = bpf_map_lookup_elem(&results, &key);
  if (!value) return XDP_ABORTED;
  *value = a;
  global64 = a;
  __u64 on_stack = a;
  int n = 0;
  FETCHES((__u64*)value);
  FETCHES(&global64);
  FETCHES(&on_stack);
  return XDP_PASS;
}

SEC("xdp")
int atomics32(struct xdp_md* ctx) {
  const struct operands* operands = operands_of(ctx);
  if (!operands) return XDP_ABORTED;
  __u32 a = operands->a, b = operands->b;
  __u32 key = MAX_RESULTS - 1;
  __u32* value = bpf_map_lookup_elem(&results, &key);
  if (!value) return XDP_ABORTED;
  value[0] = a;
  value[1] = 0xffffffff;  // must stay
  global32 = a;
  int n = 0;
  FETCHES(value);
  put(n++, value[1]);
  FETCHES(&global32);
  return XDP_PASS;
}

/// The forms without fetch, which a compiler takes when the result is not used.
SEC("xdp")
int atomics_without_fetch(struct xdp_md* ctx) {
  const struct operands* operands = operands_of(ctx);
  if (!operands) return XDP_ABORTED;
  __u64 b = operands->b;
  __u32 b32 = b;
  global64 = operands->a;
  global32 = operands->a;
  int n = 0;
#define NO_FETCH(instruction, location, operand)                                          \
  asm volatile("lock *(" instruction : : [p] "r"(location), [s] "r"(operand) : "memory"); \
  put(n++, *(location))
  NO_FETCH("u64 *)(%[p] + 0) += %[s]", &global64, b);
  NO_FETCH("u64 *)(%[p] + 0) &= %[s]", &global64, b);
  NO_FETCH("u64 *)(%[p] + 0) |= %[s]", &global64, b >> 3);
  NO_FETCH("u64 *)(%[p] + 0) ^= %[s]", &global64, b >> 5);
#undef NO_FETCH
#define NO_FETCH(instruction, location, operand)                                          \
  asm volatile("lock *(" instruction : : [p] "r"(location), [s] "w"(operand) : "memory"); \
  put(n++, *(location))
  NO_FETCH("u32 *)(%[p] + 0) += %[s]", &global32, b32);
  NO_FETCH("u32 *)(%[p] + 0) &= %[s]", &global32, b32);
  NO_FETCH("u32 *)(%[p] + 0) |= %[s]", &global32, b32 >> 3);
  NO_FETCH("u32 *)(%[p] + 0) ^= %[s]", &global32, b32 >> 5);
  return XDP_PASS;
}
