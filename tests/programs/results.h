// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Where the test programs leave what they saw: result N of a program is `results[N]`, a signed
// 64-bit value. Each program file says what its numbers mean in an enum.

#pragma once

// clang-format off: <linux/bpf.h> goes first, for libbpf's headers use its types.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
// clang-format on

#define MAX_RESULTS 128

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, MAX_RESULTS);
  __type(key, __u32);
  __type(value, __s64);
} results SEC(".maps");

static __always_inline void put(__u32 number, __s64 value) {
  __s64* result = bpf_map_lookup_elem(&results, &number);
  if (result) *result = value;
}

/// For counting executions; atomic, so that it also counts right on several CPUs.
static __always_inline void add(__u32 number, __s64 value) {
  __s64* result = bpf_map_lookup_elem(&results, &number);
  if (result) __sync_fetch_and_add(result, value);
}

char LICENSE[] SEC("license") = "GPL";
