// SPDX-License-Identifier: Apache-2.0
#include "net_namespace.hpp"

#include "host.hpp"
#include "host/host_kernel.hpp"
#include "uapi/bpf.hpp"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>

namespace skep::bench {
namespace {

/// One rtnetlink request, built attribute by attribute.
class LinkRequest {
 public:
  LinkRequest(std::uint16_t type, std::uint16_t flags) {
    const nlmsghdr header{
        .nlmsg_len = 0, .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = 1, .nlmsg_pid = 0};
    append(&header, sizeof header);
  }

  LinkRequest& device(unsigned ifindex, unsigned flags, unsigned change) {
    ifinfomsg info{};
    info.ifi_index = static_cast<int>(ifindex);
    info.ifi_flags = flags;
    info.ifi_change = change;
    return append(&info, sizeof info);
  }
  LinkRequest& text(std::uint16_t type, std::string_view value) {
    return begin(type).append(value.data(), value.size()).append("", 1).end();
  }
  LinkRequest& begin(std::uint16_t type) {
    open_.push_back(bytes_.size());
    const rtattr attribute{.rta_len = 0, .rta_type = type};
    return append(&attribute, sizeof attribute);
  }
  LinkRequest& end() {
    const std::size_t start = open_.back();
    open_.pop_back();
    const auto length = static_cast<std::uint16_t>(bytes_.size() - start);
    std::memcpy(bytes_.data() + start, &length, sizeof length);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
    return *this;
  }

  /// Sends it to the calling thread's namespace and waits for the kernel's answer.
  Attempt<void> send(std::string_view what) {
    const auto length = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &length, sizeof length);
    const int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) return std::unexpected(failure("netlink socket", errno));
    std::array<char, 4096> answer;
    ssize_t got = ::send(fd, bytes_.data(), bytes_.size(), 0);
    if (got >= 0) got = ::recv(fd, answer.data(), answer.size(), 0);
    const int error = errno;
    ::close(fd);
    if (got < 0) return std::unexpected(failure(what, error));
    nlmsghdr header;
    nlmsgerr result;
    if (static_cast<std::size_t>(got) < sizeof header + sizeof result)
      return std::unexpected(fmt::format("{}: the kernel's answer is cut short", what));
    std::memcpy(&header, answer.data(), sizeof header);
    std::memcpy(&result, answer.data() + sizeof header, sizeof result);
    if (header.nlmsg_type != NLMSG_ERROR)
      return std::unexpected(fmt::format("{}: an unexpected answer", what));
    if (result.error != 0) return std::unexpected(failure(what, -result.error));
    return {};
  }

 private:
  LinkRequest& append(const void* data, std::size_t bytes) {
    const auto* const first = static_cast<const char*>(data);
    bytes_.insert(bytes_.end(), first, first + bytes);
    return *this;
  }

  std::vector<char> bytes_;
  std::vector<std::size_t> open_;  // where attributes begin that are not ended yet
};

/// BPF_LINK_CREATE for XDP: the fields that it has.
struct XdpLinkAttr {
  std::uint32_t program_fd, ifindex, attach_type, flags;
};

}  // namespace

Attempt<std::unique_ptr<HostNamespace>> HostNamespace::make() {
  constexpr const char* current = "/proc/thread-self/ns/net";
  const int home_fd = ::open(current, O_RDONLY | O_CLOEXEC);
  if (home_fd < 0) return std::unexpected(failure(current, errno));
  if (::unshare(CLONE_NEWNET) != 0) {
    const int error = errno;
    ::close(home_fd);
    return std::unexpected(failure("a network namespace of our own", error));
  }
  const int own_fd = ::open(current, O_RDONLY | O_CLOEXEC);
  const int error = errno;
  ASSERT(::setns(home_fd, CLONE_NEWNET) == 0);
  if (own_fd < 0) {
    ::close(home_fd);
    return std::unexpected(failure(current, error));
  }
  return std::unique_ptr<HostNamespace>(new HostNamespace(home_fd, own_fd));
}

HostNamespace::~HostNamespace() {
  for (const int fd : link_fds_) ::close(fd);
  ::close(own_fd_);
  ::close(home_fd_);
}

HostNamespace::Visit::Visit(const HostNamespace& host_namespace)
    : home_fd_(host_namespace.home_fd_) {
  ASSERT(::setns(host_namespace.own_fd_, CLONE_NEWNET) == 0);
}
HostNamespace::Visit::~Visit() { ASSERT(::setns(home_fd_, CLONE_NEWNET) == 0); }

Attempt<HostNamespace::VethPair> HostNamespace::add_veth_pair(int peer_program_fd) {
  const Visit visit(*this);
  const std::string name = fmt::format("out{}", pairs_), peer = fmt::format("peer{}", pairs_);
  ++pairs_;
  auto made = LinkRequest(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
                  .device(0, IFF_UP, IFF_UP)
                  .text(IFLA_IFNAME, name)
                  .begin(IFLA_LINKINFO)
                  .text(IFLA_INFO_KIND, "veth")
                  .begin(IFLA_INFO_DATA)
                  .begin(VETH_INFO_PEER)
                  .device(0, 0, 0)
                  .text(IFLA_IFNAME, peer)
                  .end()
                  .end()
                  .end()
                  .send("a pair of veth devices");
  if (!made) return std::unexpected(made.error());
  const unsigned ifindex = ::if_nametoindex(name.c_str());
  const unsigned peer_ifindex = ::if_nametoindex(peer.c_str());

  XdpLinkAttr attr{.program_fd = static_cast<std::uint32_t>(peer_program_fd),
                   .ifindex = peer_ifindex,
                   .attach_type = uapi::BPF_XDP,
                   .flags = XDP_FLAGS_DRV_MODE};
  const long link_fd = HostKernel().bpf(uapi::BPF_LINK_CREATE, &attr, sizeof attr);
  if (link_fd < 0)
    return std::unexpected(failure("BPF_LINK_CREATE on a veth device", static_cast<int>(-link_fd)));
  link_fds_.push_back(static_cast<int>(link_fd));

  auto up = LinkRequest(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK)
                .device(peer_ifindex, IFF_UP, IFF_UP)
                .send("setting a veth device up");
  if (!up) return std::unexpected(up.error());
  return VethPair{.ifindex = ifindex, .peer = peer};
}

Attempt<std::uint64_t> HostNamespace::received_frames(const std::string& device) const {
  const Visit visit(*this);
  constexpr const char* path = "/proc/thread-self/net/dev";
  std::ifstream file(path);
  std::string word;
  // `  NAME: BYTES PACKETS …`, after two lines of headings.
  while (file >> word) {
    std::uint64_t bytes = 0, frames = 0;
    if (word == device + ":" && file >> bytes >> frames) return frames;
  }
  return std::unexpected(fmt::format("{} does not list {}", path, device));
}

}  // namespace skep::bench
