// SPDX-License-Identifier: Apache-2.0
#include "exec/client.hpp"

#include "support/expect.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

namespace skep::exec {
namespace {

/// Two pages, the second of which is not there. The same addresses in a child.
class TwoPages {
 public:
  TwoPages() {
    begin_ = static_cast<char*>(
        ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ::mprotect(begin_ + 4096, 4096, PROT_NONE);
  }
  ~TwoPages() { ::munmap(begin_, 8192); }
  char* end() const { return begin_ + 4096; }

 private:
  char* begin_;
};

std::uint64_t address(const void* at) { return reinterpret_cast<std::uint64_t>(at); }

/// A child that waits to be killed.
class Child {
 public:
  template <class Body>
  explicit Child(Body prepare) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    id_ = ::fork();
    if (id_ == 0) {
      prepare();
      (void)!::write(ends[1], "x", 1);
      while (true) ::pause();
    }
    char byte = 0;
    EXPECT_EQ(::read(ends[0], &byte, 1), 1);
    ::close(ends[0]);
    ::close(ends[1]);
  }
  ~Child() { end(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  void end() {
    if (id_ <= 0) return;
    ::kill(id_, SIGKILL);
    ::waitpid(id_, nullptr, 0);
    id_ = -1;
  }
  pid_t id() const { return id_; }

 private:
  pid_t id_;
};

TEST(ClientMemory, ReadsAndWritesWhatIsThereAndNothingElse) {
  const TwoPages pages;
  std::memcpy(pages.end() - 8, "ABCDEFG", 8);
  const Child child([] {});
  std::array<std::byte, 8> bytes{};
  ASSERT_OK(read_memory(child.id(), address(pages.end() - 8), bytes));
  EXPECT_EQ(std::memcmp(bytes.data(), "ABCDEFG", 8), 0);
  EXPECT_ERRNO(read_memory(child.id(), address(pages.end() - 7), bytes), EFAULT);
  EXPECT_ERRNO(read_memory(child.id(), 8, bytes), EFAULT);
  const auto some = read_some(child.id(), address(pages.end() - 3), bytes);
  ASSERT_OK(some);
  EXPECT_EQ(*some, 3u);

  const std::array<std::byte, 4> other = {std::byte{'w'}, std::byte{'x'}, std::byte{'y'},
                                          std::byte{'z'}};
  ASSERT_OK(write_memory(child.id(), address(pages.end() - 8), other));
  ASSERT_OK(read_memory(child.id(), address(pages.end() - 8), bytes));
  EXPECT_EQ(std::memcmp(bytes.data(), "wxyzEFG", 8), 0);
  // Ours is a copy.
  EXPECT_STREQ(pages.end() - 8, "ABCDEFG");
  EXPECT_ERRNO(write_memory(child.id(), address(pages.end() - 3), other), EFAULT);
}

TEST(ClientMemory, TextEndsAtItsNul) {
  const TwoPages pages;
  std::memcpy(pages.end() - 4, "end", 4);
  const Child child([] {});
  const auto text = read_text(child.id(), address(pages.end() - 4), 64);
  ASSERT_OK(text);
  EXPECT_EQ(*text, "end");
  EXPECT_ERRNO(read_text(child.id(), address(pages.end() - 4), 3), ENAMETOOLONG);
  std::memcpy(pages.end() - 4, "endl", 4);
  const Child other([] {});
  EXPECT_ERRNO(read_text(other.id(), address(pages.end() - 4), 64), EFAULT);
}

TEST(ClientThreads, CopiesDescriptors) {
  const int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  Child child([file] { ::dup2(file, 100); });
  ::close(file);
  ClientThreads threads;
  for (int round = 0; round < 2; ++round) {  // the second time from the cache
    const auto copy = threads.copy_descriptor(child.id(), 100);
    ASSERT_OK(copy);
    struct stat status{};
    ASSERT_EQ(::fstat(copy->get(), &status), 0);
    EXPECT_TRUE(S_ISCHR(status.st_mode));
    EXPECT_ERRNO(threads.copy_descriptor(child.id(), 101), EBADF);
    EXPECT_ERRNO(threads.copy_descriptor(child.id(), -1), EBADF);
  }
  const pid_t gone = child.id();
  child.end();
  EXPECT_ERRNO(threads.copy_descriptor(gone, 100), ESRCH);
}

TEST(ClientThreads, KnowUsers) {
  const Child child([] {});
  ClientThreads threads;
  const auto user = threads.user(child.id());
  ASSERT_OK(user);
  EXPECT_EQ(*user, ::geteuid());
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: a second user is needed";
  const Child other([] { EXPECT_EQ(::setresuid(12345, 12345, 12345), 0); });
  const auto theirs = threads.user(other.id());
  ASSERT_OK(theirs);
  EXPECT_EQ(*theirs, 12345u);
}

class ClientPaths : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string path = (std::filesystem::temp_directory_path() / "skep-paths-XXXXXX").string();
    ASSERT_NE(::mkdtemp(path.data()), nullptr);
    path_ = path;
    std::filesystem::create_directory(path_ + "/inner");
    std::filesystem::create_symlink("inner", path_ + "/link");
    std::filesystem::create_symlink(path_ + "/inner", path_ + "/absolute");
  }
  void TearDown() override { std::filesystem::remove_all(path_); }
  ino_t inode(int fd) const {
    struct stat status{};
    EXPECT_EQ(::fstat(fd, &status), 0);
    return status.st_ino;
  }
  ino_t inode(const std::string& path) const {
    struct stat status{};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return status.st_ino;
  }
  std::string path_;
};

TEST_F(ClientPaths, StartWhereTheClientIs) {
  const Child child([this] { EXPECT_EQ(::chdir(path_.c_str()), 0); });
  const PathBase base{.thread = child.id(), .directory = -1};
  for (const std::string& path :
       {path_ + "/inner", std::string("inner"), std::string("./link"), std::string("absolute")}) {
    const auto fd = open_path(base, path, LastLink::follow);
    ASSERT_OK(fd);
    EXPECT_EQ(inode(fd->get()), inode(path_ + "/inner")) << path;
  }
  const auto link = open_path(base, "link", LastLink::keep);
  ASSERT_OK(link);
  EXPECT_NE(inode(link->get()), inode(path_ + "/inner"));
  EXPECT_ERRNO(open_path(base, "missing", LastLink::follow), ENOENT);
  EXPECT_ERRNO(open_path(base, "", LastLink::follow), ENOENT);

  const OwnedFd directory(::open((path_ + "/inner").c_str(), O_PATH | O_CLOEXEC));
  const PathBase from_directory{.thread = child.id(), .directory = directory.get()};
  const auto above = open_path(from_directory, "../link/.", LastLink::follow);
  ASSERT_OK(above);
  EXPECT_EQ(inode(above->get()), inode(path_ + "/inner"));
}

TEST_F(ClientPaths, EndInANameOfADirectory) {
  const Child child([this] { EXPECT_EQ(::chdir(path_.c_str()), 0); });
  const PathBase base{.thread = child.id(), .directory = -1};
  const auto place = open_parent(base, "absolute/new");
  ASSERT_OK(place);
  EXPECT_EQ(place->name, "new");
  EXPECT_EQ(inode(place->directory.get()), inode(path_ + "/inner"));
  const auto nameless = open_parent(base, "inner/..");
  ASSERT_OK(nameless);
  EXPECT_EQ(nameless->name, "");
  EXPECT_ERRNO(open_parent(base, "missing/new"), ENOENT);
}

// A client that changed its root finds its own files, also by links that start at the root.
TEST_F(ClientPaths, StayBelowTheClientsRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: the client changes its root";
  std::filesystem::create_symlink("/inner", path_ + "/from_root");
  const Child child([this] {
    EXPECT_EQ(::chroot(path_.c_str()), 0);
    EXPECT_EQ(::chdir("/"), 0);
  });
  const PathBase base{.thread = child.id(), .directory = -1};
  for (const char* path : {"/inner", "/from_root", "/../../inner"}) {
    const auto fd = open_path(base, path, LastLink::follow);
    ASSERT_OK(fd);
    EXPECT_EQ(inode(fd->get()), inode(path_ + "/inner")) << path;
  }
  EXPECT_ERRNO(open_path(base, "/etc/passwd", LastLink::follow), ENOENT);
}

}  // namespace
}  // namespace skep::exec
