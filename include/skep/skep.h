/* SPDX-License-Identifier: Apache-2.0 */
/* skep's C entry: bpf(2) in user space. One runtime is one world: its maps, programs, ids and
 * devices never meet those of another runtime or of the kernel.
 *
 *   struct skep_runtime *rt = skep_runtime_new(NULL);
 *   union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4};
 *   attr.value_size = 8;
 *   attr.max_entries = 1;
 *   long fd = skep_bpf(rt, BPF_MAP_CREATE, &attr, sizeof(attr));
 *   close(fd);
 *   skep_runtime_free(rt);
 *
 * `fd` is a real descriptor, or a negative errno.
 */
#ifndef SKEP_SKEP_H
#define SKEP_SKEP_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SKEP_API __attribute__((visibility("default")))
#else
#define SKEP_API
#endif

struct skep_runtime;

/* What a runtime is made with. Zero means the default; `size` is sizeof(struct
 * skep_runtime_options). */
struct skep_runtime_options {
  unsigned size;
  unsigned cpus;           /* possible CPUs that programs see, 1 to 256; default 1 */
  unsigned real_clock;     /* 0: a virtual clock and reproducible runs; 1: the machine's clocks */
  unsigned packet_chunks;  /* chunks of 4,096 bytes for packets; default 8192 */
  unsigned long long seed; /* of hash seeds and random numbers; default 1 */
  unsigned long long memory_bytes; /* budget of maps, programs, packets and logs; default 1 GiB */
  unsigned long long
      instruction_budget; /* instructions that one run of a program may take; default 1,000,000 */
};

/* Makes a runtime; `options` may be NULL. NULL with errno EINVAL (a value out of range) or ENOMEM.
 * Thread: any. */
SKEP_API struct skep_runtime* skep_runtime_new(const struct skep_runtime_options* options);

/* Ends a runtime. Descriptors that it handed out stay open but are dead (EINVAL from skep_bpf of
 * any runtime). NULL is fine. No other thread may be inside the runtime. */
SKEP_API void skep_runtime_free(struct skep_runtime* runtime);

/* bpf(2) on `runtime` in the name of this process: the same commands, attribute blocks and errno as
 * Linux. Returns what the command gives (>= 0) or a negative errno; errno itself is not touched. A
 * bad pointer is -EFAULT, never a crash. Thread: any. */
SKEP_API long skep_bpf(struct skep_runtime* runtime, int cmd, void* attr, unsigned size);

#ifdef __cplusplus
}
#endif

#endif
