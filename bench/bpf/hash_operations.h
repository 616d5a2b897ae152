// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Loops of map operations for BPF_PROG_TEST_RUN, one program per operation. Included once for each
// KEY_BYTES and VALUE_BYTES; the map's capacity is set when the object is loaded. The context does
// not matter.
#pragma once

// clang-format off: <linux/bpf.h> goes first, for libbpf's headers use its types.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
// clang-format on

#include "hash_state.h"

#define KEY_WORDS (KEY_BYTES / 4)

struct key {
  __u32 words[KEY_WORDS];
};
struct value {
  __u64 words[VALUE_BYTES / 8];
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, struct key);
  __type(value, struct value);
} map SEC(".maps");

struct hash_state state;

enum operation { OPERATION_NONE, OPERATION_LOOKUP, OPERATION_UPDATE, OPERATION_INSERT_DELETE };

/// Does `operation` on keys that are drawn anew each time. OPERATION_NONE: what that costs without
/// one.
static __always_inline int repeat(enum operation operation) {
  const __u64 keys = state.keys;
  const __u32 first_key = state.first_key;
  __u64 random = state.random, found = 0, failures = 0;
  struct value value = {};
  struct key key;
  for (int i = 0; i < KEY_WORDS; ++i) key.words[i] = HASH_FILLER;

#pragma clang loop unroll(disable)
  for (int i = 0; i < HASH_OPERATIONS_PER_RUN; ++i) {
    const __u32 number = first_key + hash_draw(&random, keys);
    hash_write_key(key.words, KEY_WORDS, number);
    if (operation == OPERATION_NONE) {
      asm volatile("" : : "r"(&key) : "memory");
    } else if (operation == OPERATION_LOOKUP) {
      const struct value* present = bpf_map_lookup_elem(&map, &key);
      if (present) found += present->words[0] == number;
    } else if (operation == OPERATION_UPDATE) {
      value.words[0] = number;
      if (bpf_map_update_elem(&map, &key, &value, BPF_EXIST)) ++failures;
    } else {
      value.words[0] = number;
      if (bpf_map_update_elem(&map, &key, &value, BPF_NOEXIST)) ++failures;
      if (bpf_map_delete_elem(&map, &key)) ++failures;
    }
  }
  state.random = random;
  state.found += found;
  state.failures += failures;
  return 0;
}

SEC("tc")
int none(struct __sk_buff* skb) { return repeat(OPERATION_NONE); }

SEC("tc")
int lookup(struct __sk_buff* skb) { return repeat(OPERATION_LOOKUP); }

SEC("tc")
int update(struct __sk_buff* skb) { return repeat(OPERATION_UPDATE); }

SEC("tc")
int insert_delete(struct __sk_buff* skb) { return repeat(OPERATION_INSERT_DELETE); }

char LICENSE[] SEC("license") = "GPL";
