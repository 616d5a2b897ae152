// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves bpf_xdp_adjust_head(), _tail() and _meta(): which deltas are taken, and where data, its
// end and the metadata are afterwards.

#include "results.h"

/// Set by the test after loading.
int delta;
int meta_delta;

enum result {
  RESULT_RETURN,  // of the helper: 0 or a negative errno
  RESULT_BYTES_BEFORE,
  RESULT_BYTES_AFTER,
  RESULT_META_BEFORE,  // bytes of metadata in front of data
  RESULT_META_AFTER,
  RESULT_META_RETURN,
  RESULT_META_WORD,  // first word of the metadata as read back
};

static __always_inline void note_sizes(const struct xdp_md* ctx, __u32 bytes, __u32 meta) {
  put(bytes, (__s64)ctx->data_end - ctx->data);
  put(meta, (__s64)ctx->data - ctx->data_meta);
}

SEC("xdp")
int adjust_head(struct xdp_md* ctx) {
  note_sizes(ctx, RESULT_BYTES_BEFORE, RESULT_META_BEFORE);
  put(RESULT_RETURN, bpf_xdp_adjust_head(ctx, delta));
  note_sizes(ctx, RESULT_BYTES_AFTER, RESULT_META_AFTER);
  return XDP_PASS;
}

SEC("xdp")
int adjust_tail(struct xdp_md* ctx) {
  note_sizes(ctx, RESULT_BYTES_BEFORE, RESULT_META_BEFORE);
  put(RESULT_RETURN, bpf_xdp_adjust_tail(ctx, delta));
  note_sizes(ctx, RESULT_BYTES_AFTER, RESULT_META_AFTER);
  return XDP_PASS;
}

SEC("xdp")
int adjust_meta(struct xdp_md* ctx) {
  note_sizes(ctx, RESULT_BYTES_BEFORE, RESULT_META_BEFORE);
  put(RESULT_RETURN, bpf_xdp_adjust_meta(ctx, delta));
  note_sizes(ctx, RESULT_BYTES_AFTER, RESULT_META_AFTER);
  return XDP_PASS;
}

/// Metadata moves along with the head, its content kept.
SEC("xdp")
int meta_then_head(struct xdp_md* ctx) {
  note_sizes(ctx, RESULT_BYTES_BEFORE, RESULT_META_BEFORE);
  put(RESULT_META_RETURN, bpf_xdp_adjust_meta(ctx, meta_delta));
  __u32* word = (void*)(long)ctx->data_meta;
  if ((void*)(word + 1) <= (void*)(long)ctx->data) *word = 0x5eed5eed;
  put(RESULT_RETURN, bpf_xdp_adjust_head(ctx, delta));
  note_sizes(ctx, RESULT_BYTES_AFTER, RESULT_META_AFTER);
  word = (void*)(long)ctx->data_meta;
  if ((void*)(word + 1) <= (void*)(long)ctx->data) put(RESULT_META_WORD, *word);
  return XDP_PASS;
}

/// Puts an outer header in front and cuts it off again: the packet comes out as it went in.
SEC("xdp")
int grow_and_shrink(struct xdp_md* ctx) {
  put(RESULT_RETURN, bpf_xdp_adjust_head(ctx, -40));
  __u8* data = (void*)(long)ctx->data;
  if (data + 40 > (__u8*)(long)ctx->data_end) return XDP_ABORTED;
  for (int i = 0; i < 40; ++i) data[i] = 0xee;
  put(RESULT_META_RETURN, bpf_xdp_adjust_head(ctx, 40));
  return XDP_PASS;
}

/// The bytes that a tail grows by are zero: result RETURN is their sum. Needs `delta` of at
/// least 8.
SEC("xdp")
int tail_is_zeroed(struct xdp_md* ctx) {
  __u64 bytes_before = (__u64)ctx->data_end - ctx->data;
  if (bytes_before > 0x7ff || bpf_xdp_adjust_tail(ctx, delta)) return XDP_ABORTED;
  asm volatile("%[n] &= 0x7ff"
               : [n] "+r"(bytes_before));  // tells the verifier what the check above established
  const __u8* tail = (const __u8*)(long)ctx->data + bytes_before;
  if (tail + 8 > (const __u8*)(long)ctx->data_end) return XDP_ABORTED;
  __s64 sum = 0;
  for (int i = 0; i < 8; ++i) sum += tail[i];
  put(RESULT_RETURN, sum);
  return XDP_PASS;
}
