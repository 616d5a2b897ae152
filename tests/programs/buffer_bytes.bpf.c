// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves the helpers that copy packet bytes without packet pointers, at the edges of the packet
// too.

#include "results.h"

/// Set by the test after loading.
__u32 offset;
__u32 length = 4;

/// What load() read, what store() writes.
__u8 bytes[64];

enum result { RESULT_BUFFER_BYTES, RESULT_RETURN };

SEC("xdp")
int load(struct xdp_md* ctx) {
  put(RESULT_BUFFER_BYTES, bpf_xdp_get_buff_len(ctx));
  __u32 count = length;
  if (count == 0 || count > sizeof(bytes)) return XDP_ABORTED;
  put(RESULT_RETURN, bpf_xdp_load_bytes(ctx, offset, bytes, count));
  return XDP_PASS;
}

SEC("xdp")
int store(struct xdp_md* ctx) {
  put(RESULT_BUFFER_BYTES, bpf_xdp_get_buff_len(ctx));
  __u32 count = length;
  if (count == 0 || count > sizeof(bytes)) return XDP_ABORTED;
  put(RESULT_RETURN, bpf_xdp_store_bytes(ctx, offset, bytes, count));
  return XDP_PASS;
}

/// The same, in a program that takes packets in several fragments.
SEC("xdp.frags")
int load_frags(struct xdp_md* ctx) {
  put(RESULT_BUFFER_BYTES, bpf_xdp_get_buff_len(ctx));
  __u32 count = length;
  if (count == 0 || count > sizeof(bytes)) return XDP_ABORTED;
  put(RESULT_RETURN, bpf_xdp_load_bytes(ctx, offset, bytes, count));
  return XDP_PASS;
}
