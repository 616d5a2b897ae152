// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves the arithmetic, byte order, jump and load/store instructions of the ISA up to version 3,
// on operands from the packet: wrap-around, shifts of 64 and more, division and remainder by zero,
// 32-bit results zero-extended.

#include "operands.h"
#include "results.h"

/// Results 0..: 64-bit register, 64-bit immediate, 32-bit register, 32-bit immediate forms, in the
/// order below.
SEC("xdp")
int arithmetic(struct xdp_md* ctx) {
  const struct operands* operands = operands_of(ctx);
  if (!operands) return XDP_ABORTED;
  __u64 a = operands->a, b = operands->b;
  // Shift counts of registers are masked by hardware on the kernel, which leaves counts beyond the
  // width undefined.
  __u64 shift64 = b & 63, shift32 = b & 31;
  int n = 0;
  put(n++, EXECUTE64("%[d] += %[s]", a, b));
  put(n++, EXECUTE64("%[d] -= %[s]", a, b));
  put(n++, EXECUTE64("%[d] *= %[s]", a, b));
  put(n++, EXECUTE64("%[d] /= %[s]", a, b));
  put(n++, EXECUTE64("%[d] %%= %[s]", a, b));
  put(n++, EXECUTE64("%[d] |= %[s]", a, b));
  put(n++, EXECUTE64("%[d] &= %[s]", a, b));
  put(n++, EXECUTE64("%[d] ^= %[s]", a, b));
  put(n++, EXECUTE64("%[d] <<= %[s]", a, shift64));
  put(n++, EXECUTE64("%[d] >>= %[s]", a, shift64));
  put(n++, EXECUTE64("%[d] s>>= %[s]", a, shift64));
  put(n++, EXECUTE64("%[d] = -%[d]", a, b));
  put(n++, EXECUTE64("%[d] = %[s]", a, b));
  put(n++, EXECUTE64("%[d] += -7", a, b));
  put(n++, EXECUTE64("%[d] -= 0x7fffffff", a, b));
  put(n++, EXECUTE64("%[d] *= -3", a, b));
  put(n++, EXECUTE64("%[d] /= 7", a, b));
  put(n++, EXECUTE64("%[d] /= -1", a, b));  // unsigned: the immediate is sign-extended first
  put(n++, EXECUTE64("%[d] %%= 10", a, b));
  put(n++, EXECUTE64("%[d] |= -65536", a, b));
  put(n++, EXECUTE64("%[d] &= -65536", a, b));
  put(n++, EXECUTE64("%[d] ^= -1", a, b));
  put(n++, EXECUTE64("%[d] <<= 63", a, b));
  put(n++, EXECUTE64("%[d] >>= 33", a, b));
  put(n++, EXECUTE64("%[d] s>>= 33", a, b));
  put(n++, EXECUTE64("%[d] = -2", a, b));
  put(n++, EXECUTE64("%[d] = 0x123456789abcdef0 ll", a, b));
  put(n++, EXECUTE32("%[d] += %[s]", a, b));
  put(n++, EXECUTE32("%[d] -= %[s]", a, b));
  put(n++, EXECUTE32("%[d] *= %[s]", a, b));
  put(n++, EXECUTE32("%[d] /= %[s]", a, b));
  put(n++, EXECUTE32("%[d] %%= %[s]", a, b));
  put(n++, EXECUTE32("%[d] |= %[s]", a, b));
  put(n++, EXECUTE32("%[d] &= %[s]", a, b));
  put(n++, EXECUTE32("%[d] ^= %[s]", a, b));
  put(n++, EXECUTE32("%[d] <<= %[s]", a, shift32));
  put(n++, EXECUTE32("%[d] >>= %[s]", a, shift32));
  put(n++, EXECUTE32("%[d] s>>= %[s]", a, shift32));
  put(n++, EXECUTE32("%[d] = -%[d]", a, b));
  put(n++, EXECUTE32("%[d] = %[s]", a, b));
  put(n++, EXECUTE32("%[d] += -7", a, b));
  put(n++, EXECUTE32("%[d] /= -1", a, b));
  put(n++, EXECUTE32("%[d] %%= 10", a, b));
  put(n++, EXECUTE32("%[d] s>>= 31", a, b));
  put(n++, EXECUTE32("%[d] = -2", a, b));
  put(n++, EXECUTE64("%[d] = be16 %[d]", a, b));
  put(n++, EXECUTE64("%[d] = be32 %[d]", a, b));
  put(n++, EXECUTE64("%[d] = be64 %[d]", a, b));
  put(n++, EXECUTE64("%[d] = le16 %[d]", a, b));
  put(n++, EXECUTE64("%[d] = le32 %[d]", a, b));
  put(n++, EXECUTE64("%[d] = le64 %[d]", a, b));
  return XDP_PASS;
}

