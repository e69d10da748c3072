#include "heap/front.h"

#include "base/check.h"
#include "base/option.h"
#include "heap/teardown.h"
#include "superslab/meta.h"
#include "tiny/capacity.h"
#include "tiny/hold.h"
#include "tiny/share.h"
#include "tiny/spill.h"
#include "tiny/transfer.h"

/* Who has which slot; under the heaps' lock. */
static struct {
  hak_heap_t *heap; /* NULL: free */
  uint32_t users;   /* threads with a front there */
} slots[HAK_HEAP_SLOTS];
static uint32_t next_slot;   /* where the search for one goes on */
static uint32_t slots_ready; /* so many have memory in all thread states */

enum {
  NO_SLOT = HAK_HEAP_SLOTS
};

void hak_fronts_start(void) {
  __builtin_memset(slots, 0, sizeof slots);
  next_slot = slots_ready = 0;
}

/* --- one front ------------------------------------------------------------- */

/* Field by field: statistics may read some of them at this moment. */
static void hold_init(hak_hold_t *hold) {
  hold->first = hold->last = hold->current = NULL;
  hak_store_relaxed(&hold->magazine, NULL);
  hold->spare = HAK_LINK_END;
  hak_store_relaxed(&hold->spare_count, 0);
  hold->slabs = 0;
  hold->credit = 0;
  hold->given = hold->given_before = 0;
  hold->surplus_ticks = 0;
  hold->taken = 0;
  hold->seen = 0;
  hold->share = 0;
}

static void bin_init(hak_bin_t *bin, uint32_t blocks) {
  bin->list.head = HAK_LINK_END;
  bin->ready = HAK_LINK_END;
  bin->capacity = (uint16_t)blocks;
  hak_bin_set_room(bin, blocks);
  bin->spilling = 0;
  hak_store_relaxed(&bin->ready_count, 0);
}

void hak_front_init(hak_bin_t *bins, hak_hold_t *holds, hak_store_t *store) {
  bool limited = hak_budget_is_limited(&store->pool.budget);
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    uint32_t blocks = limited ? 0 : hak_capacity_least(cls);
    bins[cls].list.block_size = hak_class_size(cls);
    bin_init(&bins[cls], blocks);
    hold_init(&holds[cls]);
    holds[cls].capacity_least = blocks;
    holds[cls].share = limited ? HAK_SHARE_NONE : 0;
    holds[cls].magazine_blocks = hak_hold_magazine_blocks(cls);
    if (hak_class_is_single(cls)) continue;
    uint32_t slabs = (uint32_t)hak_option(HELD_SLABS) / store->geometry[cls].span_next;
    holds[cls].slabs_most = slabs < 16 ? 16 : slabs;
  }
}

static hak_heap_front_t *front_new(hak_thread_t *me, hak_heap_t *heap) {
  const hak_os_t *os = me->store->pool.os;
  _Atomic(hak_front_chunk_t *) *slot =
      &hak_thread_state(me)->chunks[heap->index / HAK_FRONT_CHUNK];
  hak_front_chunk_t *chunk = hak_load_relaxed(slot);
  if (chunk == NULL) {
    chunk = hak_meta_alloc(os, sizeof *chunk, HAK_CACHE_LINE);
    if (chunk == NULL) return NULL;
    /* Release, both: publish to hak_front_at. */
    hak_store_release(slot, chunk);
  }
  hak_heap_front_t *front = hak_meta_alloc(os, sizeof *front, HAK_CACHE_LINE);
  if (front == NULL) return NULL;
  front->heap = heap;
  hak_store_relaxed(&front->slot, NO_SLOT);
  hak_store_release(&chunk->fronts[heap->index % HAK_FRONT_CHUNK], front);
  return front;
}

static void set_way(hak_thread_t *me, uint32_t slot, int64_t way) {
  hak_store_relaxed(&me->ways[HAK_WAY_SLOTS + slot], way);
}

static void copy_bins(hak_bin_t *to, hak_bin_t *from) {
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    to[cls].list.head = from[cls].list.head;
    to[cls].list.block_size = from[cls].list.block_size;
    to[cls].capacity = from[cls].capacity;
    to[cls].ready = from[cls].ready;
    to[cls].spilling = from[cls].spilling;
    hak_store_relaxed(&to[cls].list.room, hak_load_relaxed(&from[cls].list.room));
    hak_store_relaxed(&to[cls].armed, hak_load_relaxed(&from[cls].armed));
    hak_store_relaxed(&to[cls].ready_count, hak_load_relaxed(&from[cls].ready_count));
  }
}

