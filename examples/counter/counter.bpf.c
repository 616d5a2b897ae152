// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Counts received frames by kind, one set of counters per CPU, and lets every frame pass.

// clang-format off: <linux/bpf.h> goes first, for libbpf's headers use its types.
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
// clang-format on

/// Indices of `traffic_by_kind`.
enum kind {
  KIND_OTHER,  // anything not below, and frames too short for an Ethernet header
  KIND_ARP,
  KIND_IPV4,
  KIND_IPV6,
  KIND_VLAN,
  KIND_COUNT,
};

struct traffic {
  __u64 frames;
  __u64 bytes;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, KIND_COUNT);
  __type(key, __u32);
  __type(value, struct traffic);
} traffic_by_kind SEC(".maps");

static enum kind kind_of(__be16 ethertype) {
  switch (bpf_ntohs(ethertype)) {
    case ETH_P_ARP:
      return KIND_ARP;
    case ETH_P_IP:
      return KIND_IPV4;
    case ETH_P_IPV6:
      return KIND_IPV6;
    case ETH_P_8021Q:
    case ETH_P_8021AD:
      return KIND_VLAN;
    default:
      return KIND_OTHER;
  }
}

SEC("xdp")
int count(struct xdp_md* ctx) {
  void* data = (void*)(long)ctx->data;
  void* data_end = (void*)(long)ctx->data_end;

  const struct ethhdr* ethernet = data;
  __u32 kind = KIND_OTHER;
  if ((void*)(ethernet + 1) <= data_end) kind = kind_of(ethernet->h_proto);

  struct traffic* traffic = bpf_map_lookup_elem(&traffic_by_kind, &kind);
  if (!traffic) return XDP_ABORTED;
  traffic->frames += 1;
  traffic->bytes += data_end - data;
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
