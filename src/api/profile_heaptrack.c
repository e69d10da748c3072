/* profile_heaptrack.c - places and stacks for heaptrack_print and heaptrack_gui.
 *
 * Their text has a line for each event, and numbers in hexadecimal digits. Strings (s),
 * instructions (i) and traces (t) count from 1, allocations (a) from 0; + and - are an
 * allocation and a free of it. A sample is such an allocation, of as many bytes as it
 * stands for in the mean of its place; those that were freed come and go first.
 */
#include <inttypes.h>

#include "api/profile.h"
#include "api/sites.h"
#include "base/text.h"

enum {
  EVENTS_MOST = 1000 /* of a row; of more samples each stands for several */
};

typedef struct heaptrack {
  const hak_out_t *out;
  hak_profile_maps_t maps; /* their names are the strings from 2 on */
  uint32_t strings, instructions, traces, allocations; /* so far */
  uint32_t place, place_instruction;                   /* the one that was written last */
} heaptrack_t;

static uint32_t write_string(heaptrack_t *h, const char *text) {
  hak_out_text(h->out, "s %s\n", text);
  return ++h->strings;
}

static void write_map(const hak_code_map_t *map, void *heaptrack) {
  heaptrack_t *h = heaptrack;
  uint32_t before = h->maps.count;
  hak_profile_maps_add(&h->maps, map);
  if (h->maps.count > before) (void)write_string(h, h->maps.maps[before].name);
}

/* --- traces: chains from the outermost call to the place ------------------------------
 */

static uint32_t write_trace(heaptrack_t *h, uint32_t instruction, uint32_t parent) {
  hak_out_text(h->out, "t %" PRIx32 " %" PRIx32 "\n", instruction, parent);
  return ++h->traces;
}

static uint32_t write_frame(heaptrack_t *h, const void *returns, uint32_t parent) {
  const char *call = (const char *)returns - 1;
  uint32_t map = hak_profile_map_of(&h->maps, call);
  hak_out_text(h->out, "i %" PRIxPTR " %" PRIx32 "\n", (uintptr_t)call,
               map == h->maps.count ? 1 : map + 2);
  return write_trace(h, ++h->instructions, parent);
}

static uint32_t instruction_of(heaptrack_t *h, const hak_profile_row_t *row) {
  if (h->place == row->number) return h->place_instruction;
  char text[HAK_SITE_TITLE_MAX];
  hak_site_title(&row->place, text);
  uint32_t title = write_string(h, text);
  /* An address that no code has. */
  hak_text_line(text, sizeof text, row->place.info.file);
  if (text[0] == '\0') {
    hak_out_text(h->out, "i %" PRIx32 " 1 %" PRIx32 "\n", row->number, title);
  } else {
    uint32_t file = write_string(h, text);
    hak_out_text(h->out, "i %" PRIx32 " 1 %" PRIx32 " %" PRIx32 " %" PRIx32 "\n",
                 row->number, title, file, row->place.info.line);
  }
  h->place = row->number;
  h->place_instruction = ++h->instructions;
  return h->place_instruction;
}

static uint32_t trace_of(heaptrack_t *h, const hak_profile_row_t *row) {
  uint32_t place = instruction_of(h, row), parent = 0;
  for (uint32_t i = row->depth; i > 0; i--) {
    parent = write_frame(h, row->frames[i - 1], parent);
  }
  return write_trace(h, place, parent);
}

/* --- events --------------------------------------------------------------------------
 */

static void write_events(heaptrack_t *h, uint32_t trace, uint64_t size, uint64_t count,
                         bool freed) {
  if (size == 0 || count == 0) return;
  uint32_t allocation = h->allocations++;
  hak_out_text(h->out, "a %" PRIx64 " %" PRIx32 "\n", size, trace);
  for (uint64_t i = 0; i < count; i++) {
    hak_out_text(h->out, "+ %" PRIx32 "\n", allocation);
    if (freed) hak_out_text(h->out, "- %" PRIx32 "\n", allocation);
  }
}

/* As many events as samples, whose bytes add up. */
static HAK_SLOW void write_share(heaptrack_t *h, uint32_t trace, uint64_t bytes,
                                 uint64_t samples, bool freed) {
  uint64_t count = samples > EVENTS_MOST ? EVENTS_MOST : samples;
  if (count == 0) count = 1;
  uint64_t size = bytes / count, more = bytes % count;
  write_events(h, trace, size + 1, more, freed);
  write_events(h, trace, size, count - more, freed);
}

static HAK_SLOW void write_row(const hak_profile_row_t *row, void *heaptrack) {
  heaptrack_t *h = heaptrack;
  if (row->bytes == 0 && row->live_bytes == 0) return;
  uint32_t trace = trace_of(h, row);
  if (row->bytes > row->live_bytes) {
    uint64_t samples =
        row->samples > row->live_samples ? row->samples - row->live_samples : 0;
    write_share(h, trace, row->bytes - row->live_bytes, samples, true);
  }
  if (row->live_bytes > 0) {
    write_share(h, trace, row->live_bytes, row->live_samples, false);
  }
}

void hak_profile_heaptrack(const hak_out_t *out, uint32_t made, bool stacks) {
  heaptrack_t h = {.out = out};
  /* Version 1.4, format 2; what ran; pages of 4 KiB, whose number nobody looks at. */
  hak_out_text(out, "v 10400 2\nX hakmem\nI 1000 1\n");
  (void)write_string(&h, "hakmem");
  if (stacks) hak_code_maps(write_map, &h);
  hak_profile_each(made, stacks, write_row, &h);
  hak_out_text(out, "c 1\n");
}
