/* jansson.c - Jansson's values in a heap of their own. */
#include <jansson.h>

#include "integrate.h"

/* glue: Jansson passes nothing. */
HAK_DEFINE_HOOKS(jansson, g_heap);
/* glue end: json_set_alloc_funcs(jansson_malloc, jansson_free) before anything else. */

static void *failing_malloc(size_t size) { return fails() ? NULL : jansson_malloc(size); }

static void begin(void) {
  json_set_alloc_funcs(HOOK(jansson_malloc, failing_malloc), jansson_free);
}
static void end(void) { json_set_alloc_funcs(malloc, free); }

static int work(char *result) {
  json_malloc_t give;
  json_free_t take;
  json_get_alloc_funcs(&give, &take);
  json_t *root =
      json_loads("{\"name\": \"a\\u00e4\\n\", \"list\": [1, 2.5, null, true]}", 0, NULL);
  json_t *list = json_object_get(root, "list");
  int error = root == NULL;
  for (int i = 0; error == 0 && i < 100; i++) {
    error = json_array_append_new(list,
                                  json_pack("{s:i, s:s}", "i", i, "square", "yes")) != 0;
  }
  char *text = error == 0 ? json_dumps(root, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
  if (text == NULL) error = 1;
  if (error == 0) snprintf(result, RESULT_MAX, "%s", text);
  take(text);
  json_decref(root);
  return error;
}

int main(void) {
  static const integration_t jansson = {"jansson", 64 << 20, begin, end, work, NULL};
  return integrate(&jansson);
}
