// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// The shortest programs there are: what is left is the way that a frame takes.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int pass(struct xdp_md* ctx) { return XDP_PASS; }

SEC("xdp")
int drop(struct xdp_md* ctx) { return XDP_DROP; }

char LICENSE[] SEC("license") = "GPL";
