// SPDX-License-Identifier: Apache-2.0
#include "exec/join.hpp"

#include "support/expect.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace skep::exec {
namespace {

class JoinTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    one_ = OwnedFd(ends[0]);
    other_ = OwnedFd(ends[1]);
    std::string path = (std::filesystem::temp_directory_path() / "skep-join-XXXXXX").string();
    ASSERT_NE(::mkdtemp(path.data()), nullptr);
    path_ = path;
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  OwnedFd one_, other_;
  std::string path_;
};

TEST_F(JoinTest, MessagesCarryDescriptors) {
  ASSERT_OK(send_message(one_.get(), {.kind = MessageKind::listener}, {one_.get(), 0}));
  auto received = receive_message(other_.get());
  ASSERT_OK(received);
  EXPECT_EQ(received->message.kind, MessageKind::listener);
  ASSERT_EQ(received->descriptors.size(), 2u);
  EXPECT_NE(::fcntl(received->descriptors[0].get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(JoinTest, RefusalsArriveAsTheirErrno) {
  ASSERT_OK(send_message(one_.get(), {.kind = MessageKind::refused, .code = EACCES}, {}));
  EXPECT_ERRNO(expect_message(other_.get(), MessageKind::serving), EACCES);
  ASSERT_OK(send_message(one_.get(), {.kind = MessageKind::welcome}, {}));
  EXPECT_ERRNO(expect_message(other_.get(), MessageKind::serving), EPROTO);
}

TEST_F(JoinTest, RubbishIsNoMessage) {
  for (const std::string& rubbish :
       {std::string("x"), std::string(12, '\xff'), std::string(100, 'y')}) {
    ASSERT_EQ(::send(one_.get(), rubbish.data(), rubbish.size(), 0),
              static_cast<ssize_t>(rubbish.size()));
    EXPECT_ERRNO(receive_message(other_.get()), EPROTO);
  }
  Message future{.kind = MessageKind::serving};
  future.version = Message::current_version + 1;
  ASSERT_EQ(::send(one_.get(), &future, sizeof future, 0), static_cast<ssize_t>(sizeof future));
  EXPECT_ERRNO(receive_message(other_.get()), EPROTO);
  {
    OwnedFd closed(std::move(one_));
  }
  EXPECT_ERRNO(receive_message(other_.get()), EPIPE);
}

TEST_F(JoinTest, SocketsAreFoundAndReplaced) {
  const std::string path = path_ + "/socket";
  EXPECT_ERRNO(connect_to(path), ENOENT);
  {
    const auto listening = listen_at(path);
    ASSERT_OK(listening);
    EXPECT_EQ(std::filesystem::status(path).permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    EXPECT_OK(connect_to(path));
    EXPECT_ERRNO(listen_at(path), EADDRINUSE);
  }
  // Nobody listens any more, but the file is still there.
  EXPECT_ERRNO(connect_to(path), ECONNREFUSED);
  EXPECT_OK(listen_at(path));
  EXPECT_ERRNO(listen_at(path_), EEXIST);
  EXPECT_ERRNO(listen_at(path_ + "/missing/socket"), ENOENT);
  EXPECT_ERRNO(listen_at(path_ + "/" + std::string(120, 'x')), ENAMETOOLONG);
  EXPECT_ERRNO(connect_to(path_ + "/" + std::string(120, 'x')), ENAMETOOLONG);
}

}  // namespace
}  // namespace skep::exec
