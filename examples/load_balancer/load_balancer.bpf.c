// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// A layer-4 load balancer in XDP. Packets to a virtual service (address, port, protocol) are given
// to one of the service's backends: the destination is rewritten (or only the MAC addresses, with
// direct server return), checksums are updated, and the frame leaves through the backend's port of
// the device map. Everything else passes.
//
// IPv4 addresses are kept in their IPv4-mapped IPv6 form (::ffff:10.0.0.100), so that both families
// share the tables. Numbers in packets and in fields of type __be16 / __be32 are in network byte
// order, all others in host order.

// clang-format off: <linux/bpf.h> goes first, for libbpf's headers use its types.
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/errno.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>
// clang-format on

#define MAX_VLAN_TAGS 2
#define MAX_EXTENSION_HEADERS 6
#define MAX_BACKENDS_PER_SERVICE 16
#define NO_BACKEND 0xffffffff

#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_FRAGMENT_OFFSET 0x1fff
#define IPV6_MORE_FRAGMENTS 0x0001
#define IPV6_FRAGMENT_OFFSET 0xfff8

/// Why a packet got its verdict; the index of `verdicts`.
enum reason {
  REASON_NONE,              // never counted: 0 means that this CPU has not used the counter
  REASON_REDIRECTED,        // to a backend
  REASON_NOT_IP,            // pass: ARP, more than two VLAN tags, ...
  REASON_NOT_TCP_OR_UDP,    // pass: ICMP, ...
  REASON_NOT_A_SERVICE,     // pass: no such virtual service
  REASON_UNKNOWN_FRAGMENT,  // pass: no first fragment of a service was seen
  REASON_TOO_MANY_HEADERS,  // pass: IPv6 extension headers beyond MAX_EXTENSION_HEADERS
  REASON_TRUNCATED,         // drop: a header or the stated length reaches beyond the frame
  REASON_MALFORMED,         // drop: impossible version or length in a header
  REASON_NO_BACKEND,        // drop: no backend of the service is up
  REASON_NO_PORT,           // drop: the backend's port is not in the device map
  REASON_NO_PROGRAM,        // drop: tail call failed, the program table is not filled
  REASON_COUNT,
};

enum backend_state {
  BACKEND_UNUSED,    // gets nothing
  BACKEND_UP,        // gets new and known flows
  BACKEND_DRAINING,  // gets packets of flows that it already has
};

/// Set before loading: answers go from the backend straight to the client. Only MAC addresses are
/// then rewritten, and the backend must own the service's address.
const volatile bool direct_server_return = false;

/// Set before loading: writes one line per new flow to the trace log.
const volatile bool debug = false;

/// Changes which backend a new flow gets; equal seeds give equal choices on several load balancers.
__u32 hash_seed = 0x5eed;

/// New flows that were put in the flow table, and those for which it had no room (these are still
/// balanced).
__u64 flows_created;
__u64 flows_not_stored;

struct service_key {
  struct in6_addr address;
  __be16 port;
  __u8 protocol;  // IPPROTO_TCP 6 or IPPROTO_UDP 17
  __u8 reserved;  // zero
};

/// The service's backends are `backends[first_backend .. first_backend + backend_count - 1]`.
struct service {
  __u32 first_backend;
  __u32 backend_count;  // at most MAX_BACKENDS_PER_SERVICE; more are ignored
};

struct backend {
  struct in6_addr address;  // of the same family as the service's
  __be16 port;              // 0 keeps the packet's port
  __u8 mac[6];              // of the backend, or of the next hop to it
  __u8 source_mac[6];       // of our port towards it
  __u16 reserved;
  __u32 output_port;  // key in `ports`
  enum backend_state state;
};

struct flow_key {
  struct in6_addr client_address;
  struct in6_addr service_address;
  __be16 client_port;
  __be16 service_port;
  __u8 protocol;
  __u8 reserved[3];  // zero
};

struct flow {
  __u64 packets;
  __u64 bytes;  // whole frames as received
  __u64 first_seen_ns;
  __u64 last_seen_ns;
  __u32 backend;  // key in `backends`
  __u32 reserved;
};

