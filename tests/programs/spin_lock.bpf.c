// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves bpf_spin_lock in map values: both counters of a value always change together, and the lock
// itself is never seen by a lookup or changed by an update.

#include "results.h"

struct guarded {
  struct bpf_spin_lock lock;
  __u32 generation;
  __u64 packets;
  __u64 twice_packets;
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 8);
  __type(key, __u32);
  __type(value, struct guarded);
} guarded_hash SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, struct guarded);
} guarded_array SEC(".maps");

enum result { RESULT_UPDATE, RESULT_LOCKED_UPDATE, RESULT_TORN };

static __always_inline void count(struct guarded* guarded) {
  bpf_spin_lock(&guarded->lock);
  guarded->packets += 1;
  guarded->twice_packets += 2;
  __u64 packets = guarded->packets, twice_packets = guarded->twice_packets;
  bpf_spin_unlock(&guarded->lock);
  if (packets * 2 != twice_packets) add(RESULT_TORN, 1);
}

SEC("xdp")
int spin_lock(struct xdp_md* ctx) {
  __u32 key = 1;
  struct guarded* in_array = bpf_map_lookup_elem(&guarded_array, &key);
  if (!in_array) return XDP_ABORTED;
  count(in_array);

  struct guarded* in_hash = bpf_map_lookup_elem(&guarded_hash, &key);
  if (!in_hash) {
    struct guarded fresh = {.generation = 1};
    put(RESULT_UPDATE, bpf_map_update_elem(&guarded_hash, &key, &fresh, BPF_NOEXIST));
    in_hash = bpf_map_lookup_elem(&guarded_hash, &key);
    if (!in_hash) return XDP_ABORTED;
  }
  count(in_hash);
  return XDP_PASS;
}

/// BPF_F_LOCK: the update takes the value's lock.
SEC("xdp")
int locked_update(struct xdp_md* ctx) {
  __u32 key = 1;
  struct guarded fresh = {.generation = 2, .packets = 100, .twice_packets = 200};
  put(RESULT_LOCKED_UPDATE, bpf_map_update_elem(&guarded_hash, &key, &fresh, BPF_F_LOCK));
  return XDP_PASS;
}
