# test_wrap_syscalls(TARGET): the target's calls of the system's memory functions, the
# library's with them, pass through syscalls.c, which counts them.
function(test_wrap_syscalls target)
  target_sources(${target} PRIVATE "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/wrapped/syscalls.c")
  foreach(name mmap munmap mremap madvise)
    target_link_options(${target} PRIVATE "LINKER:--wrap=${name}")
  endforeach()
endfunction()

# test_wrap_arena(TARGET): they may be served from memory of the test's own (arena.h).
function(test_wrap_arena target)
  target_sources(${target} PRIVATE "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/wrapped/arena.c")
  foreach(name mmap munmap madvise mincore mprotect clock_gettime)
    target_link_options(${target} PRIVATE "LINKER:--wrap=${name}")
  endforeach()
endfunction()
