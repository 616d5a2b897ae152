// SPDX-License-Identifier: Apache-2.0
// The seccomp filter under which clients run: the system calls that we serve are turned into
// notifications, all others go to the kernel as ever.
#pragma once

#include "result/result.hpp"
#include "syscall/descriptors.hpp"

namespace skep::exec {

/// Puts this thread, and whatever it will start, under the filter for good (no_new_privs with it),
/// and gives the descriptor on which the notifications arrive, close-on-exec.
/// Errors: EBUSY (a listener serves this thread already), EOPNOTSUPP (the kernel is older than
/// Linux 5.19 or was built without seccomp filters), ENOSYS (not an x86-64 machine), EACCES,
/// ENOMEM.
Result<OwnedFd> install_client_filter();

}  // namespace skep::exec
