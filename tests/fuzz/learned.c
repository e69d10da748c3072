/* learned.c - what hak_learned_load is given: any bytes, and any lessons behind a header
 * and before a checksum that are right. Nothing that is read makes a place do more than
 * lie apart, and what is written afterwards can be read again. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define MAGIC ((uint64_t)0x314c6d656d6b6168)

enum {
  LESSON = 32,
  PLACES = 4,
  ROOM = 1 << 17
};

static hak_site_t g_sites[PLACES] = {{"fuzz.c", 1, "a", {0}},
                                     {"fuzz.c", 2, "b", {0}},
                                     {NULL, 3, "c", {0}},
                                     {"", 4, "", {0}}};

static uint64_t key_of(const hak_site_t *site) {
  uint64_t key = hak_hash_bytes(2, &site->line, sizeof site->line);
  key = hak_hash_bytes(key, site->file, site->file == NULL ? 0 : strlen(site->file));
  return hak_hash_bytes(key, site->name, strlen(site->name));
}

/* The lessons in the input, some of them of this program's places, as a whole text. */
static size_t wrap(const uint8_t *lessons, size_t count, uint8_t *out) {
  uint64_t header[2] = {MAGIC, hak_hash_bytes(1, "", 0)}, number = count;
  memcpy(out, header, sizeof header);
  uint64_t sum = hak_hash_bytes(0, header, sizeof header);
  for (size_t i = 0; i < count; i++) {
    uint8_t *lesson = out + sizeof header + i * LESSON;
    memcpy(lesson, lessons + i * LESSON, LESSON);
    if (lesson[0] < PLACES) {
      uint64_t key = key_of(&g_sites[lesson[0]]);
      memcpy(lesson, &key, sizeof key);
    }
    sum = hak_hash_bytes(sum, lesson, LESSON);
  }
  uint8_t *end = out + sizeof header + count * LESSON;
  sum = hak_hash_bytes(sum, &number, sizeof number);
  memcpy(end, &number, sizeof number);
  memcpy(end + sizeof number, &sum, sizeof sum);
  return sizeof header + count * LESSON + 16;
}

typedef struct text {
  size_t size;
  uint8_t bytes[ROOM];
} text_t;

static void keep(const char *bytes, size_t length, void *ctx) {
  text_t *text = ctx;
  CHECK(text->size + length <= sizeof text->bytes);
  memcpy(text->bytes + text->size, bytes, length);
  text->size += length;
}

static void use_places(void) {
  void *blocks[PLACES * 8];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_alloc_at(100 + i, &g_sites[i % PLACES]);
    CHECK(blocks[i] != NULL && hak_heap_of(blocks[i]) == hak_heap_default());
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    hak_free(blocks[i]);
  }
}

static int load(const void *bytes, size_t size) {
  const char *why = NULL;
  int error = hak_learned_load(NULL, bytes, size, &why);
  CHECK(why != NULL && (error == 0) == (why[0] == '\0'));
  return error;
}

static void begin(void) {
  hak_config_t config = {.struct_size = sizeof config, .flags = HAK_INIT_NO_ENV};
  CHECK_EQ(hak_init(&config), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 1), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static text_t saved;
  static uint8_t whole[ROOM];
  if (size == 0 || size > ROOM - 64) return 0;
  begin();
  bool early = (data[0] & 1) != 0;
  if (early) use_places();
  size_t length = wrap(data + 1, (size - 1) / LESSON, whole);
  int error = (data[0] & 2) != 0 ? load(data + 1, size - 1) : load(whole, length);
  use_places();
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
  saved.size = 0;
  CHECK_EQ(hak_learned_save(NULL, keep, &saved), 0);
  CHECK_EQ(hak_shutdown(0), 0);
  (void)error;

  begin();
  CHECK_EQ(load(saved.bytes, saved.size), 0);
  CHECK_EQ(hak_shutdown(0), 0);
  return 0;
}
