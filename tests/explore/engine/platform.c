/* platform.c - what the library asks of the system: base/sys.h, os/memory.h and the
 * default hooks. The only files of the library that are left out are those that implement
 * these for Linux.
 *
 * Address space comes from the scenario's own range, is never given out twice in one
 * execution, and reads as zero. The clock stands still. What SuperSlabs are advised is
 * kept; who advises comes after all who advised or purged before, and who purges after
 * all who advised, as the system has a lock for that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/public.h"
#include "base/sys.h"
#include "engine.h"
#include "os/fault.h"
#include "os/malloc.h"
#include "os/maps.h"
#include "os/memory.h"
#include "pages/extent.h"

/* --- waiting --------------------------------------------------------------------- */

void hak_sys_yield(void) { explore_pause(); }
void hak_sys_sleep(uint64_t ns) {
  (void)ns;
  explore_pause();
}
bool hak_sys_wait(hak_atomic_u32_t *word, uint32_t value) {
  if (!g->running) abort(); /* nobody would wake it */
  return model_wait((void *)word, value);
}
bool hak_sys_wait_for(hak_atomic_u32_t *word, uint32_t value, uint64_t ns) {
  (void)ns;
  return hak_sys_wait(word, value);
}
void hak_sys_wake(hak_atomic_u32_t *word) {
  if (g->running) model_wake((void *)word);
}
/* A thread that spins before it sleeps takes steps that lead to nothing new. */
bool hak_sys_has_one_processor(void) { return true; }

/* --- threads ---------------------------------------------------------------------- */

static void (*thread_end)(void *state);
static _Thread_local void *end_state;

bool hak_sys_thread_end_start(void (*fn)(void *state)) {
  thread_end = fn;
  return true;
}
void hak_sys_thread_end_stop(void) { thread_end = NULL; }
bool hak_sys_thread_end_set(void *state) {
  end_state = state;
  return true;
}
void platform_end_thread(void) {
  void *state = end_state;
  end_state = NULL;
  if (state != NULL && thread_end != NULL) thread_end(state);
}

int hak_sys_thread_begin(uint64_t *thread, const char *name, void *(*fn)(void *)) {
  (void)thread, (void)name, (void)fn;
  return EAGAIN;
}
void hak_sys_thread_join(uint64_t thread) { (void)thread; }
bool hak_sys_thread_join_within(uint64_t thread, uint64_t ns) {
  return (void)thread, (void)ns, true;
}
void hak_sys_thread_before_unload(void (*fn)(void)) { (void)fn; }
bool hak_sys_thread_is_last(void) { return false; }
_Noreturn void hak_sys_thread_exit_last(void) { hak_sys_abort(); }
uint64_t hak_sys_fine_ns(void) { return 0; }

/* --- the process ------------------------------------------------------------------- */

uint64_t hak_sys_process(void) { return g->forked ? 2 : 1; }
uint64_t hak_sys_thread(void) { return 1; }
size_t hak_sys_calls(void **frames, size_t most) { return (void)frames, (void)most, 0; }
void hak_fault_watch(hak_fault_fn *fn) { (void)fn; }
void hak_fault_unwatch(void) {}
bool hak_sys_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
  (void)prepare, (void)parent, (void)child;
  return true;
}
void hak_sys_fork_after_others(void) {}
void hak_sys_at_end(hak_sys_end_fn *fn) { (void)fn; }
void hak_sys_environment(void (*fn)(const char *variable, bool arg), bool arg) {
  (void)fn;
  (void)arg;
}
uint64_t hak_sys_entropy(void) { return 42; }
void hak_sys_random(uint64_t *words, unsigned count) {
  for (unsigned i = 0; i < count; i++) words[i] = 42 + i;
}
void hak_sys_write(const char *text, size_t length) {
  failed("the library says: %.*s", (int)length, text);
}
_Noreturn void hak_sys_abort(void) { failed("the library ends the process"); }

/* --- memory ------------------------------------------------------------------------ */

enum {
  PAGE = 4096
};

/* A bit for each SuperSlab. */
typedef uint64_t bits_t[(WORLD_SIZE >> HAK_SUPERSLAB_SHIFT) / 64];
static bits_t advised_huge, holes;

