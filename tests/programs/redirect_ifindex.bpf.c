// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves bpf_redirect(): the device is looked up only when the frame is sent, and flags must be 0.

#include "results.h"

/// Where to; set by the test after loading.
__u32 target_ifindex = 1;

SEC("xdp")
int redirect(struct xdp_md* ctx) { return bpf_redirect(target_ifindex, 0); }

/// Back to where it came from; not the same as XDP_TX, but the frame ends at the same device.
SEC("xdp")
int redirect_to_ingress(struct xdp_md* ctx) { return bpf_redirect(ctx->ingress_ifindex, 0); }

/// XDP_ABORTED, and the earlier call still stands.
SEC("xdp")
int redirect_with_flags(struct xdp_md* ctx) { return bpf_redirect(target_ifindex, 1); }

/// The earlier call's target is used although the second call was refused.
SEC("xdp")
int redirect_survives_refused_call(struct xdp_md* ctx) {
  int verdict = bpf_redirect(target_ifindex, 0);
  put(0, bpf_redirect(target_ifindex + 1, 1));
  return verdict;
}
