/* warnings.cc - a program that has everything on which compilers warn of C in C++
 * includes every header of the library, and hears nothing. */
#include <hakmem/hooks.h>
#include <hakmem/new_delete.h>
#include <hakmem/hakmem.hpp>
#define HAK_JE_PREFIX je_
#include <hakmem/je.h>
#include <hakmem/sites.h>

static hak_heap_t *heap() { return nullptr; }
HAK_DEFINE_HOOKS(hook, heap());

int main() {
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
