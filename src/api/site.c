/* site.c - blocks for places in the program: hak_alloc_at, and what others of its kind
 * share.
 *
 * hak_alloc_at -> the bin that the place's route leads to has a block, and the thread's
 *     way to its next sample is not at its end: done
 *   at_mid -> the same of a size over 1 KiB
 *   at_apart -> the same of the place's group (heap/groups.h)
 *   at_slow -> hak_alloc; the place is given an origin
 *   at_due -> a sample is taken in the block's place: it lies in the heap's samples
 *       (heap/samples.c), and is known (learn/sample.c) until it is freed (free.c)
 *
 * hak_alloc_named is the same for a record that is not NULL.
 */
#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "heap/groups.h"
#include "heap/samples.h"
#include "learn/lessons.h"
#include "learn/sample.h"
#include "learn/waves.h"
#include "tiny/stray.h"

/* The third of a record's words, for the fast path: the distance in bytes from the bins
 * of a thread that are always empty to those that serve the place; 0, as in a new record,
 * as long as the place has no origin, and where each of its allocations is to be seen. It
 * stays in the record over a shutdown, when it does no harm: no thread has blocks ready.
 */
#define TO_BINS (offsetof(hak_thread_t, bins) - offsetof(hak_thread_t, empty))

HAK_HOT hak_atomic_u64_t *distance(hak_site_t *site) {
  return (hak_atomic_u64_t *)&site->reserved[2];
}

/* The group that serves the place; 0 as long as it has no origin. */
HAK_HOT uint32_t group_of(const hak_site_t *site) {
  return hak_load_relaxed(&hak_origin_groups[hak_origin_of(site)]);
}

/* Leads the record to the thread's own bins if the default heap itself serves the place;
 * else past them. Called in slow paths of the place: what leads it to a group does not
 * touch the record, which may be gone, but is heeded from the next refill on. */
HAK_HOT void lead(hak_site_t *site, uint32_t origin) {
  bool plain = hak_load_relaxed(&hak_origin_groups[origin]) == 0;
  uint64_t to = plain ? TO_BINS : 0;
  if (hak_load_relaxed(distance(site)) != to) hak_store_relaxed(distance(site), to);
}

uint32_t hak_api_origin(hak_site_t *site) {
  uint32_t origin = hak_origin_of(site);
  if (HAK_UNLIKELY(origin == HAK_ORIGIN_NONE)) {
    origin = hak_origin_make(hak_lifecycle_os(), site);
    hak_lessons_apply(origin);
  }
  lead(site, origin);
  return origin;
}

/* --- groups ------------------------------------------------------------------------- */

_Static_assert(HAK_WAVE_BLOCK_MOST == HAK_MID_MAX, "no others share slabs");

/* Where a block of the default heap lies whose place is kept apart; NULL if it is not, or
 * need not be. */
HAK_HOT hak_heap_t *group_for(hak_thread_t *me, size_t size, const hak_site_t *site) {
  uint32_t group = group_of(site);
  if (HAK_LIKELY(group == 0)) return NULL;
  if (size > HAK_MID_MAX || me->kind != HAK_THREAD_ATTACHED) return NULL;
  return hak_group_heap(group);
}

/* --- samples ------------------------------------------------------------------------ */

/* A request of a place that is to become a sample. */
typedef struct request {
  hak_site_t *site;
  size_t size, alignment;
  bool zero;
  size_t picked; /* the bytes that may have been picked: all, or those that are more */
  uint64_t mean; /* bytes; the mean distance of samples with which they were */
  hak_asker_t asker; /* set by identify */
} request_t;

HAK_SLOW hak_asker_t hak_api_asker(hak_site_t *site) {
  int saved = errno; /* which a stack hook need not keep */
  hak_asker_t asker = {.origin = hak_api_origin(site)};
  asker.stack = hak_api_stack(asker.origin);
  errno = saved;
  return asker;
}

/* Who asks is looked at once for each sample, whatever becomes of it. */
static void identify(request_t *r) { r->asker = hak_api_asker(r->site); }

