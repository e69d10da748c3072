/* warnings.cc - a program that has everything on which compilers warn of C in C++, and
 * macros for malloc and its like, includes every header of the library, and hears
 * nothing. */
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <stdexcept>
#define malloc(size) program_malloc((size), __LINE__)
#define calloc(count, size) program_calloc((count), (size), __LINE__)
#define realloc(place, size) program_realloc((place), (size), __LINE__)
#define free(place) program_free((place), __LINE__)
#include <hakmem/hooks.h>
#include <hakmem/new_delete.h>
#include <hakmem/hakmem.hpp>
#define HAK_JE_PREFIX je_
#include <hakmem/je.h>
#include <hakmem/sites.h>

static hak_heap_t *heap() { return nullptr; }
HAK_SITE(texts);
HAK_DEFINE_HOOKS(hook, heap());

int main() {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  hak_stats_t stats = HAK_STATS_INIT;
  if (config.struct_size == 0 || stats.struct_size == 0 || HAK_ALIGNMENT_MAX < 16)
    return 1;
  hak_free(hak_alloc_at(10, &texts));
  hak_free(hak_alloc_at(10, HAK_CALLSITE()));
  hak_free(hak_alloc_at(10, HAK_CALLER()));
  char *text = hook_strdup("text");
  if (text == nullptr || je_mallocx(8, MALLOCX_ZERO | MALLOCX_LG_ALIGN(4)) == nullptr) {
    return 1;
  }
  hook_free(hook_realloc(text, 100));
  hak::heap moved;
  moved = hak::heap();
  delete new int;
  return 0;
}
