// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// A stateful firewall in XDP, transparent between an inside and an outside port. Inside hosts may
// open connections unless a rule denies it, outside hosts only if a rule allows it, and answers of
// connections that are open pass. Frames are never changed, only sent on or dropped, and each drop
// has a named reason.
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
#include <linux/udp.h>
#include <stdbool.h>
// clang-format on

#define MAX_VLAN_TAGS 2
#define MAX_EXTENSION_HEADERS 6
#define MAX_RULES 32
#define NANOSECONDS_PER_SECOND 1000000000ULL

#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_FRAGMENT_OFFSET 0x1fff
#define IPV6_MORE_FRAGMENTS 0x0001
#define IPV6_FRAGMENT_OFFSET 0xfff8

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/// Why a packet got its verdict; the index of `verdicts`.
enum reason {
  REASON_NONE,               // never counted: 0 means that this CPU has not used the counter
  REASON_NEW_CONNECTION,     // forward: opens a connection that the rules allow
  REASON_CONNECTION,         // forward: belongs to an open connection
  REASON_RELATED,            // forward: ICMP error about an open connection
  REASON_FRAGMENT,           // forward: later fragment, and the first one was forwarded
  REASON_LINK,               // forward: ARP, IPv6 neighbour discovery, multicast listener reports
  REASON_UNKNOWN_INTERFACE,  // drop: came in by an interface that is not in `interfaces`
  REASON_TRUNCATED,          // drop: a header or the stated length reaches beyond the frame
  REASON_MALFORMED,          // drop: impossible version or length in a header
  REASON_NOT_IP,             // drop: another EtherType, more than two VLAN tags
  REASON_BAD_ADDRESS,        // drop: no host has such a source, or it equals the destination
  REASON_BAD_TCP_FLAGS,      // drop: flags that no TCP sends, as port scanners do
  REASON_OVERLAPPING,        // drop: later fragment that would overwrite a TCP header
  REASON_UNKNOWN_FRAGMENT,   // drop: later fragment, and the first one was not forwarded
  REASON_TOO_MANY_HEADERS,   // drop: IPv6 extension headers beyond MAX_EXTENSION_HEADERS
  REASON_NO_CONNECTION,      // drop: needs an open connection, and there is none
  REASON_WRONG_STATE,        // drop: TCP that does not fit the connection's state
  REASON_DENIED_BY_RULE,     // drop: a rule says so
  REASON_DENIED_BY_DEFAULT,  // drop: from outside, and no rule allows it
  REASON_TABLE_FULL,         // drop: no room for a new connection
  REASON_NO_PORT,            // drop: the other side is not in the device map
  REASON_COUNT,
};

enum side {
  SIDE_ANY,  // in rules only
  SIDE_INSIDE,
  SIDE_OUTSIDE,
};

enum family {
  FAMILY_ANY,  // in rules only
  FAMILY_IPV4,
  FAMILY_IPV6,
};

enum action {
  ACTION_UNUSED,  // the rule is skipped
  ACTION_ALLOW,
  ACTION_DENY,
};

enum state {
  STATE_NONE,         // not TCP, and only one side has spoken
  STATE_ANSWERED,     // not TCP, and both sides have spoken
  STATE_SYN,          // TCP: the opener has sent SYN
  STATE_ESTABLISHED,  // TCP: SYN was answered by SYN and ACK
  STATE_FIN,          // TCP: one side has said that it is done
  STATE_CLOSED,       // TCP: both are done, or one has reset; the last packets may still pass
};

/// Set before loading: how long a connection stays open without a packet.
const volatile __u64 tcp_opening_timeout_ns = 30 * NANOSECONDS_PER_SECOND;
const volatile __u64 tcp_timeout_ns = 7200 * NANOSECONDS_PER_SECOND;
const volatile __u64 tcp_closing_timeout_ns = 10 * NANOSECONDS_PER_SECOND;
const volatile __u64 other_timeout_ns = 30 * NANOSECONDS_PER_SECOND;
const volatile __u64 other_answered_timeout_ns = 180 * NANOSECONDS_PER_SECOND;
const volatile __u64 fragment_timeout_ns = 30 * NANOSECONDS_PER_SECOND;

