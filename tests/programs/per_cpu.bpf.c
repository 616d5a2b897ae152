// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves per-CPU values: each CPU counts in its own, and can look at another's with
// bpf_map_lookup_percpu_elem().

#include "results.h"

struct counter {
  __u64 packets;
  __u64 bytes;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, struct counter);
} counters SEC(".maps");

enum result { RESULT_CPU, RESULT_OWN_PACKETS, RESULT_CPU0_PACKETS, RESULT_NO_SUCH_CPU };

SEC("xdp")
int per_cpu(struct xdp_md* ctx) {
  __u32 key = 1;
  struct counter* own = bpf_map_lookup_elem(&counters, &key);
  if (!own) return XDP_ABORTED;
  own->packets += 1;
  own->bytes += ctx->data_end - ctx->data;

  const struct counter* cpu0 = bpf_map_lookup_percpu_elem(&counters, &key, 0);
  const struct counter* nobody = bpf_map_lookup_percpu_elem(&counters, &key, 1 << 20);
  put(RESULT_CPU, bpf_get_smp_processor_id());
  put(RESULT_OWN_PACKETS, own->packets);
  put(RESULT_CPU0_PACKETS, cpu0 ? (__s64)cpu0->packets : -1);
  put(RESULT_NO_SUCH_CPU, nobody ? 1 : 0);
  return XDP_PASS;
}
