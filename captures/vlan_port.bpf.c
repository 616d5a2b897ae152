// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// VLAN sub-ports out of tc programs, for kernels built without CONFIG_VLAN_8021Q. `make-mixed`
// gives the devices fixed numbers: WIRE is the trunk, and DEVICE_OF(vid) is the inner end of the
// veth pair that stands for VLAN `vid`.

// clang-format off: <linux/bpf.h> goes first, for libbpf's headers use its types.
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
// clang-format on

#define WIRE 10
#define DEVICE_OF(vid) (1000 + (vid))
#define VID(tci) ((tci) & 0xfff)

/// Frames of VLAN 30 are tagged twice (802.1ad), with this VLAN outside.
#define DOUBLE_TAGGED_VID 30
#define OUTER_VID 100

/// Ingress of DEVICE_OF(vid): tags the frame and puts it on the wire.
SEC("tc")
int to_wire(struct __sk_buff* skb) {
  __u32 vid = skb->ifindex - DEVICE_OF(0);
  if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), vid)) return TC_ACT_SHOT;
  if (vid == DOUBLE_TAGGED_VID && bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021AD), OUTER_VID))
    return TC_ACT_SHOT;
  return bpf_redirect(WIRE, 0);
}

/// Ingress of WIRE: takes the tags off and hands the frame to the VLAN's device. Untagged frames
/// pass.
SEC("tc")
int from_wire(struct __sk_buff* skb) {
  if (!skb->vlan_present) return TC_ACT_OK;
  if (VID(skb->vlan_tci) == OUTER_VID && bpf_skb_vlan_pop(skb)) return TC_ACT_SHOT;
  if (!skb->vlan_present) return TC_ACT_SHOT;
  __u32 vid = VID(skb->vlan_tci);
  if (bpf_skb_vlan_pop(skb)) return TC_ACT_SHOT;
  return bpf_redirect(DEVICE_OF(vid), 0);
}

char LICENSE[] SEC("license") = "GPL";
