/* print.c - statistics as text or JSON. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"

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
