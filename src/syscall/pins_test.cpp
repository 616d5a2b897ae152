// SPDX-License-Identifier: Apache-2.0
#include "syscall/pins.hpp"

#include "object/object.hpp"
#include "rcu/rcu.hpp"
#include "support/expect.hpp"

#include <gtest/gtest.h>

#include <string>

namespace skep {
namespace {

class Thing final : public Object {
 public:
  static constexpr ObjectKind object_kind = ObjectKind::map;
  Thing() : Object(object_kind) {}
};

class PinsTest : public ::testing::Test {
 protected:
  ~PinsTest() override {
    thing_ = nullptr;
    rcu::barrier();
  }
  Result<void> pin(std::string_view path) { return pins_.pin(path, thing_, 0); }
  Result<void> mkdir(std::string_view path) { return pins_.mkdir(path, 0700, 0); }
  Result<void> symlink(std::string_view to, std::string_view path) {
    return pins_.symlink(to, path, 0);
  }

  Ref<Thing> thing_ = make_object<Thing>();
  Pins pins_;
};

TEST_F(PinsTest, APinKeepsTheObjectInUseUntilItsNameIsGone) {
  ASSERT_OK(pin("/sys/fs/bpf/a"));
  EXPECT_TRUE(thing_->has_users());
  EXPECT_EQ(pins_.get("/sys/fs/bpf/a", 0).take().get(), thing_.get());
  ASSERT_OK(pins_.rename("/sys/fs/bpf/a", "/sys/fs/bpf/b"));
  EXPECT_ERRNO(pins_.get("/sys/fs/bpf/a", 0), ENOENT);
  EXPECT_TRUE(thing_->has_users());
  ASSERT_OK(pins_.unlink("/sys/fs/bpf/b"));
  EXPECT_FALSE(thing_->has_users());
  EXPECT_ERRNO(pins_.unlink("/sys/fs/bpf/b"), ENOENT);
}

TEST_F(PinsTest, ClearingRemovesAllPins) {
  ASSERT_OK(mkdir("/sys/fs/bpf/d"));
  ASSERT_OK(pin("/sys/fs/bpf/d/x"));
  pins_.clear();
  EXPECT_FALSE(thing_->has_users());
  EXPECT_TRUE(pins_.list("/sys/fs/bpf").take().empty());
}

// Renaming puts a tree at the bottom of another one, so that it outgrows what any path can say.
TEST_F(PinsTest, ATreeDeeperThanTheStackIsRemoved) {
  ASSERT_OK(mkdir("/sys/fs/bpf/tree"));
  for (int level = 0; level < 200; ++level) {
    std::string path = "/sys/fs/bpf/next";
    ASSERT_OK(mkdir(path));
    for (int depth = 0; depth < 100; ++depth) ASSERT_OK(mkdir(path += "/d"));
    ASSERT_OK(pins_.rename("/sys/fs/bpf/tree", path + "/d"));
    ASSERT_OK(pins_.rename("/sys/fs/bpf/next", "/sys/fs/bpf/tree"));
  }
  pins_.clear();
  EXPECT_FALSE(pins_.exists("/sys/fs/bpf/tree"));
}

TEST_F(PinsTest, PinErrors) {
  ASSERT_OK(pin("/sys/fs/bpf/a"));
  ASSERT_OK(mkdir("/sys/fs/bpf/d"));
  EXPECT_ERRNO(pin("/sys/fs/bpf/a"), EEXIST);
  EXPECT_ERRNO(pin("/sys/fs/bpf/d"), EEXIST);
  EXPECT_ERRNO(pin("/sys/fs/bpf"), EEXIST);
  EXPECT_ERRNO(pin("/sys/fs/bpf/."), EEXIST);
  EXPECT_ERRNO(pin("/sys/fs/bpf/x.y"), EPERM);
  EXPECT_ERRNO(pin("/sys/fs/bpf/none/x"), ENOENT);
  EXPECT_ERRNO(pin("/sys/fs/bpf/a/x"), ENOTDIR);
  EXPECT_ERRNO(pin("/sys/fs/bpf/new/"), ENOENT);
  EXPECT_ERRNO(pin(""), ENOENT);
  EXPECT_ERRNO(pin("/tmp/x"), EPERM);
  EXPECT_ERRNO(pin("/sys/fs"), EPERM);
  EXPECT_ERRNO(pin("relative"), EPERM);
  EXPECT_ERRNO(pin("/sys/fs/bpf/" + std::string(256, 'n')), ENAMETOOLONG);
  EXPECT_ERRNO(pin("/sys/fs/bpf/" + std::string(4096, '/')), ENAMETOOLONG);
  EXPECT_OK(pin("/sys/fs/bpf/" + std::string(255, 'n')));
}

TEST_F(PinsTest, GetErrors) {
  ASSERT_OK(pins_.pin("/sys/fs/bpf/a", thing_, 1000));
  ASSERT_OK(mkdir("/sys/fs/bpf/d"));
  EXPECT_OK(pins_.get("/sys/fs/bpf/a", 1000));
  EXPECT_OK(pins_.get("/sys/fs/bpf/a", 0));
  EXPECT_ERRNO(pins_.get("/sys/fs/bpf/a", 1001), EACCES);
  EXPECT_ERRNO(pins_.get("/sys/fs/bpf/d", 0), EACCES);
  EXPECT_ERRNO(pins_.get("/sys/fs/bpf/none", 0), ENOENT);
  EXPECT_ERRNO(pins_.get("/sys/fs/bpf/a/", 0), ENOTDIR);
  EXPECT_ERRNO(pins_.get("/sys/fs/bpf/a/.", 0), ENOTDIR);
  EXPECT_ERRNO(pins_.get("/etc/passwd", 0), ENOENT);
}

TEST_F(PinsTest, PathsAreWalkedAsOnLinux) {
  ASSERT_OK(mkdir("/sys/fs/bpf/d"));
  ASSERT_OK(mkdir("/sys/fs/bpf/d/e/"));
  ASSERT_OK(pin("/sys//fs/./bpf/../bpf/d/e/../x"));
  EXPECT_OK(pins_.get("/sys/fs/bpf/d/x", 0));
  EXPECT_OK(pins_.get("/../sys/fs/bpf/d/e/../../d/x", 0));
  EXPECT_FALSE(pins_.exists("/sys/fs/bpf/d/none/../x"));
  EXPECT_ERRNO(pins_.get("/sys/fs/bpf/d/x/../x", 0), ENOTDIR);

  EXPECT_TRUE(pins_.covers("/sys/fs/bpf"));
  EXPECT_TRUE(pins_.covers("/sys/fs/bpf/none/x"));
  EXPECT_FALSE(pins_.covers("/sys/fs/bpf/.."));
  EXPECT_FALSE(pins_.covers("/sys/fs/bpfx"));
  EXPECT_FALSE(pins_.covers("/tmp"));
}

TEST_F(PinsTest, SymbolicLinksLeadInsideAndOutside) {
  ASSERT_OK(mkdir("/sys/fs/bpf/d"));
  ASSERT_OK(pin("/sys/fs/bpf/d/x"));
  ASSERT_OK(symlink("d", "/sys/fs/bpf/relative"));
  ASSERT_OK(symlink("/sys/fs/bpf/d/x", "/sys/fs/bpf/absolute"));
  ASSERT_OK(symlink("/tmp", "/sys/fs/bpf/out"));
  ASSERT_OK(symlink("loop", "/sys/fs/bpf/loop"));

  EXPECT_OK(pins_.get("/sys/fs/bpf/relative/x", 0));
  EXPECT_OK(pins_.get("/sys/fs/bpf/absolute", 0));
  EXPECT_ERRNO(pins_.get("/sys/fs/bpf/loop", 0), ELOOP);
  EXPECT_ERRNO(pin("/sys/fs/bpf/out/x"), EPERM);
  EXPECT_ERRNO(pin("/sys/fs/bpf/loop"), EEXIST);
  EXPECT_ERRNO(symlink("d", "/sys/fs/bpf/a.b"), EPERM);
  EXPECT_EQ(pins_.lstat("/sys/fs/bpf/relative").take().kind, PinKind::symlink);
  EXPECT_EQ(pins_.stat("/sys/fs/bpf/relative").take().kind, PinKind::directory);
  EXPECT_EQ(pins_.readlink("/sys/fs/bpf/relative").take(), "d");
  EXPECT_ERRNO(pins_.readlink("/sys/fs/bpf/d"), EINVAL);
  EXPECT_OK(pins_.unlink("/sys/fs/bpf/relative"));
  EXPECT_TRUE(pins_.exists("/sys/fs/bpf/d/x"));
}

TEST_F(PinsTest, Directories) {
  ASSERT_OK(mkdir("/sys/fs/bpf/d"));
  EXPECT_ERRNO(mkdir("/sys/fs/bpf/d"), EEXIST);
  EXPECT_ERRNO(mkdir("/sys/fs/bpf/a.b"), EPERM);
  EXPECT_ERRNO(mkdir("/sys/fs/bpf/none/d"), ENOENT);
  ASSERT_OK(pin("/sys/fs/bpf/d/x"));
  EXPECT_ERRNO(pins_.rmdir("/sys/fs/bpf/d"), ENOTEMPTY);
  EXPECT_ERRNO(pins_.rmdir("/sys/fs/bpf/d/x"), ENOTDIR);
  EXPECT_ERRNO(pins_.rmdir("/sys/fs/bpf"), EBUSY);
  EXPECT_ERRNO(pins_.rmdir("/sys/fs/bpf/d/."), EINVAL);
  EXPECT_ERRNO(pins_.rmdir("/sys/fs/bpf/none"), ENOENT);
  EXPECT_ERRNO(pins_.unlink("/sys/fs/bpf/d"), EISDIR);
  ASSERT_OK(pins_.unlink("/sys/fs/bpf/d/x"));
  EXPECT_OK(pins_.rmdir("/sys/fs/bpf/d/"));
}

TEST_F(PinsTest, ListsAndStatus) {
  ASSERT_OK(mkdir("/sys/fs/bpf/d"));
  ASSERT_OK(pin("/sys/fs/bpf/p"));
  const auto entries = pins_.list("/sys/fs/bpf").take();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].name, "d");
  EXPECT_EQ(entries[1].name, "p");
  EXPECT_EQ(entries[1].kind, PinKind::object);
  EXPECT_NE(entries[0].inode, entries[1].inode);
  EXPECT_ERRNO(pins_.list("/sys/fs/bpf/p"), ENOTDIR);
  EXPECT_EQ(pins_.stat("/sys/fs/bpf/p").take().mode, 0600u);
  EXPECT_EQ(pins_.stat("/sys/fs/bpf").take().links, 3u);
  EXPECT_EQ(pins_.stat("/sys/fs/bpf").take().mode, 01777u);
}

