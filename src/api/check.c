/* check.c - whether all invariants hold: of each heap, of the process's regions, and of
 * budgets, which are added up along their chains. */
#include "base/report.h"

#include <errno.h>

#include "api/api.h"
#include "base/wait.h"
#include "learn/sample.h"
#include "superslab/region.h"
#include "tiny/hold.h"

static bool broken(hak_heap_t *heap, const char *text) {
  hak_report(HAK_ERROR_BAD_STATE, NULL, heap, "hak_check", text);
  return false;
}

/* --- one heap -------------------------------------------------------------------- */

/* What is wrong, or NULL. */
typedef struct findings {
  const char *shared, *held;
  const void *written; /* free memory that was written to */
} findings_t;

static bool is_written(hak_heap_t *heap, const void *at) {
  if (HAK_LIKELY(at == NULL)) return false;
  hak_report(HAK_ERROR_CORRUPT_BLOCK, at, heap, "hak_check", HAK_TEXT_WRITTEN);
  return true;
}

static void check_heap(hak_heap_t *heap, bool named, findings_t *found) {
  if (!hak_kind_is_valid(heap)) found->shared = "a pool or partial list is wrong";
  if (HAK_CHECKS >= 3) found->written = hak_pool_find_written(&heap->store->pool);
  hak_thread_t *me = hak_thread_self;
  if (me->kind != HAK_THREAD_ATTACHED) return;
  /* What a heap keeps itself is its user's, who names it. */
  bool mine = named || hak_kind_has_thread_caches(heap);
  const hak_cache_t *cache = mine ? hak_kind_cache_made(me, heap) : NULL;
  if (cache == NULL) return;
  if (!hak_hold_is_valid(me, cache)) {
    found->held = "a slab that this thread holds is wrong";
  }
}

/* Under the lease, so that the heap stays; what was found is told after. */
static HAK_SLOW bool check_used(hak_heap_t *heap, bool named) {
  findings_t found = {NULL, NULL, NULL};
  /* In a hook it may be the call below that has it. */
  if (hak_load_relaxed(&hak_thread_self->busy) == 0) {
    hak_heap_lease(heap);
  } else if (!hak_heap_try_lease(heap)) {
    return true;
  }
  hak_heap_t *handle = hak_heap_handle(heap);
  if (hak_heap_is_used(heap)) check_heap(heap, named, &found);
  hak_heap_unlease(heap);
  if (found.shared != NULL) broken(handle, found.shared);
  if (found.held != NULL) broken(handle, found.held);
  bool written = is_written(handle, found.written);
  return found.shared == NULL && found.held == NULL && !written;
}

/* --- budgets ---------------------------------------------------------------------- */

/* What a budget says and what there is. */
typedef struct mismatch {
  hak_heap_t *heap; /* NULL: all is right */
  uint64_t said, counted;
} mismatch_t;

static hak_budget_t *budget_of(hak_heap_t *heap) { return &heap->store->pool.budget; }

static void each_budget(void (*act)(hak_heap_t *heap, mismatch_t *m), mismatch_t *m) {
  for (uint32_t i = 0; i < hak_heaps_made() && m->heap == NULL; i++) {
    hak_heap_t *heap = hak_heap_at(i);
    if (heap != NULL) act(heap, m);
  }
}

static void begin(hak_heap_t *heap, mismatch_t *m) {
  (void)m;
  hak_budget_t *budget = budget_of(heap);
  if (hak_load_relaxed(&budget->audit) != 0) hak_store_relaxed(&budget->audit, 0);
}

static void add(hak_budget_t *budget, uint64_t bytes) {
  if (budget != NULL) hak_count_own(&budget->audit, bytes);
}

/* Blocks that are malloc's. */
static void add_malloced(hak_heap_t *heap, mismatch_t *m) {
  (void)m;
  hak_malloced_t *malloced = hak_heap_malloced(heap);
  if (malloced != NULL) add(budget_of(heap), hak_malloced_bytes(malloced));
}

static bool add_superslab(hak_superslab_t *ss, void *ctx) {
  (void)ctx;
  hak_budget_t *budget = hak_superslab_budget(ss);
  if (budget != NULL) add(budget, hak_superslab_charge(ss));
  return true;
}

static bool add_mapping(hak_mapping_t *mapping, void *ctx) {
  (void)ctx;
  add(hak_mapping_budget(mapping), hak_mapping_charge(mapping));
  return true;
}

