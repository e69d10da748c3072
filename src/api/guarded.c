/* guarded.c - sampled blocks that lie alone between pages that nobody may touch, and what
 * is said of a touch.
 *
 * hak_alloc_slow and its like -> hak_api_guard_is_due: the thread's way has run out
 *   -> hak_api_guarded -> pool/large.c -> pages/cell.c
 * free_found (free.c) -> hak_api_guard_freeing, and the free of a large block
 * a fault -> on_fault -> hak_guard_explain
 *
 * The way is counted down by refills, so fast paths know nothing of guarded blocks: their
 * slabs' entries are nobody's, and their frees take the way of large blocks.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "api/api.h"
#include "api/out.h"
#include "base/callee.h"
#include "base/option.h"
#include "base/report.h"
#include "base/sys.h"
#include "base/text.h"
#include "heap/describe.h"
#include "heap/groups.h"
#include "heap/harden.h"
#include "heap/pressure.h"
#include "learn/chance.h"
#include "learn/origin.h"
#include "os/fault.h"
#include "os/maps.h"
#include "pages/registry.h"

/* --- when a block is due --------------------------------------------------------------
 */

/* One allocation in so many. In a hardened build where nobody said another number: */
enum {
  HARDENED = 32768
};

bool hak_api_guard_counts(void) {
  enum {
    BEHIND_MOST = 1 << 20 /* allocations; more came while nobody wanted guarded blocks */
  };
  int64_t wanted = hak_option(GUARD_SAMPLE);
  uint64_t mean = wanted < 0 ? HARDENED : (uint64_t)wanted;
  hak_thread_t *me = hak_thread_self;
  /* A thread's first allocation makes its state. */
  if (me->kind != HAK_THREAD_ATTACHED) return mean == 1;
  if (me->guard.asks) return false;
  hak_guard_way_t *way = &me->guard;
  bool begins = way->random == 0;
  if (begins) way->random = hak_sys_entropy() | 1;
  int64_t distance = mean == 1 ? 1 : hak_chance_distance(&way->random, mean);
  if (begins || way->left < -BEHIND_MOST) way->left = 0;
  way->left += distance;
  if (begins && mean > 1) return false;
  way->left--; /* the block that is due */
  return true;
}

/* --- calls ----------------------------------------------------------------------------
 */

/* The program's hook may know better. Within its answer no block is guarded, as what it
 * asks for that may be asked of the library. */
static void note_calls(hak_calls_t *calls) {
  int saved = errno;
  hak_thread_t *me = hak_thread_self;
  calls->thread = hak_sys_thread();
  calls->depth = 0;
  bool attached = me->kind == HAK_THREAD_ATTACHED;
  if (!me->guard.asks) {
    if (attached) me->guard.asks = true;
    size_t depth = hak_api_calls(calls->frames, HAK_CALLS_FRAMES);
    if (depth == 0) depth = hak_sys_calls(calls->frames, HAK_CALLS_FRAMES);
    calls->depth = depth < HAK_CALLS_FRAMES ? (uint32_t)depth : HAK_CALLS_FRAMES;
    if (attached) me->guard.asks = false;
  }
  errno = saved;
}

/* --- a block --------------------------------------------------------------------------
 */

static hak_fault_fn on_fault;
static hak_detail_fn write_details;

/* Heaps in memory of the caller's, over page hooks of somebody's own, or of malloc's
 * blocks have no guarded ones: nobody may make pages inaccessible there. */
static bool may_have(hak_heap_t *heap) {
  const hak_shared_pool_t *pool = &heap->store->pool;
  return hak_kind_has_slabs(heap) && !hak_heap_is_enclosed(heap) &&
         pool->os == hak_registry_os() && hak_os_is_divisible(pool->os) &&
         !hak_budget_is_forbidden(&heap->store->pool.budget);
}

static hak_heap_t *handle_of(hak_heap_t *heap) {
  return hak_heap_is_anothers(heap) ? hak_heap_owner(heap) : hak_heap_handle(heap);
}

/* A limit that refuses is nobody's business: the request is not lost by it. */
static void *take(hak_heap_t *heap, hak_cell_ask_t *ask) {
  hak_thread_t *me = hak_thread_enter();
  hak_budget_call_t call;
  hak_budget_call_begin(&call);
  void *block = hak_large_guarded(&heap->store->pool, ask);
  hak_budget_call_end(&call);
  if (block != NULL) hak_thread_count_large(me, 1, (int64_t)ask->usable);
  hak_thread_leave(me, HAK_IN_ALLOC);
  return block;
}