/// Connections that were put in the table, and those that were removed because they were found in
/// it past their time.
__u64 connections_opened;
__u64 connections_expired;

/// A connection as the inside sees it, whoever opened it: both directions meet in one entry, and a
/// packet that claims the other side's address finds nothing.
struct connection_key {
  struct in6_addr inside_address;
  struct in6_addr outside_address;
  __be16 inside_port;  // ICMP echo: the identifier, in both; other protocols: 0
  __be16 outside_port;
  __u8 protocol;
  __u8 reserved[3];  // zero
};

struct connection {
  struct bpf_spin_lock lock;  // holds all that follows, for the two directions may be on two CPUs
  enum side opened_by;
  enum state state;
  enum side finished;  // TCP: who sent FIN first
  __u64 last_seen_ns;
  __u64 opener_packets;
  __u64 answer_packets;
};

/// What the fragments of one datagram have in common.
struct fragment_key {
  struct in6_addr source_address;
  struct in6_addr destination_address;
  __be32 id;
  enum side from;
  __u8 protocol;
  __u8 reserved[3];  // zero
};

/// Kept for datagrams whose first fragment was forwarded; it is expected to arrive first.
struct fragment {
  __u64 first_seen_ns;
};

/// A rule about who may open a connection. Fields that are 0 match everything; the first rule that
/// matches decides. An address matches if it equals `source_address` in all bits of `source_mask`.
struct rule {
  enum action action;
  enum side from;
  enum family family;  // must be given with an address, for masks have no family of their own
  __u16 first_port;    // destination port, or ICMP type: the range includes both ends
  __u16 last_port;     // 0: any port
  struct in6_addr source_address;
  struct in6_addr source_mask;
  struct in6_addr destination_address;
  struct in6_addr destination_mask;
  __u8 protocol;
  __u8 reserved[3];  // zero
};

struct interface {
  enum side side;
};

struct verdict {
  __u64 packets;
  __u64 bytes;
  enum reason reason;  // repeats the key, so that a dump of the map shows its name
  __u32 reserved;
};

/// By ifindex.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16);
  __type(key, __u32);
  __type(value, struct interface);
} interfaces SEC(".maps");

/// The way to a side; the key is an `enum side`.
struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 3);
  __type(key, __u32);
  __type(value, struct bpf_devmap_val);
} ports SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, MAX_RULES);
  __type(key, __u32);
  __type(value, struct rule);
} rules SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16384);
  __type(key, struct connection_key);
  __type(value, struct connection);
} connections SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, struct fragment_key);
  __type(value, struct fragment);
} fragments SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, REASON_COUNT);
  __type(key, __u32);
  __type(value, struct verdict);
} verdicts SEC(".maps");

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

struct icmp_echo {
  __u8 type;
  __u8 code;
  __be16 checksum;
  __be16 id;  // of echo; other messages have something else here
  __be16 sequence;
};

/// The first bytes of the TCP header, with the flags as one number.
struct tcp_start {
  __be16 source;
  __be16 destination;
  __be32 sequence;
  __be32 acknowledgement;
  __u8 data_offset;  // upper four bits, in units of 4 bytes
  __u8 flags;
  __be16 window;
  __be16 checksum;
  __be16 urgent;
};

/// Where parsing has come to. `next` only moves forward and is checked against `end` before each
/// read.
struct cursor {
  void* next;
  void* end;
};

/// The start of the packet that an ICMP error is about.
struct quote {
  struct in6_addr source_address;
  struct in6_addr destination_address;
  __be16 source_port;
  __be16 destination_port;
  __u8 protocol;
  bool usable;  // false: quoted too little, or a later fragment
};