/* A block that is in the table of samples; NULL if none can be had. */
static void *take(hak_thread_t *me, hak_heap_t *heap, const request_t *r) {
  /* Within another request to a heap with a limit nothing is asked for in vain. */
  if (hak_budget_calls != NULL) return NULL;
  uint64_t followed = hak_sample_follow(r->asker, r->picked, r->mean, &me->way.random);
  if (followed == 0) return NULL;
  if (HAK_UNLIKELY(hak_heap_is_group(heap))) heap = hak_heap_above(heap);
  hak_heap_t *samples = hak_samples_heap(heap);
  if (samples == NULL || !hak_samples_prepare(hak_lifecycle_os())) return NULL;
  if (heap == hak_heap_get_default()) hak_waves_watch(hak_heap_id(samples));
  void *block = hak_samples_alloc(me, samples, r->size, r->alignment, r->zero);
  if (block == NULL) return NULL;
  if (hak_sample_add(r->asker, block, r->size, r->mean, followed, hak_heap_id(samples)))
    return block;
  hak_free(block);
  return NULL;
}

/* The same; NULL too if the block is not followed. A sample that cannot be had is no
 * failure. */
static HAK_SLOW void *take_sample(hak_heap_t *heap, const request_t *r) {
  int saved = errno;
  void *block = take(hak_thread_self, heap, r);
  errno = saved;
  return block;
}

/* The request was picked, but its block lies where nobody sees it being freed. */
static HAK_SLOW void *count_only(const request_t *r, void *block) {
  hak_sample_count(r->asker, r->size, r->mean);
  return block;
}

/* Counts bytes of an allocation by a place; the mean distance of samples if it is to be
 * one, else 0. */
HAK_HOT uint64_t count(hak_thread_t *me, size_t size) {
  if (HAK_LIKELY((me->way.left -= (int64_t)size) >= 0)) return 0;
  return hak_sample_due(&me->way, me->code);
}

void *hak_api_grown_at(void *block, size_t size, size_t growth, size_t alignment,
                       unsigned flags, hak_site_t *site) {
  hak_thread_t *me = hak_thread_self;
  bool may =
      me->kind == HAK_THREAD_ATTACHED && (flags & (HAK_NO_GROW | HAK_NO_MOVE)) == 0;
  uint64_t mean = may ? count(me, growth) : 0;
  if (HAK_LIKELY(mean == 0)) return block;
  hak_extent_t *extent = hak_locate((uintptr_t)block).extent; /* NULL: it is malloc's */
  hak_heap_t *heap = extent == NULL ? NULL : hak_heap_of_extent(extent);
  request_t request = {.site = site,
                       .size = size,
                       .alignment = alignment,
                       .zero = (flags & HAK_ZERO) != 0,
                       .picked = growth,
                       .mean = mean};
  identify(&request);
  void *sample =
      heap == NULL || hak_heap_is_samples(heap) ? NULL : take_sample(heap, &request);
  if (sample == NULL) return count_only(&request, block);
  memcpy(sample, block, size - growth); /* the rest has no contents yet, or zeroes */
  hak_link_unmark_copy(&me->key, sample, size - growth);
  hak_free(block);
  return sample;
}

/* A block of the default heap whose place is kept apart; else NULL. */
static void *alloc_in_group(hak_heap_t *heap, const request_t *r, unsigned flags) {
  if (heap != NULL && heap != hak_heap_get_default()) return NULL;
  hak_heap_t *group = group_for(hak_thread_self, r->size, r->site);
  if (HAK_LIKELY(group == NULL)) return NULL;
  return hak_api_group_alloc(group, r->size, r->alignment, flags);
}

