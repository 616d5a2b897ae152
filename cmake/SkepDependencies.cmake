# SPDX-License-Identifier: Apache-2.0
# Libraries from outside, each as an imported target that rooms name in LIBRARIES.
# scripts/packages says which Debian package brings which.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(URCU REQUIRED IMPORTED_TARGET GLOBAL liburcu-memb)
pkg_check_modules(PCAP REQUIRED IMPORTED_TARGET GLOBAL libpcap)
pkg_check_modules(ELF REQUIRED IMPORTED_TARGET GLOBAL libelf)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET GLOBAL zlib)
pkg_check_modules(LIBBPF REQUIRED IMPORTED_TARGET GLOBAL libbpf)
pkg_check_modules(LIBMD REQUIRED IMPORTED_TARGET GLOBAL libmd)
find_package(fmt REQUIRED)           # fmt::fmt
find_package(nlohmann_json REQUIRED) # nlohmann_json::nlohmann_json
find_package(CLI11 REQUIRED)         # CLI11::CLI11
find_package(GTest REQUIRED)         # GTest::gtest
find_package(benchmark REQUIRED)     # benchmark::benchmark