/// What the fragments of one datagram have in common.
struct fragment_key {
  struct in6_addr source_address;
  struct in6_addr destination_address;
  __be32 id;
  __u8 protocol;
  __u8 reserved[3];  // zero
};

/// Only the first fragment has these; it is expected to arrive first.
struct fragment {
  __be16 source_port;
  __be16 destination_port;
};

struct verdict {
  __u64 packets;
  __u64 bytes;
  enum reason reason;  // repeats the key, so that a dump of the map shows its name
  __u32 reserved;
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 64);
  __type(key, struct service_key);
  __type(value, struct service);
} services SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, struct backend);
} backends SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4096);
  __type(key, struct flow_key);
  __type(value, struct flow);
} flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, struct fragment_key);
  __type(value, struct fragment);
} fragments SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 16);
  __type(key, __u32);
  __type(value, struct bpf_devmap_val);
} ports SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, REASON_COUNT);
  __type(key, __u32);
  __type(value, struct verdict);
} verdicts SEC(".maps");

int balance_ipv6(struct xdp_md* ctx);

enum { PROGRAM_IPV6 };

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 1);
  __uint(key_size, sizeof(__u32));
  __array(values, int(struct xdp_md*));
} programs SEC(".maps") = {
    .values = {[PROGRAM_IPV6] = (void*)&balance_ipv6},
};

/// One or two tags may precede the network header; <linux/if_vlan.h> does not give user programs
/// this layout.
struct vlan_tag {
  __be16 tci;
  __be16 ethertype;  // of what follows
};

struct ipv6_extension {
  __u8 next_header;
  __u8 length;  // in units of 8 bytes, not counting the first 8
};

struct ipv6_fragment {
  __u8 next_header;
  __u8 reserved;
  __be16 offset_and_flags;
  __be32 id;
};

/// Where parsing has come to. `next` only moves forward and is checked against `end` before each
/// read.
struct cursor {
  void* next;
  void* end;
};

/// The packet as far as balancing is concerned.
struct packet {
  struct in6_addr source_address;
  struct in6_addr destination_address;
  __be16 source_port;
  __be16 destination_port;
  __be32 fragment_id;
  __u16 vlan_bytes;  // length of the tags after the Ethernet addresses
  __u8 protocol;
  bool more_fragments;
  bool later_fragment;  // has no transport header
};

static __always_inline int count(struct xdp_md* ctx, enum reason reason, int verdict) {
  __u32 key = reason;
  struct verdict* counter = bpf_map_lookup_elem(&verdicts, &key);
  if (counter) {
    counter->reason = reason;
    counter->packets += 1;
    counter->bytes += ctx->data_end - ctx->data;
  }
  return verdict;
}

static __always_inline void* take(struct cursor* cursor, __u32 bytes) {
  void* taken = cursor->next;
  if (taken + bytes > cursor->end) return NULL;
  cursor->next = taken + bytes;
  return taken;
}

/// Moves past the Ethernet header and the VLAN tags. Returns the EtherType of what follows, or 0 if
/// truncated.
static __always_inline __be16 parse_ethernet(struct cursor* cursor, struct packet* packet) {
  const struct ethhdr* ethernet = take(cursor, sizeof(*ethernet));
  if (!ethernet) return 0;
  __be16 ethertype = ethernet->h_proto;
  for (int i = 0; i < MAX_VLAN_TAGS; ++i) {
    if (ethertype != bpf_htons(ETH_P_8021Q) && ethertype != bpf_htons(ETH_P_8021AD)) break;
    const struct vlan_tag* tag = take(cursor, sizeof(*tag));
    if (!tag) return 0;
    ethertype = tag->ethertype;
    packet->vlan_bytes += sizeof(*tag);
  }
  return ethertype;
}

static __always_inline void map_ipv4(struct in6_addr* mapped, __be32 address) {
  mapped->s6_addr32[0] = 0;
  mapped->s6_addr32[1] = 0;
  mapped->s6_addr32[2] = bpf_htonl(0xffff);
  mapped->s6_addr32[3] = address;
}

