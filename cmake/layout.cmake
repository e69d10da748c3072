# The functions that programs execute (usual_functions.txt, written by tools/usual-functions)
# lie side by side: the system maps code 64 KiB at a time, so that a function here and one
# there would keep all of the library's code resident. Each function has a section of its own,
# and those of the list have names that GNU ld puts first; other linkers take no notice.
# Nothing depends on it but memory: where the step cannot be taken it is left out.

# Who optimises when linking, or lays code out by a profile, has an order already. What clang
# makes of the functions was not tried.
string(TOUPPER "${CMAKE_BUILD_TYPE}" hakmem_config)
set(hakmem_flags "${CMAKE_C_FLAGS} ${CMAKE_C_FLAGS_${hakmem_config}}")
if(NOT CMAKE_C_COMPILER_ID STREQUAL "GNU" OR CMAKE_CROSSCOMPILING
   OR CMAKE_INTERPROCEDURAL_OPTIMIZATION OR NOT CMAKE_OBJCOPY
   OR hakmem_flags MATCHES "-flto|-fprofile|--coverage")
  return()
endif()
execute_process(COMMAND "${CMAKE_OBJCOPY}" --version RESULT_VARIABLE hakmem_objcopy_error
                OUTPUT_QUIET ERROR_QUIET)
if(hakmem_objcopy_error)
  return()
endif()

# But for the second one, all that is cold, used or not, would come before everything.
target_compile_options(hakmem PRIVATE -ffunction-sections -fno-reorder-functions)
set(hakmem_usual "${CMAKE_CURRENT_LIST_DIR}/usual_functions.txt")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${hakmem_usual}")
file(STRINGS "${hakmem_usual}" hakmem_names)
set(hakmem_renames "")
foreach(name IN LISTS hakmem_names)
  # What gcc makes of a function beside, or instead of it, is called so.
  foreach(suffix "" .isra.0 .part.0 .constprop.0 .constprop.0.isra.0)
    string(APPEND hakmem_renames "--rename-section .text.${name}${suffix}="
                                 ".text.startup.${name}${suffix}\n")
  endforeach()
endforeach()
file(WRITE "${PROJECT_BINARY_DIR}/usual_functions.options" "${hakmem_renames}")
add_custom_command(TARGET hakmem POST_BUILD
  COMMAND "${CMAKE_OBJCOPY}" "@${PROJECT_BINARY_DIR}/usual_functions.options"
          "$<TARGET_FILE:hakmem>" VERBATIM)
set(hakmem_laid_out ON)
