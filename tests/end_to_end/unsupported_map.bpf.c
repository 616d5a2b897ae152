// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Has a map of a type that is no business of networking, so that skep will not have it soon:
// loading must be refused with the map's name and type.

// clang-format off: <linux/bpf.h> goes first, for libbpf's headers use its types.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
// clang-format on

struct {
  __uint(type, BPF_MAP_TYPE_STACK_TRACE);
  __uint(max_entries, 16);
  __uint(key_size, sizeof(__u32));
  __uint(value_size, 8 * sizeof(__u64));
} stacks SEC(".maps");

SEC("xdp")
int pass(struct xdp_md* ctx) { return bpf_get_stackid(ctx, &stacks, 0) < 0 ? XDP_PASS : XDP_DROP; }

char LICENSE[] SEC("license") = "GPL";
