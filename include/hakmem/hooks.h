/* hooks.h - allocation functions of one heap, for libraries that take such functions.
 *
 * Most libraries let a program give them its own malloc, realloc and free. Some pass a
 * pointer of the program's to each of them; then the functions at the end of this file
 * serve, with the heap as that pointer. Others pass nothing; for these a macro makes
 * functions that know their heap:
 *
 *     static hak_heap_t *json_heap;
 *     HAK_DEFINE_HOOKS(json, json_heap);
 *     ...
 *     json_set_alloc_funcs(json_malloc, json_free);
 *
 * What hakmem.h says of hak_heap_alloc and its like holds for all of them: any thread may
 * call them, NULL and ENOMEM is what they give when memory is short or the heap's limit
 * is met, and they cost what those cost and one call more. A block can be freed and
 * resized by any of them and by hakmem.h's own functions, whatever its heap; resized, it
 * stays in its heap. docs/HOOKS.md has examples.
 */
#ifndef HAKMEM_HOOKS_H
#define HAKMEM_HOOKS_H

/* What is here is C, whose casts and null pointers C++ compilers can be told to warn of.
 */
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC system_header
#endif

#include <errno.h>
#include <hakmem/hakmem.h>
#include <string.h>

/* How each hook is declared, and what lets a semicolon follow the macros below. */
#if defined(__GNUC__) || defined(__clang__)
#define HAK_HOOK static __attribute__((__unused__))
#else
#define HAK_HOOK static
#endif
#define HAK_HOOKS_END struct hak_heap

/* What a realloc hook does where it is given a size of 0. */
#define HAK_HOOKS_ZERO_KEEPS 0u /* as hak_realloc: size 1, never frees */
#define HAK_HOOKS_ZERO_FREES 1u /* frees the block and returns NULL: Lua, QuickJS */

/* Defines these static functions, of which a program may use as many as it needs:
 *
 *     PREFIX_malloc(size)                     a block, contents undefined
 *     PREFIX_calloc(count, size)              a block that is all zero
 *     PREFIX_realloc(ptr, size)               as hak_heap_realloc
 *     PREFIX_realloc_sized(ptr, old, size)    the same; the old size is not needed
 *     PREFIX_reallocarray(ptr, count, size)   the same; ENOMEM for too large a product
 *     PREFIX_free(ptr)                        as hak_free
 *     PREFIX_free_sized(ptr, size)            as hak_free_sized: a wrong size is misuse
 *     PREFIX_strdup(s), PREFIX_strndup(s, n)  copies of strings
 *     PREFIX_aligned_alloc(alignment, size)   as hak_heap_aligned_alloc
 *     PREFIX_posix_memalign(out, alignment, size)  0, EINVAL or ENOMEM; as POSIX says
 *     PREFIX_usable_size(ptr)                 as hak_usable_size
 *
 * `heap` is an expression of type hak_heap_t * that each allocating call evaluates anew:
 * a variable, a function of the program's, or hak_heap_current() for hooks that follow
 * the thread. NULL is the default heap. `zero` is HAK_HOOKS_ZERO_KEEPS or
 * HAK_HOOKS_ZERO_FREES, and HAK_DEFINE_HOOKS stands for the first. */
#define HAK_DEFINE_HOOKS(prefix, heap) \
  HAK_DEFINE_HOOKS_WITH(prefix, heap, HAK_HOOKS_ZERO_KEEPS)