/// Folds a sum of 16-bit words to 16 bits, carries added back (RFC 1071).
static __always_inline __u16 fold(__u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/// What replacing `before` by `after` adds to a ones' complement sum (RFC 1624, equation 3).
static __noinline __u64 address_difference(const struct in6_addr* before,
                                           const struct in6_addr* after) {
  __u64 sum = 0;
  for (int i = 0; i < 4; ++i) {
    sum += (__u32)~before->s6_addr32[i];
    sum += after->s6_addr32[i];
  }
  return sum;
}

static __always_inline __u16 port_difference(__be16 before, __be16 after) {
  return fold((__u64)(__u16)~before + after);
}

static __always_inline __u16 updated_checksum(__u16 checksum, __u64 difference) {
  return ~fold((__u16)~checksum + difference);
}

/// A well-mixed hash of the flow's addresses, ports and protocol.
static __noinline __u32 hash_flow(const struct flow_key* flow) {
  const __u32* words = (const __u32*)flow;
  __u32 hash = hash_seed;
  for (__u32 i = 0; i < sizeof(*flow) / sizeof(*words); ++i) {
    hash ^= words[i] * 0xcc9e2d51;
    hash = (hash << 13) | (hash >> 19);
    hash = hash * 5 + 0xe6546b64;
  }
  return hash;
}

static __always_inline __u32 mix(__u32 value) {
  value ^= value >> 16;
  value *= 0x85ebca6b;
  value ^= value >> 13;
  value *= 0xc2b2ae35;
  value ^= value >> 16;
  return value;
}

/// The backend for a new flow, or NO_BACKEND. Rendezvous hashing (Thaler and Ravishankar, 1996):
/// the highest score wins, so a backend that comes or goes moves only its own flows.
__noinline __u32 choose_backend(const struct flow_key* flow, const struct service* service) {
  if (!flow || !service) return NO_BACKEND;
  __u32 flow_hash = hash_flow(flow);
  __u32 chosen = NO_BACKEND;
  __u32 best_score = 0;
  for (__u32 i = 0; i < MAX_BACKENDS_PER_SERVICE; ++i) {
    if (i >= service->backend_count) break;
    __u32 index = service->first_backend + i;
    const struct backend* backend = bpf_map_lookup_elem(&backends, &index);
    if (!backend || backend->state != BACKEND_UP) continue;
    __u32 score = mix(flow_hash ^ mix(index + 1));
    if (chosen != NO_BACKEND && score <= best_score) continue;
    chosen = index;
    best_score = score;
  }
  return chosen;
}

/// Later fragments have no ports: the first one leaves them in `fragments`, and the last one clears
/// them away. Returns false if the packet is a later fragment and nothing is known of the first.
static __always_inline bool find_fragment_ports(struct packet* packet) {
  if (!packet->later_fragment) return true;
  struct fragment_key key = {
      .source_address = packet->source_address,
      .destination_address = packet->destination_address,
      .id = packet->fragment_id,
      .protocol = packet->protocol,
  };
  const struct fragment* first = bpf_map_lookup_elem(&fragments, &key);
  if (!first) return false;
  packet->source_port = first->source_port;
  packet->destination_port = first->destination_port;
  if (!packet->more_fragments) bpf_map_delete_elem(&fragments, &key);
  return true;
}

static __always_inline void remember_fragment_ports(const struct packet* packet) {
  if (packet->later_fragment || !packet->more_fragments) return;
  struct fragment_key key = {
      .source_address = packet->source_address,
      .destination_address = packet->destination_address,
      .id = packet->fragment_id,
      .protocol = packet->protocol,
  };
  struct fragment first = {
      .source_port = packet->source_port,
      .destination_port = packet->destination_port,
  };
  // If the table is full, the later fragments pass as unknown ones.
  bpf_map_update_elem(&fragments, &key, &first, BPF_ANY);
}

/// The backend of the packet's flow, which is created or moved to another backend as needed; NULL
/// if none is up.
static __always_inline const struct backend* find_backend(struct xdp_md* ctx,
                                                          const struct packet* packet,
                                                          const struct service* service) {
  struct flow_key key = {
      .client_address = packet->source_address,
      .service_address = packet->destination_address,
      .client_port = packet->source_port,
      .service_port = packet->destination_port,
      .protocol = packet->protocol,
  };
  __u64 now_ns = bpf_ktime_get_ns();
  struct flow* flow = bpf_map_lookup_elem(&flows, &key);
  const struct backend* backend = NULL;
  if (flow) {
    __u32 index = flow->backend;
    backend = bpf_map_lookup_elem(&backends, &index);
  }

  if (!backend || backend->state == BACKEND_UNUSED) {
    __u32 index = choose_backend(&key, service);
    backend = bpf_map_lookup_elem(&backends, &index);
    if (!backend) return NULL;
    if (flow) {
      flow->backend = index;
    } else {
      struct flow created = {.first_seen_ns = now_ns, .backend = index};
      long error = bpf_map_update_elem(&flows, &key, &created, BPF_NOEXIST);
      if (!error) {
        __sync_fetch_and_add(&flows_created, 1);
        if (debug)
          bpf_printk("new flow: protocol %d, client port %d, backend %u", key.protocol,
                     bpf_ntohs(key.client_port), index);
      } else if (error != -EEXIST) {  // EEXIST: another CPU was first and chose alike
        __sync_fetch_and_add(&flows_not_stored, 1);
      }
      flow = bpf_map_lookup_elem(&flows, &key);
    }
  }

  if (flow) {
    __sync_fetch_and_add(&flow->packets, 1);
    __sync_fetch_and_add(&flow->bytes, ctx->data_end - ctx->data);
    flow->last_seen_ns = now_ns;
  }
  return backend;
}

/// Gives the transport header the backend's port and makes up for new addresses in the checksum's
/// pseudo header. `addresses` is what the change of addresses adds to the sum. Returns false if the
/// header is truncated.
static __always_inline bool rewrite_transport(const struct packet* packet, void* transport,
                                              void* end, const struct backend* backend,
                                              __u64 addresses) {
  if (packet->later_fragment) return true;
  if (packet->protocol == IPPROTO_TCP) {
    struct tcphdr* tcp = transport;
    if ((void*)(tcp + 1) > end) return false;
    __be16 port = backend->port ? backend->port : tcp->dest;
    tcp->check = updated_checksum(tcp->check, addresses + port_difference(tcp->dest, port));
    tcp->dest = port;
  } else {
    struct udphdr* udp = transport;
    if ((void*)(udp + 1) > end) return false;
    __be16 port = backend->port ? backend->port : udp->dest;
    if (udp->check) {  // 0 means that the sender made no checksum
      __u16 checksum = updated_checksum(udp->check, addresses + port_difference(udp->dest, port));
      udp->check = checksum ? checksum : 0xffff;
    }
    udp->dest = port;
  }
  return true;
}

/// Removes VLAN tags (backends are on untagged ports), addresses the frame to the backend and sends
/// it on its way.
static __always_inline int send_to_backend(struct xdp_md* ctx, const struct packet* packet,
                                           const struct backend* backend, __be16 ethertype) {
  if (packet->vlan_bytes && bpf_xdp_adjust_head(ctx, packet->vlan_bytes))
    return count(ctx, REASON_TRUNCATED, XDP_DROP);

  struct ethhdr* ethernet = (void*)(long)ctx->data;
  if ((void*)(ethernet + 1) > (void*)(long)ctx->data_end)
    return count(ctx, REASON_TRUNCATED, XDP_DROP);
  __builtin_memcpy(ethernet->h_dest, backend->mac, ETH_ALEN);
  __builtin_memcpy(ethernet->h_source, backend->source_mac, ETH_ALEN);
  ethernet->h_proto = ethertype;

  int verdict = bpf_redirect_map(&ports, backend->output_port, XDP_DROP);
  return count(ctx, verdict == XDP_REDIRECT ? REASON_REDIRECTED : REASON_NO_PORT, verdict);
}

/// Checks the transport header at `transport` and takes the ports from it. `bytes` is what the
/// network header says that the transport header and its payload have. Returns REASON_NONE or why
/// not.
static __always_inline enum reason parse_transport(struct packet* packet, void* transport,
                                                   void* end, __u32 bytes) {
  if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP)
    return REASON_NOT_TCP_OR_UDP;
  if (packet->later_fragment)
    return find_fragment_ports(packet) ? REASON_NONE : REASON_UNKNOWN_FRAGMENT;
  if (packet->protocol == IPPROTO_TCP) {
    const struct tcphdr* tcp = transport;
    if ((void*)(tcp + 1) > end) return REASON_TRUNCATED;
    if (tcp->doff * 4 < sizeof(*tcp) || tcp->doff * 4 > bytes) return REASON_MALFORMED;
    packet->source_port = tcp->source;
    packet->destination_port = tcp->dest;
  } else {
    const struct udphdr* udp = transport;
    if ((void*)(udp + 1) > end) return REASON_TRUNCATED;
    __u32 udp_bytes = bpf_ntohs(udp->len);
    if (udp_bytes < sizeof(*udp)) return REASON_MALFORMED;
    if (!packet->more_fragments && udp_bytes > bytes) return REASON_MALFORMED;
    packet->source_port = udp->source;
    packet->destination_port = udp->dest;
  }
  return REASON_NONE;
}

