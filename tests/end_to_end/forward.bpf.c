// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// The program of the example in include/skep/runtime.hpp: every frame goes to port 0 of a devmap.

// clang-format off: <linux/bpf.h> goes first, for libbpf's headers use its types.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
// clang-format on

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} ports SEC(".maps");

/// Frames seen, whatever became of them.
__u64 frames;

SEC("xdp")
int forward(struct xdp_md* ctx) {
  __sync_fetch_and_add(&frames, 1);
  return bpf_redirect_map(&ports, 0, XDP_DROP);
}

char LICENSE[] SEC("license") = "GPL";