static void move_bins(hak_heap_front_t *front, hak_bin_t *to) {
  hak_bin_t *from = front->front.bins;
  copy_bins(to, from);
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) bin_init(&from[cls], 0);
  front->front.bins = to;
}

void hak_front_hide(hak_thread_t *me, hak_heap_t *heap, bool hidden) {
  if (me->kind != HAK_THREAD_ATTACHED || heap->store == me->store) return;
  if (heap->is_serial) {
    hak_serial_hide(heap, hidden);
    return;
  }
  hak_heap_front_t *front = hak_front_find(me, heap);
  uint32_t slot = front == NULL ? NO_SLOT : hak_load_relaxed(&front->slot);
  if (slot != NO_SLOT) set_way(me, slot, hidden ? 0 : hak_way_to(front->front.bins));
}

static uint64_t entry_of_slot(uint32_t slot) {
  size_t offset = offsetof(hak_thread_state_t, slots) + slot * sizeof(hak_slot_bins_t);
  return (uint64_t)offset << 16 | HAK_MODE_CACHED;
}

/* Moves the front's bins to the slot, where the registry's entries lead. */
static void enter_slot(hak_thread_t *me, hak_heap_front_t *front, uint32_t slot) {
  hak_bin_t *bins = hak_thread_state(me)->slots[slot];
  move_bins(front, bins);
  front->front.entry = entry_of_slot(slot);
  hak_store_relaxed(&front->slot, slot);
  set_way(me, slot, hak_way_to(bins));
}

/* And back; nothing there has room then. */
static void leave_slot(hak_thread_t *me, hak_heap_front_t *front) {
  uint32_t slot = hak_load_relaxed(&front->slot);
  set_way(me, slot, 0);
  move_bins(front, front->own);
  front->front.entry = 0;
  hak_store_relaxed(&front->slot, NO_SLOT);
}

static uint32_t slot_of_locked(hak_heap_t *heap) {
  uint32_t way = (hak_load_relaxed(&heap->way_at) - hak_way_at(0)) / sizeof(int64_t);
  return way >= HAK_WAY_SLOTS ? way - HAK_WAY_SLOTS : NO_SLOT;
}

static void assign_locked(hak_heap_t *heap, uint32_t slot) {
  slots[slot].heap = heap;
  slots[slot].users = 0;
  hak_store_relaxed(&heap->way_at, hak_way_at(HAK_WAY_SLOTS + slot));
}

/* The heap's slot, which is to have one more user; or a free one; or none. */
static uint32_t enter_locked(hak_heap_t *heap) {
  uint32_t slot = slot_of_locked(heap);
  for (uint32_t i = 0; slot == NO_SLOT && i < slots_ready; i++) {
    if (slots[i].heap != NULL) continue;
    slot = i;
    assign_locked(heap, i);
  }
  if (slot != NO_SLOT) slots[slot].users++;
  return slot;
}

static void seek_free_slot(hak_thread_t *me, hak_heap_front_t *front) {
  uint32_t slot = NO_SLOT;
  for (;;) {
    hak_lock_acquire(hak_heaps_lock());
    slot = enter_locked(front->heap);
    uint32_t ready = slots_ready;
    hak_lock_release(hak_heaps_lock());
    if (slot != NO_SLOT || ready == HAK_HEAP_SLOTS) break;
    if (!hak_threads_commit_slots(ready + HAK_SLOT_GROUP)) break;
    hak_lock_acquire(hak_heaps_lock());
    if (slots_ready == ready) slots_ready = ready + HAK_SLOT_GROUP;
    hak_lock_release(hak_heaps_lock());
  }
  if (slot != NO_SLOT) enter_slot(me, front, slot);
}

hak_heap_front_t *hak_front_make(hak_thread_t *me, hak_heap_t *heap) {
  hak_heap_front_t *front = hak_front_at(me, heap->index);
  if (front == NULL) front = front_new(me, heap);
  if (front == NULL) return NULL;
  front->grown = 0;
  hak_assert(hak_load_relaxed(&front->slot) == NO_SLOT);
  front->front = (hak_front_t){front->own, front->holds,  heap->store, 0,
                               NULL,       &front->grown, me->code};
  front->lonely = 0;
  hak_budget_count_user(&heap->store->pool.budget, 1);
  hak_front_init(front->own, front->holds, heap->store);
  hak_store_relaxed(&front->mark, hak_heap_mark(heap));
  hak_add_relaxed(&heap->fronts, 1);
  seek_free_slot(me, front);
  return front;
}

