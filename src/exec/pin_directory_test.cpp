// SPDX-License-Identifier: Apache-2.0
#include "exec/pin_directory.hpp"

#include "support/expect.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>

namespace skep::exec {
namespace {

/// An object that says when its last user left.
class Thing final : public Object {
 public:
  explicit Thing(int& left) : Object(ObjectKind::map), left_(left) {}

 private:
  void on_last_user() override { ++left_; }
  int& left_;
};

class PinDirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // The memory file system plays the part of the clients' own.
    std::string path = "/dev/shm/skep-pins-XXXXXX";
    ASSERT_NE(::mkdtemp(path.data()), nullptr);
    path_ = path;
    auto pins = PinDirectory::make(open(path_));
    ASSERT_OK(pins);
    pins_ = std::move(*pins);
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  static OwnedFd open(const std::string& path) {
    return OwnedFd(::open(path.c_str(), O_PATH | O_CLOEXEC));
  }
  Result<void> pin(const std::string& name) {
    return pins_->pin(open(path_).get(), name, make_object<Thing>(left_));
  }
  Result<Ref<Object>> get(const std::string& name, Access access = {}) {
    return pins_->get(open(path_ + "/" + name).get(), access);
  }
  int left() {
    pins_->reap();
    return left_;
  }

  std::string path_;
  std::unique_ptr<PinDirectory> pins_;
  int left_ = 0;
};

TEST_F(PinDirectoryTest, APinIsAnEmptyFileThatKeepsItsObject) {
  ASSERT_OK(pin("map"));
  EXPECT_OK(get("map"));
  EXPECT_EQ(std::filesystem::file_size(path_ + "/map"), 0u);
  EXPECT_EQ(std::filesystem::status(path_ + "/map").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(left(), 0);
  std::filesystem::remove(path_ + "/map");
  EXPECT_EQ(left(), 1);
  EXPECT_EQ(pins_->size(), 0u);
}

TEST_F(PinDirectoryTest, TheLastNameCounts) {
  ASSERT_OK(pin("map"));
  std::filesystem::create_hard_link(path_ + "/map", path_ + "/second");
  std::filesystem::rename(path_ + "/map", path_ + "/moved");
  std::filesystem::remove(path_ + "/second");
  EXPECT_EQ(left(), 0);
  EXPECT_OK(get("moved"));
  // A name can also be lost to another one.
  ASSERT_OK(pin("other"));
  std::filesystem::rename(path_ + "/other", path_ + "/moved");
  EXPECT_EQ(left(), 1);
  EXPECT_OK(get("moved"));
  EXPECT_EQ(pins_->size(), 1u);
}

TEST_F(PinDirectoryTest, RefusesNamesAsBpffsDoes) {
  ASSERT_OK(pin("map"));
  EXPECT_ERRNO(pin("map"), EEXIST);
  EXPECT_ERRNO(pin("a.b"), EPERM);
  const std::string elsewhere = std::filesystem::temp_directory_path().string();
  if (!pins_->contains(open(elsewhere).get())) {
    EXPECT_ERRNO(pins_->pin(open(elsewhere).get(), "map", make_object<Thing>(left_)), EPERM);
  }
  // The refused objects had no user, so none left.
  EXPECT_EQ(left(), 0);
}

TEST_F(PinDirectoryTest, OtherFilesAreNoPins) {
  const OwnedFd file(::open((path_ + "/file").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_ERRNO(get("file"), EACCES);
  EXPECT_ERRNO(pins_->get(open(path_).get(), {}), EACCES);
  EXPECT_ERRNO(pins_->get(open("/proc").get(), {}), EACCES);
}

TEST_F(PinDirectoryTest, TheModeOfTheFileLimitsAccess) {
  // Root may do everything, so it becomes somebody else for a while.
  const bool is_root = ::geteuid() == 0;
  if (is_root) {
    ASSERT_EQ(::chown(path_.c_str(), 12345, 12345), 0);
    ASSERT_EQ(::seteuid(12345), 0);
  }
  EXPECT_OK(pin("map"));
  EXPECT_EQ(::chmod((path_ + "/map").c_str(), 0400), 0);
  EXPECT_OK(get("map", {.read = true, .write = false}));
  EXPECT_ERRNO(get("map"), EACCES);
  if (is_root) ASSERT_EQ(::seteuid(0), 0);
}

TEST_F(PinDirectoryTest, ManyPinsComeAndGo) {
  for (int i = 0; i < 1000; ++i) ASSERT_OK(pin(std::to_string(i)));
  EXPECT_EQ(pins_->size(), 1000u);
  for (int i = 0; i < 1000; ++i) std::filesystem::remove(path_ + "/" + std::to_string(i));
  EXPECT_EQ(left(), 1000);
}

// What is pinned when the directory dies loses its user.
TEST_F(PinDirectoryTest, LetsGoOfAllAtItsEnd) {
  ASSERT_OK(pin("map"));
  pins_.reset();
  EXPECT_EQ(left_, 1);
}

}  // namespace
}  // namespace skep::exec
