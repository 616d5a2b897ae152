// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Proves that each verdict is taken as it is: the five named ones and values that are none.

#include "results.h"

SEC("xdp")
int aborted(struct xdp_md* ctx) { return XDP_ABORTED; }

SEC("xdp")
int drop(struct xdp_md* ctx) { return XDP_DROP; }

SEC("xdp")
int pass(struct xdp_md* ctx) { return XDP_PASS; }

SEC("xdp")
int tx(struct xdp_md* ctx) { return XDP_TX; }

/// The redirect fails with EBADRQC, for no helper said where to.
SEC("xdp")
int redirect_nowhere(struct xdp_md* ctx) { return XDP_REDIRECT; }

/// An invalid verdict: the frame is dropped, PROG_TEST_RUN returns the number unchanged.
SEC("xdp")
int invalid(struct xdp_md* ctx) { return 77; }

SEC("xdp")
int invalid_negative(struct xdp_md* ctx) { return -5; }
