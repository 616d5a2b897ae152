// SPDX-License-Identifier: Apache-2.0
// skep as a C++ library: a runtime with ports, objects compiled by clang, attachments, traffic and
// reports.
//
//   auto runtime = skep::Runtime::make({.cpus = 2});
//   runtime->add_port({.name = "lan0", .spec = "pcap:in.pcap"});
//   runtime->add_port({.name = "lan1", .spec = "null"});
//   auto object = runtime->load_object("forward.bpf.o", {});
//   runtime->set_map_entry(*object, "ports", "0", "lan1");
//   runtime->attach_xdp("lan0", *object, "forward");
//   auto report = runtime->run({});
//
// Every call that can fail gives an Error: one sentence, at most one hint, and the errno behind it.
// Nothing throws.
#pragma once

#include <skep/skep.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skep {

/// Why a call was refused.
struct Error {
  int code = 0;         ///< errno, positive; 524 is ENOTSUPP
  std::string message;  ///< one sentence in lower case with the values: `map services: key 7: map
                        ///< is full (E2BIG)`
  std::string hint;     ///< what to do, or empty
  std::string log;      ///< the verifier's full log, if the refusal came from there
};

template <class T>
using Expected = std::expected<T, Error>;

enum class ClockKind : std::uint8_t {
  virtual_time,  ///< moves with the packets' time stamps; one thread; runs are reproducible byte
                 ///< for byte
  real_time,     ///< the machine's clocks; one thread per CPU slot
};

struct RuntimeOptions {
  unsigned cpus = 1;  ///< possible CPUs that programs see, 1 … 256
  ClockKind clock = ClockKind::virtual_time;
  std::uint64_t seed = 1;
  std::uint64_t memory_bytes = 1ULL << 30;       ///< budget of maps, programs, packets and logs
  std::uint64_t instruction_budget = 1'000'000;  ///< per run of a program
  unsigned packet_chunks = 8192;  ///< of 4,096 bytes; 4 for each CPU and 16 more at least
};

/// A device and what stands behind it.
struct PortOptions {
  std::string name;           ///< device name, at most 15 characters
  std::string spec = "null";  ///< KIND[:ARGS], see docs/ports.md: `pcap:in.pcap`, `null`,
                              ///< `gen:flows=16,frames=1000`
  std::string
      out_dir;  ///< where a pcap port writes NAME.out.pcap and NAME.host.pcap; empty: nowhere
  unsigned mtu = 1500;  ///< bytes above the Ethernet header, 68 … 65535
};

/// Sets a global variable of an object before it is loaded: `.rodata` configuration, `.data`,
/// `.bss`.
struct GlobalValue {
  std::string section;  ///< ".rodata", ".data", ".bss"
  std::string variable;
  std::string value;  ///< typed by BTF
};

struct LoadOptions {
  std::vector<GlobalValue> globals;
  /// Optional programs, SEC("?…"), to load as well. Names of others are fine and change nothing.
  std::vector<std::string> programs;
};

struct ProgramSummary {
  std::string name, section, type;
  bool loaded = false;
  bool optional = false;        ///< SEC("?…"): loaded only if asked for
  std::string skipped_because;  ///< if not loaded
};
struct MapSummary {
  std::string name, type;
  std::uint32_t id = 0, key_bytes = 0, value_bytes = 0, max_entries = 0;
};

/// A loaded object: programs and maps by name. Closing it releases its descriptors; what is
/// attached stays.
/// Must not be used after its runtime is gone, only destroyed.
class SKEP_API LoadedObject {
 public:
  LoadedObject(LoadedObject&&) noexcept;
  LoadedObject& operator=(LoadedObject&&) noexcept;
  ~LoadedObject();

  std::vector<ProgramSummary> programs() const;
  std::vector<MapSummary> maps() const;
  /// Descriptors, owned by the object; -1 if there is none of that name.
  int program_fd(std::string_view name) const;
  int map_fd(std::string_view name) const;

