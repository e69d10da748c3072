# What `cmake --install` puts where: the library, its headers, a CMake package, a
# pkg-config file, and the tools that read what the library writes.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Somebody whose clone is called like the prefix would find the headers of one beside the
# headers of the other.
install(CODE "
  get_filename_component(prefix \"\${CMAKE_INSTALL_PREFIX}\" REALPATH)
  get_filename_component(tree \"${PROJECT_SOURCE_DIR}\" REALPATH)
  if(prefix STREQUAL tree)
    message(FATAL_ERROR \"hakmem: \${prefix} is the library's own tree: \"
      \"cmake --install build --prefix ANOTHER_FOLDER\")
  endif()")

# `cmake --install` alone builds nothing. Where nobody has built the library yet, it does.
if(PROJECT_IS_TOP_LEVEL)
  install(CODE "
    if(NOT EXISTS \"$<TARGET_FILE:hakmem>\")
      execute_process(
        COMMAND \"${CMAKE_COMMAND}\" --build \"${PROJECT_BINARY_DIR}\" --target hakmem
                --config \"$<CONFIG>\" --parallel 4
        COMMAND_ERROR_IS_FATAL ANY)
    endif()")
endif()

set(hakmem_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/hakmem")
install(TARGETS hakmem EXPORT hakmem-targets
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
target_include_directories(hakmem PUBLIC "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
install(FILES ${hakmem_public_headers} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/hakmem")
install(EXPORT hakmem-targets NAMESPACE hakmem:: DESTINATION "${hakmem_package_dir}")

configure_package_config_file(cmake/hakmem-config.cmake.in hakmem-config.cmake
                              INSTALL_DESTINATION "${hakmem_package_dir}")
write_basic_package_version_file(hakmem-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/hakmem-config.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/hakmem-config-version.cmake"
        DESTINATION "${hakmem_package_dir}")

# The prefix is given from the file's own place, so that an installation can be
# moved and `cmake --install --prefix` needs no second configuration.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  string(REPLACE " " "\\ " hakmem_pc_prefix "${CMAKE_INSTALL_PREFIX}")
  string(REPLACE " " "\\ " hakmem_pc_libdir "${CMAKE_INSTALL_FULL_LIBDIR}")
  string(REPLACE " " "\\ " hakmem_pc_includedir "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
else()
  file(RELATIVE_PATH up "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
  set(hakmem_pc_prefix "\${pcfiledir}/${up}")
  set(hakmem_pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(hakmem_pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(cmake/hakmem.pc.in hakmem.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/hakmem.pc"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

# The tools, which look for what they share where it is from their own place.
set(hakmem_tools_dir "${CMAKE_INSTALL_DATADIR}/hakmem")
if(IS_ABSOLUTE "${CMAKE_INSTALL_BINDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_DATADIR}")
  set(up "${CMAKE_INSTALL_FULL_DATADIR}/hakmem")
else()
  file(RELATIVE_PATH up "/prefix/${CMAKE_INSTALL_BINDIR}" "/prefix/${hakmem_tools_dir}")
endif()
foreach(tool hakmem-view hakmem-report)
  set(file "${PROJECT_SOURCE_DIR}/tools/${tool}")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
  file(READ "${file}" text)
  string(REPLACE "\"../share/hakmem\"" "\"${up}\"" text "${text}")
  file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/tools/${tool}" "${text}")
  install(PROGRAMS "${CMAKE_CURRENT_BINARY_DIR}/tools/${tool}"
          DESTINATION "${CMAKE_INSTALL_BINDIR}")
endforeach()
install(DIRECTORY tools/hakmem_pages DESTINATION "${hakmem_tools_dir}"
        FILES_MATCHING PATTERN "*.py" PATTERN __pycache__ EXCLUDE)
install(FILES tools/gdb/hakmem.py DESTINATION "${hakmem_tools_dir}/gdb")

# Manual pages, where the target hakmem_man has made them.
install(DIRECTORY "${PROJECT_BINARY_DIR}/man/" DESTINATION "${CMAKE_INSTALL_MANDIR}" OPTIONAL)