static HAK_SLOW void *guarded(hak_heap_t *heap, size_t size, size_t alignment) {
  hak_calls_t calls;
  if (heap == NULL) heap = hak_heap_get_default();
  if (hak_heap_is_group(heap)) heap = hak_heap_above(heap);
  if (!may_have(heap)) return NULL;
  note_calls(&calls);
  size = size == 0 ? 1 : size;
  hak_cell_ask_t ask = {.handle = handle_of(heap),
                        .size = size,
                        .usable = size + HAK_CANARY_BYTES,
                        .alignment = alignment,
                        .calls = &calls};
  void *block = take(heap, &ask);
  if (block == NULL) return NULL;
  hak_report_detail_by(write_details);
  hak_fault_watch(on_fault);
  if (hak_budget_calls == NULL) hak_pressure_soft(heap);
  hak_event_emit(HAK_EVENT_LARGE_ALLOC, block, size);
  return block;
}

void *hak_api_guarded(hak_heap_t *heap, size_t size, size_t alignment) {
  if (size > HAK_CELL_SIZE_MOST) return NULL;
  int saved = errno;
  hak_stay_t stay = hak_lifecycle_stay();
  if (stay == HAK_STAY_NONE) return NULL;
  void *block = guarded(heap, size, alignment);
  hak_stay_end(stay);
  errno = saved;
  return block;
}

void hak_api_guard_set_origin(const void *block, uint32_t origin) {
  hak_cell_set_origin(block, origin);
}

/* --- frees ----------------------------------------------------------------------------
 */

void hak_api_guard_freeing(const void *block, const char *function, hak_calls_t *calls) {
  note_calls(calls);
  hak_cell_margins_t margins = hak_cell_margins(block);
  if (HAK_LIKELY(margins == HAK_CELL_WHOLE)) return;
  hak_report(HAK_ERROR_OVERFLOW, block, hak_api_guard_heap(block), function,
             margins == HAK_CELL_OVERFLOW ? "the bytes behind the block were written to"
                                          : "the bytes before the block were written to");
}

hak_heap_t *hak_api_guard_heap(const void *address) {
  hak_cell_facts_t facts;
  return hak_cell_look(address, &facts) == HAK_CELL_FREE ? NULL : facts.heap;
}

hak_error_t hak_api_guard_error(const void *address) {
  hak_cell_facts_t facts;
  hak_cell_state_t state = hak_cell_look(address, &facts);
  bool inside = state != HAK_CELL_FREE && (const char *)address >= facts.block &&
                (const char *)address < facts.block + facts.size;
  if (!inside) return HAK_ERROR_FOREIGN_POINTER;
  return state == HAK_CELL_USED ? HAK_ERROR_INTERIOR_POINTER : HAK_ERROR_DOUBLE_FREE;
}

/* --- what is said of an address -------------------------------------------------------
 */

typedef struct frame {
  const hak_out_t *out;
  uintptr_t address;
  bool found;
} frame_t;

/* A number as hexadecimal digits with a line's end. Crash handlers have little stack, of
 * which formats need much. */
static HAK_SLOW size_t put_offset(char *out, uint64_t value) {
  size_t length = 0;
  int digits = 1;
  while (digits < 16 && value >> 4 * digits != 0) digits++;
  out[length++] = '+';
  out[length++] = '0';
  out[length++] = 'x';
  while (digits-- > 0) out[length++] = "0123456789abcdef"[value >> 4 * digits & 15];
  out[length++] = '\n';
  return length;
}

static HAK_SLOW void write_frame_in(const hak_code_map_t *map, void *ctx) {
  enum {
    OFFSET_MOST = 20
  };
  static const char head[] = "hakmem:   ";
  frame_t *frame = ctx;
  if (frame->found || frame->address < map->start || frame->address >= map->end) return;
  frame->found = true;
  char text[512];
  size_t most = sizeof text - sizeof head - OFFSET_MOST, length = strlen(map->path);
  if (length > most) length = most;
  memcpy(text, head, sizeof head - 1);
  memcpy(text + sizeof head - 1, map->path, length);
  length += sizeof head - 1;
  length += put_offset(text + length, (uint64_t)frame->address - map->base);
  frame->out->write(text, length, frame->out->ctx);
}

/* By the file's own addresses, which addr2line reads, less one: the call, and not where
 * it returns to. */
static void write_calls(const hak_out_t *out, const char *what,
                        const hak_calls_t *calls) {
  hak_out_text(out, "hakmem: %s by thread %" PRIu64 "%s\n", what, calls->thread,
               calls->depth == 0 ? ", by calls that are not known" : ":");
  for (uint32_t i = 0; i < calls->depth; i++) {
    frame_t frame = {out, (uintptr_t)calls->frames[i] - 1, false};
    hak_code_maps(write_frame_in, &frame);
    if (!frame.found) hak_out_text(out, "hakmem:   %p\n", calls->frames[i]);
  }
}

