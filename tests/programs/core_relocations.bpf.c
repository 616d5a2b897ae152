// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves CO-RE relocations against the kernel's type information: fields that moved, exist or do
// not, sizes, enum values. Results that depend on the kernel are only compared with what the same
// object gives on the host.

#include "results.h"

#include <bpf/bpf_core_read.h>

/// The first two fields are swapped on purpose: only a relocated access reads the right ones.
struct xdp_md___moved {
  __u32 data_end;
  __u32 data;
  __u32 no_such_field;
  __u32 egress_ifindex;
} __attribute__((preserve_access_index));

struct bpf_devmap_val___moved {
  union {
    int fd;
    __u32 id;
  } bpf_prog;
  __u32 ifindex;
} __attribute__((preserve_access_index));

struct task_struct___partial {
  int pid;
  int no_such_field;
} __attribute__((preserve_access_index));

struct no_such_struct {
  int field;
} __attribute__((preserve_access_index));

enum xdp_action___renumbered { XDP_REDIRECT___renumbered = 99, XDP_NONSENSE___renumbered = 98 };

enum result {
  RESULT_DATA_OFFSET,            // 0
  RESULT_DATA_END_OFFSET,        // 4
  RESULT_EGRESS_OFFSET,          // 20
  RESULT_EGRESS_EXISTS,          // 1
  RESULT_NO_SUCH_FIELD,          // 0
  RESULT_NO_SUCH_STRUCT,         // 0
  RESULT_XDP_MD_BYTES,           // 24
  RESULT_DEVMAP_IFINDEX_OFFSET,  // 0
  RESULT_TASK_EXISTS,            // 1
  RESULT_TASK_PID_BYTES,         // 4
  RESULT_TASK_NO_SUCH_FIELD,     // 0
  RESULT_TASK_BYTES,             // differs from kernel to kernel
  RESULT_REDIRECT_EXISTS,        // 1
  RESULT_REDIRECT_VALUE,         // 4
  RESULT_NONSENSE_EXISTS,        // 0
};

SEC("xdp")
int core_relocations(struct xdp_md* ctx) {
  struct xdp_md___moved* moved = (void*)ctx;
  struct bpf_devmap_val___moved* entry = 0;
  struct task_struct___partial* task = 0;
  put(RESULT_DATA_OFFSET, bpf_core_field_offset(moved->data));
  put(RESULT_DATA_END_OFFSET, bpf_core_field_offset(moved->data_end));
  put(RESULT_EGRESS_OFFSET, bpf_core_field_offset(moved->egress_ifindex));
  put(RESULT_EGRESS_EXISTS, bpf_core_field_exists(moved->egress_ifindex));
  put(RESULT_NO_SUCH_FIELD, bpf_core_field_exists(moved->no_such_field));
  put(RESULT_NO_SUCH_STRUCT, bpf_core_type_exists(struct no_such_struct));
  put(RESULT_XDP_MD_BYTES, bpf_core_type_size(struct xdp_md___moved));
  put(RESULT_DEVMAP_IFINDEX_OFFSET, bpf_core_field_offset(entry->ifindex));
  put(RESULT_TASK_EXISTS, bpf_core_type_exists(struct task_struct___partial));
  put(RESULT_TASK_PID_BYTES, bpf_core_field_size(task->pid));
  put(RESULT_TASK_NO_SUCH_FIELD, bpf_core_field_exists(task->no_such_field));
  put(RESULT_TASK_BYTES, bpf_core_type_size(struct task_struct___partial));
  put(RESULT_REDIRECT_EXISTS,
      bpf_core_enum_value_exists(enum xdp_action___renumbered, XDP_REDIRECT___renumbered));
  put(RESULT_REDIRECT_VALUE,
      bpf_core_enum_value(enum xdp_action___renumbered, XDP_REDIRECT___renumbered));
  put(RESULT_NONSENSE_EXISTS,
      bpf_core_enum_value_exists(enum xdp_action___renumbered, XDP_NONSENSE___renumbered));

  // A relocated read of the context: the packet is at least 14 bytes long if this takes the right
  // fields.
  return (long)moved->data_end - (long)moved->data >= 14 ? XDP_PASS : XDP_DROP;
}

/// The access that cannot be relocated is behind a check which turns it into dead code; without the
/// check the loader poisons the instruction and the program is refused.
SEC("xdp")
int guarded_missing_field(struct xdp_md* ctx) {
  struct xdp_md___moved* moved = (void*)ctx;
  if (bpf_core_field_exists(moved->no_such_field)) return moved->no_such_field;
  return XDP_PASS;
}
