/* bad.c - programs with one fault each in a block of hakmem's. What a sanitizer or
 * valgrind is to say of each stands in the table at the end; blocks.py runs them. */
#include "blocks.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
  TINY = 40,
  MID = 5000,
  SINGLE = 70000,
  MIB = 1 << 20,
  HUGE = 40 << 20
};

/* Accesses that no compiler leaves out, in functions that stacks are to name. */
APART char read_at(const char *p) { return *(const volatile char *)p; }
APART void write_at(char *p) { *(volatile char *)p = 1; }

/* --- use after free --------------------------------------------------------------------
 */

APART void free_it(void *p) { hak_free(p); }

APART void uaf_read_tiny(void) {
  char *p = hak_alloc(TINY);
  free_it(p);
  read_at(p);
}
APART void uaf_write_tiny(void) {
  char *p = hak_alloc(TINY);
  free_it(p);
  write_at(p + TINY - 1);
}
APART void uaf_read_mid(void) {
  char *p = hak_alloc(MID);
  free_it(p);
  read_at(p + 100);
}
APART void uaf_write_single(void) {
  char *p = hak_alloc(SINGLE);
  free_it(p);
  write_at(p + SINGLE / 2);
}
APART void uaf_read_mib(void) {
  char *p = hak_alloc(MIB);
  free_it(p);
  read_at(p + MIB / 2);
}
APART void uaf_write_mib(void) {
  char *p = hak_alloc(MIB);
  free_it(p);
  write_at(p + MIB - 1);
}
APART void uaf_write_huge(void) {
  char *p = hak_alloc(HUGE);
  free_it(p);
  write_at(p + HUGE / 2);
}
APART void uaf_calloc(void) {
  char *p = hak_calloc(10, TINY);
  free_it(p);
  read_at(p);
}
APART void uaf_strdup(void) {
  char *p = hak_strdup("forgotten");
  free_it(p);
  read_at(p + 3);
}
APART void uaf_grown(void) {
  char *p = hak_alloc(TINY), *q = hak_realloc(p, MID);
  read_at(p);
  hak_free(q);
}
APART void uaf_shrunk(void) {
  char *p = hak_alloc(MID), *q = hak_realloc(p, MID - 8);
  write_at(p);
  hak_free(q);
}
APART void uaf_grown_mib(void) {
  char *p = hak_alloc(MIB), *q = hak_realloc(p, 4 * MIB);
  write_at(p + 100);
  hak_free(q);
}
APART void *free_thread(void *p) {
  hak_free(p);
  return NULL;
}
APART void *read_thread(void *p) {
  read_at(p);
  return NULL;
}
static void run_thread(void *(*fn)(void *), void *arg) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, fn, arg) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
}
APART void uaf_freed_by_other(void) {
  char *p = hak_alloc(TINY);
  run_thread(free_thread, p);
  write_at(p);
}
APART void uaf_used_by_other(void) {
  char *p = hak_alloc(TINY);
  free_it(p);
  run_thread(read_thread, p);
}
APART void uaf_sized(void) {
  char *p = hak_alloc(TINY);
  hak_free_sized(p, TINY);
  read_at(p);
}
APART void uaf_aligned_sized(void) {
  char *p = hak_aligned_alloc(256, 1000);
  hak_free_aligned_sized(p, 256, 1000);
  read_at(p);
}
APART void uaf_usable(void) {
  char *p = hak_alloc(TINY);
  CHECK(hak_free_usable(p) == TINY);
  read_at(p);
}
APART void uaf_no_cache(void) {
  char *p = hak_allocx(NULL, TINY, 0, HAK_NO_CACHE, NULL);
  CHECK(hak_freex(p, HAK_NO_CACHE) == 0);
  read_at(p);
}
APART void uaf_heap(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  char *p = hak_heap_alloc(heap, TINY);
  hak_heap_free(heap, p);
  read_at(p);
}
APART void uaf_serial(void) {
  hak_heap_config_t config = {.struct_size = sizeof config, .flags = HAK_HEAP_SERIAL};
  hak_heap_t *heap = hak_heap_create(&config);
  char *p = hak_heap_alloc(heap, TINY);
  hak_heap_free(heap, p);
  write_at(p);
}
APART void uaf_destroyed(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  char *p = hak_heap_alloc(heap, TINY);
  CHECK(hak_heap_destroy(heap) == 0);
  read_at(p);
}
APART void uaf_destroyed_mib(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  char *p = hak_heap_alloc(heap, MIB);
  CHECK(hak_heap_destroy(heap) == 0);
  write_at(p);
}
APART void uaf_reset(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  char *p = hak_heap_alloc(heap, TINY);
  CHECK(hak_heap_reset(heap) == 0);
  read_at(p);
}
APART void uaf_released(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  char *p = hak_heap_alloc(heap, TINY);
  CHECK(hak_heap_release(heap) == 0);
  free_it(p);
  read_at(p);
}
APART void uaf_shutdown(void) {
  char *p = hak_alloc(TINY);
  CHECK(hak_shutdown(HAK_SHUTDOWN_FORCE) == 0);
  read_at(p);
}
APART void uaf_memset(void) {
  char *p = hak_alloc(MID);
  free_it(p);
  memset(p, 1, MID);
}