void *hak_api_alloc_at(hak_heap_t *heap, size_t size, size_t alignment, unsigned flags,
                       hak_site_t *site) {
  if (site == NULL || size > PTRDIFF_MAX || (flags & HAK_NO_GROW) != 0) {
    return hak_api_alloc(heap, size, alignment, flags);
  }
  hak_thread_t *me = hak_thread_self;
  bool attached = me->kind == HAK_THREAD_ATTACHED;
  size_t bytes = size == 0 ? 1 : size;
  uint64_t mean = attached ? count(me, bytes) : 0;
  request_t request = {.site = site,
                       .size = bytes,
                       .alignment = alignment,
                       .zero = (flags & HAK_ZERO) != 0,
                       .picked = bytes,
                       .mean = mean};
  if (HAK_UNLIKELY(mean != 0)) {
    identify(&request);
    void *block = take_sample(heap == NULL ? hak_heap_get_default() : heap, &request);
    if (block != NULL) return block;
  }
  void *block = alloc_in_group(heap, &request, flags);
  if (heap != NULL && hak_heap_is_watched(heap)) {
    block = hak_api_watched_alloc(heap, size, alignment, flags, site);
  } else if (HAK_LIKELY(block == NULL)) {
    block = hak_api_alloc(heap, size, alignment, flags);
  }
  if (HAK_UNLIKELY(block == NULL)) return NULL;
  hak_api_guard_name(block, hak_api_origin(site));
  if (HAK_UNLIKELY(mean != 0)) return count_only(&request, block);
  if (HAK_LIKELY(attached)) return block;
  return hak_api_grown_at(block, bytes, bytes, alignment, flags, site);
}

/* --- hak_alloc_at ------------------------------------------------------------------- */

/* The way has run out with this block. */
static HAK_SLOW void *at_due(size_t size, hak_site_t *site, void *block) {
  hak_thread_t *me = hak_thread_self;
  uint64_t mean = hak_sample_due(&me->way, me->code);
  if (mean == 0) return block;
  request_t request = {.site = site, .size = size, .picked = size, .mean = mean};
  identify(&request);
  void *sample = take_sample(hak_heap_get_default(), &request);
  if (sample == NULL) return count_only(&request, block);
  hak_free(block);
  return sample;
}

/* The block that was taken from a bin counts. */
HAK_HOT void *at_taken(hak_thread_t *me, size_t size, hak_site_t *site, void *block) {
  if (HAK_LIKELY((me->way.left -= (int64_t)size) >= 0)) return block;
  return at_due(size, site, block);
}

/* hak_heap_alloc for the heap of a group, which has no handle. NULL: memory is short.
 * What will be gone after a wave lies in holes of the default heap as well, and these
 * come first: else they would be of no use, and peaks higher. */
static HAK_WARM void *group_alloc(hak_heap_t *heap, size_t size) {
  uint32_t cls = hak_class_of(size);
  hak_thread_t *me = hak_thread_self;
  hak_bin_t *bins = hak_index_bins(me, hak_load_relaxed(&heap->index_at));
  void *block = hak_api_pop(&me->key, &me->pace, &bins[cls], cls);
  if (HAK_LIKELY(block != NULL)) return block;
  if (heap == hak_group_at(hak_waves_loosest())) {
    block = hak_api_hole(cls);
    if (block != NULL) return block;
  }
  int saved = errno;
  block = hak_api_class(heap, cls);
  errno = saved;
  return block;
}

/* A size that is not tiny, an empty bin, or a place that allocates for the first time. */
static HAK_WARM void *at_slow(size_t size, hak_site_t *site) {
  if (HAK_UNLIKELY(size > HAK_CLASS_MAX)) {
    return hak_api_alloc_at(NULL, size, 0, 0, site); /* looks before it allocates */
  }
  hak_thread_t *me = hak_thread_self;
  hak_heap_t *group = group_for(me, size, site);
  void *block = NULL;
  if (HAK_UNLIKELY(group != NULL)) block = group_alloc(group, size == 0 ? 1 : size);
  if (HAK_LIKELY(block == NULL)) block = hak_alloc(size);
  me = hak_thread_self; /* it has a state now */
  if (block == NULL || site == NULL || me->kind != HAK_THREAD_ATTACHED) return block;
  hak_api_guard_name(block, hak_api_origin(site));
  return at_taken(me, size == 0 ? 1 : size, site, block);
}

/* Fast when the thread's bin of the place's group has a block ready. A number of an
 * earlier start leads to another place's group, whose blocks are of the same owner. */
