# Files of which programs execute little, and that seldom: what starts and ends the library,
# forks, walks, prints and describes it, and what ends in a call of the system or concerns
# 2 MiB at a time. They are compiled for size where the rest is compiled for speed, which
# makes them a third smaller. A file that has both kinds of code is not here; what is cold in
# it is marked (HAK_SLOW, src/base/compiler.h).
set(hakmem_seldom
  api/blocks api/check api/guarded api/leaks api/learned api/lifecycle api/malloced
  api/map_json api/out api/print api/profile api/profile_heaptrack api/profile_pprof
  api/profile_text api/ready api/rows api/site_row api/sites api/stats api/tree
  api/tree_fill api/tree_json api/tree_print api/visit api/watch
  base/callee base/check base/event base/option base/report base/text
  external/external_region external/malloced
  heap/collect heap/describe heap/fork heap/fork_caches heap/give_up heap/groups
  heap/hole_sweep heap/lifecycle heap/maintenance heap/own_os heap/records heap/show heap/stay heap/thread_end
  learn/lessons learn/stack
  os/calls_linux os/fault_linux os/malloc_linux os/maps_linux os/reservation os/sys_linux
  os/thread_linux os/written
  pages/cell pages/density pages/external_range pages/meta
  pool/mid
  superslab/clean superslab/pool_growth superslab/pool_prefault superslab/region_growth
  superslab/region_release)

set(hakmem_for_size -Oz)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  set(hakmem_for_size -Os) # -Oz only since gcc 12
endif()
foreach(file IN LISTS hakmem_seldom)
  if(NOT EXISTS "${PROJECT_SOURCE_DIR}/src/${file}.c")
    message(FATAL_ERROR "hakmem: cmake/seldom.cmake names src/${file}.c, which is not there")
  endif()
  set_property(SOURCE "${PROJECT_SOURCE_DIR}/src/${file}.c" APPEND PROPERTY COMPILE_OPTIONS
               "$<$<CONFIG:Release,RelWithDebInfo>:${hakmem_for_size}>")
endforeach()