/// The packet as far as the firewall is concerned.
struct packet {
  struct in6_addr source_address;
  struct in6_addr destination_address;
  __be16 source_port;
  __be16 destination_port;
  __be32 fragment_id;
  enum side from;
  enum family family;
  __u16 fragment_offset;  // bytes
  __u8 protocol;
  __u8 tcp_flags;
  __u8 icmp_type;
  __u8 hop_limit;
  bool more_fragments;
  struct quote quote;  // ICMP errors only
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

static __always_inline bool is_forwarded(enum reason reason) {
  return reason >= REASON_NEW_CONNECTION && reason <= REASON_LINK;
}

static __always_inline void* take(struct cursor* cursor, __u32 bytes) {
  void* taken = cursor->next;
  if (taken + bytes > cursor->end) return NULL;
  cursor->next = taken + bytes;
  return taken;
}

static __always_inline void map_ipv4(struct in6_addr* mapped, __be32 address) {
  mapped->s6_addr32[0] = 0;
  mapped->s6_addr32[1] = 0;
  mapped->s6_addr32[2] = bpf_htonl(0xffff);
  mapped->s6_addr32[3] = address;
}

static __always_inline bool is_ipv4_mapped(const struct in6_addr* address) {
  return !address->s6_addr32[0] && !address->s6_addr32[1] &&
         address->s6_addr32[2] == bpf_htonl(0xffff);
}

static __always_inline bool equal(const struct in6_addr* a, const struct in6_addr* b) {
  return a->s6_addr32[0] == b->s6_addr32[0] && a->s6_addr32[1] == b->s6_addr32[1] &&
         a->s6_addr32[2] == b->s6_addr32[2] && a->s6_addr32[3] == b->s6_addr32[3];
}

static __always_inline bool is_icmp(const struct packet* packet) {
  return packet->protocol == (packet->family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static __always_inline bool is_echo_request(enum family family, __u8 icmp_type) {
  return icmp_type == (family == FAMILY_IPV4 ? 8 : 128);
}

/// Destination unreachable and packet too big, time exceeded, parameter problem.
static __always_inline bool is_icmp_error(const struct packet* packet) {
  if (!is_icmp(packet)) return false;
  __u8 type = packet->icmp_type;
  if (packet->family == FAMILY_IPV4) return type == 3 || type == 11 || type == 12;
  return type >= 1 && type <= 4;
}

// --- parsing ------------------------------------------------------------------------------------

/// Moves past the Ethernet header and the VLAN tags. Returns the EtherType of what follows, or 0 if
/// truncated; a frame that says 0, which is no EtherType, is taken for truncated too.
static __always_inline __be16 parse_ethernet(struct cursor* cursor) {
  const struct ethhdr* ethernet = take(cursor, sizeof(*ethernet));
  if (!ethernet) return 0;
  __be16 ethertype = ethernet->h_proto;
  for (int i = 0; i < MAX_VLAN_TAGS; ++i) {
    if (ethertype != bpf_htons(ETH_P_8021Q) && ethertype != bpf_htons(ETH_P_8021AD)) break;
    const struct vlan_tag* tag = take(cursor, sizeof(*tag));
    if (!tag) return 0;
    ethertype = tag->ethertype;
  }
  return ethertype;
}

/// Takes what `quote` needs from the packet at `cursor` inside of an ICMP error, if all of it is
/// there. `bytes` is the room that the network header promises.
static __always_inline void parse_quote(struct cursor* cursor, struct packet* packet, __u32 bytes) {
  struct quote* quote = &packet->quote;
  __u32 header_bytes;
  if (packet->family == FAMILY_IPV4) {
    const struct iphdr* ip = take(cursor, sizeof(*ip));
    if (!ip || ip->version != 4 || ip->ihl * 4 < sizeof(*ip)) return;
    if (ip->frag_off & bpf_htons(IPV4_FRAGMENT_OFFSET)) return;
    header_bytes = ip->ihl * 4;
    map_ipv4(&quote->source_address, ip->saddr);
    map_ipv4(&quote->destination_address, ip->daddr);
    quote->protocol = ip->protocol;
    cursor->next = (void*)ip + header_bytes;
  } else {
    const struct ipv6hdr* ip = take(cursor, sizeof(*ip));
    if (!ip || ip->version != 6) return;
    header_bytes = sizeof(*ip);
    quote->source_address = ip->saddr;
    quote->destination_address = ip->daddr;
    quote->protocol = ip->nexthdr;
  }
  // An error quotes at least 8 bytes of the transport header (RFC 792); TCP, UDP and echo have what
  // names the connection there.
  const struct icmp_echo* icmp = take(cursor, sizeof(*icmp));
  if (!icmp || header_bytes + sizeof(*icmp) > bytes) return;
  if (quote->protocol == IPPROTO_TCP || quote->protocol == IPPROTO_UDP) {
    const struct udphdr* ports = (const void*)icmp;
    quote->source_port = ports->source;
    quote->destination_port = ports->dest;
  } else if (quote->protocol == packet->protocol) {
    if (!is_echo_request(packet->family, icmp->type)) return;
    quote->source_port = icmp->id;
    quote->destination_port = icmp->id;
  }
  quote->usable = true;
}

/// Checks the transport header at `cursor` and takes from it what the firewall looks at. `bytes` is
/// what the network header says that the transport header and its payload have. Protocols that have
/// no ports keep 0. Returns REASON_NONE or why not.
static __always_inline enum reason parse_transport(struct cursor* cursor, struct packet* packet,
                                                   __u32 bytes) {
  if (packet->fragment_offset) {
    // What comes before 20 bytes would belong to the TCP header, which was judged already (RFC
    // 3128).
    bool overlaps = packet->fragment_offset < sizeof(struct tcp_start);
    return overlaps && packet->protocol == IPPROTO_TCP ? REASON_OVERLAPPING : REASON_NONE;
  }
  if (packet->protocol == IPPROTO_TCP) {
    const struct tcp_start* tcp = take(cursor, sizeof(*tcp));
    if (!tcp) return REASON_TRUNCATED;
    __u32 header_bytes = (tcp->data_offset >> 4) * 4;
    if (header_bytes < sizeof(*tcp) || header_bytes > bytes) return REASON_MALFORMED;
    packet->source_port = tcp->source;
    packet->destination_port = tcp->destination;
    packet->tcp_flags = tcp->flags;
  } else if (packet->protocol == IPPROTO_UDP) {
    const struct udphdr* udp = take(cursor, sizeof(*udp));
    if (!udp) return REASON_TRUNCATED;
    __u32 udp_bytes = bpf_ntohs(udp->len);
    if (udp_bytes < sizeof(*udp)) return REASON_MALFORMED;
    if (!packet->more_fragments && udp_bytes > bytes) return REASON_MALFORMED;
    packet->source_port = udp->source;
    packet->destination_port = udp->dest;
  } else if (is_icmp(packet)) {
    const struct icmp_echo* icmp = take(cursor, sizeof(*icmp));
    if (!icmp) return REASON_TRUNCATED;
    if (bytes < sizeof(*icmp)) return REASON_MALFORMED;
    packet->icmp_type = icmp->type;
    packet->source_port = icmp->id;
    packet->destination_port = icmp->id;
    if (is_icmp_error(packet)) parse_quote(cursor, packet, bytes - sizeof(*icmp));
  }
  return REASON_NONE;
}

static __always_inline enum reason parse_ipv4(struct cursor* cursor, struct packet* packet) {
  const struct iphdr* ip = take(cursor, sizeof(*ip));
  if (!ip) return REASON_TRUNCATED;
  __u32 header_bytes = ip->ihl * 4;
  __u32 total_bytes = bpf_ntohs(ip->tot_len);
  if (ip->version != 4 || header_bytes < sizeof(*ip) || total_bytes < header_bytes)
    return REASON_MALFORMED;
  // Compared as lengths, for the frame may be longer (padding) but not shorter than the packet.
  if (total_bytes > (__u64)(cursor->end - (void*)ip)) return REASON_TRUNCATED;

  __u16 fragment = bpf_ntohs(ip->frag_off);
  map_ipv4(&packet->source_address, ip->saddr);
  map_ipv4(&packet->destination_address, ip->daddr);
  packet->family = FAMILY_IPV4;
  packet->protocol = ip->protocol;
  packet->hop_limit = ip->ttl;
  packet->fragment_id = bpf_htonl(bpf_ntohs(ip->id));
  packet->more_fragments = fragment & IPV4_MORE_FRAGMENTS;
  packet->fragment_offset = (fragment & IPV4_FRAGMENT_OFFSET) * 8;
  cursor->next = (void*)ip + header_bytes;
  return parse_transport(cursor, packet, total_bytes - header_bytes);
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
        packet->fragment_offset = offset_and_flags & IPV6_FRAGMENT_OFFSET;
        if (packet->fragment_offset) return REASON_NONE;
        break;
      }
      default:
        return REASON_NONE;
    }
  }
  return REASON_TOO_MANY_HEADERS;
}

