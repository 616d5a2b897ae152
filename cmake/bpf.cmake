# SPDX-License-Identifier: Apache-2.0
# skep_bpf_object(NAME SOURCE [CPU v3]): compiles one BPF C file into NAME.bpf.o in the current binary
# directory, as the target skep_bpf_NAME, which is part of `all`. The object is what the kernel's own
# loader would be given; its path is the target's property SKEP_BPF_OBJECT.

find_program(SKEP_BPF_CLANG NAMES clang-19 REQUIRED
             DOC "clang that compiles BPF programs; independent of the compiler of the C++ code")
# With -target bpf clang does not search the host's multiarch directory, where Debian keeps
# <asm/types.h>; find_path does (it knows CMAKE_LIBRARY_ARCHITECTURE), on every architecture.
find_path(SKEP_BPF_ASM_INCLUDE_DIR asm/types.h REQUIRED
          DOC "directory of the kernel's <asm/types.h>")
find_path(SKEP_BPF_HELPERS_INCLUDE_DIR bpf/bpf_helpers.h REQUIRED
          DOC "directory of libbpf's <bpf/bpf_helpers.h>")

function(skep_bpf_object name source)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "CPU" "")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "skep_bpf_object(${name}): unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_CPU)
    set(arg_CPU v3)
  endif()
  get_filename_component(source_path "${source}" ABSOLUTE)
  set(object "${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o")
  # Every BPF program has a context parameter, used or not: no warning about that. The builder's
  # directories stay out of the BTF line records and debug information, so that the same source gives
  # the same bytes everywhere and verifier logs show short file names.
  add_custom_command(
    OUTPUT "${object}"
    COMMAND
      "${SKEP_BPF_CLANG}" -target bpf "-mcpu=${arg_CPU}" -O2 -g
      -Wall -Wextra -Werror -Wno-unused-parameter
      "-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=" -fdebug-compilation-dir=.
      -isystem "${SKEP_BPF_HELPERS_INCLUDE_DIR}" -idirafter "${SKEP_BPF_ASM_INCLUDE_DIR}"
      -MD -MF "${object}.d" -c "${source_path}" -o "${object}"
    DEPENDS "${source_path}"
    DEPFILE "${object}.d"
    COMMENT "Compiling BPF program ${name}.bpf.o"
    VERBATIM)
  add_custom_target(skep_bpf_${name} ALL DEPENDS "${object}")
  set_target_properties(skep_bpf_${name} PROPERTIES SKEP_BPF_OBJECT "${object}")
endfunction()
