// SPDX-License-Identifier: Apache-2.0
// A client without any library: linked statically, raw system calls, as Go programs make them.
//
//   raw_client walk              creates a map, fills, walks, empties it; checks every answer
//   raw_client time N            prints ns per lookup, and per element of a batch of 1,024
//   raw_client threads N         N threads work on one map at a time
//   raw_client descriptors N     opens N descriptors of maps and uses each
//   raw_client hold              creates a map and a pipe's worth of time: waits until killed
//   raw_client hammer            creates, fills and closes maps until killed
//   raw_client garbage SEED N    sends N random commands
//   raw_client hostile           sends what no honest client would: bad addresses, foreign
//   descriptors raw_client mapped            a mmapable array, shared with its mapping, frozen
//   raw_client passed            hands a map to another process over a socket
//   raw_client stuck N           N calls whose memory never arrives, and others meanwhile; 77: not
//                                possible here
//   raw_client other_abi         calls as 32-bit programs do: must not reach the kernel's BPF; 77:
//   not
//                                possible here
//   raw_client foreign           drops to another user and calls: must be refused
// Exit: 0 as expected, 1 not (said on stderr).
#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, MAP_DELETE, MAP_NEXT_KEY, PROG_LOAD };
enum {
  OBJ_PIN = 6,
  OBJ_GET = 7,
  MAP_GET_NEXT_ID = 12,
  MAP_FREEZE = 22,
  LOOKUP_BATCH = 24,
  UPDATE_BATCH = 26
};
enum { TYPE_HASH = 1, TYPE_ARRAY = 2 };
enum { FLAG_MMAPABLE = 1024 };

union attr {
  struct {
    uint32_t map_type, key_size, value_size, max_entries, map_flags;
  } create;
  struct {
    uint32_t map_fd, pad;
    uint64_t key, value, flags;
  } element;
  struct {
    uint64_t in_batch, out_batch, keys, values;
    uint32_t count, map_fd;
    uint64_t elem_flags, flags;
  } batch;
  char bytes[144];
};

static long bpf(int command, void* attr, unsigned size) {
  return syscall(SYS_bpf, command, attr, size);
}