static bool is_set(const uint64_t *bits, const void *at) {
  size_t i = ((uintptr_t)at - WORLD_BASE) >> HAK_SUPERSLAB_SHIFT;
  return (bits[i / 64] >> i % 64 & 1) != 0;
}
static void set_each(uint64_t *bits, const void *ptr, size_t size, bool on) {
  uintptr_t from = (uintptr_t)ptr - WORLD_BASE, to = from + size;
  for (size_t i = from >> HAK_SUPERSLAB_SHIFT; i << HAK_SUPERSLAB_SHIFT < to; i++) {
    uint64_t bit = (uint64_t)1 << i % 64;
    bits[i / 64] = on ? bits[i / 64] | bit : bits[i / 64] & ~bit;
  }
}
bool explore_is_advised_huge(const void *at) { return is_set(advised_huge, at); }
bool explore_has_holes(const void *at) { return is_set(holes, at); }

/* One thread at a time advises, and none purges meanwhile; purges are in no order. */
static hak_atomic_u32_t advices, purges;
static void advise(uint64_t *bits, void *ptr, size_t size, bool on) {
  (void)EXPLORE_MODIFY(&purges, 0, ADD, ACQUIRE);
  (void)EXPLORE_MODIFY(&advices, 1, ADD, BOTH);
  set_each(bits, ptr, size, on);
}

static void *reserve(void *ctx, size_t size, size_t alignment) {
  (void)ctx;
  void *ptr = world_reserve(size, alignment < PAGE ? PAGE : alignment);
  if (ptr != NULL) race_reserve(ptr, size);
  return ptr;
}
static int give_up(void *ctx, void *ptr, size_t size) {
  (void)ctx, (void)ptr, (void)size;
  return 0;
}
static int commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  (void)ctx, (void)ptr, (void)size;
  *zeroed = true;
  return 0;
}
static int purge(void *ctx, void *ptr, size_t size) {
  (void)ctx;
  (void)EXPLORE_MODIFY(&advices, 0, ADD, ACQUIRE);
  explore_memset(ptr, 0, size); /* nobody may be using what goes */
  set_each(holes, ptr, size, true);
  (void)EXPLORE_MODIFY(&purges, 1, ADD, RELEASE);
  return 0;
}
uint64_t hak_memory_now_ns(void *ctx) {
  (void)ctx;
  return 1000000000;
}

const hak_os_t *hak_os_default(void) {
  static const hak_os_t os = {.struct_size = sizeof(hak_os_t),
                              .page_size = PAGE,
                              .granularity = PAGE,
                              .reserve = reserve,
                              .release = give_up,
                              .commit = commit,
                              .purge = purge,
                              .now_ns = hak_memory_now_ns};
  return &os;
}
size_t hak_memory_limit(void) { return SIZE_MAX; }
size_t hak_memory_total(void) { return SIZE_MAX; }
bool hak_memory_guard(void *ptr, size_t size) { return (void)ptr, (void)size, true; }
bool hak_memory_open(void *ptr, size_t size) { return (void)ptr, (void)size, true; }
bool hak_memory_close(void *ptr, size_t size, bool *emptied) {
  (void)ptr, (void)size;
  *emptied = false;
  return true;
}
void hak_memory_advise_huge(void *ptr, size_t size) {
  advise(advised_huge, ptr, size, true);
}
void hak_memory_advise_small(void *ptr, size_t size) {
  advise(advised_huge, ptr, size, false);
}
void hak_memory_collapse(void *ptr, size_t size) { advise(holes, ptr, size, false); }
int64_t hak_memory_resident(void *ptr, size_t size) {
  (void)ptr, (void)size;
  return -1;
}
bool hak_memory_is_huge_unasked(void) { return false; }
void hak_code_maps(hak_code_map_fn *fn, void *ctx) { (void)fn, (void)ctx; }

/* --- malloc: nobody watches it ----------------------------------------------------- */

void *hak_malloc_get(size_t size, size_t alignment, bool zero) {
  (void)size, (void)alignment, (void)zero;
  return NULL;
}
void hak_malloc_put(void *block) { (void)block; }
bool hak_malloc_is_watched(void) { return false; }
void hak_malloc_release(void *address) { (void)address; }
void hak_malloc_acquire(void *address) { (void)address; }
bool hak_malloc_accuse(void *ptr, bool freeing) {
  (void)ptr, (void)freeing;
  return false;
}
