#include "heap/show.h"

#include "base/option.h"
#include "base/report.h"
#include "base/sys.h"
#include "base/text.h"
#include "heap/describe.h"

/* What is printed goes on as far as the heaps that a person would read. */
enum {
  HEAPS_SHOWN = 64
};

static void write_error(const char *text, size_t length, void *ctx) {
  (void)ctx;
  hak_sys_write(text, length);
}

static HAK_SLOW bool show_heap(hak_heap_t *heap, void *ctx) {
  uint32_t *shown = ctx;
  char path[HAK_REPORT_PATH_MAX], quoted[HAK_REPORT_QUOTED_MAX];
  char line[HAK_REPORT_QUOTED_MAX + 160];
  hak_stats_t s = {.struct_size = sizeof s};
  if (hak_stats_get(heap, &s) != 0) return true; /* it has ended */
  hak_heap_path(hak_heap_record(heap), path, sizeof path);
  hak_text_quote(quoted, sizeof quoted, path);
  size_t length = hak_text_print(
      line, sizeof line,
      "  heap %-24s %llu committed, %llu at most, %llu live in %llu block%s\n", quoted,
      (unsigned long long)s.committed_bytes, (unsigned long long)s.peak_committed_bytes,
      (unsigned long long)s.live_bytes, (unsigned long long)s.live_blocks,
      s.live_blocks == 1 ? "" : "s");
  hak_sys_write(line, length);
  return ++*shown < HEAPS_SHOWN;
}

void hak_show_stats(void) {
  static hak_atomic_u32_t shown; /* in this process */
  int64_t mode = hak_option(SHOW_STATS);
  if (mode == 0 || hak_exchange_relaxed(&shown, 1) != 0) return;
  int format = mode == 1 ? HAK_FORMAT_TEXT : HAK_FORMAT_JSON;
  (void)hak_stats_print(NULL, format, write_error, NULL);
  uint32_t heaps = 0;
  if (mode == 1) (void)hak_visit_heaps(show_heap, &heaps);
}
