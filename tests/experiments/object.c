/* object.c - a shared object that has the allocator in it, and says by the allocator's
 * own word whether that is what serves it. */
#include "adapters/adapter.h"

#include <stdbool.h>
#include <string.h>

__attribute__((visibility("default"))) bool object_use(void);

bool object_use(void) {
  char *blocks[50];
  bool served = true;
  for (size_t i = 0; i < 50; i++) {
    blocks[i] = (char *)bench_alloc(100 * i + 1);
    served = served && blocks[i] != NULL && bench_serves(blocks[i], 100 * i + 1);
    if (blocks[i] != NULL) memset(blocks[i], (int)i, 100 * i + 1);
  }
  for (size_t i = 0; i < 50; i++) bench_free(blocks[i]);
  return served;
}
