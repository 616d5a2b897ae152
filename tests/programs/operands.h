// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Two 64-bit operands from the packet, after its Ethernet header, so that the compiler can compute
// nothing ahead and a fuzzer can choose them. Little-endian in the packet.

#pragma once

#include <linux/bpf.h>

struct operands {
  __u64 a;
  __u64 b;
} __attribute__((packed));

static __always_inline const struct operands* operands_of(const struct xdp_md* ctx) {
  const struct operands* operands = (void*)(long)ctx->data + 14;
  return (void*)(operands + 1) <= (void*)(long)ctx->data_end ? operands : 0;
}

/// Executes exactly one instruction on copies of `a` and `b`: no compiler changes what division by
/// zero or a shift by 70 gives. `instruction` names them %[d] and %[s] (the constraint of
/// EXECUTE32 makes them 32-bit registers).
#define EXECUTE64(instruction, a, b)                        \
  ({                                                        \
    __u64 d_ = (a), s_ = (b);                               \
    asm volatile(instruction : [d] "+r"(d_) : [s] "r"(s_)); \
    d_;                                                     \
  })
#define EXECUTE32(instruction, a, b)                        \
  ({                                                        \
    __u32 d_ = (a), s_ = (b);                               \
    asm volatile(instruction : [d] "+w"(d_) : [s] "w"(s_)); \
    (__u64) d_;                                             \
  })
