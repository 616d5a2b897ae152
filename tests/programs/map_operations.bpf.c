// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves what the map helpers return to a program, for each map type, with every update flag, full
// and not full. The results are the return values in the order of the calls; 0 or a negative errno,
// except for lookups (1 found, 0 not). Programs expect fresh maps.

#include "results.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} array SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} percpu_array SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} hash SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, __u32);
  __type(value, __u64);
} hash_no_prealloc SEC(".maps");

#define UPDATE(map, k, v, flags)                      \
  ({                                                  \
    __u32 key_ = (k);                                 \
    __u64 value_ = (v);                               \
    bpf_map_update_elem(&map, &key_, &value_, flags); \
  })
#define ERASE(map, k)                 \
  ({                                  \
    __u32 key_ = (k);                 \
    bpf_map_delete_elem(&map, &key_); \
  })
/// The value, or -1 if there is none.
#define LOOKUP(map, k)                                \
  ({                                                  \
    __u32 key_ = (k);                                 \
    __u64* value_ = bpf_map_lookup_elem(&map, &key_); \
    value_ ? (__s64) * value_ : -1;                   \
  })

#define ARRAY_OPERATIONS(map)                \
  put(n++, LOOKUP(map, 0));                  \
  put(n++, LOOKUP(map, 4));                  \
  put(n++, UPDATE(map, 0, 10, BPF_ANY));     \
  put(n++, UPDATE(map, 0, 11, BPF_NOEXIST)); \
  put(n++, UPDATE(map, 0, 12, BPF_EXIST));   \
  put(n++, UPDATE(map, 4, 13, BPF_ANY));     \
  put(n++, UPDATE(map, 4, 13, BPF_NOEXIST)); \
  put(n++, UPDATE(map, 0, 14, BPF_F_LOCK));  \
  put(n++, UPDATE(map, 0, 15, 8));           \
  put(n++, LOOKUP(map, 0));                  \
  put(n++, ERASE(map, 0));                   \
  put(n++, ERASE(map, 4))

SEC("xdp")
int array_operations(struct xdp_md* ctx) {
  int n = 0;
  ARRAY_OPERATIONS(array);
  return XDP_PASS;
}

SEC("xdp")
int percpu_array_operations(struct xdp_md* ctx) {
  int n = 0;
  ARRAY_OPERATIONS(percpu_array);
  return XDP_PASS;
}

#define HASH_OPERATIONS(map)                 \
  put(n++, LOOKUP(map, 1));                  \
  put(n++, ERASE(map, 1));                   \
  put(n++, UPDATE(map, 1, 10, BPF_EXIST));   \
  put(n++, UPDATE(map, 1, 11, BPF_NOEXIST)); \
  put(n++, UPDATE(map, 1, 12, BPF_NOEXIST)); \
  put(n++, UPDATE(map, 1, 13, BPF_EXIST));   \
  put(n++, UPDATE(map, 1, 14, BPF_ANY));     \
  put(n++, UPDATE(map, 1, 15, 3));           \
  put(n++, UPDATE(map, 1, 16, BPF_F_LOCK));  \
  put(n++, UPDATE(map, 1, 17, 8));           \
  put(n++, LOOKUP(map, 1));                  \
  put(n++, UPDATE(map, 2, 20, BPF_ANY));     \
  put(n++, UPDATE(map, 3, 30, BPF_ANY));     \
  put(n++, UPDATE(map, 4, 40, BPF_NOEXIST)); \
  put(n++, UPDATE(map, 5, 50, BPF_ANY));     \
  put(n++, UPDATE(map, 5, 50, BPF_EXIST));   \
  put(n++, UPDATE(map, 4, 41, BPF_ANY));     \
  put(n++, ERASE(map, 1));                   \
  put(n++, ERASE(map, 1));                   \
  put(n++, UPDATE(map, 5, 50, BPF_ANY));     \
  put(n++, LOOKUP(map, 5))

SEC("xdp")
int hash_operations(struct xdp_md* ctx) {
  int n = 0;
  HASH_OPERATIONS(hash);
  return XDP_PASS;
}

SEC("xdp")
int hash_no_prealloc_operations(struct xdp_md* ctx) {
  int n = 0;
  HASH_OPERATIONS(hash_no_prealloc);
  return XDP_PASS;
}
