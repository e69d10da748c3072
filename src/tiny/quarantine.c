#include "tiny/quarantine.h"

#include "base/option.h"
#include "superslab/locate.h"
#include "tiny/seal.h"

/* More blocks of the class, or fewer. */
static void note(hak_quarantine_t *q, uint32_t cls, int more) {
  uint32_t count = hak_load_relaxed(&q->counts[cls]);
  hak_store_relaxed(&q->counts[cls], (uint16_t)(count + (uint32_t)more));
  q->bytes += (uint32_t)more * hak_class_size(cls);
}

static void *take_out(hak_quarantine_t *q, uint32_t at) {
  void *block = q->blocks[at];
  q->blocks[at] = NULL;
  if (block != NULL) note(q, hak_slab_class(hak_slab_of(block)), -1);
  return block;
}

static uint32_t choose(hak_quarantine_t *q) {
  if (HAK_UNLIKELY(q->series == 0)) q->series = hak_seal_random();
  return (uint32_t)(hak_seal_next(&q->series) >> 32) % HAK_QUARANTINE_BLOCKS;
}

bool hak_quarantine_put(hak_quarantine_t *q, uint32_t cls, void *block, void **out) {
  enum {
    SHARE = 8
  };
  if (hak_class_size(cls) > (uint64_t)hak_option(QUARANTINE_BYTES) / SHARE) return false;
  uint32_t at = choose(q);
  *out = take_out(q, at);
  q->blocks[at] = block;
  note(q, cls, 1);
  return true;
}

void *hak_quarantine_excess(hak_quarantine_t *q) {
  if (HAK_LIKELY(q->bytes <= (uint64_t)hak_option(QUARANTINE_BYTES))) return NULL;
  uint32_t at = choose(q);
  for (uint32_t i = 0; i < HAK_QUARANTINE_BLOCKS; i++) {
    void *block = take_out(q, (at + i) % HAK_QUARANTINE_BLOCKS);
    if (block != NULL) return block;
  }
  return NULL;
}

void *hak_quarantine_any(hak_quarantine_t *q) {
  for (uint32_t i = 0; i < HAK_QUARANTINE_BLOCKS && q->bytes > 0; i++) {
    void *block = take_out(q, i);
    if (block != NULL) return block;
  }
  return NULL;
}
