#include "tiny/slab.h"

#include "base/check.h"
#include "base/report.h"
#include "tiny/hole_map.h"
#include "tiny/live.h"

HAK_SLOW void hak_slab_report_surplus(hak_thread_t *me, const hak_cache_t *cache,
                                      const void *block) {
  hak_thread_defer_report(me, cache->store->pool.heap, HAK_ERROR_DOUBLE_FREE, block,
                          "more blocks of a slab were freed than were given out");
}

/* The block, which is a carved one, is put away. */
static bool is_away(hak_slab_t *slab, const void *block) {
  return hak_hole_has(slab, hak_hole_page_shift(slab),
                      (size_t)((const char *)block - hak_slab_start(slab)));
}

static hak_lock_t *lock_of(const hak_cache_t *cache, hak_slab_t *slab) {
  return &cache->store->centrals[hak_slab_class(slab)].lock;
}

/* --- life ------------------------------------------------------------------------- */

static void begin(hak_slab_t *slab, uint32_t cls, unsigned span, uint32_t capacity,
                  uint32_t carved, uint64_t word) {
  uint32_t size = hak_class_size(cls);
  slab->list.head = HAK_LINK_END;
  hak_store_relaxed(&slab->carved, carved);
  hak_store_relaxed(&slab->capacity, capacity);
  hak_list_set_form(&slab->list, size, hak_class_askew[cls]);
  hak_slab_set_class(slab, cls);
  hak_slab_set_span(slab, span);
  slab->queue = HAK_QUEUE_NONE;
  slab->dirty = 0;
  slab->unsure = 0;
  hak_slab_set_out(slab, carved, 0);
  hak_live_clear(slab, span);
  /* Nobody else has a block of it. Release: pairs with span_at of superslab/tails.c. */
  hak_store_release(&slab->word, word);
}

void hak_slab_begin(const hak_cache_t *cache, hak_slab_t *slab, uint32_t cls,
                    unsigned span) {
  hak_hole_map_clear(slab, span);
  uint32_t capacity = (uint32_t)(span * HAK_SLAB_SIZE / hak_class_size(cls));
  begin(slab, cls, span, capacity, 0, hak_word_mine(cache));
}

void hak_slab_begin_single(hak_slab_t *slab, uint32_t cls, unsigned span) {
  begin(slab, cls, span, 1, 1, hak_word_make(HAK_SLAB_FULL, 0));
  hak_assert_full(!hak_hole_map_any(slab)); /* each span that had some has cleared them */
}

void hak_slab_end(hak_slab_t *slab) {
  hak_hole_map_clear(slab, hak_slab_span(slab));
  /* Relaxed: the pool's lock orders it for the next holder. */
  hak_store_relaxed(&slab->word, hak_word_make(HAK_SLAB_FREE, 0));
}

bool hak_slab_end_single(hak_slab_t *slab) {
  uint64_t full = hak_word_make(HAK_SLAB_FULL, 0);
  /* Relaxed: the pool's lock orders it for the next owner. */
  if (!hak_cas_relaxed(&slab->word, &full, hak_word_make(HAK_SLAB_FREE, 0))) return false;
  hak_slab_set_out(slab, 0, 0);
  return true;
}

void hak_slab_shrink_single(hak_slab_t *slab, uint32_t cls, unsigned span) {
  hak_list_set_form(&slab->list, hak_class_size(cls), hak_class_askew[cls]);
  hak_slab_set_class(slab, cls);
  hak_slab_set_span(slab, span);
}

#if HAK_CHECKS == 2
HAK_WARM void hak_slab_tell_starts_slow(hak_slab_t *slab) {
  uint32_t cls = hak_slab_class(slab);
  uint64_t cut = (uint64_t)hak_slab_carved(slab) * hak_class_size(cls);
  hak_registry_set_starts((uintptr_t)hak_slab_start(slab), hak_slab_span(slab),
                          hak_class_infos[cls].inverse, hak_hole_map_any(slab) ? 0 : cut);
}
#endif

