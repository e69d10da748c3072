/* leaks.c - what a heap tells of the blocks that are live at its end. */
#include <inttypes.h>
#include <stdio.h>

#include "api/api.h"
#include "api/site_row.h"
#include "base/report.h"
#include "base/text.h"
#include "heap/describe.h"
#include "learn/sample.h"
#include "tiny/canary.h"

enum {
  LISTED = 4 /* blocks of each size that a report names */
};

static const char *noun(uint64_t blocks) { return blocks == 1 ? "block" : "blocks"; }
static const char *verb(uint64_t blocks) { return blocks == 1 ? "was" : "were"; }

/* Some of the blocks that one report is about. */
typedef struct listed {
  const void *blocks[LISTED];
  uint32_t count;  /* of those */
  uint32_t wanted; /* that are still to be found */
} listed_t;

typedef struct leaks {
  hak_live_t live;
  listed_t of_class[HAK_CLASSES], other;
  uint32_t wanted; /* of all sizes */
} leaks_t;

/* Takes a block for its size if that has room; goes on while one is missing. */
static bool take(const hak_block_t *block, void *ctx) {
  leaks_t *leaks = ctx;
  listed_t *listed = &leaks->other;
  uint32_t cls = block->size <= HAK_CLASS_MAX ? hak_class_of(block->size) : HAK_CLASSES;
  if (cls < HAK_CLASSES && leaks->live.blocks[cls] != 0) listed = &leaks->of_class[cls];
  if (listed->wanted > 0) {
    listed->blocks[listed->count++] = block->address;
    listed->wanted--;
    leaks->wanted--;
  }
  return leaks->wanted > 0;
}

static void want(leaks_t *leaks, listed_t *listed, uint64_t blocks) {
  listed->count = 0;
  listed->wanted = blocks < LISTED ? (uint32_t)blocks : LISTED;
  leaks->wanted += listed->wanted;
}

static void find(hak_heap_t *heap, leaks_t *leaks) {
  hak_api_count_live(heap, &leaks->live);
  leaks->wanted = 0;
  want(leaks, &leaks->other, leaks->live.other_blocks);
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    want(leaks, &leaks->of_class[cls], leaks->live.blocks[cls]);
  }
  /* Without memory for the visit the reports have no addresses. */
  if (leaks->wanted > 0) (void)hak_heap_visit(hak_heap_handle(heap), take, leaks, 0);
}

/* ": 0x..., 0x... and 3 more", or nothing if no block was found. */
static void list(const listed_t *listed, uint64_t blocks, char *text, size_t room) {
  size_t used = 0;
  text[0] = '\0';
  for (uint32_t i = 0; i < listed->count && used < room; i++) {
    used += (size_t)snprintf(text + used, room - used, "%s%p", i == 0 ? ": " : ", ",
                             listed->blocks[i]);
  }
  if (used > 0 && used < room && blocks > listed->count) {
    snprintf(text + used, room - used, " and %" PRIu64 " more", blocks - listed->count);
  }
}

/* `what` is one line without its end: whose end it was, and which blocks. */
static HAK_SLOW void report(hak_heap_t *heap, const listed_t *listed, uint64_t blocks,
                            const char *what, const char *function) {
  enum {
    LIST_MOST = 160
  };
  char text[HAK_SITE_TITLE_MAX + HAK_REPORT_QUOTED_MAX + LIST_MOST + 128];
  char which[LIST_MOST], path[HAK_REPORT_PATH_MAX], quoted[HAK_REPORT_QUOTED_MAX] = "";
  bool named = hak_heap_name_of(heap)[0] != '\0';
  if (named) {
    hak_heap_path(heap, path, sizeof path);
    hak_text_quote(quoted, sizeof quoted, path);
  }
  list(listed, blocks, which, sizeof which);
  hak_text_print(text, sizeof text, "%s live at the end%s%s%s%s", what,
                 named ? " of \"" : "", quoted, named ? "\"" : "", which);
  hak_report(HAK_ERROR_LEAK, listed->count == 0 ? NULL : listed->blocks[0],
             hak_heap_handle(heap), function, text);
}

/* --- by place ------------------------------------------------------------------------
 */

/* Samples of the heap that are live, of one place. */
typedef struct place {
  uint32_t origin;
  double blocks, bytes; /* that they stand for */
  uint64_t samples;
  const void *block;
} place_t;

enum {
  PLACES = 64 /* that are told; further ones are not */
};
typedef struct places {
  const void *heap_id;
  uint32_t count;
  place_t all[PLACES];
} places_t;

static HAK_SLOW bool add_sample(const hak_sample_t *sample, void *ctx) {
  places_t *places = ctx;
  if (sample->heap_id != places->heap_id) return true;
  uint32_t i = 0;
  while (i < places->count && places->all[i].origin != sample->origin) i++;
  if (i == PLACES) return true;
  place_t *place = &places->all[i];
  if (i == places->count) {
    *place = (place_t){.origin = sample->origin, .block = sample->block};
    places->count++;
  }
  double blocks = hak_sample_stands_for(sample);
  place->blocks += blocks;
  place->bytes += blocks * (double)sample->size;
  place->samples++;
  return true;
}

static void report_place(hak_heap_t *heap, const place_t *place, const char *function) {
  hak_site_row_t row;
  char title[HAK_SITE_TITLE_MAX], what[HAK_SITE_TITLE_MAX + 96];
  (void)hak_site_row(place->origin, &row);
  hak_site_title(&row, title);
  uint64_t blocks = (uint64_t)(place->blocks + 0.5);
  hak_text_print(what, sizeof what,
                 "%s%" PRIu64 " %s, %" PRIu64 " bytes in all, of %s, %s",
                 blocks == place->samples ? "" : "about ", blocks, noun(blocks),
                 (uint64_t)(place->bytes + 0.5), title, verb(blocks));
  listed_t listed = {.blocks = {place->block}, .count = 1};
  report(heap, &listed, listed.count, what, function);
}

static HAK_SLOW void report_places(hak_heap_t *heap, const char *function) {
  hak_heap_t *samples = hak_heap_samples(heap);
  if (samples == NULL) return;
  places_t places = {.heap_id = hak_heap_id(samples)};
  hak_samples_visit(add_sample, &places);
  for (uint32_t i = 0; i < places.count; i++) {
    report_place(heap, &places.all[i], function);
  }
}

static HAK_SLOW void report_sizes(hak_heap_t *heap, const char *function) {
  leaks_t leaks;
  char what[96];
  find(heap, &leaks);
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    uint64_t blocks = leaks.live.blocks[cls];
    if (blocks == 0) continue;
    snprintf(what, sizeof what, "%" PRIu64 " %s of %zu bytes %s", blocks, noun(blocks),
             hak_canary_below(hak_class_size(cls)), verb(blocks));
    report(heap, &leaks.of_class[cls], blocks, what, function);
  }
  if (leaks.live.other_blocks == 0) return;
  uint64_t others = leaks.live.other_blocks;
  snprintf(what, sizeof what, "%" PRIu64 " %s, %" PRIu64 " bytes in all, %s", others,
           noun(others), leaks.live.other_bytes, verb(others));
  report(heap, &leaks.other, others, what, function);
}

void hak_api_report_leaks(hak_heap_t *heap, const char *function) {
  report_sizes(heap, function);
  report_places(heap, function);
}
