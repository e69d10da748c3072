/* Blocks that wait before they may serve again: how many, and that none is lost. */
#include "support.h"

#include "base/option.h"
#include "tiny/quarantine.h"

enum {
  COUNT = 2000,
  SIZE = 1000
};
static hak_quarantine_t g_q;
static char *g_blocks[COUNT];

static int setup(void **state) {
  (void)state;
  test_start();
  g_q = (hak_quarantine_t){.series = 0};
  for (size_t i = 0; i < COUNT; i++) CHECK((g_blocks[i] = hak_alloc(SIZE)) != NULL);
  return 0;
}
static int teardown(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT; i++) hak_free(g_blocks[i]);
  CHECK_EQ(hak_shutdown(0), 0);
  return 0;
}

static uint32_t cls(void) { return hak_class_of(SIZE); }
static uint32_t waiting(void) { return hak_load_relaxed(&g_q.counts[cls()]); }

static void quarantine__gives_each_block_out_once(void **state) {
  (void)state;
  size_t out = 0;
  void *block;
  for (size_t i = 0; i < COUNT; i++) {
    CHECK(hak_quarantine_put(&g_q, cls(), g_blocks[i], &block));
    CHECK(block != g_blocks[i]);
    out += block != NULL;
    while (hak_quarantine_excess(&g_q) != NULL) out++;
    CHECK_EQ(waiting(), i + 1 - out);
    CHECK(waiting() <= HAK_QUARANTINE_BLOCKS);
    CHECK_EQ(g_q.bytes, waiting() * hak_class_size(cls()));
  }
  CHECK(waiting() > HAK_QUARANTINE_BLOCKS / 2);
  while (hak_quarantine_any(&g_q) != NULL) out++;
  CHECK_EQ(out, COUNT);
  CHECK_EQ(g_q.bytes, 0);
}

static void quarantine__has_no_more_bytes_than_the_option_says(void **state) {
  (void)state;
  enum {
    MOST = 20 * 1024
  };
  CHECK_EQ(hak_option_set(HAK_OPTION_QUARANTINE_BYTES, MOST), 0);
  for (size_t i = 0; i < COUNT; i++) {
    void *out;
    CHECK(hak_quarantine_put(&g_q, cls(), g_blocks[i], &out));
    while (hak_quarantine_excess(&g_q) != NULL) {}
    CHECK(g_q.bytes <= MOST);
  }
  CHECK(waiting() >= 15);
}

static void quarantine__leaves_large_blocks_out(void **state) {
  (void)state;
  void *out;
  CHECK_EQ(hak_option_set(HAK_OPTION_QUARANTINE_BYTES, 8 * 1024), 0);
  CHECK(hak_quarantine_put(&g_q, cls(), g_blocks[0], &out));
  CHECK_EQ(hak_option_set(HAK_OPTION_QUARANTINE_BYTES, 4 * 1024), 0);
  CHECK(!hak_quarantine_put(&g_q, cls(), g_blocks[1], &out));
  CHECK_EQ(hak_option_set(HAK_OPTION_QUARANTINE_BYTES, 0), 0);
  CHECK(!hak_quarantine_put(&g_q, cls(), g_blocks[1], &out));
  CHECK_EQ(waiting(), 1);
}

int main(void) {
  test_begin();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(quarantine__gives_each_block_out_once, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(quarantine__has_no_more_bytes_than_the_option_says,
                                      setup, teardown),
      cmocka_unit_test_setup_teardown(quarantine__leaves_large_blocks_out, setup,
                                      teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