static __always_inline enum reason parse_ipv6(struct cursor* cursor, struct packet* packet) {
  const struct ipv6hdr* ip = take(cursor, sizeof(*ip));
  if (!ip) return REASON_TRUNCATED;
  if (ip->version != 6) return REASON_MALFORMED;
  __u32 payload_bytes = bpf_ntohs(ip->payload_len);
  if (payload_bytes > (__u64)(cursor->end - cursor->next)) return REASON_TRUNCATED;

  packet->source_address = ip->saddr;
  packet->destination_address = ip->daddr;
  packet->family = FAMILY_IPV6;
  packet->protocol = ip->nexthdr;
  packet->hop_limit = ip->hop_limit;
  enum reason reason = skip_extension_headers(cursor, packet);
  if (reason != REASON_NONE) return reason;
  __u64 extension_bytes = cursor->next - (void*)(ip + 1);
  if (extension_bytes > payload_bytes) return REASON_MALFORMED;
  return parse_transport(cursor, packet, payload_bytes - extension_bytes);
}

// --- judging ------------------------------------------------------------------------------------

/// Addresses that no packet on a wire may have as its source. An IPv4-mapped address in an IPv6
/// header would stand for another packet's IPv4 address.
static __always_inline bool has_bad_address(const struct packet* packet) {
  const struct in6_addr* source = &packet->source_address;
  if (equal(source, &packet->destination_address)) return true;
  if (packet->family == FAMILY_IPV4) {
    __u8 first = source->s6_addr[12];
    return first == 127 || first >= 224;  // loopback; multicast, reserved and broadcast
  }
  if (is_ipv4_mapped(source) || is_ipv4_mapped(&packet->destination_address)) return true;
  bool loopback = !source->s6_addr32[0] && !source->s6_addr32[1] && !source->s6_addr32[2] &&
                  source->s6_addr32[3] == bpf_htonl(1);
  return loopback || source->s6_addr[0] == 0xff;
}

