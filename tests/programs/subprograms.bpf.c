// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves calls: static and global subprograms, five arguments, pointers into the caller's stack,
// callee-saved registers, eight frames deep, and the context handed on.

#include "results.h"

enum result {
  RESULT_STATIC,
  RESULT_GLOBAL,
  RESULT_STACK,
  RESULT_DEPTH,
  RESULT_LENGTH,
  RESULT_SAVED
};

static __noinline __s64 five(__s64 a, __s64 b, __s64 c, __s64 d, __s64 e) {
  return a + 10 * b + 100 * c + 1000 * d + 10000 * e;
}

__noinline int global_sum(int a, int b) { return a * 3 - b; }

struct pair {
  __u64 first;
  __u64 second;
};

static __noinline void swap(struct pair* pair) {
  __u64 first = pair->first;
  pair->first = pair->second;
  pair->second = first;
}

/// A global subprogram is verified alone: it must check the pointer that it is given.
__noinline int global_pair(struct pair* pair) {
  if (!pair) return -1;
  pair->first += 1;
  return pair->first - pair->second;
}

/// Takes the context and looks at the packet itself.
__noinline int packet_length(struct xdp_md* ctx) { return ctx->data_end - ctx->data; }

static __noinline __u64 depth8(__u64 n) {
  volatile __u64 local = n;
  return local + 8;
}

#define DEPTH(this, next)                        \
  static __noinline __u64 depth##this(__u64 n) { \
    volatile __u64 local = n * 2;                \
    return depth##next(n + this) + local;        \
  }
DEPTH(7, 8)
DEPTH(6, 7)
DEPTH(5, 6)
DEPTH(4, 5)
DEPTH(3, 4)
DEPTH(2, 3)

SEC("xdp")
int subprograms(struct xdp_md* ctx) {
  const __u8* data = (void*)(long)ctx->data;
  if (data + 14 > (const __u8*)(long)ctx->data_end) return XDP_DROP;
  __u64 a = data[0], b = data[1], c = data[2];

  put(RESULT_STATIC, five(a, b, c, 4, 5));
  put(RESULT_GLOBAL, global_sum(a, b));
  struct pair pair = {.first = a, .second = b};
  swap(&pair);
  put(RESULT_STACK, global_pair(&pair) * 1000 + pair.first);
  put(RESULT_DEPTH, depth2(c));
  put(RESULT_LENGTH, packet_length(ctx));
  put(RESULT_SAVED, a + b + c);  // lived in r6..r9 or on this frame's stack all the while
  return XDP_PASS;
}
