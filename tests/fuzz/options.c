/* options.c - the environment's variables: any names, any values. What is no value of an
 * option leaves the option as it was, and is reported. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  VARIABLES = 8
};

static char g_names[VARIABLES][64];

/* These act at once, and as far as they are told: memory that is committed, text. */
static bool is_left_alone(const char *name) {
  return strcmp(name, "HAKMEM_PREWARM_BYTES") == 0 ||
         strcmp(name, "HAKMEM_SHOW_STATS") == 0 || strcmp(name, "HAKMEM_BACKEND") == 0;
}

/* A name: an option's, or one that the input spells. The rest of the line is its value.
 */
static void set_variable(char *name, size_t room, const char *line, size_t length) {
  hak_option_info_t info = HAK_OPTION_INFO_INIT;
  char value[128];
  unsigned first = (unsigned char)line[0];
  size_t used = 1;
  if (hak_option_describe((hak_option_t)first, &info) == 0) {
    snprintf(name, room, "HAKMEM_%s", info.name);
  } else {
    const char *end = memchr(line + 1, '=', length - 1);
    used = end == NULL ? length : (size_t)(end - line) + 1;
    size_t letters = end == NULL ? length - 1 : used - 2;
    snprintf(name, room, "HAKMEM_%.*s", (int)(letters < 40 ? letters : 40), line + 1);
  }
  size_t rest = length - used < sizeof value - 1 ? length - used : sizeof value - 1;
  memcpy(value, line + used, rest);
  value[rest] = '\0';
  if (is_left_alone(name) || setenv(name, value, 1) != 0) {
    name[0] = '\0';
  }
}

static size_t set_variables(const uint8_t *data, size_t size) {
  size_t count = 0;
  for (const char *at = (const char *)data; size > 0 && count < VARIABLES; count++) {
    const char *end = memchr(at, '\n', size);
    size_t length = end == NULL ? size : (size_t)(end - at);
    g_names[count][0] = '\0';
    if (length > 0) {
      set_variable(g_names[count], sizeof g_names[count], at, length);
    }
    size_t skip = end == NULL ? size : length + 1;
    at += skip;
    size -= skip;
  }
  return count;
}

static void note(const hak_error_info_t *info, void *ctx) {
  (void)ctx;
  CHECK_EQ(info->error, HAK_ERROR_BAD_OPTION);
  CHECK(info->text != NULL && strchr(info->text, '\n') == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  size_t count = set_variables(data, size);
  hak_set_error_handler(note, NULL);
  CHECK_EQ(hak_init(NULL), 0);
  void *block = hak_alloc(100);
  CHECK(block != NULL);
  hak_free(block);
  for (int i = 0; i < HAK_OPTION_COUNT; i++) {
    hak_option_info_t info = HAK_OPTION_INFO_INIT;
    CHECK_EQ(hak_option_describe((hak_option_t)i, &info), 0);
    CHECK(info.value >= info.min && info.value <= info.max);
    CHECK_EQ(hak_option_set((hak_option_t)i, info.default_value), 0);
  }
  CHECK_EQ(hak_shutdown(0), 0);
  hak_set_error_handler(NULL, NULL);
  for (size_t i = 0; i < count; i++) {
    if (g_names[i][0] != '\0') {
      unsetenv(g_names[i]);
    }
  }
  return 0;
}
