/* api_reports.c - reports say who: the heap with those that it is part of, the block with
 * its size, the variable by its name; and what is printed at the end of a process. */
#include "child.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static hak_heap_t *make(hak_heap_t *parent, const char *name, uint32_t flags) {
  return test_heap_make(
      (hak_heap_config_t){.parent = parent, .name = name, .flags = flags});
}

/* What the handler was told last; texts are there for the length of a call only. */
typedef struct said {
  unsigned count;
  hak_error_t error;
  const void *address;
  size_t size;
  char path[256], text[512];
} said_t;

static void listen(const hak_error_info_t *info, void *ctx) {
  said_t *said = ctx;
  CHECK_EQ(info->struct_size, sizeof *info);
  said->count++;
  said->error = info->error;
  said->address = info->address;
  said->size = info->size;
  snprintf(said->path, sizeof said->path, "%s", info->heap_path);
  snprintf(said->text, sizeof said->text, "%s", info->text);
}

static said_t g_said;

static void begin(void) {
  memset(&g_said, 0, sizeof g_said);
  hak_set_error_handler(listen, &g_said);
}

static void expect(hak_error_t error, const void *address, size_t size,
                   const char *path) {
  CHECK_EQ(g_said.count, 1);
  CHECK_EQ(g_said.error, error);
  CHECK(g_said.address == address);
  CHECK_EQ(g_said.size, size);
  CHECK_MSG(strcmp(g_said.path, path) == 0, "'%s' is not '%s'", g_said.path, path);
  hak_set_error_handler(NULL, NULL);
}

static void report__names_the_heap_with_its_parents_and_the_size(void **state) {
  (void)state;
  hak_heap_t *server = make(NULL, "server", 0), *nameless = make(server, NULL, 0);
  hak_heap_t *low = make(nameless, "requests", 0);
  char *block = hak_heap_alloc(low, 100);
  char *large = hak_heap_alloc(server, 3 * MIB);
  begin();
  hak_free(block + 16);
  expect(HAK_ERROR_INTERIOR_POINTER, block + 16, hak_good_size(100), "server/?/requests");
  begin();
  hak_free_sized(block, 5000);
  expect(HAK_ERROR_WRONG_SIZE, block, hak_good_size(100), "server/?/requests");
  begin();
  hak_free(large + 4096);
  expect(HAK_ERROR_INTERIOR_POINTER, large + 4096, hak_usable_size(large), "server");
  begin();
  hak_free(&g_said);
  expect(HAK_ERROR_FOREIGN_POINTER, &g_said, 0, "");
  hak_free(block);
  hak_free(large);
  CHECK_EQ(hak_heap_destroy(low), 0);
  begin();
  CHECK(hak_heap_alloc(low, 10) == NULL);
  expect(HAK_ERROR_STALE_HEAP, NULL, 0, "");
  CHECK_EQ(hak_heap_destroy(nameless), 0);
  CHECK_EQ(hak_heap_destroy(server), 0);
}

static void path__that_is_too_long_keeps_its_end(void **state) {
  (void)state;
  enum {
    LEVELS = 12
  };
  static const char name[] = "a_heap_with_thirty_one_letters_";
  hak_heap_t *heaps[LEVELS], *parent = NULL;
  for (size_t i = 0; i < LEVELS; i++) parent = heaps[i] = make(parent, name, 0);
  CHECK_EQ(hak_heap_set_name(parent, "last"), 0);
  char *block = hak_heap_alloc(parent, 100);
  begin();
  hak_free(block + 16);
  hak_set_error_handler(NULL, NULL);
  size_t length = strlen(g_said.path);
  CHECK_MSG(length > 100 && length < 160, "%s", g_said.path);
  CHECK(strncmp(g_said.path, ".../a_heap", 10) == 0);
  CHECK(strcmp(g_said.path + length - 6, "_/last") == 0);
  hak_free(block);
  for (size_t i = LEVELS; i > 0; i--) CHECK_EQ(hak_heap_destroy(heaps[i - 1]), 0);
}

static int line_child(void *ctx) {
  (void)ctx;
  hak_heap_t *heap = make(make(NULL, "server", 0), "requests", 0);
  hak_free((char *)hak_heap_alloc(heap, 100) + 16);
  return 0;
}

static void default_line__says_all_of_it(void **state) {
  (void)state;
  char size[32];
  snprintf(size, sizeof size, ", %zu bytes, heap 0x", hak_good_size(100));
  test_child_must_abort(line_child, NULL, "hakmem: interior pointer: address 0x", size,
                        " \"server/requests\", in hak_free: ", NULL);
}

