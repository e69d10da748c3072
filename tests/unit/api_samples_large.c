/* api_samples_large.c - what samples of large blocks add to a program's memory: a server
 * of whose memory half is in blocks of 4 to 64 KiB has little more committed with names
 * than without, at its peak and in the mean, and little of what lies in the slabs of its
 * samples is free. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "heap/heap.h"
#include "learn/sample.h"
#include "os/os.h"
#include "superslab/shared_pool.h"

enum {
  SESSIONS = 3000,
  BLOCKS = 40, /* of a session, at most */
  REQUEST = 20,
  ROUNDS = 24000, /* each ends a session */
  LOOKS = 24,
  USUAL_MEAN = 262144,
  HOUR_MS = 3600000
};

HAK_SITE(of_session);
HAK_SITE(of_request);

static void *g_sessions[SESSIONS][BLOCKS];

/* The sizes of the suite's aging_server. */
static size_t any_size(test_rng_t *rng) {
  uint64_t kind = test_below(rng, 100);
  if (kind < 90) return 16 + (size_t)test_below(rng, 241);
  if (kind < 99) return 256 + (size_t)test_below(rng, 3841);
  return 4096 + (size_t)test_below(rng, 61441);
}

static void *allocate(test_rng_t *rng, hak_site_t *site) {
  void *block = hak_alloc_at(any_size(rng), site);
  CHECK(block != NULL);
  return block;
}

static void end_session(size_t number) {
  for (size_t i = 0; i < BLOCKS; i++) hak_free(g_sessions[number][i]);
  memset(g_sessions[number], 0, sizeof g_sessions[number]);
}

static void begin_session(size_t number, test_rng_t *rng) {
  size_t count = 1 + (size_t)test_below(rng, BLOCKS);
  for (size_t i = 0; i < count; i++) {
    g_sessions[number][i] = allocate(rng, &of_session);
  }
}

/* Time plays no part, as nothing is ever old, nor do huge pages. */
static void begin(int64_t mean, int64_t huge_pages) {
  hak_config_t config = {
      .struct_size = sizeof config, .flags = HAK_INIT_NO_ENV, .os = hak_os_default()};
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, HOUR_MS), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_PAGES, huge_pages), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, mean), 0);
  CHECK_EQ(hak_init(&config), 0);
}

static void end(void) {
  for (size_t i = 0; i < SESSIONS; i++) end_session(i);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 500), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_PAGES, 1), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, USUAL_MEAN), 0);
}

static hak_shared_pool_t *pool_of_samples(void) {
  hak_heap_t *samples = hak_heap_samples(hak_heap_get_default());
  CHECK(samples != NULL);
  return &samples->store->pool;
}

static bool add_size(const hak_sample_t *sample, void *bytes) {
  *(double *)bytes += (double)sample->size;
  return true;
}

/* Bytes, in the looks of the second half. */
typedef struct figures {
  double mean, peak;
  double samples, for_samples; /* that were asked for; committed for them */
} figures_t;

static void look(figures_t *f, bool sampled) {
  double used = (double)test_stats().committed_bytes;
  f->mean += used / (LOOKS - LOOKS / 2);
  if (used > f->peak) f->peak = used;
  if (!sampled) return;
  hak_samples_visit(add_size, &f->samples);
  f->for_samples += (double)hak_load_relaxed(&pool_of_samples()->budget.own);
}

static figures_t run(int64_t mean) {
  figures_t f = {.mean = 0};
  test_rng_t rng = test_rng(1, 2);
  begin(mean, 0);
  for (size_t i = 0; i < SESSIONS; i++) begin_session(i, &rng);
  for (size_t i = 1; i <= ROUNDS; i++) {
    void *own[REQUEST];
    for (size_t k = 0; k < REQUEST; k++) own[k] = allocate(&rng, &of_request);
    size_t number = (size_t)test_below(&rng, SESSIONS);
    end_session(number);
    begin_session(number, &rng);
    for (size_t k = 0; k < REQUEST; k++) hak_free(own[k]);
    if (i % (ROUNDS / LOOKS) == 0 && i > ROUNDS / 2) look(&f, mean != 0);
  }
  CHECK(hak_samples_are_valid());
  end();
  return f;
}

static void server__has_little_more_memory_with_names(void **state) {
  (void)state;
  figures_t without = run(0), with = run(USUAL_MEAN);
  printf(
      "%.1f MB in the mean, %.1f without; %.1f and %.1f at the peak; for %.1f MB of "
      "samples %.1f\n",
      with.mean / 1e6, without.mean / 1e6, with.peak / 1e6, without.peak / 1e6,
      with.samples / (LOOKS / 2) / 1e6, with.for_samples / (LOOKS / 2) / 1e6);
  /* With canaries few blocks of a power of two are of the class of that size. */
  double more = HAK_CHECKS >= 3 ? 0.01 : 0;
  CHECK(with.mean <= (1.03 + more) * without.mean);
  CHECK(with.peak <= (1.04 + more) * without.peak);
  CHECK(with.for_samples <= 1.8 * with.samples);
}

static bool has_small_pages(hak_superslab_t *ss, void *count) {
  ++*(int *)count;
  CHECK(!hak_superslab_is_huge(ss));
  return true;
}

/* A huge page would be resident as a whole. */
static void samples__lie_in_small_pages_wherever_others_lie(void **state) {
  (void)state;
  enum {
    SAMPLES = 100
  };
  void *blocks[SAMPLES];
  begin(1, 2);
  for (size_t i = 0; i < SAMPLES; i++) {
    blocks[i] = hak_alloc_at(500 * (1 + i), &of_session);
    CHECK(blocks[i] != NULL);
  }
  int superslabs = 0;
  hak_pool_visit(pool_of_samples(), has_small_pages, &superslabs);
  CHECK(superslabs > 1);
  for (size_t i = 0; i < SAMPLES; i++) hak_free(blocks[i]);
  end();
}

TEST_MAIN_FRESH(T(server__has_little_more_memory_with_names),
                T(samples__lie_in_small_pages_wherever_others_lie))