static HAK_WARM void *at_apart(size_t size, hak_site_t *site) {
  uint32_t group = hak_load_relaxed(&hak_origin_groups[hak_origin_word(site)]);
  hak_heap_t *heap = hak_group_made(group);
  if (HAK_UNLIKELY(heap == NULL)) return at_slow(size, site);
  hak_thread_t *me = hak_thread_self;
  uint32_t index_at = hak_load_relaxed(&heap->index_at);
  hak_bin_t *bin = hak_index_bin(me, hak_index_step(me, index_at, (size - 1) >> 3));
  void *block;
  if (HAK_UNLIKELY(hak_link_pop_fails(&me->key, &bin->ready, &block))) {
    return at_slow(size, site);
  }
  return at_taken(me, size, site, block);
}

/* What lay in the bin is no block. */
static HAK_SLOW void *at_stray(size_t size, hak_site_t *site, hak_bin_t *bin,
                               void *block) {
  hak_thread_t *me = hak_thread_self;
  hak_stray_leave(&me->key, bin, hak_bin_class(me, bin), block);
  hak_api_report_no_block(block);
  return at_slow(size, site);
}

/* What at_mid seldom needs, as alloc_mid does. */
static HAK_WARM void *at_mid_ready(size_t size, hak_site_t *site, hak_bin_t *bin) {
  hak_thread_t *me = hak_thread_self;
  void *block;
  if (HAK_UNLIKELY(hak_bin_pop_mid_fails(&me->key, bin, &block))) {
    return at_slow(size, site);
  }
  if (HAK_UNLIKELY(hak_stray_refuses_mid(hak_class_askew[bin - me->bins], block))) {
    return at_stray(size, site, bin, block);
  }
  return at_taken(me, size, site, block);
}

static HAK_SLOW void *at_mid_counted(size_t size, hak_site_t *site, hak_bin_t *bin) {
  return hak_pace_is_due(&hak_thread_self->pace) ? at_slow(size, site)
                                                 : at_mid_ready(size, site, bin);
}

/* The default heap's bins serve the place, or no place. */
HAK_HOT bool is_plain(hak_site_t *site) {
  return site != NULL && HAK_LIKELY(hak_load_relaxed(distance(site)) == TO_BINS);
}

/* Over HAK_MID_MAX, or 0: blocks are looked at as hak_alloc does. */
static HAK_WARM void *at_single(size_t size, hak_site_t *site) {
  if (HAK_UNLIKELY(size - 1 >= HAK_CLASS_MAX || !is_plain(site))) {
    return at_slow(size, site);
  }
  hak_thread_t *me = hak_thread_self;
  uint32_t cls = hak_class_of_large(size);
  void *block = hak_api_pop(&me->key, &me->pace, &me->bins[cls], cls);
  if (HAK_UNLIKELY(block == NULL)) return at_slow(size, site);
  return at_taken(me, size, site, block);
}

/* Over HAK_TINY_MAX, or 0, or no place. Fast when the default heap itself serves the
 * place, and frees have left a block of the class. */
static HAK_WARM void *at_mid(size_t size, hak_site_t *site) {
  if (HAK_UNLIKELY(size - 1 >= HAK_MID_MAX)) return at_single(size, site);
  if (HAK_UNLIKELY(!is_plain(site))) return at_slow(size, site);
  hak_thread_t *me = hak_thread_self;
  const hak_mid_class_t *mid = &hak_mid_classes[hak_class_eighth(size)];
  hak_bin_t *bin = (hak_bin_t *)(void *)((char *)me + mid->bin_offset);
  void *block;
  if (HAK_UNLIKELY(hak_room_is_gone(&me->pace.pops))) {
    return at_mid_counted(size, site, bin);
  }
  if (HAK_UNLIKELY(hak_bin_pop_last_fails(&me->key, bin, &block))) {
    return at_mid_ready(size, site, bin);
  }
  if (HAK_UNLIKELY(hak_stray_refuses_mid(mid->askew, block))) {
    return at_stray(size, site, bin, block);
  }
  return at_taken(me, size, site, block);
}

/* No block is ready, or the place is kept apart. A call in its last place has
 * hak_alloc_at save no registers. */