static __always_inline const struct service* find_service(const struct packet* packet) {
  struct service_key key = {
      .address = packet->destination_address,
      .port = packet->destination_port,
      .protocol = packet->protocol,
  };
  return bpf_map_lookup_elem(&services, &key);
}

static __always_inline int balance_ipv4(struct xdp_md* ctx, struct cursor* cursor,
                                        struct packet* packet) {
  struct iphdr* ip = take(cursor, sizeof(*ip));
  if (!ip) return count(ctx, REASON_TRUNCATED, XDP_DROP);
  __u32 header_bytes = ip->ihl * 4;
  __u32 total_bytes = bpf_ntohs(ip->tot_len);
  if (ip->version != 4 || header_bytes < sizeof(*ip) || total_bytes < header_bytes)
    return count(ctx, REASON_MALFORMED, XDP_DROP);
  // Compared as lengths, for the frame may be longer (padding) but not shorter than the packet.
  if (total_bytes > (__u64)(cursor->end - (void*)ip)) return count(ctx, REASON_TRUNCATED, XDP_DROP);

  void* transport = (void*)ip + header_bytes;
  __u16 fragment = bpf_ntohs(ip->frag_off);
  map_ipv4(&packet->source_address, ip->saddr);
  map_ipv4(&packet->destination_address, ip->daddr);
  packet->protocol = ip->protocol;
  packet->fragment_id = bpf_htonl(bpf_ntohs(ip->id));
  packet->more_fragments = fragment & IPV4_MORE_FRAGMENTS;
  packet->later_fragment = fragment & IPV4_FRAGMENT_OFFSET;

  enum reason reason = parse_transport(packet, transport, cursor->end, total_bytes - header_bytes);
  if (reason == REASON_TRUNCATED || reason == REASON_MALFORMED) return count(ctx, reason, XDP_DROP);
  if (reason != REASON_NONE) return count(ctx, reason, XDP_PASS);

  const struct service* service = find_service(packet);
  if (!service) return count(ctx, REASON_NOT_A_SERVICE, XDP_PASS);
  remember_fragment_ports(packet);
  const struct backend* backend = find_backend(ctx, packet, service);
  if (!backend) return count(ctx, REASON_NO_BACKEND, XDP_DROP);

  if (!direct_server_return) {
    struct in6_addr address = backend->address;
    __u64 difference = address_difference(&packet->destination_address, &address);
    if (!rewrite_transport(packet, transport, cursor->end, backend, difference))
      return count(ctx, REASON_TRUNCATED, XDP_DROP);
    ip->check = updated_checksum(ip->check, difference);
    ip->daddr = address.s6_addr32[3];
  }
  return send_to_backend(ctx, packet, backend, bpf_htons(ETH_P_IP));
}

