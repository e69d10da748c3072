#include "tiny/quarantine.h"

#include "base/option.h"
#include "superslab/locate.h"
#include "tiny/seal.h"

static uint32_t size_of(const void *block) {
  return hak_class_size(hak_slab_class(hak_slab_of(block)));
}

static void *take_out(hak_quarantine_t *q, uint32_t at) {
  void *block = q->blocks[at];
  q->blocks[at] = NULL;
  if (block != NULL) q->bytes -= size_of(block);
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
  uint32_t size = hak_class_size(cls);
  if (size > (uint64_t)hak_option(QUARANTINE_BYTES) / SHARE) return false;
  uint32_t at = choose(q);
  *out = take_out(q, at);
  q->blocks[at] = block;
  q->bytes += size;
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