static void leave_heap(hak_heap_front_t *front) {
  hak_store_relaxed(&front->mark, NULL);
  hak_budget_count_user(&front->heap->store->pool.budget, -1);
  hak_heap_unpin(front->heap);
}

/* No front: nothing is held, so credit is 0 and never changes. */
static hak_hold_t no_holds[HAK_CLASSES];

void hak_front_enter_bare(hak_thread_t *me, hak_heap_t *heap) {
  me->now = (hak_front_t){me->bins, no_holds, heap->store, 0, NULL, NULL, me->code};
}

bool hak_front_enter_to_free(hak_thread_t *me, hak_heap_t *heap, bool keep) {
  if (!keep) {
    hak_front_flush(me, heap);
  } else if (hak_front_enter(me, heap)) {
    return true;
  }
  hak_front_enter_bare(me, heap);
  return false;
}

/* --- giving up ---------------------------------------------------------------- */

static void flush(hak_thread_t *me, hak_heap_front_t *front, bool leave) {
  hak_heap_t *heap = front->heap;
  if (hak_load_relaxed(&front->mark) == NULL) return;
  hak_heap_lease(heap);
  /* Still set: then the heap has not gone meanwhile. */
  if (hak_load_relaxed(&front->mark) != NULL) {
    bool orphan = hak_heap_is_orphan(heap);
    me->now = front->front;
    /* Nobody takes what lies in a released heap's transfer slots. */
    (orphan ? hak_spill_heap : hak_spill_all)(me);
    hak_front_default(me);
    uint32_t slot = hak_load_relaxed(&front->slot);
    leave = leave || orphan;
    if (leave && slot != NO_SLOT) {
      leave_slot(me, front);
      hak_lock_acquire(hak_heaps_lock());
      slots[slot].users--;
      hak_lock_release(hak_heaps_lock());
    }
    if (leave) leave_heap(front);
  }
  hak_heap_unlease(heap);
  if (hak_heap_is_orphan(heap)) hak_teardown_orphan(me, heap);
}

void hak_front_flush(hak_thread_t *me, hak_heap_t *heap) {
  hak_heap_front_t *front = hak_front_at(me, heap->index);
  if (front != NULL) flush(me, front, false);
}

void hak_front_leave(hak_thread_t *me, hak_heap_t *heap) {
  hak_heap_front_t *front = hak_front_at(me, heap->index);
  if (front != NULL) flush(me, front, true);
}

void hak_front_drain(hak_thread_t *me, hak_heap_t *heap) {
  hak_heap_front_t *front = hak_front_find(me, heap);
  if (front != NULL) {
    me->now = front->front;
    hak_spill_heap(me);
  } else {
    hak_front_enter_bare(me, heap);
    hak_spill_slots(me);
  }
  hak_front_default(me);
}

void hak_fronts_visit(hak_thread_t *thread,
                      void (*visit)(hak_heap_front_t *front, void *ctx), void *ctx) {
  uint32_t made = hak_heaps_made();
  for (uint32_t first = 0; first < made; first += HAK_FRONT_CHUNK) {
    uint32_t c = first / HAK_FRONT_CHUNK;
    /* Acquire, both: pair with front_new. */
    hak_front_chunk_t *chunk = hak_load_acquire(&hak_thread_state(thread)->chunks[c]);
    for (uint32_t i = 0; chunk != NULL && i < HAK_FRONT_CHUNK; i++) {
      hak_heap_front_t *front = hak_load_acquire(&chunk->fronts[i]);
      if (front != NULL) visit(front, ctx);
    }
  }
}

typedef struct flushing {
  hak_thread_t *me;
  bool leave;
} flushing_t;

static void flush_one(hak_heap_front_t *front, void *ctx) {
  const flushing_t *f = ctx;
  flush(f->me, front, f->leave);
}

static void flush_all(hak_thread_t *me, bool leave) {
  flushing_t f = {me, leave};
  hak_fronts_visit(me, flush_one, &f);
}

void hak_fronts_flush(hak_thread_t *me) { flush_all(me, false); }
void hak_fronts_leave(hak_thread_t *me) { flush_all(me, true); }

