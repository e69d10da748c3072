#include "learn/lessons.h"

#include <string.h>

#include "base/bits.h"
#include "base/option.h"
#include "learn/waves.h"

/* Little-endian "hakmemL1" to a processor that is little-endian; the last digit is that
 * of the format. */
#define MAGIC ((uint64_t)0x314c6d656d6b6168)

typedef struct header {
  uint64_t magic;
  uint64_t build; /* hash of a text */
} header_t;

/* Figures are those of hak_wave_place_t. */
typedef struct lesson {
  uint64_t key;
  float bytes, stays, blocks, seen, stayed;
  uint32_t group;
} lesson_t;

typedef struct ending {
  uint64_t count;    /* of lessons */
  uint64_t checksum; /* of all before it */
} ending_t;

_Static_assert(sizeof(header_t) == 16 && sizeof(lesson_t) == 32 && sizeof(ending_t) == 16,
               "no bytes between fields, which would be of no known contents");

/* [lock] of origin.h; set once. */
static const lesson_t *_Atomic lessons;
static uint32_t lessons_count;

static uint64_t hash_text(uint64_t so_far, const char *text) {
  return hak_hash_bytes(so_far, text, strlen(text));
}

static uint64_t build_of(const char *text) {
  return hash_text(1, text == NULL ? "" : text);
}

static HAK_SLOW uint64_t key_of(const hak_origin_t *origin) {
  uint64_t key = hak_hash_bytes(2, &origin->line, sizeof origin->line);
  return hash_text(hash_text(key, hak_origin_file(origin)), hak_origin_name(origin));
}

/* --- writing --------------------------------------------------------------------------
 */

typedef struct output {
  hak_lessons_write_fn *write;
  void *ctx;
  uint64_t checksum;
} output_t;

static void put(output_t *out, const void *bytes, size_t length) {
  out->checksum = hak_hash_bytes(out->checksum, bytes, length);
  out->write(bytes, length, out->ctx);
}

static lesson_t lesson_of(uint32_t number, const hak_origin_t *origin) {
  const hak_wave_place_t *place = &origin->wave;
  return (lesson_t){.key = key_of(origin),
                    .bytes = (float)place->bytes,
                    .stays = (float)place->stays,
                    .blocks = (float)place->blocks,
                    .seen = place->seen,
                    .stayed = place->stayed,
                    .group = hak_load_relaxed(&hak_origin_groups[number])};
}

HAK_SLOW void hak_lessons_write(const char *build, hak_lessons_write_fn *write,
                                void *ctx) {
  output_t out = {write, ctx, 0};
  header_t header = {MAGIC, build_of(build)};
  ending_t ending = {.count = 0};
  put(&out, &header, sizeof header);
  uint32_t made = hak_origins_made();
  for (uint32_t i = HAK_ORIGIN_OTHERS + 1; i < made; i++) {
    hak_lock_acquire(hak_origins_lock());
    hak_origin_t origin = *hak_origin_at(i);
    hak_lock_release(hak_origins_lock());
    if (hak_wave_share(&origin.wave) < 0) continue;
    lesson_t lesson = lesson_of(i, &origin);
    put(&out, &lesson, sizeof lesson);
    ending.count++;
  }
  put(&out, &ending.count, sizeof ending.count);
  write(&out.checksum, sizeof out.checksum, ctx);
}

/* --- reading --------------------------------------------------------------------------
 */

/* False for what is no number, too. */
static bool is_within(float x, float most) { return x >= 0 && x <= most; }

static bool is_sound(const lesson_t *lesson) {
  const float most = 1e18F;
  return is_within(lesson->bytes, most) && is_within(lesson->blocks, lesson->bytes) &&
         is_within(lesson->stays, lesson->bytes * 1.001F) &&
         is_within(lesson->seen, 1e9F) && is_within(lesson->stayed, lesson->seen) &&
         lesson->group < HAK_GROUPS;
}

