/* SPDX-License-Identifier: Apache-2.0 */
/* The example of include/skep/skep.h, compiled as C from the header's own comment. */
#include <linux/bpf.h>
#include <skep/skep.h>
#include <stddef.h>
#include <unistd.h>

long run_c_example(void);

/* Gives the descriptor that the example got, which it has closed again, or the errno. */
long run_c_example(void) {
#include "skep_example.inc"
  return fd;
}
