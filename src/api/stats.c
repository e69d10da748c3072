/* stats.c - sums over slabs, caches and counters; nothing is kept twice. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/lock.h"
#include "pool/large.h"
#include "superslab/meta.h"
#include "superslab/retention.h"
#include "tiny/hold.h"

/* Blocks by class. */
typedef struct tally {
  uint64_t out[HAK_CLASSES];    /* not in their slabs */
  uint64_t free[HAK_CLASSES];   /* in slabs in use */
  uint64_t cached[HAK_CLASSES]; /* in bins, magazines and slots */
  uint64_t slots;               /* of all SuperSlabs that were ever used */
} tally_t;

static bool add_superslab(hak_superslab_t *ss, void *ctx) {
  tally_t *tally = ctx;
  tally->slots += HAK_SUPERSLAB_SLABS;
  if (hak_load_relaxed(&ss->extent.kind) != HAK_EXTENT_SLABS) return true;
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    hak_place_t place = hak_registry_find((uintptr_t)hak_superslab_slot(ss, i));
    if (place.cls >= HAK_CLASSES || place.slab != &ss->slabs[i]) continue;
    hak_slab_t *slab = place.slab;
    uint64_t word = hak_load_relaxed(&slab->word);
    uint32_t carved = hak_slab_carved(slab), out = hak_slab_out(slab);
    uint32_t remote = hak_word_remote_count(word);
    /* Torn between two moments of a thread at work, sums may be off a little,
     * but never below zero. */
    if (out > carved) out = carved;
    if (remote > out) remote = out;
    out -= remote;
    tally->out[place.cls] += out;
    tally->free[place.cls] += carved - out;
  }
  return true;
}

/* The calling thread's own list is counted; others' by what it was at most. */
static uint32_t count_ready(hak_thread_t *thread, hak_bin_t *bin) {
  uint32_t most = hak_load_relaxed(&bin->ready_count), count = 0;
  if (thread != hak_thread_self) return most;
  for (void *block = bin->ready; block != HAK_LINK_END && count < most; count++) {
    block = hak_link_read(&thread->key, block);
    if (hak_link_is_bad(&thread->key, block)) break;
  }
  return count;
}

static void add_thread(hak_thread_t *thread, void *ctx) {
  tally_t *tally = ctx;
  if (!hak_load_relaxed(&thread->attached)) return;
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    hak_bin_t *bin = &thread->bins[cls];
    hak_hold_t *hold = &thread->holds[cls];
    uint64_t count = hak_bin_listed(bin) + count_ready(thread, bin) +
                     hak_load_relaxed(&hold->spare_count);
    hak_magazine_t *magazine = hak_load_relaxed(&hold->magazine);
    if (magazine != NULL) count += hak_load_relaxed(&magazine->count);
    tally->cached[cls] += count;
  }
}

static void add_slots(hak_heap_t *heap, tally_t *tally) {
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    for (int i = 0; i < HAK_TRANSFER_SLOTS; i++) {
      hak_magazine_t *magazine = hak_load_relaxed(&heap->store.depots[cls].slots[i]);
      if (magazine != NULL) tally->cached[cls] += hak_load_relaxed(&magazine->count);
    }
  }
}

static hak_atomic_u64_t peak_committed;

static uint64_t committed(void) {
  return hak_load_relaxed(&hak_slots_committed) +
         hak_load_relaxed(&hak_mappings_committed) +
         hak_load_relaxed(&hak_meta_committed) +
         hak_load_relaxed(&hak_registry_reserved) +
         hak_load_relaxed(&hak_regions_head_committed);
}

static void fill(hak_heap_t *heap, hak_stats_t *s) {
  tally_t tally;
  memset(&tally, 0, sizeof tally);
  hak_region_visit(add_superslab, &tally);
  hak_threads_visit(add_thread, &tally);
  add_slots(heap, &tally);
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    uint64_t size = hak_class_size(cls), cached = tally.cached[cls];
    if (cached > tally.out[cls]) cached = tally.out[cls];
    s->live_blocks += tally.out[cls] - cached;
    s->live_bytes += (tally.out[cls] - cached) * size;
    if (hak_class_is_single(cls)) {
      s->large_blocks += tally.out[cls] - cached;
      s->large_bytes += (tally.out[cls] - cached) * size;
    }
    s->cached_bytes += cached * size;
    s->free_bytes += tally.free[cls] * size;
  }
  uint64_t touched = hak_load_relaxed(&hak_slots_active) +
                     hak_load_relaxed(&hak_slots_empty) +
                     hak_load_relaxed(&hak_slots_purged);
  s->slabs_unused = tally.slots > touched ? tally.slots - touched : 0;
  s->superslabs = hak_load_relaxed(&heap->store.pool.superslabs);
}

