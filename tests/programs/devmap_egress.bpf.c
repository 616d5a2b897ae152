// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves egress programs of DEVMAP entries: they see where the frame goes, may change, grow or drop
// it, and no other verdict than PASS sends it.

#include "results.h"

#include <linux/if_ether.h>

struct mac {
  __u8 mac[ETH_ALEN];
};

/// Source address by outgoing ifindex.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16);
  __type(key, __u32);
  __type(value, struct mac);
} source_macs SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 8);
  __type(key, __u32);
  __type(value, struct bpf_devmap_val);
} ports SEC(".maps");

enum result {
  RESULT_RUNS,
  RESULT_INGRESS_IFINDEX,
  RESULT_EGRESS_IFINDEX,
  RESULT_RX_QUEUE,
  RESULT_LENGTH
};

__u32 key;

SEC("xdp")
int redirect(struct xdp_md* ctx) { return bpf_redirect_map(&ports, key, XDP_DROP); }

SEC("xdp")
int broadcast(struct xdp_md* ctx) {
  return bpf_redirect_map(&ports, 0, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS);
}

SEC("xdp/devmap")
int set_source_mac(struct xdp_md* ctx) {
  add(RESULT_RUNS, 1);
  put(RESULT_INGRESS_IFINDEX, ctx->ingress_ifindex);
  put(RESULT_EGRESS_IFINDEX, ctx->egress_ifindex);
  put(RESULT_RX_QUEUE, ctx->rx_queue_index);
  put(RESULT_LENGTH, ctx->data_end - ctx->data);

  __u32 egress_ifindex = ctx->egress_ifindex;
  const struct mac* mac = bpf_map_lookup_elem(&source_macs, &egress_ifindex);
  if (!mac) return XDP_DROP;
  struct ethhdr* ethernet = (void*)(long)ctx->data;
  if ((void*)(ethernet + 1) > (void*)(long)ctx->data_end) return XDP_DROP;
  __builtin_memcpy(ethernet->h_source, mac->mac, ETH_ALEN);
  return XDP_PASS;
}

/// Grows the frame by a VLAN tag (VLAN = outgoing ifindex) in front of the EtherType.
SEC("xdp/devmap")
int push_vlan(struct xdp_md* ctx) {
  add(RESULT_RUNS, 1);
  if (bpf_xdp_adjust_head(ctx, -4)) return XDP_DROP;
  __u8* data = (void*)(long)ctx->data;
  if (data + 18 > (__u8*)(long)ctx->data_end) return XDP_DROP;
  __builtin_memmove(data, data + 4, 2 * ETH_ALEN);
  data[12] = 0x81;
  data[13] = 0x00;
  data[14] = ctx->egress_ifindex >> 8 & 0x0f;
  data[15] = ctx->egress_ifindex;
  return XDP_PASS;
}

/// Lets two of three frames go.
SEC("xdp/devmap")
int drop_every_third(struct xdp_md* ctx) {
  static __u64 runs;
  add(RESULT_RUNS, 1);
  return ++runs % 3 == 0 ? XDP_DROP : XDP_PASS;
}

SEC("xdp/devmap")
int egress_aborted(struct xdp_md* ctx) {
  add(RESULT_RUNS, 1);
  return XDP_ABORTED;
}

/// TX and REDIRECT are invalid here: the frame is freed.
SEC("xdp/devmap")
int egress_tx(struct xdp_md* ctx) {
  add(RESULT_RUNS, 1);
  return XDP_TX;
}

SEC("xdp/devmap")
int egress_redirect(struct xdp_md* ctx) {
  add(RESULT_RUNS, 1);
  return bpf_redirect_map(&ports, key, XDP_DROP);
}
