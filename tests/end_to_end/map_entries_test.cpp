// SPDX-License-Identifier: Apache-2.0
// What the command says to map entries and global variables that do not fit, from --map and from
// --map-file. What fits is in demo_test and in the unit tests of the rooms.

#include "end_to_end/command.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>
#include <string_view>

namespace skep::testing {
namespace {

constexpr int refused = 1, misused = 2;
constexpr std::string_view argument_hint =
    "write --map 'NAME[KEY]=VALUE', for example --map 'ports[0]=lan1' or --map "
    "'vips[{address=10.0.0.1,port=80}]={id=1}'";

/// The load balancer with one --map.
void expect_refused(const Workshop& shop, const std::string& entry, std::string_view message,
                    std::string_view hint = {}) {
  expect_said(shop, "run load_balancer.bpf.o --port in=null --xdp in=balance --map " + entry,
              refused, message, hint);
}

TEST(MapEntry, HasAShape) {
  const Workshop shop;
  const auto expect_misused = [&](const std::string& entry, const std::string& why) {
    expect_said(shop, "run load_balancer.bpf.o --port in=null --map " + entry, misused,
                "--map " + entry + ": " + why, argument_hint);
  };
  expect_misused("ports", "has no NAME[KEY]");
  expect_misused("[0]=in", "has no NAME[KEY]");
  expect_misused("ports[0]", "no = after the key");
  expect_misused("ports[0=in", "the key's brackets do not close");
}

TEST(MapEntry, MustFitItsType) {
  const Workshop shop;
  expect_refused(shop, "services[{port=70000}]={}",
                 "map services[{port=70000}]: key: port: 70000 does not fit __be16 (0 … 65535) "
                 "(EINVAL)");
  expect_refused(shop, "services[{address=10.0.0.300}]={}",
                 "map services[{address=10.0.0.300}]: key: address: \"10.0.0.300\" is not an IPv6 "
                 "or IPv4 address, expected one like fe80::1 (EINVAL)");
  expect_refused(shop, "services[{colour=3}]={}",
                 "map services[{colour=3}]: key: struct service_key has no field \"colour\" (has: "
                 "address, port, protocol, reserved) (EINVAL)");
  expect_refused(
      shop, "services[{}]=7",
      "map services[{}]: \"7\" is not struct service, expected {field=value,…} (EINVAL)");
  expect_refused(shop, "backends[-1]={}",
                 "map backends[-1]: key: -1 does not fit __u32 (0 … 4294967295) (EINVAL)");
  expect_refused(shop, "backends[0]={state=BACKEND_ASLEEP}",
                 "map backends[0]: state: \"BACKEND_ASLEEP\" is not a value of enum backend_state "
                 "(has: BACKEND_UNUSED, BACKEND_UP, BACKEND_DRAINING) (EINVAL)");
}

TEST(MapEntry, MustHaveRoom) {
  const Workshop shop;
  expect_refused(shop, "vips[1]=7", "there is no map vips (ENOENT)",
                 "the object's maps are programs, backends, services, flows, fragments, ports, "
                 "verdicts, load_bal.rodata, load_bal.data, load_bal.bss");
  constexpr std::string_view index_hint = "raise max_entries in the program or use a lower index";
  expect_refused(shop, "backends[64]={}",
                 "map backends[64]: the index is beyond the last entry, 63 (E2BIG)", index_hint);
  expect_refused(shop, "ports[16]=in",
                 "map ports[16]: the index is beyond the last entry, 15 (E2BIG)", index_hint);
  expect_refused(shop, "programs[1]=balance",
                 "map programs[1]: the index is beyond the last entry, 0 (E2BIG)", index_hint);
  expect_said(shop,
              "run map_operations.bpf.o --port in=null --xdp in=hash_operations --map hash[1]=1 "
              "--map hash[2]=2 --map hash[3]=3 --map hash[4]=4 --map hash[5]=5",
              refused, "map hash[5]: the map is full (4 entries) (E2BIG)",
              "raise max_entries in the program");
}

TEST(MapEntry, NamesPortsAndProgramsThatExist) {
  const Workshop shop;
  constexpr std::string_view device_hint =
      "the port must exist, and a program must fit the map: XDP programs in a devmap are "
      "SEC(\"xdp/devmap\")";
  expect_refused(shop, "ports[0]=lan1",
                 "map ports[0]: there is no port lan1 (there are: in) (EINVAL)");
  expect_refused(shop, "ports[0]={port=in,speed=1}",
                 "map ports[0]: {port=in,speed=1} has no field speed: give port and program "
                 "(EINVAL)");
  expect_refused(shop, "ports[0]={port=in,program=none}",
                 "map ports[0]: the object has no loaded program none (EINVAL)");
  expect_refused(shop, "ports[0]={port=in,program=balance}",
                 "map ports[0]: the map does not take that value (EINVAL)", device_hint);
  expect_refused(shop, "ports[0]=99", "map ports[0]: the map does not take that value (EINVAL)",
                 device_hint);
  expect_refused(shop, "programs[0]=none",
                 "map programs[0]: the object has no loaded program none (EINVAL)");
  expect_said(shop, "run forward.bpf.o --port in=null --map ports[0]={port=in,program=forward}",
              refused,
              "map ports[0]: values of this devmap have no room for a program (value size 4): use "
              "struct bpf_devmap_val (EINVAL)");
}

TEST(GlobalVariable, MustExistAndFit) {
  const Workshop shop;
  expect_refused(shop, "load_bal.rodata[0]={debug=true}",
                 "map load_bal.rodata[0]: the map is frozen: commands may no longer write it "
                 "(EPERM)",
                 "a .rodata variable is set before loading: --map '.rodata[NAME]=VALUE'");
  expect_refused(shop, ".rodata[debug]=maybe",
                 "load_balancer.bpf.o: .rodata[debug]: \"maybe\" is not true or false (EINVAL)");
  expect_refused(shop, ".rodata[speed]=1",
                 "load_balancer.bpf.o: section .rodata has no variable speed (ENOENT)",
                 "its variables are: direct_server_return, debug, find_backend.____fmt");
  expect_refused(shop, ".data[hash_seed]=5000000000",
                 "load_balancer.bpf.o: .data[hash_seed]: 5000000000 does not fit __u32 (0 … "
                 "4294967295) (EINVAL)");
  expect_said(shop, "run counter.bpf.o --port in=null --map .rodata[x]=1", refused,
              "counter.bpf.o: no section .rodata with global variables (ENOENT)",
              "declare one: `const volatile __u32 limit = 10;` stands in .rodata");
}

TEST(MapFile, MustBeReadableAndHaveAShape) {
  const Workshop shop;
  constexpr std::string_view shape =
      R"(write {"MAP": [{"key": KEY, "value": VALUE}, …], …}; docs/maps.md has examples)";
  const std::string run = "run load_balancer.bpf.o --port in=null --xdp in=balance --map-file ";
  const auto expect_misused = [&](const std::string& text, const std::string& why) {
    shop.write("bad.json", text);
    expect_said(shop, run + "bad.json", misused, "bad.json: " + why, shape);
  };
  expect_said(shop, run + "none.json", misused,
              "--map-file none.json: cannot be read: No such file or directory (ENOENT)",
              "check the path");
  ASSERT_EQ(::mkdir(shop.path("folder").c_str(), 0700), 0);
  expect_said(shop, run + "folder", misused,
              "--map-file folder: cannot be read: Is a directory (EISDIR)", "check the path");
  expect_misused("", "byte 1: not JSON");
  expect_misused(R"({"services": [)", "byte 15: not JSON");
  expect_misused("[]", "is not an object of maps");
  expect_misused(R"({"services": 3})", "services: is not a list of entries");
  expect_misused(R"({"services": [{"key": 3}]})",
                 R"(services: entry 0 is not {"key": …, "value": …})");
  shop.write("bad.json", R"({"services": [{"key": null, "value": {}}]})");
  expect_said(shop, run + "bad.json", refused,
              "map services[null]: key: \"null\" is not struct service_key, expected "
              "{field=value,…} (EINVAL)");
}

}  // namespace
}  // namespace skep::testing
