# SPDX-License-Identifier: Apache-2.0
# Language level, warnings, sanitizers and linker: what holds for every target of the tree.

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS ON) # TRY is a GNU statement expression
set(CMAKE_C_STANDARD 17)
set(CMAKE_POSITION_INDEPENDENT_CODE ON) # every room ends up in libskep.so
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

option(SKEP_WERROR "Warnings are errors" ON)
option(SKEP_FUZZ "Build the libFuzzer targets (and instrument everything for them)" OFF)
option(SKEP_THREAD_SAFETY "Check lock annotations with -Wthread-safety" OFF)
set(SKEP_SANITIZE "" CACHE STRING "Sanitizers for every target, as for -fsanitize=, or empty")

if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang" OR CMAKE_CXX_COMPILER_VERSION VERSION_LESS 19)
  message(FATAL_ERROR "skep is built with clang 19 or later, but the compiler is "
                      "${CMAKE_CXX_COMPILER} (${CMAKE_CXX_COMPILER_ID} "
                      "${CMAKE_CXX_COMPILER_VERSION}): use a preset, e.g. cmake --preset release")
endif()

add_compile_options(
  -Wall
  -Wextra
  -Wshadow
  -Wimplicit-fallthrough
  -Wnon-virtual-dtor
  -Woverloaded-virtual
  -Wvla
  -Wno-gnu-statement-expression -Wno-missing-designated-field-initializers
  -fno-omit-frame-pointer
  -fdiagnostics-color=auto)
if(SKEP_WERROR)
  add_compile_options(-Werror)
endif()
if(SKEP_THREAD_SAFETY)
  add_compile_options(-Wthread-safety -Werror=thread-safety)
endif()

if(SKEP_FUZZ)
  set(SKEP_SANITIZE "fuzzer-no-link,address")
endif()
if(SKEP_SANITIZE)
  add_compile_options(-fsanitize=${SKEP_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SKEP_SANITIZE})
endif()

# By its versioned name: `-fuse-ld=lld` may find an older lld first on the PATH.
find_program(SKEP_LLD NAMES ld.lld-19)
mark_as_advanced(SKEP_LLD)
if(SKEP_LLD)
  add_link_options(--ld-path=${SKEP_LLD})
endif()

# A compiler cache is used when there is one, it works (it fails where its directory cannot be
# written, e.g. without a home) and the caller did not choose a launcher.
find_program(SKEP_CCACHE NAMES ccache)
mark_as_advanced(SKEP_CCACHE)
if(SKEP_CCACHE)
  set(probe "${CMAKE_BINARY_DIR}/CMakeFiles/ccache_probe")
  file(WRITE "${probe}.c" "int probe;\n")
  execute_process(COMMAND "${SKEP_CCACHE}" "${CMAKE_C_COMPILER}" -c "${probe}.c" -o "${probe}.o"
                  RESULT_VARIABLE status OUTPUT_QUIET ERROR_VARIABLE reason)
  if(status EQUAL 0)
    foreach(language IN ITEMS C CXX)
      if(NOT DEFINED CMAKE_${language}_COMPILER_LAUNCHER)
        set(CMAKE_${language}_COMPILER_LAUNCHER "${SKEP_CCACHE}")
      endif()
    endforeach()
  else()
    message(STATUS "Building without ccache, which does not work here: ${reason}")
  endif()
endif()