static void leaks__list_some_blocks_and_count_the_rest(void **state) {
  (void)state;
  hak_heap_t *server = make(NULL, "server", 0);
  for (unsigned blocks = 1; blocks <= 6; blocks++) {
    hak_heap_t *heap = make(server, "requests", HAK_HEAP_REPORT_LEAKS);
    char address[32];
    void *last = NULL;
    for (unsigned i = 0; i < blocks; i++) last = hak_heap_alloc(heap, 100);
    snprintf(address, sizeof address, "%p", last);
    begin();
    CHECK_EQ(hak_heap_destroy(heap), 0);
    hak_set_error_handler(NULL, NULL);
    CHECK_EQ(g_said.count, 1);
    CHECK_EQ(g_said.size, hak_good_size(100));
    CHECK(strcmp(g_said.path, "server/requests") == 0);
    CHECK(strstr(g_said.text, "at the end of \"server/requests\": 0x") != NULL);
    unsigned listed = 0;
    for (const char *at = g_said.text; (at = strstr(at, "0x")) != NULL; at++) listed++;
    CHECK_EQ(listed, blocks < 4 ? blocks : 4);
    if (blocks <= 4) CHECK(strstr(g_said.text, address) != NULL);
    CHECK((strstr(g_said.text, " more") != NULL) == (blocks > 4));
    if (blocks == 6) CHECK(strstr(g_said.text, " and 2 more") != NULL);
  }
  CHECK_EQ(hak_heap_destroy(server), 0);
}

/* A name that breaks lines and quotes, in each report that is printed. */
static int odd_names_child(void *ctx) {
  (void)ctx;
  hak_heap_t *heap = make(NULL, "a\"b\"\nhakmem: c\xff", HAK_HEAP_REPORT_LEAKS);
  CHECK(hak_heap_alloc(heap, 100) != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  heap = make(NULL, "a\"b\"\nhakmem: c\xff", 0);
  hak_free((char *)hak_heap_alloc(heap, 100) + 16);
  return 0;
}

static void names__do_not_break_lines(void **state) {
  (void)state;
  static const char quoted[] = "\"a\\\"b\\\"\\nhakmem: c\\xff\"";
  test_child_must_abort(odd_names_child, NULL, quoted, " live at the end of ", quoted,
                        "interior pointer", quoted, ", in hak_free: ", NULL);
}

/* ---- the environment -----------------------------------------------------------------
 */

static unsigned count_of(const char *text, const char *part) {
  unsigned count = 0;
  for (; (text = strstr(text, part)) != NULL; text++) count++;
  return count;
}

static int variables_child(void *ctx) {
  (void)ctx;
  setenv("HAKMEM_NO_SUCH_OPTION", "1", 1);
  setenv("HAKMEM_HELD_SLABS", "many\n", 1);
  for (int i = 0; i < 3; i++) {
    test_restart();
    hak_free(hak_alloc(10));
    CHECK_EQ(hak_shutdown(0), 0);
  }
  return 0;
}

static void variable__that_is_wrong_is_named_once(void **state) {
  (void)state;
  test_child_t child = test_child_run(variables_child, NULL, 20);
  CHECK_MSG(child.signal == 0 && child.status == 0, "%s", child.output);
  CHECK_EQ(count_of(child.output, "HAKMEM_NO_SUCH_OPTION=1 names no option; ignored\n"),
           1);
  CHECK_EQ(count_of(child.output,
                    "HAKMEM_HELD_SLABS=many\\n is no number from 4 to 65536; "
                    "ignored\n"),
           1);
  CHECK_EQ(count_of(child.output, "\n"), 2);
}

/* ---- SHOW_STATS
 * ------------------------------------------------------------------------
 */

typedef struct showing {
  const char *value;
  bool shut_down;
} showing_t;

static int show_child(void *ctx) {
  const showing_t *showing = ctx;
  setenv("HAKMEM_SHOW_STATS", showing->value, 1);
  test_restart();
  hak_heap_t *heap = make(make(NULL, "server", 0), "requests", 0);
  CHECK(hak_heap_alloc(heap, 5 * MIB) != NULL);
  (void)make(NULL, "odd\nname", 0);
  if (showing->shut_down) CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  exit(0);
}

static void show_stats__prints_once_as_the_process_ends(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    showing_t showing = {"1", i != 0};
    test_child_t child = test_child_run(show_child, &showing, 20);
    CHECK_MSG(child.signal == 0 && child.status == 0, "%s", child.output);
    CHECK_MSG(count_of(child.output, "live_bytes") == 1, "%s", child.output);
    CHECK_EQ(count_of(child.output, "  heap default "), 1);
    CHECK_EQ(count_of(child.output, "  heap odd\\nname "), 1);
    CHECK_EQ(count_of(child.output, "  heap server/requests "), 1);
    CHECK(strstr(child.output, " live in 1 block\n") != NULL);
  }
}

static void show_stats__as_json_or_not_at_all(void **state) {
  (void)state;
  showing_t showing = {"2", false};
  test_child_t child = test_child_run(show_child, &showing, 20);
  CHECK(child.output[0] == '{' && count_of(child.output, "\n") == 1);
  showing.value = "0";
  child = test_child_run(show_child, &showing, 20);
  CHECK_EQ(child.length, 0);
}

/* Children start hakmem themselves in the first three: this process has not used it. */
TEST_MAIN_FRESH(T(variable__that_is_wrong_is_named_once),
                T(show_stats__prints_once_as_the_process_ends),
                T(show_stats__as_json_or_not_at_all),
                T(report__names_the_heap_with_its_parents_and_the_size),
                T(path__that_is_too_long_keeps_its_end), T(default_line__says_all_of_it),
                T(leaks__list_some_blocks_and_count_the_rest),
                T(names__do_not_break_lines))
