// SPDX-License-Identifier: Apache-2.0
// `skep serve` and many clients: they share one world, come and go, are killed, and leave nothing.
#include "process.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace skep::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Server : public ::testing::Test {
 protected:
  Server()
      : socket_(directory_.path() + "/socket"),
        server_({Programs::get().runner, "serve", socket_}) {}
  void SetUp() override {
    ASSERT_TRUE(server_.says("ready")) << server_.finish(milliseconds(1)).output;
  }

  std::vector<std::string> joined(std::vector<std::string> command) const {
    std::vector<std::string> whole = {Programs::get().runner, "exec", "--join", socket_, "--"};
    whole.insert(whole.end(), command.begin(), command.end());
    return whole;
  }
  Finished joined_shell(const std::string& script) const {
    return run(joined({"/bin/sh", "-c", script}));
  }
  /// What a launcher started, by id. Waits until it has.
  static std::string client_of(const Process& launcher) {
    const std::string id = std::to_string(launcher.id());
    std::string client;
    for (int i = 0; i < 500 && client.empty(); ++i) {
      client = shell("cat /proc/" + id + "/task/" + id + "/children").output;
      if (client.empty()) std::this_thread::sleep_for(milliseconds(10));
    }
    return client;
  }
  /// Lists of maps, programs and BTF, waiting a little for what goes away by itself.
  std::string all_objects() const {
    std::string found;
    for (int i = 0; i < 40; ++i) {
      found = joined_shell("bpftool map list; bpftool prog list; bpftool btf list").output;
      if (found.empty()) break;
      std::this_thread::sleep_for(milliseconds(50));
    }
    return found;
  }

  ScratchDirectory directory_;
  std::string socket_;
  Process server_;
};

TEST_F(Server, LaunchersShareOneWorld) {
  EXPECT_EQ(joined_shell("mkdir /sys/fs/bpf/d && bpftool map create /sys/fs/bpf/d/m type array key "
                         "4 value 4 entries 1 name shared")
                .code,
            0);
  EXPECT_EQ(
      joined_shell("bpftool map update pinned /sys/fs/bpf/d/m key 0 0 0 0 value 1 2 3 4").code, 0);
  const Finished third = joined_shell("bpftool map lookup pinned /sys/fs/bpf/d/m key 0 0 0 0; pwd");
  EXPECT_EQ(third.output, "key: 00 00 00 00  value: 01 02 03 04\n" + shell("pwd").output);
  EXPECT_EQ(joined_shell("rm -r /sys/fs/bpf/d").code, 0);
  EXPECT_EQ(all_objects(), "");
}

TEST_F(Server, GivesTheLauncherItsExitCodeAtOnce) {
  Process launcher(joined({"/bin/sh", "-c", "sleep 20 & exit 6"}));
  EXPECT_EQ(launcher.finish(seconds(10)).code, 6);
}

TEST_F(Server, EndsOnRequestAndRemovesItsSocket) {
  server_.signal(SIGTERM);
  EXPECT_EQ(server_.finish(seconds(10)).code, 0);
  EXPECT_NE(shell("test -e " + socket_).code, 0);
  const Finished late = joined_shell("true");
  EXPECT_EQ(late.code, 1);
  EXPECT_TRUE(late.output.starts_with("skep: exec: nobody serves at " + socket_)) << late.output;
}

TEST_F(Server, StandsAloneAtItsSocket) {
  const Finished second = run({Programs::get().runner, "serve", socket_});
  EXPECT_EQ(second.code, 1);
  EXPECT_TRUE(
      second.output.starts_with("skep: serve: a server is at " + socket_ + " already (EADDRINUSE)"))
      << second.output;
  // A socket that a killed server left is no obstacle; another file is.
  server_.signal(SIGKILL);
  (void)server_.finish();
  Process third({Programs::get().runner, "serve", socket_});
  EXPECT_TRUE(third.says("ready"));
  shell("echo precious > " + directory_.path() + "/file");
  EXPECT_EQ(run({Programs::get().runner, "serve", directory_.path() + "/file"}).code, 1);
  EXPECT_EQ(shell("cat " + directory_.path() + "/file").output, "precious\n");
}

TEST_F(Server, RefusesAnotherUser) {
  if (!is_root()) GTEST_SKIP() << "needs root: a second user is needed";
  const Finished shut = run(as_ordinary_user(joined({"true"})));
  EXPECT_EQ(shut.code, 1);
  EXPECT_TRUE(shut.output.starts_with("skep: exec: the server at " + socket_ +
                                      " is another user's (EACCES)"))
      << shut.output;
  // Even where the file would let them in.
  shell("chmod 777 " + socket_);
  const Finished open = run(as_ordinary_user(joined({"true"})));
  EXPECT_EQ(open.code, 1);
  EXPECT_EQ(open.output, shut.output);
}