 private:
  friend class Runtime;
  struct Internals;
  explicit LoadedObject(std::unique_ptr<Internals> internals);
  std::unique_ptr<Internals> internals_;
};

struct NamedCount {
  std::string name;
  std::uint64_t count = 0;
};

struct PortReport {
  std::string name, kind;
  std::uint32_t ifindex = 0;
  std::uint64_t received = 0, received_bytes = 0;
  std::uint64_t passed = 0;  ///< to the host side
  std::uint64_t transmitted = 0, transmitted_bytes = 0;
  std::uint64_t xdp_tx = 0;               ///< of them by verdict TX
  std::uint64_t redirected = 0;           ///< received here, accepted by another port
  std::uint64_t dropped = 0;              ///< sum of `drops` without aborted ones
  std::uint64_t aborted = 0;              ///< verdict ABORTED or a fault
  std::vector<NamedCount> redirected_to;  ///< by port
  std::vector<NamedCount> drops;          ///< by reason, only those that happened
  std::string error;                      ///< what ended the port's input or output early, or empty
};

struct ProgramReport {
  std::string name, port;
  std::uint32_t id = 0;
  std::uint64_t runs = 0, faults = 0;
  std::optional<double> ns_per_packet;  ///< only with the real clock
  std::string last_fault;               ///< one sentence, or empty
};

struct RunReport {
  std::uint64_t frames = 0;  ///< received by all ports
  double seconds = 0;        ///< of the runtime's clock
  std::vector<PortReport> ports;
  std::vector<ProgramReport> programs;
  std::vector<std::string> trace;  ///< what bpf_printk wrote, oldest first
  std::uint64_t trace_lost = 0;    ///< lines that did not fit
};

struct RunOptions {
  unsigned repeat = 1;  ///< how often the input is played
};

struct MapEntry {
  std::string key, value;            ///< as text, typed by BTF
  std::string key_json, value_json;  ///< the same as JSON
  bool zero = false;                 ///< every byte of the value is 0
};

/// One world of maps, programs, ids and devices.
class SKEP_API Runtime {
 public:
  /// Errors: EINVAL (a value out of range), ENOMEM.
  static Expected<Runtime> make(const RuntimeOptions& options);
  Runtime(Runtime&&) noexcept;
  Runtime& operator=(Runtime&&) noexcept;
  ~Runtime();

  /// bpf(2), see skep_bpf(). Thread: any.
  long bpf(int cmd, void* attr, unsigned size);

  Expected<void> add_port(const PortOptions& options);

  /// Opens, relocates and loads an object compiled by clang. Program types that skep does not know
  /// are skipped.
  Expected<LoadedObject> load_object(const std::string& path, const LoadOptions& options);

  /// Attaches an XDP program to a port, in place of the one before. Errors: ENODEV, ENOENT (no such
  /// program), EINVAL.
  Expected<void> attach_xdp(std::string_view port, const LoadedObject& object,
                            std::string_view program);

  /// Sets one entry; key and value are text typed by BTF. In devmaps the value is a port name or
  /// `{port=NAME,program=NAME}`, in program arrays a program's name.
  Expected<void> set_map_entry(const LoadedObject& object, std::string_view map,
                               std::string_view key, std::string_view value);
  /// All entries, in order of their key bytes (arrays: of the index).
  Expected<std::vector<MapEntry>> dump_map(const LoadedObject& object, std::string_view map) const;

  /// Plays the input of all ports through the attached programs until no port has any left. What
  /// was processed before an input turned out damaged stays, and is written; the port's `error`
  /// says so. Blocks.
  /// Counters go on from one run to the next; `seconds` is of this run.
  /// Errors: EINVAL (repeat is 0), ESPIPE (an input cannot be played again).
  Expected<RunReport> run(const RunOptions& options);

 private:
  struct Internals;
  explicit Runtime(std::unique_ptr<Internals> internals);
  std::unique_ptr<Internals> internals_;
};

}  // namespace skep