#define CHECK(condition)                                                                    \
  do {                                                                                      \
    if (!(condition)) {                                                                     \
      fprintf(stderr, "raw_client: line %d: %s (errno %d)\n", __LINE__, #condition, errno); \
      exit(1);                                                                              \
    }                                                                                       \
  } while (0)

static int create(uint32_t type, uint32_t entries, uint32_t flags) {
  union attr attr = {.create = {type, 4, 8, entries, flags}};
  return (int)bpf(MAP_CREATE, &attr, sizeof attr);
}

static int element(int command, int fd, const void* key, void* value, uint64_t flags) {
  union attr attr = {
      .element = {(uint32_t)fd, 0, (uint64_t)(uintptr_t)key, (uint64_t)(uintptr_t)value, flags}};
  return (int)bpf(command, &attr, sizeof attr);
}

static int update(int fd, uint32_t key, uint64_t value) {
  return element(MAP_UPDATE, fd, &key, &value, 0);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int walk(void) {
  const int fd = create(TYPE_HASH, 100, 0);
  CHECK(fd >= 0);
  CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  for (uint32_t key = 0; key < 100; ++key) CHECK(update(fd, key, key * 7) == 0);
  CHECK(update(fd, 100, 1) == -1 && errno == E2BIG);
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 200);
  CHECK(copy >= 200 && close(fd) == 0);
  uint32_t key = 0, seen = 0;
  int more = element(MAP_NEXT_KEY, copy, NULL, &key, 0);
  while (more == 0) {
    uint64_t value = 0;
    CHECK(element(MAP_LOOKUP, copy, &key, &value, 0) == 0 && value == key * 7ULL);
    ++seen;
    const uint32_t last = key;
    more = element(MAP_NEXT_KEY, copy, &last, &key, 0);
  }
  CHECK(errno == ENOENT && seen == 100);
  for (key = 0; key < 100; ++key) CHECK(element(MAP_DELETE, copy, &key, NULL, 0) == 0);
  CHECK(element(MAP_NEXT_KEY, copy, NULL, &key, 0) == -1 && errno == ENOENT);
  close(copy);
  CHECK(update(copy, 1, 1) == -1 && errno == EBADF);
  CHECK(update(1, 1, 1) == -1 && errno == EINVAL);
  return 0;
}

static int time_calls(unsigned rounds) {
  enum { BATCH = 1024 };
  const int fd = create(TYPE_HASH, 4 * BATCH, 0);
  CHECK(fd >= 0);
  static uint32_t keys[BATCH];
  static uint64_t values[BATCH];
  for (uint32_t i = 0; i < BATCH; ++i) keys[i] = i;
  uint64_t value = 0;
  CHECK(update(fd, 7, 1) == 0);
  const uint32_t key = 7;
  // The best of ten parts: what the machine does besides is not ours.
  double lookup = 1e18, unknown = 1e18, update_batch = 1e18, lookup_batch = 1e18;
  for (int part = 0; part < 10; ++part) {
    double start = now();
    for (unsigned i = 0; i < rounds / 10; ++i) element(MAP_LOOKUP, fd, &key, &value, 0);
    double took = (now() - start) / (rounds / 10);
    if (took < lookup) lookup = took;
    union attr nothing = {.bytes = {0}};
    start = now();
    for (unsigned i = 0; i < rounds / 10; ++i) bpf(9999, &nothing, sizeof nothing);
    took = (now() - start) / (rounds / 10);
    if (took < unknown) unknown = took;
    union attr batch = {
        .batch = {0, 0, (uintptr_t)keys, (uintptr_t)values, BATCH, (uint32_t)fd, 0, 0}};
    start = now();
    CHECK(bpf(UPDATE_BATCH, &batch, 56) == 0 && batch.batch.count == BATCH);
    took = (now() - start) / BATCH;
    if (took < update_batch) update_batch = took;
    static uint32_t out_keys[4 * BATCH];
    static uint64_t out_values[4 * BATCH];
    uint32_t cursor = 0;
    batch = (union attr){.batch = {0, (uintptr_t)&cursor, (uintptr_t)out_keys,
                                   (uintptr_t)out_values, 4 * BATCH, (uint32_t)fd, 0, 0}};
    start = now();
    CHECK(bpf(LOOKUP_BATCH, &batch, 56) == -1 && errno == ENOENT && batch.batch.count == BATCH);
    took = (now() - start) / BATCH;
    if (took < lookup_batch) lookup_batch = took;
  }
  double best_create = 1e18;
  for (int part = 0; part < 10; ++part) {
    const double start = now();
    for (int i = 0; i < 100; ++i) close(create(TYPE_ARRAY, 1, 0));
    const double took = (now() - start) / 100;
    if (took < best_create) best_create = took;
  }
  printf(
      "lookup_ns %.0f unknown_ns %.0f update_batch_ns %.1f lookup_batch_ns %.1f create_close_ns "
      "%.0f\n",
      lookup, unknown, update_batch, lookup_batch, best_create);
  return 0;
}

static int shared_fd;

static void* work(void* number) {
  const uint32_t key = (uint32_t)(uintptr_t)number;
  for (uint64_t i = 1; i <= 500; ++i) {
    uint64_t value = 0;
    CHECK(update(shared_fd, key, i) == 0);
    CHECK(element(MAP_LOOKUP, shared_fd, &key, &value, 0) == 0 && value == i);
  }
  return NULL;
}

static int threads(unsigned count) {
  shared_fd = create(TYPE_HASH, count, 0);
  CHECK(shared_fd >= 0);
  pthread_t* all = calloc(count, sizeof *all);
  for (unsigned i = 0; i < count; ++i)
    CHECK(pthread_create(&all[i], NULL, work, (void*)(uintptr_t)i) == 0);
  for (unsigned i = 0; i < count; ++i) pthread_join(all[i], NULL);
  return 0;
}

static int descriptors(unsigned count) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  int* fds = calloc(count, sizeof *fds);
  for (unsigned i = 0; i < count; ++i)
    CHECK((fds[i] = create(TYPE_ARRAY, 1, i % 8 ? 0 : FLAG_MMAPABLE)) >= 0);
  for (unsigned i = 0; i < count; ++i) CHECK(update(fds[i], 0, i) == 0);
  for (unsigned i = 0; i < count; ++i) {
    const uint32_t key = 0;
    uint64_t value = 0;
    CHECK(element(MAP_LOOKUP, fds[i], &key, &value, 0) == 0 && value == i);
  }
  return 0;
}

static int hold(void) {
  const int fd = create(TYPE_HASH, 10, 0);
  CHECK(fd >= 0 && update(fd, 1, 1) == 0);
  puts("holding");
  fflush(stdout);
  for (;;) pause();
}

static int hammer(void) {
  for (;;) {
    const int fd = create(rand() % 2 ? TYPE_HASH : TYPE_ARRAY, 64, 0);
    // A server that was killed answers ENOSYS: said, and the end.
    if (fd < 0 && errno == ENOSYS) return 38;
    if (fd < 0) continue;
    for (uint32_t key = 0; key < 64; ++key) update(fd, key, key);
    if (rand() % 4 == 0) mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
  }
}