/* --- beyond the ends
 * --------------------------------------------------------------------- */

APART void over_by_one(void) {
  char *p = hak_alloc(30);
  write_at(p + 30);
  hak_free(p);
}
APART void over_read(void) {
  char *p = hak_alloc(16);
  read_at(p + 16);
  hak_free(p);
}
APART void over_by_eight(void) {
  char *p = hak_alloc(64);
  write_at(p + 64 + 7);
  hak_free(p);
}
APART void over_mid(void) {
  char *p = hak_alloc(MID);
  write_at(p + MID);
  hak_free(p);
}
APART void over_mib(void) {
  char *p = hak_alloc(MIB + 1);
  write_at(p + MIB + 1);
  hak_free(p);
}
APART void over_calloc(void) {
  char *p = hak_calloc(3, 11);
  write_at(p + 33);
  hak_free(p);
}
APART void over_grown(void) {
  char *p = hak_realloc(hak_alloc(10), 21);
  write_at(p + 21);
  hak_free(p);
}
APART void over_zero(void) {
  char *p = hak_alloc(0);
  write_at(p + 1);
  hak_free(p);
}
APART void over_aligned(void) {
  char *p = hak_aligned_alloc(64, 100);
  write_at(p + 100);
  hak_free(p);
}
APART void over_page(void) {
  char *p = hak_aligned_alloc(4096, 4096);
  write_at(p + 4096);
  hak_free(p);
}
APART void over_heap(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  char *p = hak_heap_alloc(heap, 100);
  write_at(p + 100);
  hak_heap_free(heap, p);
}
APART void over_serial(void) {
  hak_heap_config_t config = {.struct_size = sizeof config, .flags = HAK_HEAP_SERIAL};
  char *p = hak_heap_alloc(hak_heap_create(&config), 100);
  read_at(p + 100);
  hak_free(p);
}
APART void over_string(void) {
  char *p = hak_strdup("four");
  memcpy(p + 4, "more", 5);
  hak_free(p);
}
APART void under_by_one(void) {
  char *p = hak_alloc(100);
  write_at(p - 1);
  hak_free(p);
}
APART void under_by_eight(void) {
  char *p = hak_alloc(MID);
  read_at(p - 8);
  hak_free(p);
}
APART void under_aligned(void) {
  char *p = hak_aligned_alloc(4096, 5000);
  read_at(p - 1);
  hak_free(p);
}

/* --- bad frees
 * --------------------------------------------------------------------------- */

