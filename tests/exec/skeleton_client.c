// SPDX-License-Identifier: Apache-2.0
// A loader as libbpf's users write them: a skeleton that `bpftool gen skeleton` made, read-only
// configuration set before loading, globals read and written through memory. Says what it found,
// the same on every kernel.
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

// As in globals.bpf.c: a skeleton names the types of globals but does not define them.
struct point {
  int x;
  int y;
};

#include "globals.skel.h"

#include <linux/types.h>
#include <bpf/bpf.h>

static int fail(const char* what, long code) {
  fprintf(stderr, "skeleton_client: %s: %ld\n", what, code);
  return 1;
}

int main(void) {
  struct globals* const skeleton = globals__open();
  if (!skeleton) return fail("open", 0);
  skeleton->rodata->step = 5;
  skeleton->data->total = 2000;
  const int loaded = globals__load(skeleton);
  if (loaded != 0) return fail("load", loaded);

  unsigned char packet[64];
  for (unsigned i = 0; i < sizeof packet; ++i) packet[i] = (unsigned char)(i * 3);
  LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet, .data_size_in = sizeof packet,
              .repeat = 4);
  const int ran = bpf_prog_test_run_opts(bpf_program__fd(skeleton->progs.globals), &run);
  if (ran != 0) return fail("run", ran);
  printf("verdict %u packets %llu total %llu private %u\n", run.retval,
         (unsigned long long)skeleton->bss->packets, (unsigned long long)skeleton->data->total,
         skeleton->data_private->private_counter);
  for (int i = 0; i < 4; ++i)
    printf("corner %d %d\n", skeleton->data->corners[i].x, skeleton->data->corners[i].y);
  for (unsigned i = 0; i < sizeof skeleton->bss->last_bytes; ++i)
    printf("%02x", skeleton->bss->last_bytes[i]);
  putchar('\n');

  // What we write, programs see; and what they put into a map, we read.
  skeleton->bss->packets = 0;
  run.repeat = 1;
  const int ran_other = bpf_prog_test_run_opts(bpf_program__fd(skeleton->progs.read_globals), &run);
  if (ran_other != 0) return fail("run", ran_other);
  printf("verdict %u\n", run.retval);
  for (__u32 key = 0; key < 5; ++key) {
    __u64 value = 0;
    const int found = bpf_map_lookup_elem(bpf_map__fd(skeleton->maps.results), &key, &value);
    if (found != 0) return fail("lookup", found);
    printf("result %u %llu\n", key, (unsigned long long)value);
  }
  __u32 key = 0, value = 1;
  printf("frozen %d\n",
         bpf_map_update_elem(bpf_map__fd(skeleton->maps.rodata), &key, &value, 0) < 0);
  globals__destroy(skeleton);
  return 0;
}
