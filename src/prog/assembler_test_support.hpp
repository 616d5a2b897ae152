// SPDX-License-Identifier: Apache-2.0
// An assembler for tests: programs as text in the form that verifier logs use.
//
//   r1 = 5             r1 s/= r2          r0 = bswap32 r0         if w1 s< -5 goto +3
//   r1 = 0x12345 ll    w1 = (s8)w2        r1 = *(s16 *)(r2 + 4)   if r1 != r2 goto label
//   r1 = map 3         r1 = -r1           *(u32 *)(r10 - 4) = 7   goto label     (gotol, may_goto)
//   r1 = map 3 + 8     (value address)    lock *(u64 *)(r1 + 0) += r2
//   r1 = func label    r1 = atomic_fetch_add((u64 *)(r2 + 0), r1)     (also _or, _and, _xor;
//   atomic_xchg) r1 = map_idx 0     r0 = atomic_cmpxchg((u64 *)(r2 + 0), r0, r1) call 5 r1 =
//   load_acquire((u32 *)(r2 + 0))    store_release((u32 *)(r1 + 0), r2) call @label        r0 =
//   *(u16 *)skb[12]   r0 = *(u8 *)skb[r1 + 2] label:             .raw CODE DST SRC OFF IMM
//
// Lines end at a newline or ';'. Two slashes begin a comment.
#pragma once

#include "uapi/bpf.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace skep::testing {

struct Assembled {
  std::vector<uapi::bpf_insn> instructions;
  std::string error;  // empty: assembled
};

Assembled assemble(std::string_view text);

}  // namespace skep::testing
