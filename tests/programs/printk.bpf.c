// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves bpf_printk(): one to three arguments (bpf_trace_printk), more (bpf_trace_vprintk), and the
// formats. Results are what the helpers return: the number of bytes printed, or a negative errno.

#include "results.h"

__u32 ipv4_address = 0x6400000a;  // 10.0.0.100 in memory on a little-endian machine
__u8 ipv6_address[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 0x01};

SEC("xdp")
int printk(struct xdp_md* ctx) {
  int length = ctx->data_end - ctx->data;
  char word[8] = "packet";
  put(0, bpf_printk("plain"));
  put(1, bpf_printk("length %d", length));
  put(2, bpf_printk("%u of %x or %X", length, 0xbeef, 0xBEEF));
  put(3, bpf_printk("%lld %llu %llx", -1LL, 1ULL << 63, 0x123456789abcdefULL));
  put(4, bpf_printk("100%% %s|%5d|%-5d|", word, 42, 42));
  put(5, bpf_printk("%05d %i %lu", 42, -42, 42UL));
  put(6, bpf_printk("%pI4 %pI6", &ipv4_address, ipv6_address));
  put(7, bpf_printk("%c%c%c", 'a', 'b', 'c'));
  put(8, bpf_printk("%d %d %d %d", 1, 2, 3, 4));
  put(9, bpf_printk("%d %d %d %d %d %d %d %d %d %d %d %d", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
  put(10, bpf_printk("ends with a newline\n"));
  static const char unknown[] = "%y";
  put(11, bpf_trace_printk(unknown, sizeof(unknown)));  // -EINVAL
  return XDP_PASS;
}