static hak_lessons_result_t check(const char *build, const char *bytes, size_t length,
                                  uint32_t *count) {
  header_t header;
  ending_t ending;
  if (length < sizeof header) return HAK_LESSONS_STRANGE;
  memcpy(&header, bytes, sizeof header);
  if (header.magic != MAGIC) return HAK_LESSONS_STRANGE;
  if (length < sizeof header + sizeof ending) return HAK_LESSONS_DAMAGED;
  size_t rest = length - sizeof header - sizeof ending;
  memcpy(&ending, bytes + sizeof header + rest, sizeof ending);
  if (rest % sizeof(lesson_t) != 0 || rest / sizeof(lesson_t) != ending.count ||
      ending.count > HAK_ORIGINS) {
    return HAK_LESSONS_DAMAGED;
  }
  /* In the pieces in which it was made. */
  uint64_t sum = hak_hash_bytes(0, &header, sizeof header);
  for (size_t at = 0; at < rest; at += sizeof(lesson_t)) {
    lesson_t lesson;
    memcpy(&lesson, bytes + sizeof header + at, sizeof lesson);
    if (!is_sound(&lesson)) return HAK_LESSONS_DAMAGED;
    sum = hak_hash_bytes(sum, &lesson, sizeof lesson);
  }
  if (hak_hash_bytes(sum, &ending.count, sizeof ending.count) != ending.checksum) {
    return HAK_LESSONS_DAMAGED;
  }
  *count = (uint32_t)ending.count;
  return header.build == build_of(build) ? HAK_LESSONS_READ : HAK_LESSONS_OTHERS;
}

/* A place of which something is known already keeps that. */
static void take_locked(uint32_t number) {
  hak_lock_assert_held(hak_origins_lock());
  hak_origin_t *origin = hak_origin_at(number);
  if (origin->wave.seen > 0) return;
  uint64_t key = key_of(origin);
  const lesson_t *all = hak_load_relaxed(&lessons);
  for (uint32_t i = 0; i < lessons_count; i++) {
    if (all[i].key != key) continue;
    origin->wave.bytes = (double)all[i].bytes;
    origin->wave.stays = (double)all[i].stays;
    origin->wave.blocks = (double)all[i].blocks;
    origin->wave.seen = all[i].seen;
    origin->wave.stayed = all[i].stayed;
    origin->wave.led = (uint8_t)all[i].group;
    if (hak_option(LEARN) != 0) {
      hak_store_relaxed(&hak_origin_groups[number], (uint8_t)all[i].group);
    }
    return;
  }
}

HAK_SLOW hak_lessons_result_t hak_lessons_read(const hak_os_t *os, const char *build,
                                               const void *bytes, size_t length) {
  uint32_t count = 0;
  hak_lessons_result_t result = check(build, bytes, length, &count);
  if (result != HAK_LESSONS_READ) return result;
  /* Relaxed: looked at again under the lock. */
  if (hak_load_relaxed(&lessons) != NULL) return HAK_LESSONS_TWICE;
  /* Of no place, too: what was read once is not read again. */
  lesson_t *table = hak_meta_alloc(os, (count + 1) * sizeof *table, HAK_CACHE_LINE);
  if (table == NULL) return HAK_LESSONS_NO_MEMORY;
  memcpy(table, (const char *)bytes + sizeof(header_t), count * sizeof *table);
  hak_lock_acquire(hak_origins_lock());
  bool first = hak_load_relaxed(&lessons) == NULL;
  if (first) {
    lessons_count = count;
    hak_store_relaxed(&lessons, table);
    uint32_t made = hak_origins_made();
    for (uint32_t i = HAK_ORIGIN_OTHERS + 1; i < made; i++) take_locked(i);
  }
  hak_lock_release(hak_origins_lock());
  return first ? HAK_LESSONS_READ : HAK_LESSONS_TWICE;
}

void hak_lessons_apply(uint32_t origin) {
  /* Relaxed: of a place that is new while lessons are read, the reader or this thread
   * finds the lesson, as both take the lock. */
  if (HAK_LIKELY(hak_load_relaxed(&lessons) == NULL)) return;
  if (origin <= HAK_ORIGIN_OTHERS) return;
  hak_lock_acquire(hak_origins_lock());
  take_locked(origin);
  hak_lock_release(hak_origins_lock());
}

void hak_lessons_stop(void) {
  hak_store_relaxed(&lessons, NULL);
  lessons_count = 0;
}