/* Where an address lies, seen from a block. */
static void write_where(const hak_out_t *out, const char *at, const hak_cell_facts_t *f) {
  const char *end = f->block + f->size;
  if (at >= f->block && at < end) {
    hak_out_text(out, "byte %zu of", (size_t)(at - f->block));
    return;
  }
  size_t bytes = at < f->block ? (size_t)(f->block - at) : (size_t)(at - end) + 1;
  hak_out_text(out, "%zu byte%s %s", bytes, bytes == 1 ? "" : "s",
               at < f->block ? "before" : "behind the end of");
}

static void write_place(const hak_out_t *out, uint32_t number) {
  if (number < HAK_ORIGIN_OTHERS || number >= hak_origins_made()) return;
  const hak_origin_t *origin = hak_origin_at(number);
  char name[HAK_REPORT_QUOTED_MAX], file[HAK_REPORT_QUOTED_MAX];
  hak_text_line(name, sizeof name, hak_origin_name(origin));
  hak_text_line(file, sizeof file, hak_origin_file(origin));
  hak_out_text(out, ", place %s%s%s", name, name[0] == '\0' || file[0] == '\0' ? "" : " ",
               file);
  if (origin->line != 0) hak_out_text(out, ":%" PRIu32, origin->line);
}

static HAK_SLOW void explain(const hak_out_t *out, const void *address,
                             hak_cell_state_t state, const hak_cell_facts_t *f) {
  hak_out_text(out, "hakmem: %p is ", address);
  write_where(out, address, f);
  hak_out_text(out, " the guarded block %p of %zu bytes%s", (const void *)f->block,
               f->size, state == HAK_CELL_USED ? "" : ", which was freed");
  write_place(out, f->origin);
  hak_out_text(out, "\n");
  write_calls(out, "allocated", &f->alloc);
  if (state == HAK_CELL_USED) return;
  if (f->free.thread == 0) {
    hak_out_text(out, "hakmem: freed with all blocks of its heap\n");
  } else {
    write_calls(out, "freed", &f->free);
  }
}

bool hak_guard_explain(const void *address, hak_write_fn *write, void *ctx) {
  hak_cell_facts_t facts;
  int saved = errno;
  hak_cell_state_t state = hak_cell_look(address, &facts);
  hak_out_t out = hak_out_to(write, ctx);
  if (state != HAK_CELL_FREE) explain(&out, address, state, &facts);
  errno = saved;
  return state != HAK_CELL_FREE;
}

static void write_details(const void *address) {
  (void)hak_guard_explain(address, NULL, NULL);
}

/* --- faults ---------------------------------------------------------------------------
 */

static const char *kind_of(const char *at, hak_cell_state_t state,
                           const hak_cell_facts_t *f) {
  if (state != HAK_CELL_USED) return "use after free";
  return at < f->block ? "underflow" : "overflow";
}

static const char *name_of(hak_touch_t touch) {
  return touch == HAK_TOUCH_WRITE  ? "a write"
         : touch == HAK_TOUCH_READ ? "a read"
                                   : "an access";
}

/* [any] relaxed: the thread whose fault was told of last, until that is done; 0 then. */
static hak_atomic_u64_t telling;

static void tell(const void *address, hak_touch_t touch, hak_cell_state_t state,
                 const hak_cell_facts_t *f) {
  char path[HAK_REPORT_PATH_MAX] = "", quoted[HAK_REPORT_QUOTED_MAX];
  hak_heap_t *heap = hak_heap_record(f->heap);
  if (hak_heap_handle(heap) == f->heap) {
    hak_heap_path(heap, path, sizeof path);
  }
  hak_text_quote(quoted, sizeof quoted, path);
  const char *mark = quoted[0] == '\0' ? "" : "\"";
  hak_out_t out = hak_out_to(NULL, NULL);
  hak_out_text(&out, "hakmem: %s: address %p, %zu bytes, heap %p%s%s%s%s, in %s\n",
               kind_of(address, state, f), address, f->size, f->heap,
               quoted[0] == '\0' ? "" : " ", mark, quoted, mark, name_of(touch));
}

/* A handler for faults may be called in the middle of anything: what is looked at here is
 * never freed, and where something may be locked nobody waits for long. Of a fault within
 * it nothing is told, or a handler that lets itself be interrupted would never end. */
static HAK_SLOW void on_fault(const void *address, hak_touch_t touch) {
  hak_cell_facts_t facts;
  hak_cell_state_t state = hak_cell_look(address, &facts);
  if (state == HAK_CELL_FREE) return;
  uint64_t me = hak_sys_thread();
  /* Relaxed: a thread finds its own number there where this call interrupts one of its
   * own, and nothing else that it reads is for others. */
  if (hak_exchange_relaxed(&telling, me) == me) return;
  hak_compiler_fence();
  tell(address, touch, state, &facts);
  hak_out_t out = hak_out_to(NULL, NULL);
  explain(&out, address, state, &facts);
  hak_compiler_fence();
  hak_store_relaxed(&telling, 0);
}