/* --- slots that change hands -------------------------------------------------- */

/* No entry names the slot's bins any more: frees of the heap's blocks take the
 * slow path. Slabs that this thread holds keep naming their own list. */
static bool forget_entries(hak_superslab_t *ss, void *ctx) {
  const hak_front_t *front = ctx;
  hak_registry_forget_entries((uintptr_t)ss->extent.base, HAK_SUPERSLAB_SLABS,
                              front->entry, HAK_CLASSES * sizeof(hak_bin_t));
  return true;
}

/* True if only this thread has a front in the slot; *front is that one. */
static bool is_alone_locked(hak_thread_t *me, uint32_t slot, hak_heap_front_t **front) {
  if (slots[slot].heap == NULL || slots[slot].users != 1) return false;
  *front = hak_front_find(me, slots[slot].heap);
  return *front != NULL && hak_load_relaxed(&(*front)->slot) == slot;
}

static uint32_t find_victim(hak_thread_t *me, hak_heap_front_t **victim) {
  uint32_t slot = NO_SLOT;
  hak_lock_acquire(hak_heaps_lock());
  for (uint32_t i = 0; i < slots_ready && slot == NO_SLOT; i++) {
    if (is_alone_locked(me, next_slot, victim)) slot = next_slot;
    next_slot = (next_slot + 1) % slots_ready;
  }
  hak_lock_release(hak_heaps_lock());
  return slot;
}

/* The slot's heap goes on without it; true if it could be taken. Under the lease of
 * that heap, which may be about to go. */
static bool evict(hak_thread_t *me, uint32_t slot, hak_heap_front_t *expected) {
  hak_heap_front_t *victim = NULL;
  hak_lock_acquire(hak_heaps_lock());
  bool ok = is_alone_locked(me, slot, &victim) && victim == expected;
  /* From here on no other thread enters the slot for this heap. */
  if (ok) hak_store_relaxed(&victim->heap->way_at, hak_way_at(HAK_WAY_NONE));
  hak_lock_release(hak_heaps_lock());
  if (!ok) return false;
  hak_front_t old = victim->front;
  leave_slot(me, victim);
  hak_pool_visit(&victim->heap->store->pool, forget_entries, &old);
  return true;
}

/* A slot of a heap that only this thread uses passes to another heap, unless that
 * has one by now; its slot or none. */
static uint32_t rob_slot(hak_thread_t *me, hak_heap_t *heap) {
  hak_heap_front_t *victim = NULL;
  uint32_t slot = find_victim(me, &victim);
  if (slot == NO_SLOT) return NO_SLOT;
  hak_heap_t *loser = victim->heap;
  hak_heap_lease(loser);
  bool ok = evict(me, slot, victim);
  if (ok) {
    hak_lock_acquire(hak_heaps_lock());
    slots[slot].heap = NULL;
    if (slot_of_locked(heap) == NO_SLOT) assign_locked(heap, slot);
    slot = slot_of_locked(heap);
    slots[slot].users++;
    hak_lock_release(hak_heaps_lock());
  }
  hak_heap_unlease(loser);
  return ok ? slot : NO_SLOT;
}

void hak_front_seek_slot(hak_thread_t *me, hak_heap_front_t *front) {
  front->lonely = 0;
  seek_free_slot(me, front);
  if (hak_load_relaxed(&front->slot) != NO_SLOT) return;
  uint32_t slot = rob_slot(me, front->heap);
  if (slot != NO_SLOT) enter_slot(me, front, slot);
}

/* --- teardown ----------------------------------------------------------------- */

void hak_front_clear(hak_thread_t *me, hak_thread_t *thread, hak_heap_t *heap, bool end) {
  hak_heap_front_t *front = hak_front_find(thread, heap);
  if (front == NULL) return;
  hak_budget_return(&heap->store->pool.budget,
                    hak_share_of_front(front->front.bins, front->holds));
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    hak_hold_t *hold = &front->holds[cls];
    hak_bin_t *bin = &front->front.bins[cls];
    hak_magazine_t *magazine = hak_load_relaxed(&hold->magazine);
    bool is_cut = hak_share_is_cut(hold);
    bin_init(bin, end || is_cut ? 0 : hak_bin_capacity(bin));
    hold_init(hold);
    hold->share = is_cut ? HAK_SHARE_NONE : 0;
    if (magazine != NULL) hak_magazine_put(me, magazine);
  }
  if (!end) return;
  hak_capacity_give_back(&front->grown);
  uint32_t slot = hak_load_relaxed(&front->slot);
  if (slot != NO_SLOT) {
    set_way(thread, slot, 0);
    hak_store_relaxed(&front->slot, NO_SLOT);
  }
  leave_heap(front);
}

