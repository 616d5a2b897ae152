// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves the flags that send a frame to all devices of a map.

#include "results.h"

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 8);
  __type(key, __u32);
  __type(value, struct bpf_devmap_val);
} ports SEC(".maps");

/// Every port, the one it came from too. XDP_REDIRECT even if the map is empty; the key does not
/// matter.
SEC("xdp")
int broadcast(struct xdp_md* ctx) { return bpf_redirect_map(&ports, 99, BPF_F_BROADCAST); }

SEC("xdp")
int broadcast_except_ingress(struct xdp_md* ctx) {
  return bpf_redirect_map(&ports, 0, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS);
}

/// BPF_F_EXCLUDE_INGRESS alone is accepted and ignored: an ordinary redirect to port 0.
SEC("xdp")
int exclude_ingress_alone(struct xdp_md* ctx) {
  return bpf_redirect_map(&ports, 0, BPF_F_EXCLUDE_INGRESS | XDP_DROP);
}

/// A packet may be changed before it is cloned: all copies show it.
SEC("xdp")
int mark_and_broadcast(struct xdp_md* ctx) {
  __u8* data = (void*)(long)ctx->data;
  if (data + 14 > (__u8*)(long)ctx->data_end) return XDP_ABORTED;
  data[11] = 0xbc;
  return bpf_redirect_map(&ports, 0, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS);
}