TEST_F(Server, SurvivesWhoeverConnects) {
  // Connections that say nothing, rubbish, or too much.
  EXPECT_EQ(shell("python3 - " + socket_ + R"( <<'END'
import os, socket, sys
held = []
for i in range(50):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(sys.argv[1])
    s.recv(64)
    message = (2).to_bytes(4, "little") + bytes(4) + (1).to_bytes(4, "little")
    if i % 5 == 1: s.send(os.urandom(12))
    if i % 5 == 2: s.send(message)
    if i % 5 == 3: socket.send_fds(s, [message], [0])
    if i % 5 == 4: socket.send_fds(s, [message], [0, 1, 2, 0, 1, 2, 0])
    if i % 2: held.append(s)
END)")
                .code,
            0);
  EXPECT_EQ(joined_shell("bpftool map list").code, 0);
}

TEST_F(Server, ServesAHundredClientsAtOnce) {
  std::vector<Process> clients;
  for (int i = 0; i < 100; ++i)
    clients.emplace_back(
        joined({Programs::get().raw_client, i % 10 ? "walk" : "descriptors", "50"}));
  for (Process& client : clients) {
    const Finished finished = client.finish(seconds(100));
    EXPECT_EQ(finished.code, 0) << finished.output;
  }
  EXPECT_EQ(all_objects(), "");
}

TEST_F(Server, ServesAHundredProcessesOfOneTree) {
  const Finished finished = joined_shell(
      "i=0; while [ $i -lt 100 ]; do " + Programs::get().raw_client +
      " walk & pids=\"$pids $!\"; i=$((i+1)); done; for p in $pids; do wait $p || exit 1; done");
  EXPECT_EQ(finished.code, 0) << finished.output;
  EXPECT_EQ(all_objects(), "");
}

TEST_F(Server, KilledClientsLeaveNothing) {
  std::mt19937 random(7);  // fixed: a failure comes again
  std::vector<Process> clients;
  const auto start = [&] { clients.emplace_back(joined({Programs::get().raw_client, "hammer"})); };
  for (int i = 0; i < 8; ++i) start();
  for (int round = 0; round < 40; ++round) {
    std::this_thread::sleep_for(milliseconds(random() % 40));
    const std::size_t which = random() % clients.size();
    // The client itself; sometimes the launcher first, and the client some time later.
    const std::string client = client_of(clients[which]);
    if (random() % 3 == 0) {
      clients[which].signal(SIGKILL);
      std::this_thread::sleep_for(milliseconds(random() % 10));
    }
    shell("kill -KILL " + client + " 2>/dev/null");
    (void)clients[which].finish(seconds(2));
    std::swap(clients[which], clients.back());
    clients.pop_back();
    start();
  }
  for (Process& client : clients) shell("kill -KILL " + client_of(client) + " 2>/dev/null");
  clients.clear();
  EXPECT_EQ(all_objects(), "");
}

// What a killed client asked for is given up, however long it would take.
TEST_F(Server, KilledClientsStopTheirTestRuns) {
  const Finished finished = joined_shell(
      "cd " + directory_.path() + "; head -c 64 /dev/zero > packet; bpftool prog load " +
      Programs::get().objects + "/counter.bpf.o /sys/fs/bpf/p 2>/dev/null\n" +
      "bpftool prog run pinned /sys/fs/bpf/p data_in packet repeat 1000000000 >/dev/null &\n"
      "sleep 0.3; kill -KILL $! || echo done before; wait 2>/dev/null; rm /sys/fs/bpf/p");
  EXPECT_EQ(finished.output, "") << "the long run must still have been there";
  // The run holds its program.
  EXPECT_EQ(all_objects(), "");
}

TEST_F(Server, KilledUnderLoadLeavesCleanErrors) {
  std::vector<Process> clients;
  for (int i = 0; i < 8; ++i) clients.emplace_back(joined({Programs::get().raw_client, "hammer"}));
  std::this_thread::sleep_for(milliseconds(500));
  server_.signal(SIGKILL);
  // 38 is ENOSYS, which the client saw.
  for (Process& client : clients) {
    const Finished finished = client.finish(seconds(20));
    EXPECT_TRUE(finished.code == 38 || finished.output.find("EPIPE") != std::string::npos ||
                finished.output.find("ECONNREFUSED") != std::string::npos)
        << finished.code << " " << finished.output;
  }
}

}  // namespace
}  // namespace skep::testing
