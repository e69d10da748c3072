/* profile.c - what is known of places, in the formats that profilers read.
 *
 * All figures are estimates already, so readers must not weigh them again: pprof is told
 * so by what it is given, and heap_v2 by a mean distance of one byte.
 */
#include <inttypes.h>
#include <string.h>

#include "api/sites.h"
#include "base/text.h"
#include "learn/chance.h"

/* --- pprof ----------------------------------------------------------------------------
 *
 * https://github.com/google/pprof, proto/profile.proto. A message is a row of fields;
 * each has a number, and is a varint or bytes with their length before them. */

/* A message that is being made; none of ours is longer. */
typedef struct message {
  size_t length;
  unsigned char bytes[512];
} message_t;

static void put_byte(message_t *m, unsigned byte) {
  if (m->length < sizeof m->bytes) m->bytes[m->length++] = (unsigned char)byte;
}
static void put_varint(message_t *m, uint64_t value) {
  for (; value >= 0x80; value >>= 7) put_byte(m, (unsigned)(value & 0x7f) | 0x80);
  put_byte(m, (unsigned)value);
}
enum {
  VARINT = 0,
  BYTES = 2
};
static void put_number(message_t *m, unsigned field, uint64_t value) {
  put_varint(m, field << 3 | VARINT);
  put_varint(m, value);
}
static void put_bytes(message_t *m, unsigned field, const void *bytes, size_t length) {
  put_varint(m, field << 3 | BYTES);
  put_varint(m, length);
  for (size_t i = 0; i < length; i++) put_byte(m, ((const unsigned char *)bytes)[i]);
}

static void send(const hak_out_t *out, const message_t *m) {
  out->write((const char *)m->bytes, m->length, out->ctx);
}
/* A field of the profile itself. */
static void send_part(const hak_out_t *out, unsigned field, const message_t *part) {
  message_t m = {.length = 0};
  put_bytes(&m, field, part->bytes, part->length);
  send(out, &m);
}

/* Numbers of fields, by message. */
enum {
  PROFILE_SAMPLE_TYPE = 1,
  PROFILE_SAMPLE = 2,
  PROFILE_LOCATION = 4,
  PROFILE_FUNCTION = 5,
  PROFILE_STRING = 6,
  PROFILE_PERIOD_TYPE = 11,
  PROFILE_PERIOD = 12,
  PROFILE_DEFAULT_TYPE = 14,
  TYPE_TYPE = 1,
  TYPE_UNIT = 2,
  SAMPLE_LOCATION = 1,
  SAMPLE_VALUE = 2,
  LOCATION_ID = 1,
  LOCATION_LINE = 4,
  LINE_FUNCTION = 1,
  LINE_LINE = 2,
  FUNCTION_ID = 1,
  FUNCTION_NAME = 2,
  FUNCTION_FILE = 4
};

/* The table of strings: these, and two for each place. */
enum {
  STRING_NONE,
  STRING_COUNT,
  STRING_BYTES,
  STRING_ALLOC_OBJECTS,
  STRING_ALLOC_SPACE,
  STRING_INUSE_OBJECTS,
  STRING_INUSE_SPACE,
  STRING_SPACE,
  STRINGS
};
static const char *const strings[STRINGS] = {"",
                                             "count",
                                             "bytes",
                                             "alloc_objects",
                                             "alloc_space",
                                             "inuse_objects",
                                             "inuse_space",
                                             "space"};

static void send_string(const hak_out_t *out, const char *text) {
  message_t m = {.length = 0};
  put_bytes(&m, PROFILE_STRING, text, strlen(text));
  send(out, &m);
}
static void send_type(const hak_out_t *out, unsigned field, unsigned type,
                      unsigned unit) {
  message_t m = {.length = 0};
  put_number(&m, TYPE_TYPE, type);
  put_number(&m, TYPE_UNIT, unit);
  send_part(out, field, &m);
}

static void send_sample(const hak_out_t *out, uint32_t number,
                        const hak_site_info_t *info) {
  message_t values = {.length = 0}, m = {.length = 0};
  put_varint(&values, info->blocks);
  put_varint(&values, info->bytes);
  put_varint(&values, info->live_blocks);
  put_varint(&values, info->live_bytes);
  put_number(&m, SAMPLE_LOCATION, number);
  put_bytes(&m, SAMPLE_VALUE, values.bytes, values.length);
  send_part(out, PROFILE_SAMPLE, &m);
}

/* The place as a location and as its function, whose strings come at `string`. */
static void send_place(const hak_out_t *out, uint32_t number, uint32_t line,
                       unsigned string) {
  message_t at = {.length = 0}, location = {.length = 0}, function = {.length = 0};
  put_number(&at, LINE_FUNCTION, number);
  put_number(&at, LINE_LINE, line);
  put_number(&location, LOCATION_ID, number);
  put_bytes(&location, LOCATION_LINE, at.bytes, at.length);
  send_part(out, PROFILE_LOCATION, &location);
  put_number(&function, FUNCTION_ID, number);
  put_number(&function, FUNCTION_NAME, string);
  put_number(&function, FUNCTION_FILE, string + 1);
  send_part(out, PROFILE_FUNCTION, &function);
}

