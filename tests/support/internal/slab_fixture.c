/* slab_fixture.c - see slab_fixture.h */
#include "slab_fixture.h"

#include <string.h>

#include "threads.h"

int test_slab_teardown(void **state) {
  (void)hak_collect(NULL, 0, HAK_COLLECT_ALL);
  CHECK_EQ(test_class_spans(), 0);
  return test_class_teardown(state);
}

hak_bin_t *test_bin(void) { return &g_cache->bins[g_class]; }
hak_hold_t *test_hold(void) { return &g_cache->holds[g_class]; }

hak_slab_t *test_slab_full(void) {
  hak_thread_t *me = hak_thread_self;
  hak_slab_t *slab = hak_hold_new(me, &me->cache, g_class);
  CHECK(slab != NULL);
  hak_slab_carve(slab, hak_slab_capacity(slab));
  return slab;
}

char *test_slab_block(hak_slab_t *slab, uint32_t i) {
  return hak_slab_start(slab) + (size_t)i * hak_list_block_size(&slab->list);
}

hak_batch_t test_slab_batch(hak_slab_t *slab, uint32_t from, uint32_t to) {
  const hak_link_key_t *key = &hak_thread_self->key;
  for (uint32_t i = from; i < to; i++) {
    char *block = test_slab_block(slab, i);
    void *next = i + 1 < to ? test_slab_block(slab, i + 1) : HAK_LINK_END;
    /* As whoever frees a block of a hardened build leaves it. */
    if (HAK_CHECKS >= 3) memset(block, 0, hak_list_block_size(&slab->list));
    hak_link_write(key, block, next);
  }
  return (hak_batch_t){slab, test_slab_block(slab, from), test_slab_block(slab, to - 1),
                       to - from};
}

void test_slab_home(hak_slab_t *slab, uint32_t from, uint32_t to) {
  hak_thread_t *me = hak_thread_self;
  bool locked = false;
  hak_hold_home_any(me, &me->cache, g_class, test_slab_batch(slab, from, to), &locked);
  if (locked) hak_lock_release(&g_central->lock);
}

typedef struct part {
  hak_slab_t *slab;
  uint32_t from, to;
} part_t;

static void *home_main(void *ctx) {
  const part_t *part = ctx;
  CHECK_EQ(hak_thread_init(), 0);
  test_slab_home(part->slab, part->from, part->to);
  return NULL;
}

void test_slab_home_elsewhere(hak_slab_t *slab, uint32_t from, uint32_t to) {
  part_t part = {slab, from, to};
  test_thread_run(home_main, &part);
}

void test_slab_free(hak_slab_t *slab, uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to; i++) hak_free(test_slab_block(slab, i));
}

void test_slab_retire(hak_slab_t *slab) {
  hak_slab_begin(g_cache, slab, g_class, 1);
  hak_hold_retire(g_me, g_cache, slab);
}

void test_slab_expect(hak_slab_t *slab, uint32_t carved, uint32_t out,
                      uint32_t held_back) {
  CHECK_EQ(hak_slab_carved(slab), carved);
  CHECK_EQ(hak_slab_out(slab), out);
  CHECK_EQ(hak_load_relaxed(&slab->held_back), held_back);
  CHECK_EQ(hak_load_relaxed(&slab->list.room), (int32_t)(out - held_back) - 1);
}

void *test_list_expect(void *list, hak_slab_t *slab, uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to; i++) {
    void *block;
    CHECK(list != HAK_LINK_END);
    CHECK(!hak_list_take_fails(g_me, g_cache, &list, &block));
    CHECK(block == test_slab_block(slab, i));
  }
  return list;
}

uint32_t test_list_length(void *list) {
  uint32_t n = 0;
  for (void *block; list != HAK_LINK_END; n++) {
    CHECK(!hak_list_take_fails(g_me, g_cache, &list, &block));
  }
  return n;
}

void test_bin_expect(uint32_t list, uint32_t ready, uint32_t spare) {
  hak_bin_t *bin = test_bin();
  hak_hold_t *hold = test_hold();
  CHECK_EQ(hak_bin_listed(bin), list);
  CHECK_EQ(hak_load_relaxed(&bin->ready_count), ready);
  CHECK_EQ(hak_load_relaxed(&hold->spare_count), spare);
  CHECK_EQ(test_list_length(bin->list.head), list);
  CHECK_EQ(test_list_length(bin->ready), ready);
  CHECK_EQ(test_list_length(hold->spare), spare);
}
