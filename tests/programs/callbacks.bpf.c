// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves helpers that call back into the program: bpf_loop() and bpf_for_each_map_elem(), with
// early end, nesting and changes made through the context pointer.

#include "results.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 10);
  __type(key, __u32);
  __type(value, __u64);
} table SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 32);
  __type(key, __u32);
  __type(value, __u64);
} hash SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} per_cpu SEC(".maps");

struct bpf_map;

/// A variable, so that the verifier cannot count the calls of the callbacks that end early.
__u64 stop_after_loop = 5;
__u64 stop_after_elements = 3;

struct sum {
  __u64 keys;
  __u64 values;
  __u64 calls;
};

static long add_index(__u64 index, void* context) {
  struct sum* sum = context;
  sum->keys += index;
  sum->calls += 1;
  return 0;
}

static long add_index_and_stop(__u64 index, void* context) {
  add_index(index, context);
  return index + 1 == stop_after_loop;
}

static long nested(__u64 index, void* context) {
  bpf_loop(index, add_index, context, 0);
  return 0;
}

/// Results: return value and sum of each call.
SEC("xdp")
int loop(struct xdp_md* ctx) {
  int n = 0;
  struct sum sum = {};
  put(n++, bpf_loop(100, add_index, &sum, 0));  // 100
  put(n++, sum.keys);                           // 4950
  struct sum stopped = {};
  put(n++, bpf_loop(100, add_index_and_stop, &stopped, 0));  // 5
  put(n++, stopped.keys);                                    // 10
  struct sum deep = {};
  put(n++, bpf_loop(20, nested, &deep, 0));   // 20
  put(n++, deep.calls);                       // 190
  put(n++, bpf_loop(0, add_index, &sum, 0));  // 0
  // -E2BIG. As an int: where the verifier has put the loop in place of the call, the upper half of
  // r0 is zero.
  put(n++, (int)bpf_loop((1 << 23) + 1, add_index, &sum, 0));
  put(n++, bpf_loop(1, add_index, &sum, 1));  // -EINVAL: no flags are known
  return XDP_PASS;
}

__u32 long_loop_rounds = 1 << 20;

/// Millions of instructions that end: a kernel runs them, skep stops them at its default budget.
SEC("xdp")
int long_loop(struct xdp_md* ctx) {
  struct sum sum = {};
  put(0, bpf_loop(long_loop_rounds, add_index, &sum, 0));
  put(1, sum.keys);  // rounds * (rounds - 1) / 2
  return XDP_PASS;
}

static long add_element(struct bpf_map* map, __u32* key, __u64* value, struct sum* sum) {
  sum->keys += *key;
  sum->values += *value;
  sum->calls += 1;
  *value += 1;
  return 0;
}

static long add_element_and_stop(struct bpf_map* map, __u32* key, __u64* value, struct sum* sum) {
  add_element(map, key, value, sum);
  return sum->calls == stop_after_elements;
}

/// Fills the maps and goes over them twice: the second time the values are one more.
SEC("xdp")
int for_each(struct xdp_md* ctx) {
  int n = 0;
  for (__u32 i = 0; i < 10; ++i) {
    __u64 value = i * i;
    bpf_map_update_elem(&table, &i, &value, BPF_ANY);
    __u32 key = i * 7;
    bpf_map_update_elem(&hash, &key, &value, BPF_ANY);
  }
  struct sum array = {}, first = {}, second = {}, stopped = {}, cpu = {};
  put(n++, bpf_for_each_map_elem(&table, add_element, &array, 0));            // 10
  put(n++, array.keys * 1000 + array.values);                                 // 45285
  put(n++, bpf_for_each_map_elem(&hash, add_element, &first, 0));             // 10
  put(n++, first.keys * 1000 + first.values);                                 // 315285
  put(n++, bpf_for_each_map_elem(&hash, add_element, &second, 0));            // 10
  put(n++, second.keys * 1000 + second.values);                               // 315295
  put(n++, bpf_for_each_map_elem(&hash, add_element_and_stop, &stopped, 0));  // 3
  put(n++, stopped.calls);                                                    // 3
  put(n++, bpf_for_each_map_elem(&per_cpu, add_element, &cpu, 0));            // 4
  put(n++, cpu.keys * 1000 + cpu.values);                          // 6000 at the first run
  put(n++, bpf_for_each_map_elem(&hash, add_element, &first, 1));  // -EINVAL
  return XDP_PASS;
}
