// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves that the checked interpreter stops a program at each kind of fault and names it. A
// kernel's verifier refuses all of these programs, except that it takes `ends`; so they are loaded
// one at a time, and never compared with the host.

#include "results.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} small SEC(".maps");

const volatile __u64 constant = 5;

/// Not a fault: shows that the object itself is sound.
SEC("?xdp")
int ends(struct xdp_md* ctx) { return XDP_PASS; }

SEC("?xdp")
int read_past_packet(struct xdp_md* ctx) {
  const volatile __u8* end = (void*)(long)ctx->data_end;
  return *end ? XDP_PASS : XDP_DROP;
}

/// The last byte is inside, the seven after it are not.
SEC("?xdp")
int read_across_packet_end(struct xdp_md* ctx) {
  const volatile __u64* last = (void*)(long)ctx->data_end - 1;
  return *last ? XDP_PASS : XDP_DROP;
}

SEC("?xdp")
int write_before_packet(struct xdp_md* ctx) {
  volatile __u8* data = (void*)(long)ctx->data;
  data[-1] = 1;
  return XDP_PASS;
}

SEC("?xdp")
int use_packet_pointer_after_resize(struct xdp_md* ctx) {
  volatile __u8* data = (void*)(long)ctx->data;
  if (bpf_xdp_adjust_head(ctx, 20)) return XDP_DROP;
  return *data ? XDP_PASS : XDP_DROP;
}

SEC("?xdp")
int read_null(struct xdp_md* ctx) {
  __u32 key = 1;
  const volatile __u64* value = bpf_map_lookup_elem(&small, &key);
  return *value ? XDP_PASS : XDP_DROP;
}

SEC("?xdp")
int read_past_map_value(struct xdp_md* ctx) {
  __u32 key = 0;
  const volatile __u64* value = bpf_map_lookup_elem(&small, &key);
  return value && value[1] ? XDP_PASS : XDP_DROP;
}

SEC("?xdp")
int write_constant(struct xdp_md* ctx) {
  *(volatile __u64*)&constant = 6;
  return XDP_PASS;
}

SEC("?xdp")
int read_wild_address(struct xdp_md* ctx) {
  const volatile __u64* address = (void*)0x1234567812345678;
  return *address ? XDP_PASS : XDP_DROP;
}

SEC("?xdp")
int read_below_stack(struct xdp_md* ctx) {
  __u64 value = 0;
  asm volatile("%[v] = *(u64 *)(r10 - 520)" : [v] "=r"(value));
  return value ? XDP_PASS : XDP_DROP;
}

SEC("?xdp")
int write_above_stack(struct xdp_md* ctx) {
  asm volatile("*(u64 *)(r10 + 0) = %[v]" : : [v] "r"(1ULL));
  return XDP_PASS;
}

SEC("?xdp")
int write_context(struct xdp_md* ctx) {
  *(volatile __u32*)&ctx->rx_queue_index = 1;
  return XDP_PASS;
}

SEC("?xdp")
int read_past_context(struct xdp_md* ctx) {
  return ((volatile __u32*)ctx)[6] ? XDP_PASS : XDP_DROP;
}

/// egress_ifindex belongs to programs of DEVMAP entries.
SEC("?xdp")
int read_egress_ifindex(struct xdp_md* ctx) { return ctx->egress_ifindex ? XDP_PASS : XDP_DROP; }

/// Ends at the instruction budget.
SEC("?xdp")
int endless_loop(struct xdp_md* ctx) {
  asm volatile(
      "r1 = 0;"
      "here%=:"
      "r1 += 2;"
      "if r1 != 1 goto here%=;" ::
          : "r1");
  return XDP_PASS;
}

/// The helper would write 8 bytes into 4 that exist.
SEC("?xdp")
int helper_writes_past_map_value(struct xdp_md* ctx) {
  __u32 key = 0;
  __u64* value = bpf_map_lookup_elem(&small, &key);
  if (!value) return XDP_DROP;
  bpf_xdp_load_bytes(ctx, 0, (void*)value + 4, 8);
  return XDP_PASS;
}
