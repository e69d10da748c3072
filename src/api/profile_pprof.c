/* profile_pprof.c - places and stacks for pprof.
 *
 * https://github.com/google/pprof, proto/profile.proto. A message is a row of fields;
 * each has a number, and is a varint or bytes with their length before them.
 *
 * A place is a location with a name and no address; what called it are locations with
 * addresses, which pprof finds names for in the files that are mapped there.
 */
#include <string.h>

#include "api/profile.h"
#include "api/sites.h"
#include "base/text.h"

/* --- messages ------------------------------------------------------------------------
 */

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
static HAK_SLOW void put_bytes(message_t *m, unsigned field, const void *bytes,
                               size_t length) {
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

/* --- the profile
 * ---------------------------------------------------------------------- */

/* Numbers of fields, by message. */
enum {
  PROFILE_SAMPLE_TYPE = 1,
  PROFILE_SAMPLE = 2,
  PROFILE_MAPPING = 3,
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
  MAPPING_ID = 1,
  MAPPING_START = 2,
  MAPPING_LIMIT = 3,
  MAPPING_OFFSET = 4,
  MAPPING_FILE = 5,
  LOCATION_ID = 1,
  LOCATION_MAPPING = 2,
  LOCATION_ADDRESS = 3,
  LOCATION_LINE = 4,
  LINE_FUNCTION = 1,
  LINE_LINE = 2,
  FUNCTION_ID = 1,
  FUNCTION_NAME = 2,
  FUNCTION_FILE = 4
};

/* The table of strings: these, one for each mapping, and two for each place. */
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

typedef struct profile {
  const hak_out_t *out;
  hak_profile_maps_t maps;
  uint32_t place;  /* the one that was sent last */
  unsigned string; /* the next one's number */
} profile_t;

static HAK_SLOW void send_text(profile_t *p, const char *text) {
  send_string(p->out, text);
  p->string++;
}

/* --- code --------------------------------------------------------------------------- */

static HAK_SLOW void send_map(const hak_code_map_t *map, void *profile) {
  profile_t *p = profile;
  uint32_t before = p->maps.count;
  hak_profile_maps_add(&p->maps, map);
  if (p->maps.count == before) return;
  char path[HAK_SITE_TITLE_MAX];
  hak_text_line(path, sizeof path, map->path);
  message_t m = {.length = 0};
  put_number(&m, MAPPING_ID, p->maps.count);
  put_number(&m, MAPPING_START, map->start);
  put_number(&m, MAPPING_LIMIT, map->end);
  put_number(&m, MAPPING_OFFSET, map->offset);
  put_number(&m, MAPPING_FILE, p->string);
  send_part(p->out, PROFILE_MAPPING, &m);
  send_text(p, path);
}

/* Numbers of locations: places have theirs, those of stacks come behind. */
static uint64_t frame_number(uint32_t stack, uint32_t i) {
  return HAK_ORIGINS + (uint64_t)stack * HAK_STACK_FRAMES + i;
}

/* A call lies right before the address that it returns to. */
static void send_frame(const profile_t *p, uint64_t number, const void *returns) {
  const char *call = (const char *)returns - 1;
  uint32_t map = hak_profile_map_of(&p->maps, call);
  message_t m = {.length = 0};
  put_number(&m, LOCATION_ID, number);
  if (map < p->maps.count) put_number(&m, LOCATION_MAPPING, map + 1);
  put_number(&m, LOCATION_ADDRESS, (uintptr_t)call);
  send_part(p->out, PROFILE_LOCATION, &m);
}

/* --- places ------------------------------------------------------------------------- */

/* The place as a location and as its function, whose strings are the next ones. */
static void send_place(profile_t *p, uint32_t number, const hak_site_row_t *place) {
  message_t at = {.length = 0}, location = {.length = 0}, function = {.length = 0};
  put_number(&at, LINE_FUNCTION, number);
  put_number(&at, LINE_LINE, place->info.line);
  put_number(&location, LOCATION_ID, number);
  put_bytes(&location, LOCATION_LINE, at.bytes, at.length);
  send_part(p->out, PROFILE_LOCATION, &location);
  put_number(&function, FUNCTION_ID, number);
  put_number(&function, FUNCTION_NAME, p->string);
  put_number(&function, FUNCTION_FILE, p->string + 1);
  send_part(p->out, PROFILE_FUNCTION, &function);
  char title[HAK_SITE_TITLE_MAX], file[HAK_SITE_TITLE_MAX];
  hak_site_title(place, title);
  send_text(p, title);
  hak_text_line(file, sizeof file, place->info.file); /* readers insist on UTF-8 */
  send_text(p, file);
}

static HAK_SLOW void send_row(const hak_profile_row_t *row, void *profile) {
  profile_t *p = profile;
  message_t ids = {.length = 0}, values = {.length = 0}, m = {.length = 0};
  put_varint(&ids, row->number);
  for (uint32_t i = 0; i < row->depth; i++) {
    send_frame(p, frame_number(row->stack, i), row->frames[i]);
    put_varint(&ids, frame_number(row->stack, i));
  }
  put_varint(&values, row->blocks);
  put_varint(&values, row->bytes);
  put_varint(&values, row->live_blocks);
  put_varint(&values, row->live_bytes);
  put_bytes(&m, SAMPLE_LOCATION, ids.bytes, ids.length);
  put_bytes(&m, SAMPLE_VALUE, values.bytes, values.length);
  send_part(p->out, PROFILE_SAMPLE, &m);
  if (p->place == row->number) return;
  p->place = row->number;
  send_place(p, row->number, &row->place);
}

HAK_SLOW void hak_profile_pprof(const hak_out_t *out, uint32_t made, bool stacks) {
  profile_t p = {.out = out};
  send_type(out, PROFILE_SAMPLE_TYPE, STRING_ALLOC_OBJECTS, STRING_COUNT);
  send_type(out, PROFILE_SAMPLE_TYPE, STRING_ALLOC_SPACE, STRING_BYTES);
  send_type(out, PROFILE_SAMPLE_TYPE, STRING_INUSE_OBJECTS, STRING_COUNT);
  send_type(out, PROFILE_SAMPLE_TYPE, STRING_INUSE_SPACE, STRING_BYTES);
  for (unsigned i = 0; i < STRINGS; i++) send_text(&p, strings[i]);
  if (stacks) hak_code_maps(send_map, &p);
  hak_profile_each(made, stacks, send_row, &p);
  send_type(out, PROFILE_PERIOD_TYPE, STRING_SPACE, STRING_BYTES);
  message_t m = {.length = 0};
  put_number(&m, PROFILE_PERIOD, 1);
  put_number(&m, PROFILE_DEFAULT_TYPE, STRING_INUSE_SPACE);
  send(out, &m);
}
