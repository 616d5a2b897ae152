// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves what a program learns about where and when it runs: clocks, random numbers, CPU and
// context fields. With the virtual clock and a fixed seed all of it is the same in every run.

#include "results.h"

enum result {
  RESULT_KTIME_NS,
  RESULT_KTIME_LATER_NS,  // never less than RESULT_KTIME_NS
  RESULT_BOOT_NS,
  RESULT_COARSE_NS,
  RESULT_RANDOM,
  RESULT_RANDOM_NEXT,
  RESULT_CPU,
  RESULT_INGRESS_IFINDEX,
  RESULT_RX_QUEUE,
  RESULT_JIFFIES,
  RESULT_NUMA_NODE,
};

SEC("xdp")
int environment(struct xdp_md* ctx) {
  put(RESULT_KTIME_NS, bpf_ktime_get_ns());
  put(RESULT_KTIME_LATER_NS, bpf_ktime_get_ns());
  put(RESULT_BOOT_NS, bpf_ktime_get_boot_ns());
  put(RESULT_COARSE_NS, bpf_ktime_get_coarse_ns());
  put(RESULT_RANDOM, bpf_get_prandom_u32());
  put(RESULT_RANDOM_NEXT, bpf_get_prandom_u32());
  put(RESULT_CPU, bpf_get_smp_processor_id());
  put(RESULT_INGRESS_IFINDEX, ctx->ingress_ifindex);
  put(RESULT_RX_QUEUE, ctx->rx_queue_index);
  put(RESULT_JIFFIES, bpf_jiffies64());
  put(RESULT_NUMA_NODE, bpf_get_numa_node_id());
  return XDP_PASS;
}