void hak_slab_carve_anew(hak_slab_t *slab) {
  slab->list.head = HAK_LINK_END;
  hak_store_relaxed(&slab->carved, 0);
  /* Blocks that a fork has lost are listed nowhere and have no link, so the blocks of
   * such a slab are not looked at when they are carved again. */
  slab->dirty = slab->unsure == 0;
  slab->unsure = 0;
  hak_slab_set_out(slab, 0, 0);
  hak_slab_tell_starts(slab);
}

void hak_slab_restore(hak_slab_t *slab, void *list, uint32_t count) {
  uint32_t carved = hak_slab_carved(slab);
  slab->queue = HAK_QUEUE_NONE;
  slab->dirty = 0; /* blocks not carved may have a link or not */
  slab->unsure = 0;
  slab->list.head = list;
  hak_slab_set_out(slab, carved - count, 0);
  bool full = count == 0 && carved == hak_slab_capacity(slab);
  /* Relaxed: there is no other thread. */
  hak_store_relaxed(&slab->word,
                    hak_word_make(full ? HAK_SLAB_FULL : HAK_SLAB_PARTIAL, 0));
}

/* --- the list ----------------------------------------------------------------------- */

void hak_slab_carve_whole(hak_slab_t *slab, void *list) {
  slab->list.head = list;
  hak_store_relaxed(&slab->carved, hak_slab_capacity(slab));
  hak_slab_set_out(slab, 0, 0);
  hak_slab_tell_starts(slab);
}

void hak_slab_hear_last(hak_slab_t *slab) {
  hak_slab_set_out(slab, hak_slab_out(slab), 0);
}

void hak_slab_hear_at(hak_slab_t *slab, uint32_t held_back) {
  uint32_t out = hak_slab_out(slab);
  if (out > held_back) hak_slab_set_out(slab, out, held_back);
}

void *hak_slab_take_some(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                         uint32_t most, uint32_t *count) {
  void *list = slab->list.head, *first = HAK_LINK_END, *last = NULL, *block;
  uint32_t n = 0, out = hak_slab_out(slab);
  while (n < most && list != HAK_LINK_END) {
    if (HAK_UNLIKELY(hak_list_take_fails(me, cache, &list, &block))) {
      out = hak_slab_carved(slab) - n; /* blocks that are given up stay out */
      break;
    }
    if (n++ == 0) first = block;
    last = block;
  }
  slab->list.head = list;
  if (last != NULL) hak_link_write(&me->key, last, HAK_LINK_END);
  hak_slab_set_out(slab, out + n, 0);
  *count = n;
  return first;
}

/* Links those blocks of a slab that are free, in address order. */
static HAK_SLOW void relist(hak_thread_t *me, const hak_cache_t *cache,
                            hak_slab_t *slab) {
  uint32_t carved = hak_slab_carved(slab), kept = 0;
  size_t size = hak_list_block_size(&slab->list);
  char *block = hak_slab_start(slab) + carved * size;
  void *next = HAK_LINK_END;
  for (uint32_t i = carved; i > 0; i--) {
    block -= size;
    if (!hak_stray_is_free(me, block)) {
      hak_list_report_bad(me, cache, block);
      continue;
    }
    hak_link_write(&me->key, block, next);
    next = block;
    kept++;
  }
  slab->list.head = next;
  hak_slab_set_out(slab, carved - kept, 0);
}

/* A freed block of the slab's was written to. */
static HAK_SLOW void report_written(hak_thread_t *me, hak_slab_t *slab,
                                    const void *block) {
  hak_thread_defer_report(me, hak_load_relaxed(&hak_slab_superslab(slab)->extent.heap),
                          HAK_ERROR_CORRUPT_BLOCK, block, HAK_TEXT_WRITTEN);
}

#if HAK_CHECKS >= 3
static bool is_empty(const uint64_t *from, const uint64_t *end) {
  uint64_t any = 0;
  for (; from < end; from++) any |= *from;
  return any == 0;
}

void hak_slab_look_inside_slow(hak_thread_t *me, hak_slab_t *slab, const void *block) {
  enum {
    LINK = 2 /* words */
  };
  const uint64_t *words = block, *end = words + hak_list_block_size(&slab->list) / 8;
  bool linked = is_empty(words, words + LINK) || hak_stray_is_free(me, block);
  if (HAK_LIKELY(linked && is_empty(words + LINK, end))) return;
  report_written(me, slab, block);
}
#endif

