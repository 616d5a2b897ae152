// SPDX-License-Identifier: Apache-2.0
// `skep exec` as a launcher: the command does not notice it, whatever it is and however it ends.
#include "process.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace skep::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Exec, GivesTheExitCodeOfTheCommand) {
  EXPECT_EQ(served("exit 7").code, 7);
  EXPECT_EQ(served("exit 0").code, 0);
}

TEST(Exec, LeavesArgumentsEnvironmentAndStreamsAlone) {
  const Finished same = run({"/bin/sh", "-c",
                             "echo from the pipe | SKEP_TEST_WORD=word " + Programs::get().runner +
                                 " exec -- /bin/sh -c 'cat; echo $SKEP_TEST_WORD $0 \"$1\"; "
                                 "echo error >&2; ulimit -n; umask; pwd' zero 'one  two'; ulimit "
                                 "-n; umask; pwd"});
  ASSERT_EQ(same.code, 0) << same.output;
  const std::string head = "from the pipe\nword zero one  two\nerror\n";
  ASSERT_TRUE(same.output.starts_with(head)) << same.output;
  // Limits, umask and directory, once inside and once outside.
  const std::string rest = same.output.substr(head.size());
  EXPECT_EQ(rest.substr(0, rest.size() / 2), rest.substr(rest.size() / 2));
}

TEST(Exec, SaysWhyACommandCannotStart) {
  const Finished missing = run({Programs::get().runner, "exec", "--", "skep-no-such-command"});
  EXPECT_EQ(missing.code, 127);
  EXPECT_EQ(missing.output, "skep: skep-no-such-command: No such file or directory (ENOENT)\n");
  const Finished directory = run({Programs::get().runner, "exec", "--", "/"});
  EXPECT_EQ(directory.code, 126);
  EXPECT_EQ(directory.output, "skep: /: Permission denied (EACCES)\n");
  const Finished nothing = run({Programs::get().runner, "exec", "--"});
  EXPECT_EQ(nothing.code, 1);
  EXPECT_TRUE(nothing.output.starts_with("skep: exec: there is no command (EINVAL)\nhint: "));
}

TEST(Exec, EndsByTheSignalThatEndedTheCommand) {
  EXPECT_EQ(served("kill -TERM $$").code, 128 + SIGTERM);
  EXPECT_EQ(served("kill -KILL $$").code, 128 + SIGKILL);
}

TEST(Exec, HandsSignalsOnToTheCommand) {
  Process process({Programs::get().runner, "exec", "--", "/bin/sh", "-c",
                   "trap 'exit 33' USR1; echo trapped; while :; do sleep 0.05; done"});
  ASSERT_TRUE(process.says("trapped"));
  process.signal(SIGUSR1);
  EXPECT_EQ(process.finish().code, 33);
}

TEST(Exec, WaitsForWhatTheCommandLeftRunning) {
  const Finished finished =
      served("(sleep 0.3; bpftool map list >/dev/null && echo late) & exit 5");
  EXPECT_EQ(finished.code, 5);
  EXPECT_EQ(finished.output, "late\n");
}

TEST(Exec, StopsAndGoesOnWithTheCommand) {
  Process process({Programs::get().runner, "exec", "--", "/bin/sh", "-c",
                   "echo stopping; kill -STOP $$; echo going on"});
  ASSERT_TRUE(process.says("stopping"));
  // Until the command has stopped and we with it; a signal before that changes nothing.
  for (int i = 0; i < 100 && !process.says("going on", milliseconds(100)); ++i)
    process.signal(SIGCONT);
  EXPECT_EQ(process.finish().code, 0);
}

TEST(Exec, RefusesToServeAServedProcessAgain) {
  const Finished nested = served(Programs::get().runner + " exec -- true");
  EXPECT_EQ(nested.code, 1);
  EXPECT_TRUE(nested.output.starts_with("skep: exec: a supervisor serves this process already"))
      << nested.output;
}

// Whoever is still there when the server is killed gets a clean error.
TEST(Exec, KilledServerLeavesCleanErrors) {
  Process process({Programs::get().runner, "exec", "--", Programs::get().raw_client, "hammer"});
  std::this_thread::sleep_for(milliseconds(300));
  const Finished child = shell("cat /proc/" + std::to_string(process.id()) + "/task/*/children");
  ASSERT_FALSE(child.output.empty());
  process.signal(SIGKILL);
  EXPECT_EQ(process.finish().code, 128 + SIGKILL);
  const pid_t client = std::stoi(child.output);
  // It ends by itself once its call has failed.
  const auto deadline = std::chrono::steady_clock::now() + seconds(10);
  while (::kill(client, 0) == 0 && std::chrono::steady_clock::now() < deadline) {
    // A zombie that nobody collects has ended too.
    if (shell("grep -q 'State:.Z' /proc/" + child.output.substr(0, child.output.find(' ')) +
              "/status")
            .code == 0)
      return;
    std::this_thread::sleep_for(milliseconds(20));
  }
  EXPECT_NE(::kill(client, 0), 0) << "the client hangs";
  ::kill(client, SIGKILL);
}

// Where no file system can be mounted for pins, bpf(2) still finds them by name.
TEST(Exec, KeepsPinsWithoutAFileSystemForThem) {
  if (!is_root()) GTEST_SKIP() << "needs root: /sys/fs is hidden";
  const Finished finished =
      run({"unshare", "-m", "/bin/sh", "-c",
           "mount -t tmpfs none /sys/fs && exec " + Programs::get().runner +
               " exec -- /bin/sh -c 'bpftool map create /sys/fs/bpf/m type hash key 4 value 4 "
               "entries 3 name flat && bpftool map update pinned /sys/fs/bpf/m key 1 0 0 0 value "
               "2 0 0 0 && bpftool map dump pinned /sys/fs/bpf/m; ls /sys/fs'"});
  EXPECT_EQ(finished.code, 0);
  EXPECT_EQ(finished.output, "key: 01 00 00 00  value: 02 00 00 00\nFound 1 element\n");
}

TEST(Exec, ServesAnOrdinaryUserWithoutCapabilities) {
  const Finished finished = run(as_ordinary_user(
      {Programs::get().runner, "exec", "--", "/bin/sh", "-c",
       "grep -c '^Cap[IPEA][a-z]*:.*[1-9a-f]' /proc/self/status; grep NoNewPrivs "
       "/proc/self/status; "
       "id -u; mkdir /sys/fs/bpf/mine && bpftool map create /sys/fs/bpf/mine/m type hash key 4 "
       "value 4 entries 3 name theirs && bpftool map update pinned /sys/fs/bpf/mine/m key 1 0 0 0 "
       "value 2 0 0 0 && bpftool map dump pinned /sys/fs/bpf/mine/m && rm -r /sys/fs/bpf/mine && "
       "bpftool map list"}));
  EXPECT_EQ(finished.code, 0);
  EXPECT_EQ(finished.output, "0\nNoNewPrivs:\t1\n" +
                                 std::string(is_root() ? "12321" : std::to_string(::getuid())) +
                                 "\nkey: 01 00 00 00  value: 02 00 00 00\nFound 1 element\n");
}

}  // namespace
}  // namespace skep::testing
