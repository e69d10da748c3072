# The C test library; gives the target Cmocka::cmocka.
find_path(Cmocka_INCLUDE_DIR cmocka.h)
find_library(Cmocka_LIBRARY cmocka)
mark_as_advanced(Cmocka_INCLUDE_DIR Cmocka_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Cmocka
  REQUIRED_VARS Cmocka_LIBRARY Cmocka_INCLUDE_DIR
  REASON_FAILURE_MESSAGE
    "The tests need cmocka (Debian: libcmocka-dev, which tools/deps installs). Without tests: -DHAKMEM_BUILD_TESTS=OFF")

if(Cmocka_FOUND AND NOT TARGET Cmocka::cmocka)
  add_library(Cmocka::cmocka UNKNOWN IMPORTED)
  set_target_properties(Cmocka::cmocka PROPERTIES
    IMPORTED_LOCATION "${Cmocka_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${Cmocka_INCLUDE_DIR}")
endif()