static void compare(hak_heap_t *heap, uint64_t said, mismatch_t *m) {
  uint64_t counted = hak_load_relaxed(&budget_of(heap)->audit);
  if (said != counted) *m = (mismatch_t){heap, said, counted};
}

/* own == memory + records of the heap; then own is what is added up. */
static void compare_own(hak_heap_t *heap, mismatch_t *m) {
  hak_budget_t *budget = budget_of(heap);
  uint64_t own = hak_load_relaxed(&budget->own);
  compare(heap, own == 0 ? 0 : own - hak_budget_fixed(budget), m);
  hak_store_relaxed(&budget->audit, 0);
}

static void add_up(hak_heap_t *heap, mismatch_t *m) {
  (void)m;
  uint64_t own = hak_load_relaxed(&budget_of(heap)->own);
  if (own == 0) return;
  for (hak_budget_t *level = budget_of(heap); level != NULL;
       level = hak_budget_parent(level)) {
    add(level, own);
  }
}

static void compare_charged(hak_heap_t *heap, mismatch_t *m) {
  compare(heap, hak_load_relaxed(&budget_of(heap)->charged), m);
}

static mismatch_t audit(void) {
  mismatch_t m = {NULL, 0, 0};
  each_budget(begin, &m);
  hak_region_visit(add_superslab, NULL);
  hak_mapping_visit(add_mapping, NULL);
  each_budget(add_malloced, &m);
  each_budget(compare_own, &m);
  each_budget(add_up, &m);
  each_budget(compare_charged, &m);
  return m;
}

static void note_busy(hak_thread_t *thread, void *busy) {
  if (thread != hak_thread_self && hak_load_relaxed(&thread->busy) != 0) {
    *(bool *)busy = true;
  }
}

/* Budgets are right while nobody is about to change them. A thread at work may do so at
 * any moment: what it leaves wrong for as long as it takes is told from what is wrong for
 * good by this, that several looks find the same, and nobody in a slow path meanwhile. */
static bool budgets_are_right(void) {
  enum {
    LOOKS = 64,
    ALIKE = 4
  };
  mismatch_t last = {NULL, 0, 0};
  unsigned steps = 0, alike = 0;
  for (int i = 0; i < LOOKS; i++) {
    mismatch_t m = audit();
    if (m.heap == NULL) return true;
    bool busy = false;
    hak_threads_visit(note_busy, &busy);
    bool same = m.heap == last.heap && m.said == last.said && m.counted == last.counted;
    alike = busy ? 0 : same ? alike + 1 : 1;
    if (alike == ALIKE) return false;
    last = m;
    hak_wait_step(&steps);
  }
  return true; /* never quiet: nothing can be said */
}

static bool check_budgets(void) {
  unsigned steps = 0;
  uint32_t none = 0;
  /* Acquire: pairs with the release below; one audit at a time adds up. */
  while (!hak_cas_acquire(&hak_budget_auditing, &none, 1)) {
    none = 0;
    hak_wait_step(&steps);
  }
  bool right = budgets_are_right();
  hak_store_release(&hak_budget_auditing, 0);
  if (!right) broken(NULL, "a budget is not what its heaps have");
  return right;
}

/* --- all --------------------------------------------------------------------------- */

static int check(hak_heap_t *handle) {
  hak_heap_t *heap = hak_api_heap(handle);
  if (heap == NULL) return EINVAL;
  bool ok = true;
  if (!hak_regions_are_valid()) ok = broken(NULL, "a region's map is wrong");
  if (HAK_CHECKS >= 3) {
    if (is_written(NULL, hak_regions_find_written())) ok = false;
    if (is_written(NULL, hak_mappings_find_written())) ok = false;
  }
  if (handle != NULL) return check_used(heap, true) && ok ? 0 : EFAULT;
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    heap = hak_heap_at(i);
    if (heap != NULL && !check_used(heap, false)) ok = false;
  }
  if (!check_budgets()) ok = false;
  if (!hak_cells_are_valid()) ok = broken(NULL, "guarded blocks are counted wrongly");
  if (!hak_samples_are_valid()) ok = broken(NULL, "samples are counted wrongly");
  return ok ? 0 : EFAULT;
}

HAK_SLOW int hak_check(hak_heap_t *handle) {
  hak_stay_t stay = hak_stay();
  if (stay == HAK_STAY_NONE) return handle == NULL ? 0 : EINVAL;
  int error = check(handle);
  hak_stay_end(stay);
  return error;
}
