/* start.c - how scenarios begin. */
#include "start.h"

#include "base/compiler.h"
#include "hakmem/hakmem.h"
#include "pages/meta.h"
#include "pages/registry.h"
#include "superslab/region.h"

static hak_os_t hooks;

static int commit_as_it_is(void *ctx, void *ptr, size_t size, bool *zeroed) {
  (void)ctx, (void)ptr, (void)size;
  *zeroed = false;
  return 0;
}
const hak_os_t *start_hooks(void) {
  hooks = *hak_os_default();
  hooks.commit = commit_as_it_is;
  return &hooks;
}
void start_library(void) {
  hak_config_t config = HAK_CONFIG_INIT;
  config.os = start_hooks();
  EXPLORE_CHECK(hak_init(&config) == 0);
}
void start_caching(void) {
  EXPLORE_CHECK(hak_option_set(HAK_OPTION_HEAP_CACHE_AFTER, 0) == 0);
}
hak_heap_t *start_with_heap(void) {
  start_library();
  start_caching();
  hak_heap_t *heap = hak_heap_create(NULL);
  EXPLORE_CHECK(heap != NULL);
  return heap;
}
void start_thread(void) { EXPLORE_CHECK(hak_thread_init() == 0); }

void *start_new_block(hak_heap_t *heap, size_t size) {
  void *block = heap == NULL ? hak_alloc(size) : hak_heap_alloc(heap, size);
  EXPLORE_CHECK(block != NULL);
  return block;
}
uint64_t *start_new_block_of_77(hak_heap_t *heap, size_t size) {
  uint64_t *block = start_new_block(heap, size);
  block[0] = block[1] = 77;
  return block;
}

typedef struct out {
  void *heap;
  uint32_t cls, count;
} out_t;

static bool add_out(hak_superslab_t *ss, void *ctx) {
  out_t *out = ctx;
  if (hak_load_relaxed(&ss->extent.heap) != out->heap) return true;
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    hak_slab_t *slab = &ss->slabs[i];
    bool used = hak_word_state(hak_load_relaxed(&slab->word)) != HAK_SLAB_FREE;
    if (used && hak_slab_class(slab) == out->cls) out->count += hak_slab_out(slab);
  }
  return true;
}
uint32_t start_count_out(hak_heap_t *heap, uint32_t cls) {
  out_t out = {heap == NULL ? hak_heap_default() : heap, cls, 0};
  hak_region_visit(add_out, &out);
  return out.count;
}

static void use_up_record(bool of_pages) {
  const hak_os_t *os = hak_registry_os();
  void *record = of_pages ? hak_meta_alloc_pages(os, os->page_size)
                          : hak_meta_alloc(os, HAK_CACHE_LINE, HAK_CACHE_LINE);
  EXPLORE_CHECK(record != NULL);
}
/* What is committed at a time has memory for as many records each time. */
static void use_up(bool of_pages) {
  uint64_t before = hak_load_relaxed(&hak_meta_committed);
  while (hak_load_relaxed(&hak_meta_committed) == before) use_up_record(of_pages);
  uint64_t after = hak_load_relaxed(&hak_meta_committed);
  size_t size = of_pages ? hak_registry_os()->page_size : HAK_CACHE_LINE;
  for (uint64_t left = (after - before) / size - 1; left > 0; left--) {
    use_up_record(of_pages);
  }
  EXPLORE_CHECK(hak_load_relaxed(&hak_meta_committed) == after);
}
void start_used_up(void) {
  use_up(false);
  use_up(true);
}
