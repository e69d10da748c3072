/* leaks.c - what a heap tells of the blocks that are live at its end. */
#include <inttypes.h>
#include <stdio.h>

#include "api/api.h"
#include "base/report.h"

typedef struct leaks {
  hak_live_t live;
  /* One block of each size that there are live ones of, and one of the others; NULL: none
   * was found yet. */
  const void *of_class[HAK_CLASSES], *other;
  uint32_t wanted; /* that are still NULL */
} leaks_t;

/* Takes a block for its size if there is none yet; goes on while one is missing. */
static bool take(const hak_block_t *block, void *ctx) {
  leaks_t *leaks = ctx;
  const void **place = &leaks->other;
  uint64_t blocks = leaks->live.other_blocks;
  uint32_t cls = block->size <= HAK_CLASS_MAX ? hak_class_of(block->size) : HAK_CLASSES;
  if (cls < HAK_CLASSES && leaks->live.blocks[cls] != 0) {
    place = &leaks->of_class[cls];
    blocks = leaks->live.blocks[cls];
  }
  if (*place == NULL && blocks != 0) {
    *place = block->address;
    leaks->wanted--;
  }
  return leaks->wanted > 0;
}

static void find(hak_heap_t *heap, leaks_t *leaks) {
  hak_api_count_live(heap, &leaks->live);
  leaks->other = NULL;
  leaks->wanted = leaks->live.other_blocks != 0;
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    leaks->of_class[cls] = NULL;
    if (leaks->live.blocks[cls] != 0) leaks->wanted++;
  }
  /* Without memory for the visit the reports have no addresses. */
  if (leaks->wanted > 0) (void)hak_heap_visit(hak_heap_handle(heap), take, leaks, 0);
}

/* `what` is one line without its end: whose end it was. */
static void report(hak_heap_t *heap, const void *address, const char *what,
                   const char *function) {
  enum {
    LONGEST = 320
  };
  char text[LONGEST];
  const char *name = hak_heap_name_of(heap);
  if (name[0] == '\0') {
    snprintf(text, sizeof text, "%s were live at the end", what);
  } else {
    snprintf(text, sizeof text, "%s were live at the end of \"%s\"", what, name);
  }
  hak_report(HAK_ERROR_LEAK, address, hak_heap_handle(heap), function, text);
}

void hak_api_report_leaks(hak_heap_t *heap, const char *function) {
  leaks_t leaks;
  char what[96];
  find(heap, &leaks);
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    if (leaks.live.blocks[cls] == 0) continue;
    snprintf(what, sizeof what, "%" PRIu64 " blocks of %" PRIu32 " bytes",
             leaks.live.blocks[cls], hak_class_size(cls));
    report(heap, leaks.of_class[cls], what, function);
  }
  if (leaks.live.other_blocks == 0) return;
  snprintf(what, sizeof what, "%" PRIu64 " blocks, %" PRIu64 " bytes in all,",
           leaks.live.other_blocks, leaks.live.other_bytes);
  report(heap, leaks.other, what, function);
}