/// Walks the extension headers. Leaves `cursor` at the transport header and its protocol in
/// `packet`; returns REASON_NONE or why not.
static __always_inline enum reason skip_extension_headers(struct cursor* cursor,
                                                          struct packet* packet) {
  for (int i = 0; i <= MAX_EXTENSION_HEADERS; ++i) {
    switch (packet->protocol) {
      case IPPROTO_HOPOPTS:
      case IPPROTO_DSTOPTS:
      case IPPROTO_ROUTING: {
        const struct ipv6_extension* extension = take(cursor, sizeof(*extension));
        if (!extension) return REASON_TRUNCATED;
        packet->protocol = extension->next_header;
        cursor->next += (extension->length + 1) * 8 - sizeof(*extension);
        break;
      }
      case IPPROTO_FRAGMENT: {
        const struct ipv6_fragment* fragment = take(cursor, sizeof(*fragment));
        if (!fragment) return REASON_TRUNCATED;
        __u16 offset_and_flags = bpf_ntohs(fragment->offset_and_flags);
        packet->protocol = fragment->next_header;
        packet->fragment_id = fragment->id;
        packet->more_fragments = offset_and_flags & IPV6_MORE_FRAGMENTS;
        packet->later_fragment = offset_and_flags & IPV6_FRAGMENT_OFFSET;
        if (packet->later_fragment) return REASON_NONE;
        break;
      }
      default:
        return REASON_NONE;
    }
  }
  return REASON_TOO_MANY_HEADERS;
}

