# SPDX-License-Identifier: Apache-2.0
# The rooms of src/, lowest first: a room may use only rooms that stand before it. This list is the
# one home of the order; tests/include_graph/include_graph.py reads it from here.
set(SKEP_ROOM_ORDER
    uapi
    result
    sync
    rcu
    cpu
    object
    btf
    map
    prog
    net
    xdp
    syscall
    loader
    runtime
    exec
    host
    cli)
