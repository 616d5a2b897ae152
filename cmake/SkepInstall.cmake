# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts down: the command, the library, its headers, and the files by which
# pkg-config and find_package(Skep) find them. The prefix may be chosen at install time and the tree
# may be moved afterwards: nothing here is written as an absolute path.

include(CMakePackageConfigHelpers)

foreach(dir IN ITEMS BINDIR LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${dir}}")
    message(FATAL_ERROR "CMAKE_INSTALL_${dir}=${CMAKE_INSTALL_${dir}} must be relative to the prefix")
  endif()
endforeach()

# The command lies at the top of the build tree: build/release/skep.
if(TARGET skep)
  file(RELATIVE_PATH bin_to_lib "/${CMAKE_INSTALL_BINDIR}" "/${CMAKE_INSTALL_LIBDIR}")
  set_target_properties(skep PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}"
                                        INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
  install(TARGETS skep RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()

# So does the library: build/release/libskep.so. Its target cannot be called skep, the command is.
if(TARGET libskep)
  set_target_properties(libskep PROPERTIES
    OUTPUT_NAME skep
    EXPORT_NAME skep
    VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}
    LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")
  target_compile_features(libskep INTERFACE cxx_std_23)
  install(TARGETS libskep EXPORT SkepTargets
          LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
          INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
  install(DIRECTORY include/skep DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
          FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")

  set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/Skep")
  install(EXPORT SkepTargets NAMESPACE skep:: DESTINATION "${package_dir}")
  configure_package_config_file(cmake/SkepConfig.cmake.in "${PROJECT_BINARY_DIR}/SkepConfig.cmake"
                                INSTALL_DESTINATION "${package_dir}"
                                NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
  write_basic_package_version_file("${PROJECT_BINARY_DIR}/SkepConfigVersion.cmake"
                                   COMPATIBILITY SameMinorVersion)
  install(FILES "${PROJECT_BINARY_DIR}/SkepConfig.cmake"
                "${PROJECT_BINARY_DIR}/SkepConfigVersion.cmake"
          DESTINATION "${package_dir}")

  file(RELATIVE_PATH pkgconfig_to_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" pkgconfig_to_prefix "${pkgconfig_to_prefix}")
  configure_file(cmake/skep.pc.in "${PROJECT_BINARY_DIR}/skep.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/skep.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endif()