static HAK_WARM void *at_flip(size_t size, hak_site_t *site) {
  hak_thread_t *me = hak_thread_self;
  void *block;
  if (HAK_UNLIKELY(hak_load_relaxed(distance(site)) == 0)) return at_apart(size, site);
  size_t at = hak_bin_offset_of_step[(size - 1) >> 3];
  hak_bin_t *bin = (hak_bin_t *)(void *)((char *)me + at);
  if (HAK_UNLIKELY(hak_bin_flip_is_due(&me->key, &me->pace.flips, bin, &block))) {
    return at_slow(size, site);
  }
  return at_taken(me, size, site, block);
}

/* Where the ready list of a bin begins. As a number: a distance may be negative, and then
 * the sum wraps. */
HAK_HOT void **ready_at(hak_thread_t *me, size_t at) {
  return (void **)((uintptr_t)me + at + offsetof(hak_bin_t, ready) - TO_BINS);
}

/* Fast when the bin has a block ready to which the record leads. A place that allocates
 * for the first time is led to bins that are always empty, as all threads without a state
 * are; and of such a thread the way is never looked at. */
HAK_HOT void *alloc_at(size_t size, hak_site_t *site, bool may_be_null) {
  if (HAK_CHECKS >= 3) return hak_api_alloc_at(NULL, size, 0, 0, site);
  size_t step = (size - 1) >> 3;
  HAK_OPAQUE(step);
  if (HAK_UNLIKELY(step >= HAK_TINY_STEPS)) return at_mid(size, site);
  if (may_be_null && HAK_UNLIKELY(site == NULL)) return at_mid(size, site);
  hak_thread_t *me = hak_thread_self;
  size_t at = hak_bin_offset_of_step[step];
  at = hak_sum_relaxed(at, distance(site));
  void *block = *ready_at(me, at), *next;
  if (HAK_UNLIKELY(hak_link_next_fails(&me->key, block, &next))) {
    return at_flip(size, site);
  }
  HAK_OPAQUE(at); /* the sum is a part of each access, not an instruction of its own */
  *ready_at(me, at) = next;
  hak_link_unmark(block);
  return at_taken(me, size, site, block);
}

HAK_ENTRY void *hak_alloc_at(size_t size, hak_site_t *site) {
  return alloc_at(size, site, true);
}

HAK_ENTRY void *hak_alloc_named(size_t size, hak_site_t *site) {
  return alloc_at(size, site, false);
}

/* --- hak_heap_alloc_at ----------------------------------------------------------------
 */

/* Where some blocks are guarded, the way ends no later than the next one is due. */
static HAK_SLOW void shorten_way(hak_thread_t *me, size_t size) {
  int64_t part = (int64_t)size * (me->guard.left > 0 ? me->guard.left : 1);
  if (part >= me->way.left) return;
  me->way.rest += me->way.left - part;
  me->way.left = part;
}

/* Each end of the way, or of a part of it, counts as a flip (tiny/recall.h), as what
 * frees left is taken without any: true if the thread is to come to a slow path. */
static bool is_look_due(hak_thread_t *me, size_t size, uint64_t mean) {
  if (HAK_UNLIKELY(hak_api_guards())) {
    me->guard.left = mean == 0 ? 0 : me->guard.left - 1 - (int64_t)(mean / size);
    if (me->guard.left <= 0) return true;
  }
  return hak_room_is_gone(&me->pace.flips);
}

/* The way has run out with this block of a heap: it may be picked. */
static HAK_SLOW void *heap_at_due(hak_heap_t *handle, size_t size, hak_site_t *site,
                                  void *block) {
  hak_thread_t *me = hak_thread_self;
  uint64_t mean = hak_sample_due(&me->way, me->code);
  if (HAK_UNLIKELY(is_look_due(me, size, mean))) {
    hak_free(block);
    block = hak_api_heap_slow(handle, size);
    me = hak_thread_self; /* which a handler of errors may have ended */
    if (block == NULL || me->kind != HAK_THREAD_ATTACHED) return block;
  }
  if (HAK_UNLIKELY(hak_api_guards())) shorten_way(me, size);
  if (mean == 0 || site == NULL) return block;
  request_t request = {.site = site, .size = size, .picked = size, .mean = mean};
  identify(&request);
  void *sample = take_sample(hak_heap_record(handle), &request);
  if (sample == NULL) return count_only(&request, block);
  hak_free(block);
  return sample;
}