APART void twice_tiny(void) {
  char *p = hak_alloc(TINY);
  free_it(p);
  hak_free(p);
}
APART void twice_mib(void) {
  char *p = hak_alloc(MIB);
  free_it(p);
  hak_free(p);
}
APART void twice_by_other(void) {
  char *p = hak_alloc(TINY);
  run_thread(free_thread, p);
  hak_free(p);
}
APART void twice_sized(void) {
  char *p = hak_alloc(TINY);
  free_it(p);
  hak_free_sized(p, TINY);
}
APART void twice_heap(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  char *p = hak_heap_alloc(heap, TINY);
  free_it(p);
  hak_heap_free(heap, p);
}
APART void twice_realloc(void) {
  char *p = hak_alloc(TINY);
  free_it(p);
  p = hak_realloc(p, MID);
}
APART void twice_destroyed(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  char *p = hak_heap_alloc(heap, TINY);
  CHECK(hak_heap_destroy(heap) == 0);
  hak_free(p);
}
APART void twice_reset(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  char *p = hak_heap_alloc(heap, SINGLE);
  CHECK(hak_heap_reset(heap) == 0);
  hak_free(p);
}
APART void inside(void) {
  char *p = hak_alloc(MID);
  hak_free(p + 16);
}
APART void on_stack(void) {
  char text[100];
  hak_free(hak_alloc(TINY));
  hak_free(text + 8);
}
APART void in_data(void) {
  static char text[100];
  hak_free(hak_alloc(TINY));
  hak_free(text);
}
APART void ask_freed(void) {
  char *p = hak_alloc(TINY);
  free_it(p);
  hak_usable_size(p);
}
APART void of_malloc(void) {
  char *p = malloc(TINY);
  hak_free(p);
}
APART void to_free(void) {
  char *volatile p = hak_alloc(TINY);
  hak_free(p);
  free(p);
}
APART void wrong_heap(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  char *p = hak_alloc(TINY);
  hak_heap_free(heap, p);
}
APART void wrong_size(void) {
  char *p = hak_alloc(TINY);
  hak_free_sized(p, TINY + 1);
}

/* --- leaks
 * --------------------------------------------------------------------------------- */

static void *volatile g_lost;

/* Nobody knows the block any more, no register and no stale stack either. */
static void lose(void *p) {
  CHECK(p != NULL);
  memset(p, 0, 8);
  g_lost = p;
  g_lost = NULL;
}
APART void leak_tiny(void) { lose(hak_alloc(TINY)); }
APART void leak_mid(void) { lose(hak_alloc(MID)); }
APART void leak_single(void) { lose(hak_alloc(SINGLE)); }
APART void leak_mib(void) { lose(hak_alloc(3 * MIB)); }
APART void leak_huge(void) { lose(hak_alloc(HUGE)); }
APART void leak_calloc(void) { lose(hak_calloc(7, 100)); }
APART void leak_grown(void) { lose(hak_realloc(hak_alloc(TINY), MID)); }
APART void leak_aligned(void) { lose(hak_aligned_alloc(512, 512)); }
APART void leak_strdup(void) { lose(hak_strdup("lost string")); }
APART void leak_heap(void) { lose(hak_heap_alloc(hak_heap_create(NULL), TINY)); }
APART void leak_at(void) { lose(hak_alloc_at(TINY, HAK_CALLSITE())); }
APART void leak_allocx(void) { lose(hak_allocx(NULL, TINY, 64, HAK_ZERO, NULL)); }

#define USE "heap-use-after-free"
#define OVER "heap-buffer-overflow"
#define TWICE "attempting double-free"
#define NOT "attempting free on address which was not malloc()-ed"
#define LEAK "detected memory leaks"

/* Of each: the report, and functions that its stacks name: of the access, and of where
 * the block came from or went. */
