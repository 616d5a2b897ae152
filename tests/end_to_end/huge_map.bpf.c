// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// A map of 16 GiB: more than a runtime may use, so that creating it must be refused before memory
// is touched.

// clang-format off: <linux/bpf.h> goes first, for libbpf's headers use its types.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
// clang-format on

struct page {
  __u8 bytes[4096];
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4 << 20);
  __type(key, __u32);
  __type(value, struct page);
} pages SEC(".maps");

SEC("xdp")
int pass(struct xdp_md* ctx) {
  __u32 key = 0;
  return bpf_map_lookup_elem(&pages, &key) ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