HAK_HOT void *heap_at_taken(hak_thread_t *me, hak_heap_t *handle, size_t size,
                            hak_site_t *site, void *block) {
  if (HAK_LIKELY((me->way.left -= (int64_t)size) >= 0)) return block;
  return heap_at_due(handle, size, site, block);
}

/* Of a larger block it is known before whether it becomes a sample. */
static HAK_WARM void *heap_at_large(hak_heap_t *handle, size_t size, hak_site_t *site) {
  hak_heap_t *heap = hak_api_heap_or_report(handle, "hak_heap_alloc_at");
  return heap == NULL ? NULL : hak_api_alloc_at(heap, size, 0, 0, site);
}

static HAK_WARM void *heap_at_hardened(hak_heap_t *handle, size_t size,
                                       hak_site_t *site) {
  return handle == NULL ? hak_alloc_at(size, site) : heap_at_large(handle, size, site);
}

/* A handle of any kind, any size, no block ready, or no record. */
static HAK_WARM void *heap_at_slow(hak_heap_t *handle, size_t size, hak_site_t *site) {
  if (handle == NULL) return hak_alloc_at(size, site);
  if (HAK_UNLIKELY(size > HAK_TINY_MAX || hak_heap_is_watched(hak_heap_record(handle))))
    return heap_at_large(handle, size, site);
  void *block = hak_heap_alloc(handle, size);
  hak_thread_t *me = hak_thread_self;
  if (block == NULL || site == NULL || me->kind != HAK_THREAD_ATTACHED) return block;
  hak_api_guard_name(block, hak_api_origin(site));
  return heap_at_taken(me, handle, size == 0 ? 1 : size, site, block);
}

/* Fast where hak_heap_alloc is, but for serial heaps, whose handles are negative. What
 * was freed last is taken first, before what lies ready: containers make and drop many
 * short values between those that stay. The record is not looked at before no block is
 * ready, or one is picked; what is picked of no place is no sample, and takes no chance
 * from others. */
HAK_ENTRY void *hak_heap_alloc_at(hak_heap_t *handle, size_t size, hak_site_t *site) {
  if (HAK_CHECKS >= 3) return heap_at_hardened(handle, size, site);
  size_t step = (size - 1) >> 3;
  HAK_OPAQUE(step);
  if (HAK_UNLIKELY(step >= HAK_TINY_STEPS)) return heap_at_slow(handle, size, site);
  if (HAK_UNLIKELY((intptr_t)handle <= 0)) return heap_at_slow(handle, size, site);
  hak_heap_t *heap = hak_heap_record(handle);
  if (HAK_UNLIKELY(!hak_heap_is_named(heap, handle))) {
    return heap_at_slow(handle, size, site);
  }
  hak_thread_t *me = hak_thread_self;
  size_t at = hak_index_step(me, hak_load_relaxed(&heap->index_at), step);
  void *block = *hak_index_last(me, at), *next;
  HAK_EACH_SUM(at);
  if (!hak_bin_last_fails(&me->key, block, &next)) {
    *hak_index_last(me, at) = next;
    HAK_EACH_SUM(at);
    hak_room_comes_back(hak_index_room(me, at));
  } else {
    block = *hak_index_ready(me, at);
    HAK_EACH_SUM(at);
    if (HAK_UNLIKELY(hak_link_next_fails(&me->key, block, &next))) {
      return heap_at_slow(handle, size, site);
    }
    *hak_index_ready(me, at) = next;
  }
  hak_link_unmark(block);
  return heap_at_taken(me, handle, size, site, block);
}

uint64_t hak_site_count(const hak_site_t *site) {
  uint32_t origin = hak_origin_of(site);
  if (origin == HAK_ORIGIN_NONE) return 0;
  double blocks = hak_origin_read(origin).sums.blocks;
  return blocks < 1 ? 1 : (uint64_t)(blocks + 0.5);
}
