// SPDX-License-Identifier: Apache-2.0
// The words by which a user describes a port: `KIND[:ARGS]`, as it stands behind `NAME=` on the
// command line.
#pragma once

#include "net/port/port.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace skep {

/// What a port gets besides the user's words.
struct PortContext {
  PacketPool& pool;
  std::string name;  // of the port: names its files, stands before errors
  std::string
      out_dir;  // existing directory for files that the user did not name; empty: write none
  std::uint32_t queues = 1;  // unless `queues=` says otherwise
  std::uint64_t seed = 1;    // unless `seed=` says otherwise
};

/// Makes the port that `spec` describes. ARGS are separated by commas, each `key=value`, a flag, or
/// (pcap) the input path as the first bare word; "…" around a word or value keeps commas, and \"
/// and \\ stand for themselves inside.
///
///   pcap[:[INPUT][,in=PATH][,out=PATH][,host=PATH][,queues=N][,snaplen=N]]
///       out= takes transmitted frames, host= frames passed up; DIR/NAME.out.pcap and
///       DIR/NAME.host.pcap if not given, `none` for no file.
///   null[:queues=N]
///   gen[:flows=N,frames=N,bytes=64…1514,rate=N,proto=udp|tcp,ipv6,vlan=ID,queues=N,seed=N]
///
/// Numbers may end in k, M or G (thousand, million, billion). On failure `why` is one sentence,
/// perhaps with a second line that starts with `hint: `. Errors: EINVAL (the words), otherwise as
/// the port's open().
Result<std::unique_ptr<Port>> make_port(std::string_view spec, const PortContext& context,
                                        std::string& why);

}  // namespace skep
