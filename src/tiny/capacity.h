/* capacity.h - how many blocks a bin may keep: it follows demand.
 *
 * Depends on: base, external, pages, bin, magazine.   Used by: tiny, heap.
 *
 * A bin begins with a least capacity. If it overflows although refills lately had to
 * bring blocks, it was too small for what the thread does. Then it grows by half of what
 * refills brought, if that is little enough to be kept and the thread has not grown its
 * bins by BIN_GROWTH_BYTES yet. A thread that frees far more than that, or that only
 * frees, gains nothing from a larger bin: its blocks go home.
 *
 * A bin that has grown and was not touched between two looks gives its blocks
 * back and is small again (trim.h).
 *
 * Bins of the single classes begin with no room at all. They grow when a block has
 * to be brought from the pool although others went there: by as many as went. In heaps
 * that each of many threads may use they do so only for blocks that come thousands of
 * times a second.
 *
 * Bins of blocks over HAK_TINY_MAX do not grow where threads free each other's blocks of
 * the class.
 *
 * What is granted is counted: three lists of the capacity, or the one that a bin of a
 * single class has, against BIN_GROWTH_BYTES for the bins of one thread cache and
 * BIN_GROWTH_ALL_BYTES for the process.
 */
#ifndef HAK_TINY_CAPACITY_H
#define HAK_TINY_CAPACITY_H

#include "base/option.h"
#include "tiny/bin.h"

/* The hold of a class in a thread cache is all zeroes, and its pages untouched, until the
 * class begins: with the first slow path that works on it. */
void hak_capacity_begin_slow(const hak_cache_t *cache, uint32_t cls);
/* For walks over all classes: looks at no hold that may have no page. */
HAK_HOT bool hak_capacity_is_begun(const hak_cache_t *cache, uint32_t cls) {
  if (HAK_UNLIKELY(cache->begun == NULL)) return cache->holds[cls].magazine_blocks != 0;
  return (cache->begun[cls / 64] >> cls % 64 & 1) != 0;
}
HAK_HOT void hak_capacity_begin(const hak_cache_t *cache, uint32_t cls) {
  if (HAK_UNLIKELY(!hak_capacity_is_begun(cache, cls))) {
    hak_capacity_begin_slow(cache, cls);
  }
}
/* The same of a class of which the bin has blocks; false if it has none, and the class
 * has not begun: nothing is kept of it. */
HAK_HOT bool hak_capacity_has_begun(const hak_cache_t *cache, uint32_t cls) {
  if (hak_capacity_is_begun(cache, cls)) return true;
  hak_bin_t *bin = &cache->bins[cls];
  /* What frees pushed may have been allocated again, in fast paths all of it. */
  if (bin->list.head == HAK_LINK_END && bin->ready == HAK_LINK_END &&
      hak_load_relaxed(&bin->ready_count) == 0) {
    return false;
  }
  hak_capacity_begin_slow(cache, cls);
  return true;
}

/* While a bin spills, its list has this part of its capacity. */
enum {
  HAK_SPILLING_SHARE = 8
};

/* Blocks that a bin of the class may keep without demand. */
HAK_HOT uint32_t hak_capacity_least(uint32_t cls) {
  if (hak_class_is_single(cls)) return 0;
  uint32_t most = (uint32_t)hak_option(BIN_BLOCKS);
  uint32_t least = (uint32_t)hak_option(BIN_BLOCKS_MIN);
  /* Called for every class of a thread that begins or ends, so most classes are answered
   * without the division. */
  uint64_t bytes = (uint64_t)hak_option(BIN_BYTES), size = hak_class_size(cls);
  if (most * size <= bytes) return most > least ? most : least;
  uint32_t blocks = (uint32_t)(bytes / size);
  return blocks > least ? blocks : least;
}

/* Sets a bin, whose list is empty, to its least capacity, which in a heap with a limit is
 * none (quota.h). What the bin was granted beyond that is given back. */
void hak_capacity_reset(const hak_cache_t *cache, uint32_t cls);
/* Sets a bin that has grown, and whose list is empty, to what it began with. */
void hak_capacity_shrink(const hak_cache_t *cache, uint32_t cls);

/* The bin's list is full, and its ready list has blocks: lets the bin grow. Returns by
 * how many blocks; 0: the bin may not grow. */
uint32_t hak_capacity_grow(const hak_cache_t *cache, uint32_t cls);

/* A block of a single class has to be brought from the pool: lets its bin grow by as many
 * blocks as went there since one was brought. */
void hak_capacity_grow_single(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* True if the cache's bins of the single classes grow with the first block that comes
 * back: those of the default heap and of serial heaps do. Those of another heap, of which
 * each of many threads may have a cache, grow for blocks that come often. */
HAK_HOT bool hak_capacity_has_singles(const hak_thread_t *me, const hak_cache_t *cache) {
  return cache->store == me->store || cache->lookup != NULL;
}

/* Gives back all that is counted in *grown, whose bins the caller has made small. */
void hak_capacity_give_back(uint64_t *grown);

/* Sets what is granted in the whole process: at shutdown, and in the child of a fork,
 * where fewer threads are left. */
void hak_capacity_recount(uint64_t bytes);

/* --- threads that share slabs ---- */

/* A thread that has had little of a class may share its slabs: it holds none, and its
 * refills bring little (refill.h). So many threads with a few blocks each need few slabs.
 * In heaps whose threads do so (hak_store_t) it is up to 4 KiB of the class. In the
 * default heap it is up to 64 KiB, a slab of it, if a thread comes to the class while
 * threads are short: of those that ended of late nearly all had made few refills. Threads
 * that live on gain nothing from it, and blocks of slabs that others hold are freed the
 * slow way. */
#define HAK_SHARED_NOT UINT32_MAX
#define HAK_SHARED_ENOUGH (UINT32_MAX - 1) /* it did */

/* A thread ends that has made so many refills. */
void hak_capacity_note_end(uint32_t refills);
/* At shutdown: no thread has ended. */
void hak_capacity_forget_ends(void);

/* True if the thread shares slabs of the class, which has begun. */
HAK_HOT bool hak_capacity_is_shared(const hak_cache_t *cache, uint32_t cls) {
  return HAK_UNLIKELY(cache->holds[cls].shared < HAK_SHARED_ENOUGH) &&
         !hak_cache_is_shared_way(cache);
}
/* A refill has brought `count` blocks of such a class. */
void hak_capacity_note_shared(const hak_cache_t *cache, uint32_t cls, uint32_t count);

/* --- of a heap with a limit ---- */

enum {
  HAK_QUOTA_LISTS = 4, /* three of the bin, and the magazine */
  HAK_FAR_LISTS = 2,   /* in a heap whose limit is far: two of the bin */
  HAK_QUOTA_NONE = 1   /* as a value of `quota`: there is a limit, nothing was granted */
};

/* True if the class's bin is cut to a quota; see quota.h. */
HAK_HOT bool hak_capacity_is_cut(const hak_hold_t *hold) {
  return HAK_UNLIKELY(hold->quota != 0) && hold->far != HAK_FAR;
}

/* Bytes of the quota that all classes of a thread cache were granted. The cache may be
 * another thread's, which does not use it at the moment. */
uint64_t hak_capacity_quotas(const hak_hold_t *holds);
/* True if the class is granted `need` bytes of the quota in all, or has them already; it
 * may be a little more, so that one that grows seldom asks. O(classes) if it asks. */
bool hak_capacity_widen(const hak_cache_t *cache, uint32_t cls, uint64_t need);

#endif