void hak_profile_pprof(const hak_out_t *out, uint32_t made) {
  send_type(out, PROFILE_SAMPLE_TYPE, STRING_ALLOC_OBJECTS, STRING_COUNT);
  send_type(out, PROFILE_SAMPLE_TYPE, STRING_ALLOC_SPACE, STRING_BYTES);
  send_type(out, PROFILE_SAMPLE_TYPE, STRING_INUSE_OBJECTS, STRING_COUNT);
  send_type(out, PROFILE_SAMPLE_TYPE, STRING_INUSE_SPACE, STRING_BYTES);
  for (unsigned i = 0; i < STRINGS; i++) send_string(out, strings[i]);
  unsigned string = STRINGS;
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++, string += 2) {
    hak_site_row_t row;
    char title[HAK_SITE_TITLE_MAX];
    if (hak_site_row(i, &row)) send_sample(out, i, &row.info);
    hak_site_title(&row, title);
    send_place(out, i, row.info.line, string);
    send_string(out, title);
    char file[HAK_SITE_TITLE_MAX];
    hak_text_line(file, sizeof file, row.info.file); /* readers insist on UTF-8 */
    send_string(out, file);
  }
  send_type(out, PROFILE_PERIOD_TYPE, STRING_SPACE, STRING_BYTES);
  message_t m = {.length = 0};
  put_number(&m, PROFILE_PERIOD, 1);
  put_number(&m, PROFILE_DEFAULT_TYPE, STRING_INUSE_SPACE);
  send(out, &m);
}

/* --- heap_v2
 * ----------------------------------------------------------------------------
 *
 * Stacks are addresses. A place has none, so it gets one that no code has, and its title
 * stands in the section of symbols before. */

#define ADDRESS(number) ((uint64_t)(number) << 4)

/* Readers divide by the chance of a sample, 1 - exp(-average size / mean). */
static void figures(const hak_out_t *out, uint64_t blocks, uint64_t bytes,
                    const char *format) {
  size_t average = blocks == 0 ? 0 : (size_t)(bytes / blocks);
  double chance = average == 0 ? 1 : hak_chance_of(average, 1);
  hak_out_text(out, format, (uint64_t)((double)blocks * chance + 0.5),
               (uint64_t)((double)bytes * chance + 0.5));
}

static void stack(const hak_out_t *out, const hak_site_info_t *info) {
  figures(out, info->live_blocks, info->live_bytes, "  t*: %" PRIu64 ": %" PRIu64);
  figures(out, info->blocks, info->bytes, " [%" PRIu64 ": %" PRIu64 "]\n");
}

void hak_profile_heap_v2(const hak_out_t *out, uint32_t made) {
  hak_site_info_t sum = {.struct_size = sizeof sum};
  hak_out_text(out, "--- symbol\nbinary=hakmem\n");
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) {
    hak_site_row_t row;
    char title[HAK_SITE_TITLE_MAX];
    if (!hak_site_row(i, &row)) continue;
    hak_site_title(&row, title);
    hak_out_text(out, "0x%016" PRIx64 " %s\n", ADDRESS(i), title);
    sum.live_blocks += row.info.live_blocks;
    sum.live_bytes += row.info.live_bytes;
    sum.blocks += row.info.blocks;
    sum.bytes += row.info.bytes;
  }
  hak_out_text(out, "---\n--- heap\nheap_v2/1\n");
  stack(out, &sum);
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) {
    hak_site_row_t row;
    if (!hak_site_row(i, &row)) continue;
    hak_out_text(out, "@ 0x%016" PRIx64 "\n", ADDRESS(i));
    stack(out, &row.info);
  }
  hak_out_text(out, "\nMAPPED_LIBRARIES:\n");
}

/* --- folded stacks
 * ------------------------------------------------------------------------
 */

static void only_one_frame(char *title) {
  for (char *c = title; *c != '\0'; c++) {
    if (*c == ';') *c = ','; /* it would end the frame */
  }
}

void hak_profile_folded(const hak_out_t *out, uint32_t made) {
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) {
    hak_site_row_t row;
    char title[HAK_SITE_TITLE_MAX];
    if (!hak_site_row(i, &row) || row.info.live_bytes == 0) continue;
    hak_site_title(&row, title);
    only_one_frame(title);
    char file[HAK_SITE_TITLE_MAX];
    hak_text_line(file, sizeof file, row.info.file);
    only_one_frame(file);
    hak_out_text(out, "%s%s", file, file[0] == '\0' ? "" : ";");
    hak_out_text(out, "%s %" PRIu64 "\n", title, row.info.live_bytes);
  }
}