bool hak_slab_all_home(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab) {
  enum {
    LEAST = 256 /* bytes; a slab has so many smaller blocks that looking at them makes
                   freeing the nodes of a tree take a quarter longer */
  };
  /* Blocks that a fork has lost are listed nowhere and need no link. */
  bool looks =
      HAK_CHECKS >= 2 || (HAK_CHECKS == 1 && hak_list_block_size(&slab->list) >= LEAST);
  if (!looks || slab->unsure != 0) return true;
  bool holes = hak_hole_map_any(slab);
  size_t size = hak_list_block_size(&slab->list);
  const char *block = hak_slab_start(slab);
  const char *end = block + hak_slab_carved(slab) * size;
  while (block != end && HAK_LIKELY((HAK_UNLIKELY(holes) && is_away(slab, block)) ||
                                    hak_stray_is_free(me, block))) {
    hak_slab_look_inside(me, slab, block);
    block += size;
  }
  if (HAK_LIKELY(block == end)) return true;
  if (holes) hak_slab_bring_back(me, slab);
  relist(me, cache, slab);
  return false;
}

/* --- holes -------------------------------------------------------------------------- */

void hak_slab_put_away(hak_thread_t *me, hak_slab_t *slab) {
  void *prev = NULL, *block = slab->list.head;
  uint32_t most = hak_slab_carved(slab); /* misuse may have made more of them */
  for (; block != HAK_LINK_END && most > 0; most--) {
    void *next = hak_link_read(&me->key, block);
    if (HAK_UNLIKELY(hak_link_is_broken(&me->key, block, next))) return;
    if (!is_away(slab, block)) {
      prev = block;
    } else if (prev == NULL) {
      slab->list.head = next;
    } else {
      hak_link_write(&me->key, prev, next);
    }
    block = next;
  }
}

/* The last block of the list; NULL if it has none, or a broken link, or comes back to
 * itself. */
static void *last_of(hak_thread_t *me, hak_slab_t *slab) {
  void *last = NULL, *block = slab->list.head;
  for (uint32_t most = hak_slab_carved(slab); block != HAK_LINK_END; most--) {
    if (HAK_UNLIKELY(most == 0)) return NULL;
    void *next = hak_link_read(&me->key, block);
    if (HAK_UNLIKELY(hak_link_is_broken(&me->key, block, next))) return NULL;
    last = block;
    block = next;
  }
  return last;
}

/* Reports a block that was put away and was written to. Its first words are as they were
 * when it was freed, or went with their page. Default builds do not look: it makes the
 * library a quarter of a KiB larger. */
static HAK_SLOW void look_at(hak_thread_t *me, hak_slab_t *slab, const void *block) {
  const uint64_t *words = block;
  bool gone = words[0] == 0 && words[1] == 0 && hak_hole_has_start(slab, block);
  if (gone || hak_stray_is_free(me, block)) return;
  report_written(me, slab, block);
}

size_t hak_slab_bring_back(hak_thread_t *me, hak_slab_t *slab) {
  char *start = hak_slab_start(slab);
  size_t size = hak_list_block_size(&slab->list);
  unsigned shift = hak_hole_page_shift(slab);
  void *before = last_of(me, slab);
  /* Whoever takes a block with a broken link reports it, so the others come first. */
  void *first = before != NULL ? HAK_LINK_END : slab->list.head;
  for (uint32_t i = hak_slab_carved(slab); i-- > 0;) {
    if (!hak_hole_has(slab, shift, i * size)) continue;
    char *block = start + i * size;
    if (HAK_CHECKS >= 2) look_at(me, slab, block);
    hak_link_write(&me->key, block, first);
    first = block;
  }
  if (before != NULL) {
    hak_link_write(&me->key, before, first);
  } else {
    slab->list.head = first;
  }
  /* A fork may come between the two, and must find each block in one of them at least. */
  hak_compiler_fence();
  size_t bytes = hak_hole_map_clear(slab, hak_slab_span(slab));
  hak_slab_tell_starts(slab);
  return bytes;
}