static void fill_process(hak_stats_t *s) {
  s->committed_bytes = committed();
  uint64_t peak = hak_load_relaxed(&peak_committed);
  while (s->committed_bytes > peak &&
         !hak_cas_relaxed(&peak_committed, &peak, s->committed_bytes)) {}
  s->peak_committed_bytes = hak_load_relaxed(&peak_committed);
  s->retained_bytes = hak_retained_bytes();
  s->metadata_bytes = hak_load_relaxed(&hak_meta_committed) +
                      hak_load_relaxed(&hak_registry_reserved) +
                      hak_load_relaxed(&hak_regions_head_committed);
  s->reserved_bytes =
      hak_load_relaxed(&hak_regions_reserved) + hak_load_relaxed(&hak_mappings_reserved) +
      hak_load_relaxed(&hak_meta_committed) + hak_load_relaxed(&hak_registry_reserved);
  s->slabs_active = hak_load_relaxed(&hak_slots_active);
  s->slabs_empty = hak_load_relaxed(&hak_slots_empty);
  s->slabs_purged = hak_load_relaxed(&hak_slots_purged);
  hak_counts_t counts;
  memset(&counts, 0, sizeof counts);
  uint32_t attached;
  hak_threads_sum(&counts, &attached);
  s->threads = attached;
#define HAK_COUNTER(name) s->name = hak_load_relaxed(&counts.name);
#include "tiny/counters.def"
#undef HAK_COUNTER
  /* Read while they change, the sums may be off, but not below zero. */
  if ((int64_t)s->large_blocks < 0) s->large_blocks = 0;
  if ((int64_t)s->large_bytes < 0) s->large_bytes = 0;
  s->live_blocks += s->large_blocks;
  s->live_bytes += s->large_bytes;
}

static void fill_os(hak_stats_t *s) {
  s->os_reserve = hak_load_relaxed(&hak_os_counts.reserve);
  s->os_release = hak_load_relaxed(&hak_os_counts.release);
  s->os_commit = hak_load_relaxed(&hak_os_counts.commit);
  s->os_purge = hak_load_relaxed(&hak_os_counts.purge);
  s->os_remap = hak_load_relaxed(&hak_os_counts.remap);
  s->os_advise = hak_load_relaxed(&hak_os_counts.advise);
  s->os_failures = hak_load_relaxed(&hak_os_counts.failures);
  s->purged_bytes = hak_load_relaxed(&hak_os_counts.purged_bytes);
  s->lock_contended = hak_load_relaxed(&hak_lock_contended);
}

/* An older caller's record is shorter; it gets what it knows. */
enum {
  STATS_LEAST = 2 * sizeof(uint32_t) + sizeof(uint64_t)
};

int hak_stats_get(hak_heap_t *heap, hak_stats_t *out) {
  if (out == NULL || out->struct_size < STATS_LEAST) return EINVAL;
  hak_heap_t *only = hak_heap_get_default();
  if (heap != NULL && heap != only) return EINVAL;
  uint32_t known = out->struct_size;
  hak_stats_t stats;
  memset(&stats, 0, sizeof stats);
  fill_os(&stats);
  if (hak_lifecycle_is_running() && only != NULL) {
    fill_process(&stats);
    fill(only, &stats);
  }
  stats.struct_size = known;
  memcpy(out, &stats, known < sizeof stats ? known : sizeof stats);
  return 0;
}

/* --- printing --------------------------------------------------------------- */

typedef struct field {
  const char *name;
  size_t offset;
} field_t;

#define FIELD(name) \
  { #name, offsetof(hak_stats_t, name) }

static const field_t fields[] = {
    FIELD(live_bytes),     FIELD(live_blocks),     FIELD(cached_bytes),
    FIELD(free_bytes),     FIELD(committed_bytes), FIELD(peak_committed_bytes),
    FIELD(retained_bytes), FIELD(metadata_bytes),  FIELD(reserved_bytes),
    FIELD(superslabs),     FIELD(slabs_active),    FIELD(slabs_empty),
    FIELD(slabs_purged),   FIELD(slabs_unused),    FIELD(threads),
#define HAK_COUNTER(name) FIELD(name),
#include "tiny/counters.def"
#undef HAK_COUNTER
    FIELD(lock_contended), FIELD(os_reserve),      FIELD(os_release),
    FIELD(os_commit),      FIELD(os_purge),        FIELD(os_remap),
    FIELD(os_advise),      FIELD(os_failures),     FIELD(purged_bytes)};

enum {
  FIELDS = sizeof fields / sizeof fields[0]
};

_Static_assert(sizeof(hak_stats_t) == 8 + FIELDS * sizeof(uint64_t),
               "every field is printed");

static void write_stderr(const char *text, size_t length, void *ctx) {
  (void)ctx;
  fwrite(text, 1, length, stderr);
}

int hak_stats_print(hak_heap_t *heap, int format, hak_write_fn *write, void *ctx) {
  if (format != HAK_FORMAT_TEXT && format != HAK_FORMAT_JSON) return EINVAL;
  hak_stats_t stats = {.struct_size = sizeof stats};
  int error = hak_stats_get(heap, &stats);
  if (error != 0) return error;
  if (write == NULL) write = write_stderr;
  bool json = format == HAK_FORMAT_JSON;
  char line[128];
  int n = snprintf(line, sizeof line, json ? "{\"version\":%u" : "hakmem %u\n",
                   (unsigned)HAK_VERSION);
  write(line, (size_t)n, ctx);
  for (int i = 0; i < FIELDS; i++) {
    uint64_t value;
    memcpy(&value, (const char *)&stats + fields[i].offset, sizeof value);
    n = snprintf(line, sizeof line, json ? ",\"%s\":%llu" : "  %-22s %20llu\n",
                 fields[i].name, (unsigned long long)value);
    write(line, (size_t)n, ctx);
  }
  if (json) write("}\n", 2, ctx);
  return 0;
}
