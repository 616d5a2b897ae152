// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves tail calls: the limit of 33, what happens when a slot is empty or out of range, from a
// subprogram, and that a called program gets the context but not the caller's registers or stack.

#include "results.h"

enum result {
  RESULT_RUNS,
  RESULT_FELL_THROUGH,
  RESULT_A_RUNS,
  RESULT_B_RUNS,
  RESULT_AFTER_SUBPROGRAM
};

enum slot { SLOT_SELF, SLOT_A, SLOT_B, SLOT_LEAF, SLOT_EMPTY, SLOT_COUNT };

int self(struct xdp_md* ctx);
int ping(struct xdp_md* ctx);
int pong(struct xdp_md* ctx);
int leaf(struct xdp_md* ctx);

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, SLOT_COUNT);
  __uint(key_size, sizeof(__u32));
  __array(values, int(struct xdp_md*));
} programs SEC(".maps") = {
    .values =
        {
            [SLOT_SELF] = (void*)&self,
            [SLOT_A] = (void*)&ping,
            [SLOT_B] = (void*)&pong,
            [SLOT_LEAF] = (void*)&leaf,
        },
};

/// Calls itself until that is refused: runs once and then 33 times more.
SEC("xdp")
int self(struct xdp_md* ctx) {
  add(RESULT_RUNS, 1);
  bpf_tail_call(ctx, &programs, SLOT_SELF);
  add(RESULT_FELL_THROUGH, 1);
  return XDP_PASS;
}

/// Two programs calling each other share the limit: 17 runs of each.
SEC("xdp")
int ping(struct xdp_md* ctx) {
  add(RESULT_A_RUNS, 1);
  bpf_tail_call(ctx, &programs, SLOT_B);
  return XDP_TX;
}

SEC("xdp")
int pong(struct xdp_md* ctx) {
  add(RESULT_B_RUNS, 1);
  bpf_tail_call(ctx, &programs, SLOT_A);
  return XDP_DROP;
}

SEC("xdp")
int leaf(struct xdp_md* ctx) {
  add(RESULT_RUNS, 1);
  return XDP_TX;
}

SEC("xdp")
int to_leaf(struct xdp_md* ctx) {
  bpf_tail_call(ctx, &programs, SLOT_LEAF);
  add(RESULT_FELL_THROUGH, 1);
  return XDP_DROP;
}

SEC("xdp")
int to_empty_slot(struct xdp_md* ctx) {
  bpf_tail_call(ctx, &programs, SLOT_EMPTY);
  add(RESULT_FELL_THROUGH, 1);
  return XDP_PASS;
}

SEC("xdp")
int out_of_range(struct xdp_md* ctx) {
  bpf_tail_call(ctx, &programs, SLOT_COUNT);
  bpf_tail_call(ctx, &programs, 0xffffffff);
  add(RESULT_FELL_THROUGH, 1);
  return XDP_PASS;
}

/// The slot comes from the packet (last byte of the destination MAC address).
SEC("xdp")
int by_packet(struct xdp_md* ctx) {
  const __u8* data = (void*)(long)ctx->data;
  if (data + 14 > (const __u8*)(long)ctx->data_end) return XDP_ABORTED;
  bpf_tail_call(ctx, &programs, data[5]);
  add(RESULT_FELL_THROUGH, 1);
  return XDP_PASS;
}

static __noinline int call_from_here(struct xdp_md* ctx) {
  bpf_tail_call(ctx, &programs, SLOT_LEAF);
  int verdict = XDP_DROP;
  asm volatile(
      ""
      : "+r"(
          verdict));  // the compiler, not knowing of tail calls, would take it for the only result
  return verdict;
}

/// A tail call in a subprogram replaces only that subprogram: its caller goes on with the leaf's
/// verdict.
SEC("xdp")
int from_subprogram(struct xdp_md* ctx) {
  int verdict = call_from_here(ctx);
  put(RESULT_AFTER_SUBPROGRAM, verdict);
  return XDP_PASS;
}