/// Reached by tail call from balance(), with the packet untouched.
SEC("xdp")
int balance_ipv6(struct xdp_md* ctx) {
  struct cursor cursor = {.next = (void*)(long)ctx->data, .end = (void*)(long)ctx->data_end};
  struct packet packet = {};
  if (parse_ethernet(&cursor, &packet) != bpf_htons(ETH_P_IPV6))
    return count(ctx, REASON_NOT_IP, XDP_PASS);

  struct ipv6hdr* ip = take(&cursor, sizeof(*ip));
  if (!ip) return count(ctx, REASON_TRUNCATED, XDP_DROP);
  if (ip->version != 6) return count(ctx, REASON_MALFORMED, XDP_DROP);
  __u32 payload_bytes = bpf_ntohs(ip->payload_len);
  if (payload_bytes > (__u64)(cursor.end - cursor.next))
    return count(ctx, REASON_TRUNCATED, XDP_DROP);

  packet.source_address = ip->saddr;
  packet.destination_address = ip->daddr;
  packet.protocol = ip->nexthdr;
  enum reason reason = skip_extension_headers(&cursor, &packet);
  if (reason == REASON_NONE) {
    __u64 extension_bytes = cursor.next - (void*)(ip + 1);
    if (extension_bytes > payload_bytes) return count(ctx, REASON_MALFORMED, XDP_DROP);
    reason = parse_transport(&packet, cursor.next, cursor.end, payload_bytes - extension_bytes);
  }
  if (reason == REASON_TRUNCATED || reason == REASON_MALFORMED) return count(ctx, reason, XDP_DROP);
  if (reason != REASON_NONE) return count(ctx, reason, XDP_PASS);

  const struct service* service = find_service(&packet);
  if (!service) return count(ctx, REASON_NOT_A_SERVICE, XDP_PASS);
  remember_fragment_ports(&packet);
  const struct backend* backend = find_backend(ctx, &packet, service);
  if (!backend) return count(ctx, REASON_NO_BACKEND, XDP_DROP);

  if (!direct_server_return) {
    struct in6_addr address = backend->address;
    __u64 difference = address_difference(&packet.destination_address, &address);
    if (!rewrite_transport(&packet, cursor.next, cursor.end, backend, difference))
      return count(ctx, REASON_TRUNCATED, XDP_DROP);
    ip->daddr = address;
  }
  return send_to_backend(ctx, &packet, backend, bpf_htons(ETH_P_IPV6));
}

/// The program to attach.
SEC("xdp")
int balance(struct xdp_md* ctx) {
  struct cursor cursor = {.next = (void*)(long)ctx->data, .end = (void*)(long)ctx->data_end};
  struct packet packet = {};
  switch (parse_ethernet(&cursor, &packet)) {
    case 0:
      return count(ctx, REASON_TRUNCATED, XDP_DROP);
    case bpf_htons(ETH_P_IP):
      return balance_ipv4(ctx, &cursor, &packet);
    case bpf_htons(ETH_P_IPV6):
      bpf_tail_call(ctx, &programs, PROGRAM_IPV6);
      return count(ctx, REASON_NO_PROGRAM, XDP_DROP);  // a tail call returns only if it failed
    default:
      return count(ctx, REASON_NOT_IP, XDP_PASS);
  }
}

char LICENSE[] SEC("license") = "GPL";
