// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// What the xdp rows run. Every map is filled by the benchmark before it measures.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct bpf_devmap_val);
} one SEC(".maps");

/// Its entry has the program `egress`.
struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct bpf_devmap_val);
} one_with_program SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, struct bpf_devmap_val);
} four SEC(".maps");

SEC("xdp")
int drop(struct xdp_md* ctx) { return XDP_DROP; }

SEC("xdp")
int redirect(struct xdp_md* ctx) { return bpf_redirect_map(&one, 0, 0); }

SEC("xdp")
int redirect_egress(struct xdp_md* ctx) { return bpf_redirect_map(&one_with_program, 0, 0); }

SEC("xdp")
int broadcast4(struct xdp_md* ctx) { return bpf_redirect_map(&four, 0, BPF_F_BROADCAST); }

/// Gives the frame the source address of its port, as a router would.
SEC("xdp/devmap")
int egress(struct xdp_md* ctx) {
  struct ethhdr* ethernet = (void*)(long)ctx->data;
  if ((void*)(ethernet + 1) > (void*)(long)ctx->data_end) return XDP_DROP;
  ethernet->h_source[5] = ctx->egress_ifindex;
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
