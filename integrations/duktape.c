/* duktape.c - a JavaScript state in a heap of its own. */
#include <duktape.h>

#include "integrate.h"

static bool g_ours;

static void *failing_alloc(void *heap, size_t size) {
  return fails() ? NULL : hak_hook_alloc(heap, size);
}
static void *failing_realloc(void *heap, void *ptr, size_t size) {
  return fails() ? NULL : hak_hook_realloc(heap, ptr, size);
}

/* glue: Duktape passes a pointer, which is the heap. */
static duk_context *new_script(hak_heap_t *heap) {
  return duk_create_heap(hak_hook_alloc, hak_hook_realloc, hak_hook_free, heap, NULL);
}
/* glue end */

static void begin(void) { g_ours = true; }
static void end(void) {}

static const char script[] =
    "var list = [], words = {};\n"
    "for (var i = 0; i < 60; i++) list.push({name: 'n' + i, value: i * i % 97});\n"
    "list.sort(function (a, b) { return a.value - b.value || (a.name < b.name ? -1 : 1); "
    "});\n"
    "list.forEach(function (e) { words[e.value] = (words[e.value] || '') + e.name; });\n"
    "JSON.stringify(words).replace(/[0-9]+/g, function (n) { return n % 7; })"
    ".slice(0, 2000);\n";

static duk_ret_t evaluate(duk_context *script_state, void *unused) {
  (void)unused;
  duk_eval_string(script_state, script);
  return 1;
}

static int work(char *result) {
  duk_context *state = !g_ours          ? duk_create_heap_default()
                       : g_fail_at == 0 ? new_script(g_heap)
                                        : duk_create_heap(failing_alloc, failing_realloc,
                                                          hak_hook_free, g_heap, NULL);
  if (state == NULL) return 1;
  int error = duk_safe_call(state, evaluate, NULL, 0, 1);
  if (error == 0) snprintf(result, RESULT_MAX, "%s", duk_get_string(state, -1));
  duk_destroy_heap(state);
  return error;
}

int main(void) {
  static const integration_t duktape = {"duktape", 64 << 20, begin, end, work, NULL};
  return integrate(&duktape);
}
