/* statistics.c - what is in use, where it went, and giving free memory back. */
#include <hakmem/hakmem.h>
#include <stdio.h>
#include <string.h>

static void report(const char *when) {
  hak_stats_t stats;
  memset(&stats, 0, sizeof stats);
  stats.struct_size = sizeof stats;
  if (hak_stats_get(NULL, &stats) != 0) return;
  printf("%-12s %6llu blocks, %6llu KiB live, %6llu KiB committed\n", when,
         (unsigned long long)stats.live_blocks,
         (unsigned long long)(stats.live_bytes / 1024),
         (unsigned long long)(stats.committed_bytes / 1024));
}

static void to_stdout(const char *text, size_t length, void *context) {
  (void)context;
  fwrite(text, 1, length, stdout);
}

int main(void) {
  enum {
    BLOCKS = 10000
  };
  static void *blocks[BLOCKS];
  report("at first");
  for (int i = 0; i < BLOCKS; i++) blocks[i] = hak_alloc(16 + (size_t)i % 2000);
  report("filled");
  for (int i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  report("freed");
  /* Only memory that has been unused for a while goes; see PURGE_DECAY_MS. */
  hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0);
  hak_option_set(HAK_OPTION_RETAIN_BYTES, 0);
  printf("given back: %zu KiB\n", hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL) / 1024);
  report("collected");
  return hak_stats_print(NULL, HAK_FORMAT_JSON, to_stdout, NULL);
}
