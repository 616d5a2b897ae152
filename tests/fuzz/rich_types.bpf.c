// SPDX-License-Identifier: Apache-2.0
// Not run: compiled for its type information. Every shape that a key or value can have; the fuzz
// targets that read values as text choose a type by its name (map_text.hpp).
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in6.h>
#include <bpf/bpf_helpers.h>

enum verdict { DROP = -1, PASS, SEND = 1 << 20 };
enum unsigned_verdict { ALLOW, DENY = 0xffffffff };
enum wide { SMALL, HUGE_VALUE = 1ULL << 40 };
enum wide_signed { LEAST = -(1LL << 40), MOST = 1LL << 40 };

typedef __u32 number;
typedef const number shown_number;
typedef unsigned char mac_bytes[ETH_ALEN];

struct integers {
  __u8 u8;
  __s8 s8;
  __u16 u16;
  __s16 s16;
  __u32 u32;
  __s32 s32;
  __u64 u64;
  __s64 s64;
  unsigned __int128 u128;
  __int128 s128;
  _Bool flag;
  char letter;
  shown_number last;
};

struct network {
  __be16 port;
  __be32 saddr;
  __be64 cookie;
  __u8 src_ip[4];
  __be32 ip6[4];
  struct in6_addr address6;
  mac_bytes h_dest;
  unsigned char src_mac[6];
  __be32 skip;
};

struct bits {
  __u8 one : 1, two : 2, five : 5;
  __s32 signed_bits : 7;
  __u64 wide_bits : 40;
  enum verdict verdict : 3;
  _Bool flag : 1;
} __attribute__((packed));

struct nested {
  struct {
    __u32 x, y;
  };
  union {
    __u64 whole;
    struct {
      __u32 low, high;
    };
    __u8 bytes[8];
  };
  struct integers inner[2];
  __u16 table[2][3];
  char name[16];
  char one_letter[1];
  const volatile struct network* pointer;
  int (*function)(struct nested*);
  struct empty {
  } nothing;
  __u32 zero_array[0];
};

union any {
  __u32 number;
  char text[8];
  struct network network;
};

struct reals {
  float f;
  double d;
};

struct protected_value {
  struct bpf_spin_lock lock;
  struct bpf_timer timer;
  enum verdict verdict;
  enum unsigned_verdict unsigned_verdict;
  enum wide wide;
  enum wide_signed wide_signed;
};

struct flow {
  __be32 saddr, daddr;
  __be16 sport, dport;
  __u8 protocol;
};

struct deep {
  struct {
    struct {
      struct {
        struct {
          union any leaf[2];
        } d;
      } c[2];
    } b;
  } a[2];
};

// In the type information is what a global variable has the type of.
volatile struct integers integers_value;
volatile struct network network_value;
volatile struct bits bits_value;
volatile struct nested nested_value;
volatile union any any_value;
volatile struct reals reals_value;
volatile struct protected_value protected_of_value;
volatile struct flow flow_value;
volatile struct deep deep_value;

char _license[] SEC("license") = "GPL";