/* The same with a choice of what a realloc to size 0 does. */
#define HAK_DEFINE_HOOKS_WITH(prefix, heap, zero)                                        \
  HAK_HOOK void *prefix##_malloc(size_t size) { return hak_heap_alloc((heap), size); }   \
  HAK_HOOK void *prefix##_calloc(size_t count, size_t size) {                            \
    return hak_heap_calloc((heap), count, size);                                         \
  }                                                                                      \
  HAK_HOOK void *prefix##_realloc(void *ptr, size_t size) {                              \
    if ((zero) == HAK_HOOKS_ZERO_FREES && size == 0) {                                   \
      hak_free(ptr);                                                                     \
      return NULL;                                                                       \
    }                                                                                    \
    return hak_heap_realloc((heap), ptr, size);                                          \
  }                                                                                      \
  HAK_HOOK void *prefix##_realloc_sized(void *ptr, size_t old_size, size_t size) {       \
    (void)old_size;                                                                      \
    return prefix##_realloc(ptr, size);                                                  \
  }                                                                                      \
  HAK_HOOK void *prefix##_reallocarray(void *ptr, size_t count, size_t size) {           \
    if (size != 0 && count > (size_t)-1 / size) {                                        \
      errno = ENOMEM;                                                                    \
      return NULL;                                                                       \
    }                                                                                    \
    return prefix##_realloc(ptr, count * size);                                          \
  }                                                                                      \
  HAK_HOOK void prefix##_free(void *ptr) {                                               \
    if (ptr != NULL) hak_free(ptr); /* many libraries free NULL often */                 \
  }                                                                                      \
  HAK_HOOK void prefix##_free_sized(void *ptr, size_t size) {                            \
    hak_free_sized(ptr, size);                                                           \
  }                                                                                      \
  HAK_HOOK char *prefix##_strndup(const char *s, size_t n) {                             \
    const void *end = memchr(s, 0, n);                                                   \
    size_t length = end == NULL ? n : (size_t)((const char *)end - s);                   \
    void *copy = hak_heap_alloc((heap), length + 1);                                     \
    if (copy == NULL) return NULL;                                                       \
    char *text = (char *)memcpy(copy, s, length);                                        \
    text[length] = 0;                                                                    \
    return text;                                                                         \
  }                                                                                      \
  HAK_HOOK char *prefix##_strdup(const char *s) {                                        \
    size_t bytes = strlen(s) + 1;                                                        \
    void *copy = hak_heap_alloc((heap), bytes);                                          \
    return copy == NULL ? NULL : (char *)memcpy(copy, s, bytes);                         \
  }                                                                                      \
  HAK_HOOK void *prefix##_aligned_alloc(size_t alignment, size_t size) {                 \
    return hak_heap_aligned_alloc((heap), alignment, size);                              \
  }                                                                                      \
  HAK_HOOK int prefix##_posix_memalign(void **out, size_t alignment, size_t size) {      \
    int before = errno;                                                                  \
    if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0) return EINVAL; \
    void *block = hak_heap_aligned_alloc((heap), alignment, size);                       \
    if (block != NULL) *out = block;                                                     \
    int error = block != NULL ? 0 : errno;                                               \
    errno = before;                                                                      \
    return error;                                                                        \
  }                                                                                      \
  HAK_HOOK size_t prefix##_usable_size(const void *ptr) { return hak_usable_size(ptr); } \
  HAK_HOOKS_END

/* For libraries that pass a pointer of the program's to each hook: the heap is that
 * pointer, NULL for the default heap. */

/* hak_heap_alloc() as a hook: `heap` is the pointer that the library passes. */
HAK_HOOK void *hak_hook_alloc(void *heap, size_t size) {
  return hak_heap_alloc((hak_heap_t *)heap, size);
}
/* hak_heap_calloc() as a hook. */
HAK_HOOK void *hak_hook_calloc(void *heap, size_t count, size_t size) {
  return hak_heap_calloc((hak_heap_t *)heap, count, size);
}
/* hak_heap_realloc() as a hook; a size of 0 keeps the block. */
HAK_HOOK void *hak_hook_realloc(void *heap, void *ptr, size_t size) {
  return hak_heap_realloc((hak_heap_t *)heap, ptr, size);
}
/* hak_free() as a hook. */
HAK_HOOK void hak_hook_free(void *heap, void *ptr) {
  (void)heap;
  if (ptr != NULL) hak_free(ptr); /* many libraries free NULL often */
}
/* All in one, as Lua has it: a size of 0 frees and gives NULL, anything else is
 * hak_heap_realloc(); `old_size` is not needed. */
HAK_HOOK void *hak_hook_resize(void *heap, void *ptr, size_t old_size, size_t size) {
  (void)old_size;
  if (size != 0) return hak_heap_realloc((hak_heap_t *)heap, ptr, size);
  hak_free(ptr);
  return NULL;
}

#endif /* HAKMEM_HOOKS_H */