TEST_F(PinsTest, RenameReplacesLikeWithLike) {
  ASSERT_OK(mkdir("/sys/fs/bpf/d"));
  ASSERT_OK(mkdir("/sys/fs/bpf/full"));
  ASSERT_OK(pin("/sys/fs/bpf/full/x"));
  ASSERT_OK(pin("/sys/fs/bpf/p"));
  ASSERT_OK(pin("/sys/fs/bpf/q"));
  EXPECT_ERRNO(pins_.rename("/sys/fs/bpf/p", "/sys/fs/bpf/d"), EISDIR);
  EXPECT_ERRNO(pins_.rename("/sys/fs/bpf/d", "/sys/fs/bpf/p"), ENOTDIR);
  EXPECT_ERRNO(pins_.rename("/sys/fs/bpf/d", "/sys/fs/bpf/full"), ENOTEMPTY);
  EXPECT_ERRNO(pins_.rename("/sys/fs/bpf/full", "/sys/fs/bpf/full/y"), EINVAL);
  EXPECT_ERRNO(pins_.rename("/sys/fs/bpf/none", "/sys/fs/bpf/y"), ENOENT);
  EXPECT_ERRNO(pins_.rename("/sys/fs/bpf/p", "/tmp/p"), EXDEV);
  EXPECT_ERRNO(pins_.rename("/sys/fs/bpf/p", "/sys/fs/bpf/a.b"), EPERM);
  EXPECT_OK(pins_.rename("/sys/fs/bpf/p", "/sys/fs/bpf/p"));
  EXPECT_OK(pins_.rename("/sys/fs/bpf/p", "/sys/fs/bpf/q"));
  EXPECT_OK(pins_.rename("/sys/fs/bpf/full", "/sys/fs/bpf/d"));
  EXPECT_TRUE(pins_.exists("/sys/fs/bpf/d/x"));
  EXPECT_FALSE(pins_.exists("/sys/fs/bpf/p"));
}

}  // namespace
}  // namespace skep