void hak_front_free_slot(hak_heap_t *heap) {
  hak_lock_acquire(hak_heaps_lock());
  uint32_t slot = slot_of_locked(heap);
  if (slot != NO_SLOT) slots[slot].heap = NULL;
  hak_store_relaxed(&heap->way_at, hak_way_at(HAK_WAY_NONE));
  hak_lock_release(hak_heaps_lock());
}

/* --- in the child of a fork -------------------------------------------------- */

void hak_front_enter_slot_of(hak_thread_t *me, hak_heap_t *heap) {
  if (heap->store == me->store) {
    hak_front_default(me);
    return;
  }
  hak_front_enter_bare(me, heap);
  uint32_t slot = slot_of_locked(heap);
  if (slot != NO_SLOT) me->now.entry = entry_of_slot(slot);
}

static void drop_bins(hak_thread_t *thread, uint32_t slot) {
  if (slot >= slots_ready) return;
  hak_bin_t *bins = hak_thread_state(thread)->slots[slot];
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) bin_init(&bins[cls], 0);
  set_way(thread, slot, 0);
}

static void drop_front(hak_heap_front_t *front, void *ctx) {
  hak_thread_t *thread = ctx;
  if (hak_load_relaxed(&front->mark) == NULL) return;
  /* It may have been on its way to or from a slot. */
  drop_bins(thread, hak_load_relaxed(&front->slot));
  drop_bins(thread, slot_of_locked(front->heap));
  hak_store_relaxed(&front->slot, NO_SLOT);
  hak_store_relaxed(&front->mark, NULL);
}

void hak_fronts_drop(hak_thread_t *thread) {
  hak_fronts_visit(thread, drop_front, thread);
}

static void count_front(hak_heap_front_t *front, void *ctx) {
  (void)ctx;
  if (hak_load_relaxed(&front->mark) == NULL) return;
  hak_add_relaxed(&front->heap->fronts, 1);
  hak_budget_t *budget = &front->heap->store->pool.budget;
  hak_budget_count_user(budget, 1);
  hak_budget_regrant(budget, hak_share_of_front(front->front.bins, front->holds));
  uint32_t slot = hak_load_relaxed(&front->slot);
  if (slot != NO_SLOT) slots[slot].users++;
}

static void count_fronts(hak_thread_t *thread, void *ctx) {
  hak_budget_regrant(&thread->store->pool.budget,
                     hak_share_of_front(thread->bins, thread->holds));
  hak_fronts_visit(thread, count_front, ctx);
}

void hak_fronts_recount(void) {
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    if (heap == NULL) continue;
    if (hak_load_relaxed(&heap->fronts) != 0) hak_store_relaxed(&heap->fronts, 0);
    hak_atomic_u32_t *users = &heap->store->pool.budget.users;
    if (hak_load_relaxed(users) != 0) hak_store_relaxed(users, 0);
    hak_atomic_u64_t *cached = &heap->store->pool.budget.cached;
    if (hak_load_relaxed(cached) != 0) hak_store_relaxed(cached, 0);
  }
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    const hak_serial_t *serial = heap == NULL ? NULL : hak_heap_serial(heap);
    if (serial == NULL) continue;
    hak_add_relaxed(&heap->fronts, 1);
    hak_budget_count_user(&heap->store->pool.budget, 1);
    hak_budget_regrant(&heap->store->pool.budget,
                       hak_share_of_front(serial->bins, serial->holds));
  }
  if (hak_thread_self->kind == HAK_THREAD_ATTACHED) {
    hak_budget_count_user(&hak_heap_get_default()->store->pool.budget, 1);
  }
  for (uint32_t i = 0; i < slots_ready; i++) {
    slots[i].users = 0;
    hak_heap_t *heap = slots[i].heap;
    if (heap == NULL || slot_of_locked(heap) == i) continue;
    /* A thread was taking it from this heap. */
    hak_front_t old = {.entry = entry_of_slot(i)};
    hak_pool_visit(&heap->store->pool, forget_entries, &old);
    slots[i].heap = NULL;
  }
  hak_threads_visit(count_fronts, NULL);
}
