#include "api/print.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/report.h"
#include "base/sys.h"
#include "base/text.h"
#include "heap/describe.h"
#include "heap/lifecycle.h"
#include "heap/stay.h"

typedef struct field {
  const char *name;
  size_t offset;
} field_t;

#define FIELD(name) \
  { #name, offsetof(hak_stats_t, name) }

static const field_t fields[] = {
    FIELD(live_bytes),        FIELD(live_blocks),       FIELD(cached_bytes),
    FIELD(free_bytes),        FIELD(committed_bytes),   FIELD(peak_committed_bytes),
    FIELD(retained_bytes),    FIELD(metadata_bytes),    FIELD(reserved_bytes),
    FIELD(superslabs),        FIELD(slabs_active),      FIELD(slabs_empty),
    FIELD(slabs_purged),      FIELD(slabs_unused),      FIELD(threads),
#define HAK_COUNTER(name) FIELD(name),
#include "tiny/counters.def"
#undef HAK_COUNTER
    FIELD(lock_contended),    FIELD(os_reserve),        FIELD(os_release),
    FIELD(os_commit),         FIELD(os_purge),          FIELD(os_remap),
    FIELD(os_advise),         FIELD(os_failures),       FIELD(purged_bytes),
    FIELD(fork_lost_bytes),   FIELD(soft_limit),        FIELD(hard_limit),
    FIELD(budget_refused),    FIELD(unreleased_bytes),  FIELD(uncarved_bytes),
    FIELD(class_waste_bytes), FIELD(large_slack_bytes), FIELD(hole_bytes),
    FIELD(untouched_bytes),   FIELD(foreign_bytes)};

enum {
  FIELDS = sizeof fields / sizeof fields[0],
  MAIN = 5 /* of them, from live_bytes on, which a text has even where they are 0 */
};

_Static_assert(sizeof(hak_stats_t) == 8 + FIELDS * sizeof(uint64_t),
               "every field is printed");

void hak_print_fields(const hak_out_t *out, const hak_stats_t *stats, bool json) {
  for (int i = 0; i < FIELDS; i++) {
    uint64_t value;
    memcpy(&value, (const char *)stats + fields[i].offset, sizeof value);
    const char *between = i == 0 ? "" : ",";
    if (json) {
      hak_out_text(out, "%s\"%s\":%" PRIu64, between, fields[i].name, value);
    } else if (value != 0 || i < MAIN) {
      hak_out_text(out, "  %-22s %20" PRIu64 "\n", fields[i].name, value);
    }
  }
}

void hak_print_head(const hak_out_t *out, const char *format) {
  hak_stay_t stay = hak_stay();
  uint64_t now = stay == HAK_STAY_NONE ? 0 : hak_os_now(hak_lifecycle_os());
  hak_stay_end(stay);
  hak_out_text(out,
               "\"format\":\"%s\",\"format_version\":1,\"version\":%u,"
               "\"process_id\":%" PRIu64 ",\"time_ns\":%" PRIu64 ",",
               format, (unsigned)HAK_VERSION, hak_sys_process(), now);
}

void hak_print_title(const hak_out_t *out, const char *what) {
  hak_out_text(out, "hakmem %d.%d.%d: %s\n", HAK_VERSION_MAJOR, HAK_VERSION_MINOR,
               HAK_VERSION_PATCH, what);
}

static HAK_SLOW void print_whose(const hak_out_t *out, hak_heap_t *heap) {
  char path[HAK_REPORT_PATH_MAX], quoted[HAK_REPORT_QUOTED_MAX];
  char what[HAK_REPORT_QUOTED_MAX + 8] = "the process";
  if (heap != NULL) {
    hak_heap_path(hak_heap_record(heap), path, sizeof path);
    hak_text_quote(quoted, sizeof quoted, path);
    hak_text_print(what, sizeof what, "heap \"%s\"", quoted);
  }
  hak_print_title(out, what);
}

HAK_SLOW int hak_stats_print(hak_heap_t *heap, int format, hak_write_fn *write,
                             void *ctx) {
  if (format != HAK_FORMAT_TEXT && format != HAK_FORMAT_JSON) return EINVAL;
  hak_stats_t stats = {.struct_size = sizeof stats};
  int error = hak_stats_get(heap, &stats);
  if (error != 0) return error;
  hak_out_t out = hak_out_to(write, ctx);
  bool json = format == HAK_FORMAT_JSON;
  if (json) {
    hak_out_text(&out, "{");
    hak_print_head(&out, "hakmem statistics");
    hak_out_text(&out, "\"of\":\"%s\",", heap == NULL ? "process" : "heap");
  } else {
    print_whose(&out, heap);
  }
  hak_print_fields(&out, &stats, json);
  if (json) hak_out_text(&out, "}\n");
  return 0;
}
