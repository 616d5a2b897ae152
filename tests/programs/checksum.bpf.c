// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves loops over packet bytes with a bound that only the packet knows, and bpf_csum_diff()
// against them.

#include "results.h"

#define MAX_PACKET_BYTES 1600
#define CSUM_DIFF_BYTES 64

enum result {
  RESULT_CHECKSUM,  // Internet checksum of the whole frame (RFC 1071), padded with a zero byte if
                    // odd
  RESULT_BYTE_SUM,
  RESULT_CSUM_DIFF,  // bpf_csum_diff() of the first 64 bytes against nothing, folded to 16 bits
  RESULT_SAME_SUM,   // the same by a loop
  RESULT_REPLACED,   // bpf_csum_diff() from the first to the second 32 bytes, seeded with 0x1234,
                     // folded
  RESULT_RAW,        // bpf_csum_diff() of the first 64 bytes, seeded with 0x1234, as returned
  RESULT_ODD_SIZE,   // bpf_csum_diff() with a size that is no multiple of 4: the sum on Linux 6.18,
                     // -EINVAL before
};

static __always_inline __u32 fold(__u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

SEC("xdp")
int checksum(struct xdp_md* ctx) {
  const __u8* data = (void*)(long)ctx->data;
  const __u8* end = (void*)(long)ctx->data_end;
  __u64 sum = 0, byte_sum = 0;
  for (int i = 0; i < MAX_PACKET_BYTES; ++i) {
    const __u8* byte = data + i;
    if (byte + 1 > end) break;
    byte_sum += *byte;
    sum += i % 2 ? *byte : *byte << 8;
  }
  put(RESULT_CHECKSUM, (__u16)~fold(sum));
  put(RESULT_BYTE_SUM, byte_sum);
  return XDP_PASS;
}

SEC("xdp")
int csum_diff(struct xdp_md* ctx) {
  __be32* data = (void*)(long)ctx->data;
  if ((void*)data + CSUM_DIFF_BYTES > (void*)(long)ctx->data_end) return XDP_DROP;
  put(RESULT_CSUM_DIFF, fold(bpf_csum_diff(0, 0, data, CSUM_DIFF_BYTES, 0)));
  __u64 sum = 0;
  for (int i = 0; i < CSUM_DIFF_BYTES / 4; ++i) sum += data[i];
  put(RESULT_SAME_SUM, fold(sum));
  put(RESULT_REPLACED, fold(bpf_csum_diff(data, 32, data + 8, 32, 0x1234)));
  put(RESULT_RAW, bpf_csum_diff(0, 0, data, CSUM_DIFF_BYTES, 0x1234));
  put(RESULT_ODD_SIZE, bpf_csum_diff(0, 0, data, 6, 0));
  return XDP_PASS;
}