bool hak_slab_none_is_away(hak_thread_t *me, const hak_cache_t *cache,
                           const hak_batch_t *run) {
  if (HAK_LIKELY(!hak_hole_map_any(run->slab))) return true;
  const void *block = run->first;
  for (uint32_t i = 0; i < run->count; i++, block = hak_link_read(&me->key, block)) {
    if (HAK_UNLIKELY(is_away(run->slab, block))) {
      hak_slab_report_surplus(me, cache, block);
      return false;
    }
    if (block == run->last) break;
  }
  return true;
}

/* --- the word, by others and by the holder ------------------------------------------ */

bool hak_slab_push_remote(hak_thread_t *me, const hak_cache_t *cache,
                          const hak_batch_t *run, uint64_t *word) {
  char *start = hak_slab_start(run->slab);
  while (hak_word_state(*word) == HAK_SLAB_HELD) {
    uint32_t head = hak_word_remote_head(*word);
    uint32_t count = hak_word_remote_count(*word) + run->count;
    void *next = head == 0 ? HAK_LINK_END : start + ((size_t)(head - 1) << 3);
    if (HAK_UNLIKELY(count > hak_slab_capacity(run->slab) || hak_slab_lists(run, next))) {
      hak_slab_report_surplus(me, cache, run->first);
      return true;
    }
    hak_link_write(&me->key, run->last, next);
    uint32_t first = (uint32_t)(((char *)run->first - start) >> 3) + 1;
    uint64_t with = (hak_word_owner(*word) << HAK_WORD_HOLDER_SHIFT) |
                    (uint64_t)count << HAK_WORD_COUNT_SHIFT | first;
    /* Release: publishes the links to hak_slab_take_remote. */
    if (hak_cas_release(&run->slab->word, word, with)) {
      HAK_COUNT(me, free_remote, run->count);
      return true;
    }
  }
  return false;
}

void *hak_slab_take_remote(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                           uint32_t *count) {
  uint64_t word = hak_load_relaxed(&slab->word);
  *count = 0;
  if (HAK_LIKELY(hak_word_remote_count(word) == 0)) return NULL;
  /* Acquire: pairs with the release in hak_slab_push_remote; the links are seen. Only
   * the holder changes the upper half, so an exchange loses nothing. */
  word = hak_exchange_acquire(&slab->word, hak_word_mine(cache));
  uint32_t n = hak_word_remote_count(word);
  char *head = hak_slab_start(slab) + ((size_t)(hak_word_remote_head(word) - 1) << 3);
  if (HAK_UNLIKELY(n > hak_slab_out(slab))) {
    hak_slab_report_surplus(me, cache, head);
    return NULL;
  }
  *count = n;
  return head;
}

void hak_slab_join_remote(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab) {
  uint32_t count, taken = 0;
  void *first = hak_slab_take_remote(me, cache, slab, &count), *list = first;
  void *last = NULL;
  if (first == NULL) return;
  /* The blocks behind a broken link are given up and stay out. */
  for (void *block; taken < count && list != HAK_LINK_END; taken++) {
    if (HAK_UNLIKELY(hak_list_take_fails(me, cache, &list, &block))) break;
    last = block;
  }
  if (HAK_UNLIKELY(taken == 0)) return;
  hak_batch_t run = {slab, first, last, taken};
  if (HAK_LIKELY(hak_slab_none_is_away(me, cache, &run))) hak_slab_come_home(me, &run, 0);
}

bool hak_slab_refill_remote(hak_thread_t *me, const hak_cache_t *cache,
                            hak_slab_t *slab) {
  uint32_t count;
  void *first = hak_slab_take_remote(me, cache, slab, &count);
  if (first == NULL) return false;
  slab->list.head = first;
  hak_slab_set_out(slab, hak_slab_carved(slab) - count, 0);
  return true;
}

bool hak_slab_let_go(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab) {
  uint64_t mine = hak_word_mine(cache);
  /* Release: publishes list and counts to hak_slab_claim and
   * hak_slab_full_to_partial_locked. */
  if (HAK_LIKELY(hak_cas_release(&slab->word, &mine, hak_word_make(HAK_SLAB_FULL, 0)))) {
    return true;
  }
  (void)hak_slab_refill_remote(me, cache, slab);
  return false;
}

