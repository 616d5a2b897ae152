// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves what version 4 of the ISA added (compiled with -mcpu=v4): signed division and remainder,
// sign-extending moves and loads, unconditional byte swap, and the long jump. Needs Linux 6.6.

#include "operands.h"
#include "results.h"

SEC("xdp")
int arithmetic_v4(struct xdp_md* ctx) {
  const struct operands* operands = operands_of(ctx);
  if (!operands) return XDP_ABORTED;
  __u64 a = operands->a, b = operands->b;
  int n = 0;
  put(n++, EXECUTE64("%[d] s/= %[s]", a, b));  // by 0 gives 0, the lowest number by -1 gives itself
  put(n++, EXECUTE64("%[d] s%%= %[s]", a, b));  // by 0 leaves the dividend, by -1 gives 0
  put(n++, EXECUTE64("%[d] s/= -3", a, b));
  put(n++, EXECUTE64("%[d] s%%= -3", a, b));
  put(n++, EXECUTE32("%[d] s/= %[s]", a, b));
  put(n++, EXECUTE32("%[d] s%%= %[s]", a, b));
  put(n++, EXECUTE32("%[d] s/= -3", a, b));
  put(n++, EXECUTE32("%[d] s%%= -3", a, b));
  put(n++, EXECUTE64("%[d] = (s8)%[s]", a, b));
  put(n++, EXECUTE64("%[d] = (s16)%[s]", a, b));
  put(n++, EXECUTE64("%[d] = (s32)%[s]", a, b));
  put(n++, EXECUTE32("%[d] = (s8)%[s]", a, b));
  put(n++, EXECUTE32("%[d] = (s16)%[s]", a, b));
  put(n++, EXECUTE64("%[d] = bswap16 %[d]", a, b));
  put(n++, EXECUTE64("%[d] = bswap32 %[d]", a, b));
  put(n++, EXECUTE64("%[d] = bswap64 %[d]", a, b));
  return XDP_PASS;
}

/// Sign-extending loads from the packet, the stack and a map value.
SEC("xdp")
int loads_v4(struct xdp_md* ctx) {
  const struct operands* operands = operands_of(ctx);
  if (!operands) return XDP_ABORTED;
  const void* packet = operands;
  __u64 on_stack = operands->b;
  __u32 key = MAX_RESULTS - 1;
  __s64* value = bpf_map_lookup_elem(&results, &key);
  if (!value) return XDP_ABORTED;
  *value = operands->a;
  int n = 0;
#define LOAD(type, base)                                                                           \
  ({                                                                                               \
    __s64 loaded_;                                                                                 \
    asm volatile("%[d] = *(" type " *)(%[s] + 0)" : [d] "=r"(loaded_) : [s] "r"(base) : "memory"); \
    loaded_;                                                                                       \
  })
  put(n++, LOAD("s8", packet));
  put(n++, LOAD("s16", packet));
  put(n++, LOAD("s32", packet));
  put(n++, LOAD("s8", &on_stack));
  put(n++, LOAD("s16", &on_stack));
  put(n++, LOAD("s32", &on_stack));
  put(n++, LOAD("s8", value));
  put(n++, LOAD("s16", value));
  put(n++, LOAD("s32", value));
  return XDP_PASS;
}

/// A jump with a 32-bit offset, forwards and (in a loop) backwards. Result 0 is 10.
SEC("xdp")
int long_jump(struct xdp_md* ctx) {
  __u64 rounds = 0;
  asm volatile(
      "again%=:"
      "%[n] += 1;"
      "if %[n] >= 10 goto done%=;"
      "gotol again%=;"
      "done%=:"
      "if %[n] == 11 goto wrong%=;"
      "gotol end%=;"
      "wrong%=:"
      "%[n] = 0;"
      "end%=:"
      : [n] "+r"(rounds));
  put(0, rounds);
  return XDP_PASS;
}
