// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Beside an XDP program, programs that skep does not load: one of a type that it does not have, one
// in a section that means nothing. They must be skipped with a note.

// clang-format off: <linux/bpf.h> goes first, for libbpf's headers use its types.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
// clang-format on

SEC("xdp")
int pass(struct xdp_md* ctx) { return XDP_PASS; }

SEC("kprobe/do_exit")
int on_exit(void* ctx) { return 0; }

SEC("garden/gate")
int on_gate(void* ctx) { return 0; }

char LICENSE[] SEC("license") = "GPL";
