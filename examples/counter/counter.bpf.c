// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Counts received packets, one counter per CPU, and lets every packet pass.

// clang-format off: <linux/bpf.h> goes first, for libbpf's headers use its types.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
// clang-format on

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} packets SEC(".maps");

SEC("xdp")
int count(struct xdp_md* ctx) {
  __u64* counter = bpf_map_lookup_elem(&packets, &(__u32){0});
  if (counter) *counter += 1;
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
