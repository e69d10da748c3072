include_guard(GLOBAL)

# hakmem_add_strict(NAME name [VARIANT hooks] [TIMEOUT seconds] [ARGS argument...])
#
# Registers a test of hakmem_add_test() once more, over hooks that trust nobody:
# see strict_os.h. VARIANT: "1", or a list such as "far,page64". The preset strict, which runs
# the suite so, leaves out what is registered so with the same arguments: has_strict.
function(hakmem_add_strict)
  cmake_parse_arguments(arg "" "NAME;VARIANT;TIMEOUT" "ARGS" ${ARGN})
  if(NOT arg_VARIANT)
    set(arg_VARIANT 1)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT ${HAKMEM_TEST_TIMEOUT})
  endif()
  get_filename_component(folder "${CMAKE_CURRENT_SOURCE_DIR}" NAME)
  set(suffix strict)
  if(NOT arg_VARIANT STREQUAL "1")
    string(REPLACE "," "_" suffix "strict_${arg_VARIANT}")
  endif()
  set(name ${folder}.${arg_NAME}.${suffix})
  add_test(NAME ${name} COMMAND hakmem_${folder}_${arg_NAME} ${arg_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS "${folder};strict"
                       TIMEOUT ${arg_TIMEOUT}
                       ENVIRONMENT "HAKMEM_TEST_STRICT=${arg_VARIANT}")
  if(arg_VARIANT STREQUAL "1" AND NOT arg_ARGS)
    set_property(TEST ${folder}.${arg_NAME} APPEND PROPERTY LABELS has_strict)
  endif()
endfunction()
