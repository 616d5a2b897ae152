// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves global variables: .data, .bss, .rodata and a section of one's own, static and shared,
// arrays and structs, and pointers into them at odd offsets.

#include "results.h"

#include <stdbool.h>

const volatile __u32 step = 3;  // .rodata
const volatile bool count_bytes = true;
const char greeting[16] = "hello, skep";

__u64 total = 1000;  // .data
static volatile __u32 static_total = 7;

struct point {
  __s32 x;
  __s32 y;
};

struct point corners[4] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};

__u64 packets;  // .bss
__u8 last_bytes[11];
static __u64 static_packets;

__u32 private_counter SEC(".data.private") = 40;

enum result {
  RESULT_STATIC_TOTAL,
  RESULT_STATIC_PACKETS,
  RESULT_GREETING,
  RESULT_CORNERS,
  RESULT_PRIVATE
};

SEC("xdp")
int globals(struct xdp_md* ctx) {
  packets += 1;
  static_packets += 2;
  static_total += step;
  total += count_bytes ? (__u64)ctx->data_end - ctx->data : 1;
  private_counter += 1;

  const __u8* data = (void*)(long)ctx->data;
  if (data + 14 > (const __u8*)(long)ctx->data_end) return XDP_DROP;
  for (int i = 0; i < 11; ++i) last_bytes[i] = data[i];

  // An index the compiler cannot know.
  struct point* corner = &corners[data[5] & 3];
  corner->x += 10;
  corner->y -= corner->x;

  __s64 sum = 0;
  for (int i = 0; i < 4; ++i) sum += corners[i].x * 100 + corners[i].y;
  put(RESULT_CORNERS, sum);
  put(RESULT_STATIC_TOTAL, static_total);
  put(RESULT_STATIC_PACKETS, static_packets);
  put(RESULT_GREETING, greeting[data[11] & 7]);
  put(RESULT_PRIVATE, private_counter);
  return XDP_PASS;
}

/// A second program sees the same variables.
SEC("xdp")
int read_globals(struct xdp_md* ctx) {
  put(RESULT_STATIC_TOTAL, static_total);
  put(RESULT_STATIC_PACKETS, static_packets);
  return packets ? XDP_DROP : XDP_PASS;
}
