# SPDX-License-Identifier: Apache-2.0
# skep_room(): one room of src/ with its unit tests and micro-benchmarks.
# skep_test(): one test binary, for what crosses rooms (tests/).
#
#   skep_room(map
#     SOURCES array_map.cpp hash_map.cpp       # none: the room is headers only
#     DEPENDS object cpu rcu result            # rooms below; covers every #include "room/..."
#     LIBRARIES PkgConfig::URCU                # libraries from outside
#     TESTS array_map_test.cpp                 # one binary, skep_map_test, run case by case by ctest
#     TEST_DEPENDS btf                         # further rooms for tests and benchmarks only
#     TEST_LIBRARIES PkgConfig::PCAP           # further libraries for tests and benchmarks only
#     BENCHMARKS hash_map_bench.cpp            # one binary, skep_map_bench, smoke-run by ctest
#     FUZZERS key_fuzz.cpp                     # one libFuzzer binary each, skep_map_key_fuzz, built
#                                              # by the preset fuzz, where ctest runs it for a second
#     EXCEPTIONS)                              # the room needs C++ exceptions (cli only)
#
# The room becomes the static library skep_<room> (INTERFACE when it has no sources).
#
#   skep_test(skep_end_to_end_test
#     PREFIX end_to_end/                       # begins the names of its cases in ctest
#     SOURCES run_test.cpp
#     DEPENDS runtime host                     # rooms
#     LIBRARIES PkgConfig::PCAP                # libraries from outside
#     EXCEPTIONS)

include(GoogleTest)

option(SKEP_PARTIAL_TREE "Warn instead of stopping where a listed file or a lower room is missing" ON)

# Stops (in a partial tree: warns and leaves the name out) when a listed source file does not exist.
function(_skep_existing_files room out)
  set(present)
  foreach(file IN LISTS ARGN)
    cmake_path(ABSOLUTE_PATH file NORMALIZE OUTPUT_VARIABLE path)
    get_source_file_property(generated "${path}" GENERATED)
    if(EXISTS "${path}" OR generated)
      list(APPEND present "${file}")
    elseif(SKEP_PARTIAL_TREE)
      message(WARNING "room ${room} lists ${file}, which does not exist: left out")
    else()
      message(FATAL_ERROR "room ${room} lists ${file}, which does not exist")
    endif()
  endforeach()
  set(${out} "${present}" PARENT_SCOPE)
endfunction()

# Turns room names into targets. Rooms are added bottom-up, so one that has no target yet is either
# missing or above.
function(_skep_room_targets room out)
  set(targets)
  foreach(below IN LISTS ARGN)
    if(TARGET skep_${below})
      list(APPEND targets skep_${below})
    elseif(SKEP_PARTIAL_TREE)
      message(WARNING "${room} depends on ${below}, which is not there: left out")
    else()
      message(FATAL_ERROR "${room} depends on ${below}, which is missing or not below it "
                          "(cmake/SkepRoomOrder.cmake)")
    endif()
  endforeach()
  set(${out} "${targets}" PARENT_SCOPE)
endfunction()

function(skep_test target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "EXCEPTIONS" "PREFIX" "SOURCES;DEPENDS;LIBRARIES")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "skep_test(${target}): unknown arguments "
                        "'${arg_UNPARSED_ARGUMENTS}'")
  endif()
  _skep_room_targets(${target} depends ${arg_DEPENDS})
  add_executable(${target} ${arg_SOURCES})
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:$<IF:$<BOOL:${arg_EXCEPTIONS}>,-fexceptions,-fno-exceptions>>)
  target_link_libraries(${target} PRIVATE ${depends} ${arg_LIBRARIES} skep_test_support)
  # One process for each case, found when ctest runs: a crash costs one case, and a descriptor that
  # leaks is pinned on the case that leaked it.
  gtest_discover_tests(${target} TEST_PREFIX "${arg_PREFIX}" DISCOVERY_MODE PRE_TEST
                       DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 120)
endfunction()

function(skep_room room)
  cmake_parse_arguments(PARSE_ARGV 1 arg "EXCEPTIONS" ""
    "SOURCES;DEPENDS;LIBRARIES;TESTS;TEST_DEPENDS;TEST_LIBRARIES;BENCHMARKS;FUZZERS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "skep_room(${room}): unknown arguments "
                        "'${arg_UNPARSED_ARGUMENTS}'")
  endif()
  _skep_existing_files(${room} sources ${arg_SOURCES})
  _skep_existing_files(${room} tests ${arg_TESTS})
  _skep_existing_files(${room} benchmarks ${arg_BENCHMARKS})
  _skep_existing_files(${room} fuzzers ${arg_FUZZERS})
  _skep_room_targets(${room} depends ${arg_DEPENDS})
  _skep_room_targets(${room} test_depends ${arg_TEST_DEPENDS})

  set(exceptions -fno-exceptions)
  if(arg_EXCEPTIONS)
    set(exceptions -fexceptions)
  endif()

  set(library skep_${room})
  if(sources)
    add_library(${library} STATIC ${sources})
    set(scope PUBLIC)
    target_compile_options(${library} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${exceptions}>)
  else()
    add_library(${library} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${library} ${scope} "${PROJECT_SOURCE_DIR}/src"
                                                 "${PROJECT_SOURCE_DIR}/include")
  target_link_libraries(${library} ${scope} ${depends} ${arg_LIBRARIES} Threads::Threads)

  if(tests)
    set(with_exceptions)
    if(arg_EXCEPTIONS)
      set(with_exceptions EXCEPTIONS)
    endif()
    skep_test(${library}_test PREFIX "${room}/" SOURCES ${tests} DEPENDS ${room} ${arg_TEST_DEPENDS}
              LIBRARIES ${arg_TEST_LIBRARIES} ${with_exceptions})
  endif()

  if(benchmarks)
    add_executable(${library}_bench ${benchmarks})
    target_compile_options(${library}_bench PRIVATE ${exceptions})
    target_link_libraries(${library}_bench PRIVATE ${library} ${test_depends}
                                                   ${arg_TEST_LIBRARIES} benchmark::benchmark_main)
    if(NOT SKEP_SANITIZE) # a sanitizer build learns nothing here that the unit tests do not show
      add_test(NAME ${room}/benchmarks COMMAND ${library}_bench --benchmark_min_time=0.001)
      set_tests_properties(${room}/benchmarks PROPERTIES TIMEOUT 120)
    endif()
  endif()

  if(SKEP_FUZZ)
    foreach(fuzzer IN LISTS fuzzers)
      cmake_path(GET fuzzer STEM stem)
      add_executable(${library}_${stem} ${fuzzer})
      target_compile_options(${library}_${stem} PRIVATE ${exceptions})
      target_link_libraries(${library}_${stem} PRIVATE ${library} ${test_depends}
                                                       ${arg_TEST_LIBRARIES})
      target_link_options(${library}_${stem} PRIVATE -fsanitize=fuzzer)
      add_test(NAME ${room}/${stem} COMMAND ${library}_${stem} -max_total_time=1)
      set_tests_properties(${room}/${stem} PROPERTIES TIMEOUT 120)
    endforeach()
  endif()
endfunction()