static __always_inline bool has_bad_tcp_flags(const struct packet* packet) {
  if (packet->protocol != IPPROTO_TCP) return false;
  __u8 flags = packet->tcp_flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK);
  if (!flags) return true;
  if (flags & TCP_SYN) return flags & (TCP_FIN | TCP_RST);
  return (flags & TCP_FIN) && !(flags & TCP_ACK);
}

/// IPv6 needs some ICMPv6 on every link, as IPv4 needs ARP. The hop limit proves that the packet
/// was sent on this very link (RFC 4861, RFC 2710, RFC 3810).
static __always_inline bool is_link_message(const struct packet* packet) {
  if (packet->family != FAMILY_IPV6 || packet->protocol != IPPROTO_ICMPV6) return false;
  if (packet->icmp_type >= 133 && packet->icmp_type <= 137) return packet->hop_limit == 255;
  bool listener =
      (packet->icmp_type >= 130 && packet->icmp_type <= 132) || packet->icmp_type == 143;
  return listener && packet->hop_limit == 1;
}

static __always_inline bool matches(const struct in6_addr* address, const struct in6_addr* wanted,
                                    const struct in6_addr* mask) {
  __u32 differs = 0;
  for (int i = 0; i < 4; ++i)
    differs |= (address->s6_addr32[i] ^ wanted->s6_addr32[i]) & mask->s6_addr32[i];
  return !differs;
}