static int garbage(unsigned seed, unsigned count) {
  srand(seed);
  const int map = create(TYPE_HASH, 64, 0);
  CHECK(map >= 0);
  static char memory[1 << 16];
  for (unsigned i = 0; i < count; ++i) {
    union attr attr;
    for (size_t at = 0; at < sizeof attr; ++at) attr.bytes[at] = (char)(rand() % 3 ? 0 : rand());
    uint32_t* const words = (uint32_t*)attr.bytes;
    uint64_t* const longs = (uint64_t*)attr.bytes;
    // Sensible words among the noise, so that it gets past the first checks.
    for (int change = rand() % 6; change > 0; --change) {
      switch (rand() % 4) {
        case 0:
          words[rand() % 20] = (uint32_t)map;
          break;
        case 1:
          longs[rand() % 10] = (uint64_t)(uintptr_t)&memory[rand() % (int)sizeof memory];
          break;
        case 2:
          words[rand() % 20] = (uint32_t)(rand() % 40);
          break;
        default:
          longs[rand() % 10] = 0;
      }
    }
    const int command = rand() % 42;
    const long fd =
        bpf(command, &attr, (unsigned)(rand() % 8 ? sizeof attr : (size_t)(rand() % 5000)));
    if (fd > 2 && fd != map && command != MAP_GET_NEXT_ID) close((int)fd);
  }
  // It still answers as it should.
  CHECK(update(map, 1, 2) == 0 || errno == EPERM);  // EPERM: the noise froze the map
  return 0;
}

static int hostile(void) {
  const int fd = create(TYPE_HASH, 8, 0);
  CHECK(fd >= 0 && update(fd, 1, 1) == 0);
  const uint32_t key = 1;
  uint64_t value = 0;
  CHECK(bpf(MAP_LOOKUP, (void*)16, 32) == -1 && errno == EFAULT);
  CHECK(bpf(MAP_LOOKUP, (void*)-16L, 32) == -1 && errno == EFAULT);
  CHECK(element(MAP_LOOKUP, fd, (void*)8, &value, 0) == -1 && errno == EFAULT);
  CHECK(element(MAP_LOOKUP, fd, &key, (void*)8, 0) == -1 && errno == EFAULT);
  CHECK(element(MAP_UPDATE, fd, &key, (void*)8, 0) == -1 && errno == EFAULT);
  // Memory that may be read but not written.
  void* const constant = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(element(MAP_LOOKUP, fd, &key, constant, 0) == -1 && errno == EFAULT);
  // A key that ends where memory does.
  char* const two = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(munmap(two + 4096, 4096) == 0);
  CHECK(element(MAP_LOOKUP, fd, two + 4094, &value, 0) == -1 && errno == EFAULT);
  memcpy(two + 4092, &key, 4);
  CHECK(element(MAP_LOOKUP, fd, two + 4092, &value, 0) == 0 && value == 1);
  // A batch whose arrays end where memory does: what is before is taken, the rest is not.
  union attr batch = {
      .batch = {0, 0, (uintptr_t)(two + 4096 - 8), (uintptr_t)two, 3, (uint32_t)fd, 0, 0}};
  CHECK(bpf(UPDATE_BATCH, &batch, 56) == -1 && errno == EFAULT && batch.batch.count == 2);
  CHECK(bpf(MAP_CREATE, &batch, 5000) == -1 && errno == E2BIG);
  CHECK(element(MAP_LOOKUP, -1, &key, &value, 0) == -1 && errno == EBADF);
  CHECK(element(MAP_LOOKUP, 1 << 30, &key, &value, 0) == -1 && errno == EBADF);
  int pipe_ends[2];
  CHECK(pipe(pipe_ends) == 0);
  CHECK(element(MAP_LOOKUP, pipe_ends[0], &key, &value, 0) == -1 && errno == EINVAL);
  // Writing into a descriptor does not hang, whatever it says.
  static char noise[1 << 17];
  (void)!write(fd, noise, sizeof noise);
  (void)!write(fd, noise, sizeof noise);
  CHECK(element(MAP_LOOKUP, fd, &key, &value, 0) == 0);
  // Free numbers run out: the call says so, and the object goes.
  struct rlimit few = {8, 8}, before;
  getrlimit(RLIMIT_NOFILE, &before);
  few.rlim_max = before.rlim_max;
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  for (int i = 0; i < 16; ++i) {
    const int more = create(TYPE_ARRAY, 1, 0);
    if (more < 0) {
      CHECK(errno == EMFILE);
      return 0;
    }
  }
  CHECK(!"descriptors never ran out");
  return 1;
}

