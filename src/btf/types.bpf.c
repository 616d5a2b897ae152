// SPDX-License-Identifier: Apache-2.0
// Not run: compiled for its type information, which the tests of btf/ read as a loader would.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in6.h>
#include <bpf/bpf_helpers.h>

enum verdict { DROP = -1, PASS, SEND = 1 << 20 };
enum wide { SMALL, HUGE_VALUE = 1ULL << 40 };

struct flow {
  __be32 saddr, daddr;
  __be16 sport, dport;
  __u8 protocol;
  __u8 syn : 1, fin : 1, other : 6;
};

struct backend {
  struct bpf_spin_lock lock;
  enum verdict verdict;
  union {
    struct in6_addr address6;
    __be32 address4;
  };
  unsigned char dst_mac[ETH_ALEN];
  char name[16];
  const volatile struct flow* flow;
  double weight;
  _Bool active;
  struct bpf_timer timer;
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16);
  __type(key, struct flow);
  __type(value, struct backend);
} backends SEC(".maps");

const volatile enum wide limit = SMALL;
volatile enum verdict last;
static int (*volatile chosen)(struct backend*);

__attribute__((noinline)) int choose(struct xdp_md* context
                                     __attribute__((btf_decl_tag("arg:ctx")))) {
  return chosen == 0 && last == PASS && limit == SMALL && context->data != 0;
}

SEC("xdp")
int balance(struct xdp_md* context) {
  struct flow key = {};
  struct backend* found = bpf_map_lookup_elem(&backends, &key);
  return found != 0 && found->active ? choose(context) : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