const case_t bad_cases[] = {
    {"uaf_read_tiny", uaf_read_tiny, USE, "read_at free_it uaf_read_tiny"},
    {"uaf_write_tiny", uaf_write_tiny, USE, "write_at free_it uaf_write_tiny"},
    {"uaf_read_mid", uaf_read_mid, USE, "read_at free_it uaf_read_mid"},
    {"uaf_write_single", uaf_write_single, USE, "write_at free_it uaf_write_single"},
    {"uaf_read_mib", uaf_read_mib, USE, "read_at free_it uaf_read_mib"},
    {"uaf_write_mib", uaf_write_mib, USE, "write_at free_it uaf_write_mib"},
    {"uaf_write_huge", uaf_write_huge, USE, "write_at free_it uaf_write_huge"},
    {"uaf_calloc", uaf_calloc, USE, "read_at free_it uaf_calloc"},
    {"uaf_strdup", uaf_strdup, USE, "read_at free_it uaf_strdup"},
    {"uaf_grown", uaf_grown, USE, "read_at uaf_grown"},
    {"uaf_shrunk", uaf_shrunk, USE, "write_at uaf_shrunk"},
    {"uaf_grown_mib", uaf_grown_mib, USE, "write_at uaf_grown_mib"},
    {"uaf_freed_by_other", uaf_freed_by_other, USE, "write_at free_thread"},
    {"uaf_used_by_other", uaf_used_by_other, USE, "read_at read_thread free_it"},
    {"uaf_sized", uaf_sized, USE, "read_at uaf_sized"},
    {"uaf_aligned_sized", uaf_aligned_sized, USE, "read_at uaf_aligned_sized"},
    {"uaf_usable", uaf_usable, USE, "read_at uaf_usable"},
    {"uaf_no_cache", uaf_no_cache, USE, "read_at uaf_no_cache"},
    {"uaf_heap", uaf_heap, USE, "read_at uaf_heap"},
    {"uaf_serial", uaf_serial, USE, "write_at uaf_serial"},
    {"uaf_destroyed", uaf_destroyed, USE, "read_at uaf_destroyed"},
    {"uaf_destroyed_mib", uaf_destroyed_mib, USE, "write_at uaf_destroyed_mib"},
    {"uaf_reset", uaf_reset, USE, "read_at uaf_reset"},
    {"uaf_released", uaf_released, USE, "read_at free_it uaf_released"},
    {"uaf_shutdown", uaf_shutdown, USE, "read_at uaf_shutdown"},
    {"uaf_memset", uaf_memset, USE, "free_it uaf_memset"},
    {"over_by_one", over_by_one, OVER, "write_at over_by_one"},
    {"over_read", over_read, OVER, "read_at over_read"},
    {"over_by_eight", over_by_eight, OVER, "write_at over_by_eight"},
    {"over_mid", over_mid, OVER, "write_at over_mid"},
    {"over_mib", over_mib, OVER, "write_at over_mib"},
    {"over_calloc", over_calloc, OVER, "write_at over_calloc"},
    {"over_grown", over_grown, OVER, "write_at over_grown"},
    {"over_zero", over_zero, OVER, "write_at over_zero"},
    {"over_aligned", over_aligned, OVER, "write_at over_aligned"},
    {"over_page", over_page, OVER, "write_at over_page"},
    {"over_heap", over_heap, OVER, "write_at over_heap"},
    {"over_serial", over_serial, OVER, "read_at over_serial"},
    {"over_string", over_string, OVER, "over_string"},
    {"under_by_one", under_by_one, OVER, "write_at under_by_one"},
    {"under_by_eight", under_by_eight, OVER, "read_at under_by_eight"},
    {"under_aligned", under_aligned, OVER, "read_at under_aligned"},
    {"twice_tiny", twice_tiny, TWICE, "free_it twice_tiny"},
    {"twice_mib", twice_mib, TWICE, "free_it twice_mib"},
    {"twice_by_other", twice_by_other, TWICE, "free_thread twice_by_other"},
    {"twice_sized", twice_sized, TWICE, "free_it twice_sized"},
    {"twice_heap", twice_heap, TWICE, "free_it twice_heap"},
    {"twice_realloc", twice_realloc, TWICE, "free_it twice_realloc"},
    {"twice_destroyed", twice_destroyed, TWICE, "hak_heap_destroy twice_destroyed"},
    {"twice_reset", twice_reset, TWICE, "hak_heap_reset twice_reset"},
    {"inside", inside, NOT, "inside"},
    {"on_stack", on_stack, NOT, "on_stack"},
    {"in_data", in_data, NOT, "in_data"},
    {"ask_freed", ask_freed, "malloc_usable_size() for pointer which is not owned",
     "free_it ask_freed"},
    {"of_malloc", of_malloc, "hakmem: foreign pointer", ""},
    {"to_free", to_free, TWICE, "to_free"},
    {"wrong_heap", wrong_heap, "hakmem: wrong heap", ""},
    {"wrong_size", wrong_size, "hakmem: wrong size", ""},
    {"leak_tiny", leak_tiny, LEAK, "leak_tiny"},
    {"leak_mid", leak_mid, LEAK, "leak_mid"},
    {"leak_single", leak_single, LEAK, "leak_single"},
    {"leak_mib", leak_mib, LEAK, "leak_mib"},
    {"leak_huge", leak_huge, LEAK, "leak_huge"},
    {"leak_calloc", leak_calloc, LEAK, "leak_calloc"},
    {"leak_grown", leak_grown, LEAK, "leak_grown"},
    {"leak_aligned", leak_aligned, LEAK, "leak_aligned"},
    {"leak_strdup", leak_strdup, LEAK, "leak_strdup"},
    {"leak_heap", leak_heap, LEAK, "leak_heap"},
    {"leak_at", leak_at, LEAK, "leak_at"},
    {"leak_allocx", leak_allocx, LEAK, "leak_allocx"},
    {NULL, NULL, NULL, NULL}};