#define TAKEN64(condition, a, b)                                          \
  ({                                                                      \
    __u64 taken_ = 1, a_ = (a), b_ = (b);                                 \
    asm volatile("if %[a] " condition " goto taken%=; %[t] = 0; taken%=:" \
                 : [t] "+r"(taken_)                                       \
                 : [a] "r"(a_), [b] "r"(b_));                             \
    taken_;                                                               \
  })
#define TAKEN32(condition, a, b)                                          \
  ({                                                                      \
    __u64 taken_ = 1;                                                     \
    __u32 a_ = (a), b_ = (b);                                             \
    asm volatile("if %[a] " condition " goto taken%=; %[t] = 0; taken%=:" \
                 : [t] "+r"(taken_)                                       \
                 : [a] "w"(a_), [b] "w"(b_));                             \
    taken_;                                                               \
  })
#define ALL_CONDITIONS(TAKEN, operand)   \
  put(n++, TAKEN("== " operand, a, b));  \
  put(n++, TAKEN("!= " operand, a, b));  \
  put(n++, TAKEN("> " operand, a, b));   \
  put(n++, TAKEN(">= " operand, a, b));  \
  put(n++, TAKEN("< " operand, a, b));   \
  put(n++, TAKEN("<= " operand, a, b));  \
  put(n++, TAKEN("s> " operand, a, b));  \
  put(n++, TAKEN("s>= " operand, a, b)); \
  put(n++, TAKEN("s< " operand, a, b));  \
  put(n++, TAKEN("s<= " operand, a, b)); \
  put(n++, TAKEN("& " operand, a, b))

/// Results: 1 where the jump was taken, for ==, !=, >, >=, <, <=, s>, s>=, s<, s<=, & with a 64-bit
/// register, a 64-bit immediate (-5), a 32-bit register and a 32-bit immediate.
SEC("xdp")
int jumps(struct xdp_md* ctx) {
  const struct operands* operands = operands_of(ctx);
  if (!operands) return XDP_ABORTED;
  __u64 a = operands->a, b = operands->b;
  int n = 0;
  ALL_CONDITIONS(TAKEN64, "%[b]");
  ALL_CONDITIONS(TAKEN64, "-5");
  ALL_CONDITIONS(TAKEN32, "%[b]");
  ALL_CONDITIONS(TAKEN32, "-5");
  return XDP_PASS;
}

/// Stores of each width, from registers and immediates, into the stack, a map value and the packet;
/// loads of each width back. The packet comes out with bytes 30..53 changed; 54 bytes are needed.
SEC("xdp")
int memory(struct xdp_md* ctx) {
  const struct operands* operands = operands_of(ctx);
  if (!operands) return XDP_ABORTED;
  __u64 a = operands->a;
  volatile __u8* packet = (void*)(long)ctx->data;
  if (packet + 54 > (__u8*)(long)ctx->data_end) return XDP_ABORTED;

  volatile __u8 stack[32] = {};
  int n = 0;
#define STORE_AND_LOAD(base)                    \
  *(volatile __u64*)((base) + 0) = a;           \
  *(volatile __u32*)((base) + 8) = a >> 8;      \
  *(volatile __u16*)((base) + 12) = a >> 16;    \
  *(volatile __u8*)((base) + 14) = a >> 24;     \
  *(volatile __u8*)((base) + 15) = 0xa5;        \
  *(volatile __u16*)((base) + 16) = 0xfffe;     \
  *(volatile __u32*)((base) + 20) = 0x80000001; \
  put(n++, *(volatile __u64*)((base) + 8));     \
  put(n++, *(volatile __u32*)((base) + 4));     \
  put(n++, *(volatile __u16*)((base) + 6));     \
  put(n++, *(volatile __u8*)((base) + 7));      \
  put(n++, *(volatile __u64*)((base) + 16) & 0xffffffff0000ffff)
  STORE_AND_LOAD(stack);
  STORE_AND_LOAD(packet + 30);
  return XDP_PASS;
}
