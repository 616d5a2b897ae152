// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves bpf_redirect_map() on a DEVMAP: hits, misses with each default verdict, refused flags, and
// the sequences in which an earlier call's target is used although a later one did not succeed.

#include "results.h"

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 8);
  __type(key, __u32);
  __type(value, struct bpf_devmap_val);
} ports SEC(".maps");

/// Set by the test after loading.
__u64 key;
__u64 miss_key = 7;
__u64 flags;

/// How many packets stale_target() has seen.
__u64 packets_seen;

/// Returns what the helper returned, and leaves it in result 0.
SEC("xdp")
int redirect(struct xdp_md* ctx) {
  long verdict = bpf_redirect_map(&ports, key, flags);
  put(0, verdict);
  return verdict;
}

/// The port whose key is the last byte of the destination MAC address; drops what has no such port.
SEC("xdp")
int redirect_by_destination(struct xdp_md* ctx) {
  const __u8* data = (void*)(long)ctx->data;
  if (data + 14 > (__u8*)(long)ctx->data_end) return XDP_ABORTED;
  return bpf_redirect_map(&ports, data[5], XDP_DROP);
}

/// Results 0..3: what a miss returns with default verdict 0..3. Returns the last.
SEC("xdp")
int misses(struct xdp_md* ctx) {
  int verdict = 0;
  for (__u64 verdict_on_miss = 0; verdict_on_miss < 4; ++verdict_on_miss) {
    verdict = bpf_redirect_map(&ports, miss_key, verdict_on_miss);
    put(verdict_on_miss, verdict);
  }
  return verdict;
}

/// Quirk: a miss keeps the key of the hit and forgets the map, so the frame goes to the device with
/// ifindex `key`.
SEC("xdp")
int hit_then_miss(struct xdp_md* ctx) {
  put(0, bpf_redirect_map(&ports, key, 0));
  put(1, bpf_redirect_map(&ports, miss_key, XDP_PASS));
  return XDP_REDIRECT;
}

/// A refused call changes nothing: the frame goes to `key`.
SEC("xdp")
int hit_then_refused_flags(struct xdp_md* ctx) {
  put(0, bpf_redirect_map(&ports, key, 0));
  put(1, bpf_redirect_map(&ports, key + 1, 4));
  return XDP_REDIRECT;
}

/// The last successful call wins: the frame goes to `key` + 1.
SEC("xdp")
int two_hits(struct xdp_md* ctx) {
  put(0, bpf_redirect_map(&ports, key, 0));
  put(1, bpf_redirect_map(&ports, key + 1, 0));
  return XDP_REDIRECT;
}

/// Quirk: the target outlives the packet. Packet 1 is dropped after naming `key`, packet 2 of the
/// same receive section goes there without any call, packet 3 fails with EBADRQC. Packets 4, 5, 6
/// repeat this.
SEC("xdp")
int stale_target(struct xdp_md* ctx) {
  if (packets_seen++ % 3 == 0) {
    put(0, bpf_redirect_map(&ports, key, 0));
    return XDP_DROP;
  }
  return XDP_REDIRECT;
}

/// Alternates between `key` and `key` + 1; with both on one device, only the first entry's egress
/// program runs.
SEC("xdp")
int alternate(struct xdp_md* ctx) {
  return bpf_redirect_map(&ports, key + packets_seen++ % 2, XDP_DROP);
}

/// A program may read an entry: result 0 is the ifindex, result 1 the id of the egress program (0:
/// none).
SEC("xdp")
int read_entry(struct xdp_md* ctx) {
  __u32 index = key;
  const struct bpf_devmap_val* entry = bpf_map_lookup_elem(&ports, &index);
  put(0, entry ? entry->ifindex : -1);
  put(1, entry ? entry->bpf_prog.id : -1);
  return XDP_PASS;
}
