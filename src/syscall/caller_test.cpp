// SPDX-License-Identifier: Apache-2.0
#include "syscall/caller.hpp"

#include "cpu/slot.hpp"
#include "rcu/rcu.hpp"
#include "support/expect.hpp"
#include "syscall/caller_memory.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <vector>

namespace skep {
namespace {

constexpr std::size_t page_bytes = 4096;

/// Waits when it dies: what the members after it let go of is destroyed while those before it live.
struct GracePeriod {
  ~GracePeriod() { rcu::barrier(); }
};

/// Two pages, of which the second cannot be touched.
class LocalCallerTest : public ::testing::Test {
 protected:
  LocalCallerTest() : slots_(1, clock_, 1), caller_(table_, make_object<NetNamespace>(slots_)) {
    pages_ = static_cast<char*>(::mmap(nullptr, 2 * page_bytes, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ::mprotect(pages_ + page_bytes, page_bytes, PROT_NONE);
  }
  ~LocalCallerTest() override { ::munmap(pages_, 2 * page_bytes); }

  static std::uint64_t address_of(const void* p) { return reinterpret_cast<std::uint64_t>(p); }
  /// The last `bytes` bytes that can be touched.
  char* end(std::size_t bytes) { return pages_ + page_bytes - bytes; }

  VirtualClock clock_;
  CpuSlots slots_;
  GracePeriod grace_period_;
  DescriptorTable table_;
  LocalCaller caller_;
  char* pages_;
};

TEST_F(LocalCallerTest, GoodMemoryIsCopiedBothWays) {
  EXPECT_OK(write_value(caller_, address_of(end(4)), std::uint32_t{0x12345678}));
  EXPECT_EQ(read_value<std::uint32_t>(caller_, address_of(end(4))).take(), 0x12345678u);
  EXPECT_OK(caller_.read(0, {}));
}

TEST_F(LocalCallerTest, BadMemoryIsEfaultAndNoCrash) {
  for (const std::uint64_t bad :
       {std::uint64_t{0}, std::uint64_t{8}, ~std::uint64_t{0}, std::uint64_t{1} << 63,
        address_of(pages_ + page_bytes), address_of(end(2))}) {
    EXPECT_ERRNO(read_value<std::uint32_t>(caller_, bad), EFAULT) << bad;
    EXPECT_ERRNO(write_value(caller_, bad, std::uint32_t{1}), EFAULT) << bad;
  }
  static const std::uint32_t constant = 7;
  EXPECT_ERRNO(write_value(caller_, address_of(&constant), std::uint32_t{8}), EFAULT);
}

TEST_F(LocalCallerTest, StringsEndAtTheirNulOrAtTheLimit) {
  std::memcpy(end(4), "abc", 4);
  EXPECT_EQ(read_string(caller_, address_of(end(4)), 4096).take(), "abc");
  EXPECT_EQ(read_string(caller_, address_of(end(4)), 2).take(), "ab");
  std::memcpy(end(4), "abcd", 4);
  EXPECT_ERRNO(read_string(caller_, address_of(end(4)), 5), EFAULT);
  EXPECT_EQ(read_string(caller_, address_of(end(4)), 4).take(), "abcd");
  std::memset(pages_, 'x', page_bytes);
  *end(1) = '\0';
  EXPECT_EQ(read_string(caller_, address_of(pages_ + 1), 4096).take().size(), page_bytes - 2);
}

TEST_F(LocalCallerTest, TailsMustBeZero) {
  EXPECT_OK(expect_zero(caller_, address_of(pages_), page_bytes));
  EXPECT_ERRNO(expect_zero(caller_, address_of(pages_), page_bytes + 1), EFAULT);
  *end(1) = 1;
  EXPECT_ERRNO(expect_zero(caller_, address_of(pages_), page_bytes), E2BIG);
}

TEST_F(LocalCallerTest, SysAdminImpliesAllOtherCapabilities) {
  EXPECT_TRUE(caller_.capable(Capability::net_admin));
  caller_.set_capabilities({Capability::bpf});
  EXPECT_TRUE(caller_.capable(Capability::bpf));
  EXPECT_FALSE(caller_.capable(Capability::net_admin));
  EXPECT_FALSE(caller_.capable(Capability::sys_admin));
  EXPECT_EQ(caller_.uid(), ::getuid());
}

TEST(CommandBuffer, IsChargedAndZero) {
  Budget budget(100);
  {
    Buffer buffer = Buffer::make(budget, 60).take();
    EXPECT_EQ(budget.used_bytes(), 60u);
    for (const std::byte b : buffer.span()) EXPECT_EQ(b, std::byte{0});
    EXPECT_ERRNO(Buffer::make(budget, 60), ENOMEM);
  }
  EXPECT_EQ(budget.used_bytes(), 0u);
}

}  // namespace
}  // namespace skep