/// What the first matching rule says, or ACTION_UNUSED.
__noinline enum action action_for(const struct packet* packet) {
  if (!packet) return ACTION_UNUSED;
  __u16 port = is_icmp(packet) ? packet->icmp_type : bpf_ntohs(packet->destination_port);
  for (__u32 i = 0; i < MAX_RULES; ++i) {
    __u32 index = i;
    const struct rule* rule = bpf_map_lookup_elem(&rules, &index);
    if (!rule) break;
    if (rule->action == ACTION_UNUSED) continue;
    if (rule->from != SIDE_ANY && rule->from != packet->from) continue;
    if (rule->family != FAMILY_ANY && rule->family != packet->family) continue;
    if (rule->protocol && rule->protocol != packet->protocol) continue;
    if (rule->last_port && (port < rule->first_port || port > rule->last_port)) continue;
    if (!matches(&packet->source_address, &rule->source_address, &rule->source_mask)) continue;
    if (!matches(&packet->destination_address, &rule->destination_address, &rule->destination_mask))
      continue;
    return rule->action;
  }
  return ACTION_UNUSED;
}

static __always_inline void set_connection_key(struct connection_key* key,
                                               const struct packet* packet) {
  bool from_inside = packet->from == SIDE_INSIDE;
  key->inside_address = from_inside ? packet->source_address : packet->destination_address;
  key->outside_address = from_inside ? packet->destination_address : packet->source_address;
  key->inside_port = from_inside ? packet->source_port : packet->destination_port;
  key->outside_port = from_inside ? packet->destination_port : packet->source_port;
  key->protocol = packet->protocol;
}

