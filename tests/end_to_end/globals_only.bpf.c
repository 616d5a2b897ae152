// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Global variables and no maps: the only kind of object that loads without type information, so
// that a test can take it away.

// clang-format off: <linux/bpf.h> goes first, for libbpf's headers use its types.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
// clang-format on

const volatile __u32 passes = 1;

SEC("xdp")
int pass_or_drop(struct xdp_md* ctx) { return passes ? XDP_PASS : XDP_DROP; }

char LICENSE[] SEC("license") = "GPL";