static int mapped(void) {
  const int fd = create(TYPE_ARRAY, 16, FLAG_MMAPABLE);
  CHECK(fd >= 0);
  uint64_t* const values = mmap(NULL, 128, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(values != MAP_FAILED);
  CHECK(update(fd, 3, 33) == 0 && values[3] == 33);
  values[5] = 55;
  const uint32_t key = 5;
  uint64_t value = 0;
  CHECK(element(MAP_LOOKUP, fd, &key, &value, 0) == 0 && value == 55);
  CHECK(munmap(values, 128) == 0);
  union attr freeze = {.element = {(uint32_t)fd, 0, 0, 0, 0}};
  CHECK(bpf(MAP_FREEZE, &freeze, 4) == 0);
  CHECK(mmap(NULL, 128, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
  const uint64_t* const frozen = mmap(NULL, 128, PROT_READ, MAP_SHARED, fd, 0);
  CHECK(frozen != MAP_FAILED && frozen[5] == 55);
  // The mapping alone keeps the map.
  close(fd);
  uint32_t ids[3] = {0, 0, 0};
  CHECK(bpf(MAP_GET_NEXT_ID, ids, sizeof ids) == 0);
  CHECK(munmap((void*)(uintptr_t)frozen, 128) == 0);
  return 0;
}

static int passed(void) {
  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec part = {&byte, 1};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof control};
    CHECK(recvmsg(ends[1], &header, 0) == 1);
    int fd;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof fd);
    const uint32_t key = 9;
    uint64_t value = 0;
    CHECK(element(MAP_LOOKUP, fd, &key, &value, 0) == 0 && value == 99);
    exit(0);
  }
  const int fd = create(TYPE_HASH, 10, 0);
  CHECK(fd >= 0 && update(fd, 9, 99) == 0);
  char byte = 0, control[CMSG_SPACE(sizeof(int))];
  struct iovec part = {&byte, 1};
  struct msghdr header = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr* const rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  CHECK(sendmsg(ends[0], &header, 0) == 1);
  close(fd);
  int status = 1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  return 0;
}

static char* missing;

static void* call_with_missing_memory(void* number) {
  bpf(MAP_LOOKUP, missing + (uintptr_t)number * 4096, 32);
  return NULL;
}

static int stuck(unsigned count) {
  // Whoever touches these pages, we or the server, waits for them.
  const int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
  struct uffdio_api api = {.api = UFFD_API};
  if (faults < 0 || ioctl(faults, UFFDIO_API, &api) != 0) return 77;
  missing = mmap(NULL, count * 4096UL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct uffdio_register range = {.range = {(uintptr_t)missing, count * 4096UL},
                                  .mode = UFFDIO_REGISTER_MODE_MISSING};
  CHECK(ioctl(faults, UFFDIO_REGISTER, &range) == 0);
  for (unsigned i = 0; i < count; ++i) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, call_with_missing_memory, (void*)(uintptr_t)i) == 0);
  }
  const double start = now();
  for (int round = 0; round < 20; ++round) {
    CHECK(walk() == 0);
    usleep(10000);
  }
  CHECK(now() - start < 20e9);
  return 0;
}

static void cannot(int signal) {
  (void)signal;
  _exit(77);
}

static long call_32_bit(long number, long first, long second, long third) {
  long result;
  __asm__ volatile("int $0x80"
                   : "=a"(result)
                   : "a"(number), "b"(first), "c"(second), "d"(third)
                   : "memory", "r8", "r9", "r10", "r11");
  return (int)result;
}

static int other_abi(void) {
  signal(SIGSEGV, cannot);
  if (call_32_bit(20, 0, 0, 0) != getpid()) return 77;
  CHECK(call_32_bit(357, MAP_CREATE, 0, 0) == -ENOSYS);
  CHECK(syscall(0x40000000 | SYS_bpf, MAP_CREATE, 0, 0) == -1 && errno == ENOSYS);
  return walk();
}

static int foreign(void) {
  CHECK(create(TYPE_HASH, 10, 0) >= 0);
  CHECK(syscall(SYS_setresuid, 12345, 12345, 12345) == 0);
  CHECK(create(TYPE_HASH, 10, 0) == -1 && errno == EPERM);
  return 0;
}

int main(int argc, char** argv) {
  const char* const what = argc > 1 ? argv[1] : "";
  const unsigned first = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
  const unsigned second = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
  if (!strcmp(what, "walk")) return walk();
  if (!strcmp(what, "time")) return time_calls(first);
  if (!strcmp(what, "threads")) return threads(first);
  if (!strcmp(what, "descriptors")) return descriptors(first);
  if (!strcmp(what, "hold")) return hold();
  if (!strcmp(what, "hammer")) return hammer();
  if (!strcmp(what, "garbage")) return garbage(first, second);
  if (!strcmp(what, "hostile")) return hostile();
  if (!strcmp(what, "mapped")) return mapped();
  if (!strcmp(what, "passed")) return passed();
  if (!strcmp(what, "other_abi")) return other_abi();
  if (!strcmp(what, "stuck")) return stuck(first);
  if (!strcmp(what, "foreign")) return foreign();
  fprintf(stderr, "raw_client: unknown: %s\n", what);
  return 2;
}