static __always_inline bool opens_tcp(const struct packet* packet) {
  return (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline bool is_expired(const struct connection* connection, __u64 now_ns) {
  __u64 timeout_ns;
  switch (connection->state) {
    case STATE_NONE:
      timeout_ns = other_timeout_ns;
      break;
    case STATE_ANSWERED:
      timeout_ns = other_answered_timeout_ns;
      break;
    case STATE_SYN:
      timeout_ns = tcp_opening_timeout_ns;
      break;
    case STATE_ESTABLISHED:
      timeout_ns = tcp_timeout_ns;
      break;
    default:
      timeout_ns = tcp_closing_timeout_ns;
      break;
  }
  // Signed: another CPU may have stamped the connection after this one read the clock.
  return (__s64)(now_ns - connection->last_seen_ns) > (__s64)timeout_ns;
}

/// Moves `connection` on by `packet`. Returns REASON_CONNECTION, REASON_WRONG_STATE, or REASON_NONE
/// if the connection is over and the packet may open a new one. Thread: holder of the lock.
static __always_inline enum reason advance(struct connection* connection,
                                           const struct packet* packet) {
  bool answers = packet->from != connection->opened_by;
  if (packet->protocol != IPPROTO_TCP) {
    if (answers) connection->state = STATE_ANSWERED;
    return REASON_CONNECTION;
  }
  __u8 flags = packet->tcp_flags;
  if (connection->state == STATE_CLOSED && opens_tcp(packet)) return REASON_NONE;
  if (flags & TCP_RST) {
    connection->state = STATE_CLOSED;
    return REASON_CONNECTION;
  }
  if (connection->state == STATE_SYN) {
    if (!answers) return opens_tcp(packet) ? REASON_CONNECTION : REASON_WRONG_STATE;
    if ((flags & (TCP_SYN | TCP_ACK)) != (TCP_SYN | TCP_ACK)) return REASON_WRONG_STATE;
    connection->state = STATE_ESTABLISHED;
    return REASON_CONNECTION;
  }
  if (opens_tcp(packet)) return REASON_WRONG_STATE;
  if (flags & TCP_FIN) {
    if (connection->state == STATE_ESTABLISHED) {
      connection->state = STATE_FIN;
      connection->finished = packet->from;
    } else if (connection->state == STATE_FIN && connection->finished != packet->from) {
      connection->state = STATE_CLOSED;
    }
  }
  return REASON_CONNECTION;
}

/// Lets `packet` advance the connection that `key` names. Returns what advance() says, or
/// REASON_NONE if nothing is open.
static __always_inline enum reason find_connection(const struct connection_key* key,
                                                   const struct packet* packet, __u64 now_ns) {
  struct connection* connection = bpf_map_lookup_elem(&connections, key);
  if (!connection) return REASON_NONE;
  bpf_spin_lock(&connection->lock);
  bool expired = is_expired(connection, now_ns);
  enum reason reason = expired ? REASON_NONE : advance(connection, packet);
  if (reason == REASON_CONNECTION) {
    connection->last_seen_ns = now_ns;
    if (packet->from == connection->opened_by)
      connection->opener_packets += 1;
    else
      connection->answer_packets += 1;
  }
  bpf_spin_unlock(&connection->lock);
  // If two CPUs come here at once, one of them removed and counted it.
  if (expired && !bpf_map_delete_elem(&connections, key))
    __sync_fetch_and_add(&connections_expired, 1);
  return reason;
}

/// Whether the rules let `packet` open a connection; REASON_NONE if so.
static __always_inline enum reason check_opening(const struct packet* packet) {
  if (packet->protocol == IPPROTO_TCP && !opens_tcp(packet)) return REASON_NO_CONNECTION;
  if (is_icmp(packet) && !is_echo_request(packet->family, packet->icmp_type))
    return REASON_NO_CONNECTION;
  switch (action_for(packet)) {
    case ACTION_ALLOW:
      return REASON_NONE;
    case ACTION_DENY:
      return REASON_DENIED_BY_RULE;
    default:
      return packet->from == SIDE_INSIDE ? REASON_NONE : REASON_DENIED_BY_DEFAULT;
  }
}

static __always_inline enum reason open_connection(const struct connection_key* key,
                                                   const struct packet* packet, __u64 now_ns) {
  struct connection opened = {
      .opened_by = packet->from,
      .state = packet->protocol == IPPROTO_TCP ? STATE_SYN : STATE_NONE,
      .last_seen_ns = now_ns,
      .opener_packets = 1,
  };
  long error = bpf_map_update_elem(&connections, key, &opened, BPF_NOEXIST);
  if (error == -EEXIST) return REASON_CONNECTION;  // another CPU was first with such a packet
  if (error) return REASON_TABLE_FULL;
  __sync_fetch_and_add(&connections_opened, 1);
  return REASON_NEW_CONNECTION;
}

static __always_inline enum reason judge_connection(const struct packet* packet, __u64 now_ns) {
  struct connection_key key = {};
  set_connection_key(&key, packet);
  enum reason reason = find_connection(&key, packet, now_ns);
  if (reason != REASON_NONE) return reason;
  reason = check_opening(packet);
  if (reason != REASON_NONE) return reason;
  bpf_map_delete_elem(&connections, &key);  // TCP's that is closed, if there is one
  return open_connection(&key, packet, now_ns);
}

/// An ICMP error passes if the packet that it is about was sent on an open connection by the
/// error's receiver. It does not change the connection, for anyone can make one up (RFC 5927).
static __always_inline enum reason judge_error(const struct packet* packet, __u64 now_ns) {
  const struct quote* quote = &packet->quote;
  if (!quote->usable || !equal(&quote->source_address, &packet->destination_address))
    return REASON_NO_CONNECTION;
  // The quoted packet went the other way: its source is on the side to which the error goes.
  bool from_inside = packet->from == SIDE_INSIDE;
  struct connection_key key = {};
  key.inside_address = from_inside ? quote->destination_address : quote->source_address;
  key.outside_address = from_inside ? quote->source_address : quote->destination_address;
  key.inside_port = from_inside ? quote->destination_port : quote->source_port;
  key.outside_port = from_inside ? quote->source_port : quote->destination_port;
  key.protocol = quote->protocol;
  struct connection* connection = bpf_map_lookup_elem(&connections, &key);
  if (!connection) return REASON_NO_CONNECTION;
  bpf_spin_lock(&connection->lock);
  bool expired = is_expired(connection, now_ns);
  bpf_spin_unlock(&connection->lock);
  return expired ? REASON_NO_CONNECTION : REASON_RELATED;
}

static __always_inline void set_fragment_key(struct fragment_key* key,
                                             const struct packet* packet) {
  key->source_address = packet->source_address;
  key->destination_address = packet->destination_address;
  key->id = packet->fragment_id;
  key->from = packet->from;
  key->protocol = packet->protocol;
}

/// Later fragments have no transport header: they share the fate of the first one.
static __always_inline enum reason judge_later_fragment(const struct packet* packet, __u64 now_ns) {
  struct fragment_key key = {};
  set_fragment_key(&key, packet);
  const struct fragment* first = bpf_map_lookup_elem(&fragments, &key);
  if (!first) return REASON_UNKNOWN_FRAGMENT;
  bool expired = (__s64)(now_ns - first->first_seen_ns) > (__s64)fragment_timeout_ns;
  if (expired || !packet->more_fragments) bpf_map_delete_elem(&fragments, &key);
  return expired ? REASON_UNKNOWN_FRAGMENT : REASON_FRAGMENT;
}

/// What becomes of a well-formed packet. A global function, so that the verifier looks at it once
/// and not for every way through the parser.
__noinline enum reason judge(const struct packet* packet) {
  if (!packet) return REASON_MALFORMED;
  if (has_bad_address(packet)) return REASON_BAD_ADDRESS;
  __u64 now_ns = bpf_ktime_get_ns();
  if (packet->fragment_offset) return judge_later_fragment(packet, now_ns);
  if (has_bad_tcp_flags(packet)) return REASON_BAD_TCP_FLAGS;
  if (is_link_message(packet)) return REASON_LINK;

  enum reason reason =
      is_icmp_error(packet) ? judge_error(packet, now_ns) : judge_connection(packet, now_ns);
  if (packet->more_fragments && is_forwarded(reason)) {
    struct fragment_key key = {};
    set_fragment_key(&key, packet);
    struct fragment first = {.first_seen_ns = now_ns};
    // If the table is full, the later fragments are dropped as unknown ones.
    bpf_map_update_elem(&fragments, &key, &first, BPF_ANY);
  }
  return reason;
}

SEC("xdp")
int firewall(struct xdp_md* ctx) {
  struct cursor cursor = {.next = (void*)(long)ctx->data, .end = (void*)(long)ctx->data_end};
  struct packet packet = {};
  __u32 ifindex = ctx->ingress_ifindex;
  const struct interface* interface = bpf_map_lookup_elem(&interfaces, &ifindex);
  if (!interface || (interface->side != SIDE_INSIDE && interface->side != SIDE_OUTSIDE))
    return count(ctx, REASON_UNKNOWN_INTERFACE, XDP_DROP);
  packet.from = interface->side;

  enum reason reason;
  switch (parse_ethernet(&cursor)) {
    case 0:
      reason = REASON_TRUNCATED;
      break;
    case bpf_htons(ETH_P_ARP):
      reason = REASON_LINK;
      break;
    case bpf_htons(ETH_P_IP):
      reason = parse_ipv4(&cursor, &packet);
      if (reason == REASON_NONE) reason = judge(&packet);
      break;
    case bpf_htons(ETH_P_IPV6):
      reason = parse_ipv6(&cursor, &packet);
      if (reason == REASON_NONE) reason = judge(&packet);
      break;
    default:
      reason = REASON_NOT_IP;
      break;
  }
  if (!is_forwarded(reason)) return count(ctx, reason, XDP_DROP);

  __u32 other = packet.from == SIDE_INSIDE ? SIDE_OUTSIDE : SIDE_INSIDE;
  int verdict = bpf_redirect_map(&ports, other, XDP_DROP);
  return count(ctx, verdict == XDP_REDIRECT ? reason : REASON_NO_PORT, verdict);
}

char LICENSE[] SEC("license") = "GPL";