/* --- the word, under the partial list's lock ---------------------------------------- */

bool hak_slab_full_to_partial_locked(hak_thread_t *me, const hak_cache_t *cache,
                                     const hak_batch_t *run, uint64_t *word) {
  hak_lock_assert_held(lock_of(cache, run->slab));
  hak_slab_t *slab = run->slab;
  /* Acquire: pairs with the releases in hak_slab_let_go and
   * hak_slab_partial_to_full_locked. A thread that claims the slab may come first. */
  if (!hak_cas_acquire(&slab->word, word, hak_word_make(HAK_SLAB_PARTIAL, 0))) {
    return false;
  }
  hak_link_write(&me->key, run->last, HAK_LINK_END);
  slab->list.head = run->first;
  uint32_t carved = hak_slab_carved(slab);
  if (run->count > carved) hak_slab_report_surplus(me, cache, run->first);
  hak_slab_set_out(slab, run->count < carved ? carved - run->count : 0, 0);
  return true;
}

bool hak_slab_held_to_partial_locked(hak_thread_t *me, const hak_cache_t *cache,
                                     hak_slab_t *slab) {
  hak_lock_assert_held(lock_of(cache, slab));
  uint64_t mine;
  do {
    hak_slab_join_remote(me, cache, slab);
    if (hak_slab_out(slab) == 0 && hak_slab_all_home(me, cache, slab)) return false;
    mine = hak_word_mine(cache);
    /* Relaxed: only threads with the lock touch a slab that is PARTIAL. */
  } while (!hak_cas_relaxed(&slab->word, &mine, hak_word_make(HAK_SLAB_PARTIAL, 0)));
  return true;
}

void *hak_slab_partial_to_full_locked(const hak_cache_t *cache, hak_slab_t *slab) {
  hak_lock_assert_held(lock_of(cache, slab));
  hak_assert(!hak_hole_map_any(slab));
  void *list = hak_slab_take_list(slab);
  /* Release: publishes list and counts to hak_slab_claim, which takes no lock, and to
   * hak_slab_full_to_partial_locked. */
  hak_store_release(&slab->word, hak_word_make(HAK_SLAB_FULL, 0));
  return list;
}

void hak_slab_leave_locked(const hak_cache_t *cache, hak_slab_t *slab) {
  hak_lock_assert_held(lock_of(cache, slab));
  /* Relaxed: the lock orders. A free that reads the word late keeps the block in a bin.
   */
  hak_store_relaxed(&slab->word, hak_word_make(HAK_SLAB_PARTIAL, HAK_CODE_MASK));
}

void hak_slab_partial_to_held_locked(const hak_cache_t *cache, hak_slab_t *slab) {
  hak_lock_assert_held(lock_of(cache, slab));
  hak_store_relaxed(&slab->word, hak_word_mine(cache)); /* the lock orders */
}

/* --- checks ------------------------------------------------------------------------- */

HAK_SLOW bool hak_slab_is_valid(hak_thread_t *me, const hak_cache_t *cache,
                                hak_slab_t *slab) {
  uint32_t carved = hak_slab_carved(slab), out = hak_slab_out(slab), listed = 0;
  if (carved > hak_slab_capacity(slab) || out > carved) return false;
  const char *start = hak_slab_start(slab);
  for (const void *block = slab->list.head; block != HAK_LINK_END; listed++) {
    size_t offset = (size_t)((const char *)block - start);
    if (offset >= (size_t)hak_slab_span(slab) << HAK_SLAB_SHIFT || listed == carved ||
        !hak_class_is_start(hak_slab_class(slab), offset) ||
        hak_class_index(hak_slab_class(slab), offset) >= carved) {
      return false;
    }
    block = hak_link_read(&me->key, block);
    if (hak_link_is_bad(&me->key, block)) return false;
  }
  return listed <= carved - out && listed + slab->unsure >= carved - out &&
         hak_word_is_mine(cache, hak_load_relaxed(&slab->word)) &&
         hak_word_remote_count(hak_load_relaxed(&slab->word)) <= out;
}
