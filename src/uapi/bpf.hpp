// SPDX-License-Identifier: Apache-2.0
// The bpf(2) ABI as data, in the kernel's spelling: commands, attribute blocks, constants,
// information structs. No logic. Offsets and numbers are those of Linux 6.18 (x86-64,
// little-endian). A table; it stays whole. Never include this together with <linux/bpf.h>: that
// header's macros would rewrite the names.
#pragma once

#include <cstddef>
#include <cstdint>

namespace skep::uapi {

// ---- commands
// ------------------------------------------------------------------------------------------------

enum bpf_cmd : std::uint32_t {
  BPF_MAP_CREATE = 0,
  BPF_MAP_LOOKUP_ELEM = 1,
  BPF_MAP_UPDATE_ELEM = 2,
  BPF_MAP_DELETE_ELEM = 3,
  BPF_MAP_GET_NEXT_KEY = 4,
  BPF_PROG_LOAD = 5,
  BPF_OBJ_PIN = 6,
  BPF_OBJ_GET = 7,
  BPF_PROG_ATTACH = 8,
  BPF_PROG_DETACH = 9,
  BPF_PROG_TEST_RUN = 10,
  BPF_PROG_GET_NEXT_ID = 11,
  BPF_MAP_GET_NEXT_ID = 12,
  BPF_PROG_GET_FD_BY_ID = 13,
  BPF_MAP_GET_FD_BY_ID = 14,
  BPF_OBJ_GET_INFO_BY_FD = 15,
  BPF_PROG_QUERY = 16,
  BPF_RAW_TRACEPOINT_OPEN = 17,
  BPF_BTF_LOAD = 18,
  BPF_BTF_GET_FD_BY_ID = 19,
  BPF_TASK_FD_QUERY = 20,
  BPF_MAP_LOOKUP_AND_DELETE_ELEM = 21,
  BPF_MAP_FREEZE = 22,
  BPF_BTF_GET_NEXT_ID = 23,
  BPF_MAP_LOOKUP_BATCH = 24,
  BPF_MAP_LOOKUP_AND_DELETE_BATCH = 25,
  BPF_MAP_UPDATE_BATCH = 26,
  BPF_MAP_DELETE_BATCH = 27,
  BPF_LINK_CREATE = 28,
  BPF_LINK_UPDATE = 29,
  BPF_LINK_GET_FD_BY_ID = 30,
  BPF_LINK_GET_NEXT_ID = 31,
  BPF_ENABLE_STATS = 32,
  BPF_ITER_CREATE = 33,
  BPF_LINK_DETACH = 34,
  BPF_PROG_BIND_MAP = 35,
  BPF_TOKEN_CREATE = 36,
};

// ---- types
// ---------------------------------------------------------------------------------------------------

enum bpf_map_type : std::uint32_t {
  BPF_MAP_TYPE_UNSPEC = 0,
  BPF_MAP_TYPE_HASH = 1,
  BPF_MAP_TYPE_ARRAY = 2,
  BPF_MAP_TYPE_PROG_ARRAY = 3,
  BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4,
  BPF_MAP_TYPE_PERCPU_HASH = 5,
  BPF_MAP_TYPE_PERCPU_ARRAY = 6,
  BPF_MAP_TYPE_STACK_TRACE = 7,
  BPF_MAP_TYPE_CGROUP_ARRAY = 8,
  BPF_MAP_TYPE_LRU_HASH = 9,
  BPF_MAP_TYPE_LRU_PERCPU_HASH = 10,
  BPF_MAP_TYPE_LPM_TRIE = 11,
  BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
  BPF_MAP_TYPE_HASH_OF_MAPS = 13,
  BPF_MAP_TYPE_DEVMAP = 14,
  BPF_MAP_TYPE_SOCKMAP = 15,
  BPF_MAP_TYPE_CPUMAP = 16,
  BPF_MAP_TYPE_XSKMAP = 17,
  BPF_MAP_TYPE_SOCKHASH = 18,
  BPF_MAP_TYPE_CGROUP_STORAGE = 19,
  BPF_MAP_TYPE_REUSEPORT_SOCKARRAY = 20,
  BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE = 21,
  BPF_MAP_TYPE_QUEUE = 22,
  BPF_MAP_TYPE_STACK = 23,
  BPF_MAP_TYPE_SK_STORAGE = 24,
  BPF_MAP_TYPE_DEVMAP_HASH = 25,
  BPF_MAP_TYPE_STRUCT_OPS = 26,
  BPF_MAP_TYPE_RINGBUF = 27,
  BPF_MAP_TYPE_INODE_STORAGE = 28,
  BPF_MAP_TYPE_TASK_STORAGE = 29,
  BPF_MAP_TYPE_BLOOM_FILTER = 30,
  BPF_MAP_TYPE_USER_RINGBUF = 31,
  BPF_MAP_TYPE_CGRP_STORAGE = 32,
  BPF_MAP_TYPE_ARENA = 33,
};

enum bpf_prog_type : std::uint32_t {
  BPF_PROG_TYPE_UNSPEC = 0,
  BPF_PROG_TYPE_SOCKET_FILTER = 1,
  BPF_PROG_TYPE_KPROBE = 2,
  BPF_PROG_TYPE_SCHED_CLS = 3,
  BPF_PROG_TYPE_SCHED_ACT = 4,
  BPF_PROG_TYPE_TRACEPOINT = 5,
  BPF_PROG_TYPE_XDP = 6,
  BPF_PROG_TYPE_PERF_EVENT = 7,
  BPF_PROG_TYPE_CGROUP_SKB = 8,
  BPF_PROG_TYPE_CGROUP_SOCK = 9,
  BPF_PROG_TYPE_LWT_IN = 10,
  BPF_PROG_TYPE_LWT_OUT = 11,
  BPF_PROG_TYPE_LWT_XMIT = 12,
  BPF_PROG_TYPE_SOCK_OPS = 13,
  BPF_PROG_TYPE_SK_SKB = 14,
  BPF_PROG_TYPE_CGROUP_DEVICE = 15,
  BPF_PROG_TYPE_SK_MSG = 16,
  BPF_PROG_TYPE_RAW_TRACEPOINT = 17,
  BPF_PROG_TYPE_CGROUP_SOCK_ADDR = 18,
  BPF_PROG_TYPE_LWT_SEG6LOCAL = 19,
  BPF_PROG_TYPE_LIRC_MODE2 = 20,
  BPF_PROG_TYPE_SK_REUSEPORT = 21,
  BPF_PROG_TYPE_FLOW_DISSECTOR = 22,
  BPF_PROG_TYPE_CGROUP_SYSCTL = 23,
  BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE = 24,
  BPF_PROG_TYPE_CGROUP_SOCKOPT = 25,
  BPF_PROG_TYPE_TRACING = 26,
  BPF_PROG_TYPE_STRUCT_OPS = 27,
  BPF_PROG_TYPE_EXT = 28,
  BPF_PROG_TYPE_LSM = 29,
  BPF_PROG_TYPE_SK_LOOKUP = 30,
  BPF_PROG_TYPE_SYSCALL = 31,
  BPF_PROG_TYPE_NETFILTER = 32,
};

enum bpf_attach_type : std::uint32_t {
  BPF_XDP_DEVMAP = 33,
  BPF_XDP_CPUMAP = 35,
  BPF_XDP = 37,
};

// ---- flags
// ---------------------------------------------------------------------------------------------------

// Map creation.
inline constexpr std::uint32_t BPF_F_NO_PREALLOC = 1U << 0;
inline constexpr std::uint32_t BPF_F_NO_COMMON_LRU = 1U << 1;
inline constexpr std::uint32_t BPF_F_NUMA_NODE = 1U << 2;
inline constexpr std::uint32_t BPF_F_RDONLY = 1U << 3;
inline constexpr std::uint32_t BPF_F_WRONLY = 1U << 4;
inline constexpr std::uint32_t BPF_F_STACK_BUILD_ID = 1U << 5;
inline constexpr std::uint32_t BPF_F_ZERO_SEED = 1U << 6;
inline constexpr std::uint32_t BPF_F_RDONLY_PROG = 1U << 7;
inline constexpr std::uint32_t BPF_F_WRONLY_PROG = 1U << 8;
inline constexpr std::uint32_t BPF_F_CLONE = 1U << 9;
inline constexpr std::uint32_t BPF_F_MMAPABLE = 1U << 10;
inline constexpr std::uint32_t BPF_F_PRESERVE_ELEMS = 1U << 11;
inline constexpr std::uint32_t BPF_F_INNER_MAP = 1U << 12;
inline constexpr std::uint32_t BPF_F_LINK = 1U << 13;
inline constexpr std::uint32_t BPF_F_PATH_FD = 1U << 14;
inline constexpr std::uint32_t BPF_F_VTYPE_BTF_OBJ_FD = 1U << 15;
inline constexpr std::uint32_t BPF_F_TOKEN_FD = 1U << 16;
inline constexpr std::uint32_t BPF_F_SEGV_ON_FAULT = 1U << 17;
inline constexpr std::uint32_t BPF_F_NO_USER_CONV = 1U << 18;

// Element update.
inline constexpr std::uint64_t BPF_ANY = 0;
inline constexpr std::uint64_t BPF_NOEXIST = 1;
inline constexpr std::uint64_t BPF_EXIST = 2;
inline constexpr std::uint64_t BPF_F_LOCK = 4;

// Program load.
inline constexpr std::uint32_t BPF_F_STRICT_ALIGNMENT = 1U << 0;
inline constexpr std::uint32_t BPF_F_ANY_ALIGNMENT = 1U << 1;
inline constexpr std::uint32_t BPF_F_TEST_RND_HI32 = 1U << 2;
inline constexpr std::uint32_t BPF_F_TEST_STATE_FREQ = 1U << 3;
inline constexpr std::uint32_t BPF_F_SLEEPABLE = 1U << 4;
inline constexpr std::uint32_t BPF_F_XDP_HAS_FRAGS = 1U << 5;
inline constexpr std::uint32_t BPF_F_XDP_DEV_BOUND_ONLY = 1U << 6;
inline constexpr std::uint32_t BPF_F_TEST_REG_INVARIANTS = 1U << 7;

// Redirect helpers.
inline constexpr std::uint64_t BPF_F_INGRESS = 1U << 0;
inline constexpr std::uint64_t BPF_F_BROADCAST = 1U << 3;
inline constexpr std::uint64_t BPF_F_EXCLUDE_INGRESS = 1U << 4;

// PROG_TEST_RUN.
inline constexpr std::uint32_t BPF_F_TEST_RUN_ON_CPU = 1U << 0;
inline constexpr std::uint32_t BPF_F_TEST_XDP_LIVE_FRAMES = 1U << 1;

// XDP attachment.
inline constexpr std::uint32_t XDP_FLAGS_UPDATE_IF_NOEXIST = 1U << 0;
inline constexpr std::uint32_t XDP_FLAGS_SKB_MODE = 1U << 1;
inline constexpr std::uint32_t XDP_FLAGS_DRV_MODE = 1U << 2;
inline constexpr std::uint32_t XDP_FLAGS_HW_MODE = 1U << 3;
inline constexpr std::uint32_t XDP_FLAGS_REPLACE = 1U << 4;
inline constexpr std::uint32_t XDP_FLAGS_MASK = 0x1f;

inline constexpr std::size_t BPF_OBJ_NAME_LEN = 16;
inline constexpr std::size_t BPF_TAG_SIZE = 8;

// ---- instructions
// --------------------------------------------------------------------------------------------

struct bpf_insn {
  std::uint8_t code;
  std::uint8_t dst_reg : 4;
  std::uint8_t src_reg : 4;
  std::int16_t off;
  std::int32_t imm;
};
static_assert(sizeof(bpf_insn) == 8);

// Classes: the low three bits of `code`.
inline constexpr std::uint8_t BPF_LD = 0x00;
inline constexpr std::uint8_t BPF_LDX = 0x01;
inline constexpr std::uint8_t BPF_ST = 0x02;
inline constexpr std::uint8_t BPF_STX = 0x03;
inline constexpr std::uint8_t BPF_ALU = 0x04;
inline constexpr std::uint8_t BPF_JMP = 0x05;
inline constexpr std::uint8_t BPF_JMP32 = 0x06;
inline constexpr std::uint8_t BPF_ALU64 = 0x07;
// Sources of ALU and JMP: bit 3.
inline constexpr std::uint8_t BPF_K = 0x00;
inline constexpr std::uint8_t BPF_X = 0x08;
// ALU operations: the high four bits.
inline constexpr std::uint8_t BPF_ADD = 0x00;
inline constexpr std::uint8_t BPF_SUB = 0x10;
inline constexpr std::uint8_t BPF_MUL = 0x20;
inline constexpr std::uint8_t BPF_DIV = 0x30;
inline constexpr std::uint8_t BPF_OR = 0x40;
inline constexpr std::uint8_t BPF_AND = 0x50;
inline constexpr std::uint8_t BPF_LSH = 0x60;
inline constexpr std::uint8_t BPF_RSH = 0x70;
inline constexpr std::uint8_t BPF_NEG = 0x80;
inline constexpr std::uint8_t BPF_MOD = 0x90;
inline constexpr std::uint8_t BPF_XOR = 0xa0;
inline constexpr std::uint8_t BPF_MOV = 0xb0;
inline constexpr std::uint8_t BPF_ARSH = 0xc0;
inline constexpr std::uint8_t BPF_END = 0xd0;
inline constexpr std::uint8_t BPF_TO_LE = 0x00;
inline constexpr std::uint8_t BPF_TO_BE = 0x08;
// JMP operations: the high four bits.
inline constexpr std::uint8_t BPF_JA = 0x00;
inline constexpr std::uint8_t BPF_JEQ = 0x10;
inline constexpr std::uint8_t BPF_JGT = 0x20;
inline constexpr std::uint8_t BPF_JGE = 0x30;
inline constexpr std::uint8_t BPF_JSET = 0x40;
inline constexpr std::uint8_t BPF_JNE = 0x50;
inline constexpr std::uint8_t BPF_JSGT = 0x60;
inline constexpr std::uint8_t BPF_JSGE = 0x70;
inline constexpr std::uint8_t BPF_CALL = 0x80;
inline constexpr std::uint8_t BPF_EXIT = 0x90;
inline constexpr std::uint8_t BPF_JLT = 0xa0;
inline constexpr std::uint8_t BPF_JLE = 0xb0;
inline constexpr std::uint8_t BPF_JSLT = 0xc0;
inline constexpr std::uint8_t BPF_JSLE = 0xd0;
inline constexpr std::uint8_t BPF_JCOND = 0xe0;
// Loads and stores: size in bits 3-4, mode in bits 5-7.
inline constexpr std::uint8_t BPF_W = 0x00;
inline constexpr std::uint8_t BPF_H = 0x08;
inline constexpr std::uint8_t BPF_B = 0x10;
inline constexpr std::uint8_t BPF_DW = 0x18;
inline constexpr std::uint8_t BPF_IMM = 0x00;
inline constexpr std::uint8_t BPF_ABS = 0x20;
inline constexpr std::uint8_t BPF_IND = 0x40;
inline constexpr std::uint8_t BPF_MEM = 0x60;
inline constexpr std::uint8_t BPF_MEMSX = 0x80;
inline constexpr std::uint8_t BPF_ATOMIC = 0xc0;
// Atomic operations: in `imm`.
inline constexpr std::int32_t BPF_FETCH = 0x01;
inline constexpr std::int32_t BPF_XCHG = 0xe1;
inline constexpr std::int32_t BPF_CMPXCHG = 0xf1;
inline constexpr std::int32_t BPF_LOAD_ACQ = 0x100;
inline constexpr std::int32_t BPF_STORE_REL = 0x110;
// Pseudo sources of a 16-byte load and of a call.
inline constexpr std::uint8_t BPF_PSEUDO_MAP_FD = 1;
inline constexpr std::uint8_t BPF_PSEUDO_MAP_VALUE = 2;
inline constexpr std::uint8_t BPF_PSEUDO_BTF_ID = 3;
inline constexpr std::uint8_t BPF_PSEUDO_FUNC = 4;
inline constexpr std::uint8_t BPF_PSEUDO_MAP_IDX = 5;
inline constexpr std::uint8_t BPF_PSEUDO_MAP_IDX_VALUE = 6;
inline constexpr std::uint8_t BPF_PSEUDO_CALL = 1;
inline constexpr std::uint8_t BPF_PSEUDO_KFUNC_CALL = 2;

inline constexpr unsigned MAX_BPF_REG = 11;
inline constexpr unsigned MAX_BPF_STACK = 512;
inline constexpr unsigned MAX_TAIL_CALL_CNT = 33;

// ---- attribute blocks
// ---------------------------------------------------------------------------------------- One
// struct per command group; `last_field` rules stand in syscall/.

/// The largest attribute block known: sizeof(union bpf_attr) of 6.18.
inline constexpr std::uint32_t attr_bytes = 168;

struct map_create_attr {
  std::uint32_t map_type;
  std::uint32_t key_size;
  std::uint32_t value_size;
  std::uint32_t max_entries;
  std::uint32_t map_flags;
  std::uint32_t inner_map_fd;
  std::uint32_t numa_node;
  char map_name[BPF_OBJ_NAME_LEN];
  std::uint32_t map_ifindex;
  std::uint32_t btf_fd;
  std::uint32_t btf_key_type_id;
  std::uint32_t btf_value_type_id;
  std::uint32_t btf_vmlinux_value_type_id;
  std::uint64_t map_extra;
  std::int32_t value_type_btf_obj_fd;
  std::int32_t map_token_fd;
  std::uint64_t excl_prog_hash;
  std::uint32_t excl_prog_hash_size;
};
static_assert(offsetof(map_create_attr, excl_prog_hash_size) == 88);

struct map_elem_attr {
  std::uint32_t map_fd;
  std::uint32_t pad;
  std::uint64_t key;
  std::uint64_t value;  // or next_key
  std::uint64_t flags;
};
static_assert(sizeof(map_elem_attr) == 32);

struct map_batch_attr {
  std::uint64_t in_batch;
  std::uint64_t out_batch;
  std::uint64_t keys;
  std::uint64_t values;
  std::uint32_t count;  // in and out
  std::uint32_t map_fd;
  std::uint64_t elem_flags;
  std::uint64_t flags;
};
static_assert(sizeof(map_batch_attr) == 56);

struct prog_load_attr {
  std::uint32_t prog_type;
  std::uint32_t insn_cnt;
  std::uint64_t insns;
  std::uint64_t license;
  std::uint32_t log_level;
  std::uint32_t log_size;
  std::uint64_t log_buf;
  std::uint32_t kern_version;
  std::uint32_t prog_flags;
  char prog_name[BPF_OBJ_NAME_LEN];
  std::uint32_t prog_ifindex;
  std::uint32_t expected_attach_type;
  std::uint32_t prog_btf_fd;
  std::uint32_t func_info_rec_size;
  std::uint64_t func_info;
  std::uint32_t func_info_cnt;
  std::uint32_t line_info_rec_size;
  std::uint64_t line_info;
  std::uint32_t line_info_cnt;
  std::uint32_t attach_btf_id;
  std::uint32_t attach_prog_fd;  // or attach_btf_obj_fd
  std::uint32_t core_relo_cnt;
  std::uint64_t fd_array;
  std::uint64_t core_relos;
  std::uint32_t core_relo_rec_size;
  std::uint32_t log_true_size;  // out
  std::int32_t prog_token_fd;
  std::uint32_t fd_array_cnt;
  std::uint64_t signature;
  std::uint32_t signature_size;
  std::int32_t keyring_id;
};
static_assert(sizeof(prog_load_attr) == attr_bytes);
static_assert(offsetof(prog_load_attr, log_true_size) == 140);

struct btf_load_attr {
  std::uint64_t btf;
  std::uint64_t btf_log_buf;
  std::uint32_t btf_size;
  std::uint32_t btf_log_size;
  std::uint32_t btf_log_level;
  std::uint32_t btf_log_true_size;  // out
  std::uint32_t btf_flags;
  std::int32_t btf_token_fd;
};
static_assert(sizeof(btf_load_attr) == 40);

struct prog_test_run_attr {
  std::uint32_t prog_fd;
  std::uint32_t retval;  // out
  std::uint32_t data_size_in;
  std::uint32_t data_size_out;  // in and out
  std::uint64_t data_in;
  std::uint64_t data_out;
  std::uint32_t repeat;
  std::uint32_t duration;  // out, nanoseconds per run
  std::uint32_t ctx_size_in;
  std::uint32_t ctx_size_out;  // in and out
  std::uint64_t ctx_in;
  std::uint64_t ctx_out;
  std::uint32_t flags;
  std::uint32_t cpu;
  std::uint32_t batch_size;
};
static_assert(offsetof(prog_test_run_attr, batch_size) == 72);

struct get_id_attr {
  std::uint32_t id;  // start_id or the id asked for
  std::uint32_t next_id;
  std::uint32_t open_flags;
};

struct btf_get_fd_by_id_attr {
  get_id_attr get;
  std::int32_t token_fd;
};

struct info_by_fd_attr {
  std::uint32_t bpf_fd;
  std::uint32_t info_len;  // in and out
  std::uint64_t info;
};

struct obj_attr {
  std::uint64_t pathname;
  std::uint32_t bpf_fd;
  std::uint32_t file_flags;
  std::int32_t path_fd;
};

struct enable_stats_attr {
  std::uint32_t type;
};

struct prog_bind_map_attr {
  std::uint32_t prog_fd;
  std::uint32_t map_fd;
  std::uint32_t flags;
};

// ---- records and information structs
// -----------------------------------------------------------------------------

struct bpf_func_info {
  std::uint32_t insn_off;
  std::uint32_t type_id;
};

struct bpf_line_info {
  std::uint32_t insn_off;
  std::uint32_t file_name_off;
  std::uint32_t line_off;
  std::uint32_t line_col;  // line << 10 | column
};

struct bpf_prog_info {
  std::uint32_t type;
  std::uint32_t id;
  std::uint8_t tag[BPF_TAG_SIZE];
  std::uint32_t jited_prog_len;
  std::uint32_t xlated_prog_len;
  std::uint64_t jited_prog_insns;
  std::uint64_t xlated_prog_insns;
  std::uint64_t load_time;  // ns since boot
  std::uint32_t created_by_uid;
  std::uint32_t nr_map_ids;
  std::uint64_t map_ids;
  char name[BPF_OBJ_NAME_LEN];
  std::uint32_t ifindex;
  std::uint32_t gpl_compatible;  // bit 0
  std::uint64_t netns_dev;
  std::uint64_t netns_ino;
  std::uint32_t nr_jited_ksyms;
  std::uint32_t nr_jited_func_lens;
  std::uint64_t jited_ksyms;
  std::uint64_t jited_func_lens;
  std::uint32_t btf_id;
  std::uint32_t func_info_rec_size;
  std::uint64_t func_info;
  std::uint32_t nr_func_info;
  std::uint32_t nr_line_info;
  std::uint64_t line_info;
  std::uint64_t jited_line_info;
  std::uint32_t nr_jited_line_info;
  std::uint32_t line_info_rec_size;
  std::uint32_t jited_line_info_rec_size;
  std::uint32_t nr_prog_tags;
  std::uint64_t prog_tags;
  std::uint64_t run_time_ns;
  std::uint64_t run_cnt;
  std::uint64_t recursion_misses;
  std::uint32_t verified_insns;
  std::uint32_t attach_btf_obj_id;
  std::uint32_t attach_btf_id;
};
static_assert(sizeof(bpf_prog_info) == 232 && offsetof(bpf_prog_info, attach_btf_id) == 224);
static_assert(offsetof(bpf_prog_info, run_time_ns) == 192);

struct bpf_map_info {
  std::uint32_t type;
  std::uint32_t id;
  std::uint32_t key_size;
  std::uint32_t value_size;
  std::uint32_t max_entries;
  std::uint32_t map_flags;
  char name[BPF_OBJ_NAME_LEN];
  std::uint32_t ifindex;
  std::uint32_t btf_vmlinux_value_type_id;
  std::uint64_t netns_dev;
  std::uint64_t netns_ino;
  std::uint32_t btf_id;
  std::uint32_t btf_key_type_id;
  std::uint32_t btf_value_type_id;
  std::uint32_t btf_vmlinux_id;
  std::uint64_t map_extra;
  std::uint64_t hash;  // in: where a digest of the content goes
  std::uint32_t hash_size;
};
static_assert(sizeof(bpf_map_info) == 104 && offsetof(bpf_map_info, map_extra) == 80);

struct bpf_btf_info {
  std::uint64_t btf;
  std::uint32_t btf_size;
  std::uint32_t id;
  std::uint64_t name;
  std::uint32_t name_len;
  std::uint32_t kernel_btf;
};
static_assert(sizeof(bpf_btf_info) == 32);

struct bpf_devmap_val {
  std::uint32_t ifindex;
  std::int32_t bpf_prog;  // written: descriptor; read: id
};

// ---- XDP
// -------------------------------------------------------------------------------------------------------

struct xdp_md {
  std::uint32_t data;
  std::uint32_t data_end;
  std::uint32_t data_meta;
  std::uint32_t ingress_ifindex;
  std::uint32_t rx_queue_index;
  std::uint32_t egress_ifindex;
};
static_assert(sizeof(xdp_md) == 24);

enum xdp_action : std::uint32_t {
  XDP_ABORTED = 0,
  XDP_DROP = 1,
  XDP_PASS = 2,
  XDP_TX = 3,
  XDP_REDIRECT = 4,
};

inline constexpr std::uint64_t NETDEV_XDP_ACT_BASIC = 1U << 0;
inline constexpr std::uint64_t NETDEV_XDP_ACT_REDIRECT = 1U << 1;
inline constexpr std::uint64_t NETDEV_XDP_ACT_NDO_XMIT = 1U << 2;
inline constexpr std::uint64_t NETDEV_XDP_ACT_XSK_ZEROCOPY = 1U << 3;
inline constexpr std::uint64_t NETDEV_XDP_ACT_HW_OFFLOAD = 1U << 4;
inline constexpr std::uint64_t NETDEV_XDP_ACT_RX_SG = 1U << 5;
inline constexpr std::uint64_t NETDEV_XDP_ACT_NDO_XMIT_SG = 1U << 6;

}  // namespace skep::uapi
