/* python.c - a Python interpreter with all of its memory in a heap. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "integrate.h"

/* glue: Python passes a pointer, which is the heap. Its pools of small objects lie in
 * arenas, which are blocks of the heap like larger objects. */
static void free_arena(void *heap, void *arena, size_t size) {
  (void)size;
  hak_hook_free(heap, arena);
}
static void use_heap(hak_heap_t *heap) {
  PyMemAllocatorEx memory = {heap, hak_hook_alloc, hak_hook_calloc, hak_hook_realloc,
                             hak_hook_free};
  PyObjectArenaAllocator arenas = {heap, hak_hook_alloc, free_arena};
  PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &memory);
  PyObject_SetArenaAllocator(&arenas);
}
/* glue end: before Python is initialised */

/* Calls fail while the script runs: those for larger objects, and those for all that the
 * pools serve. */
static bool g_running;
static bool fails_now(void) { return g_running && fails(); }
static PyMemAllocatorEx g_pools;

static void *failing_alloc(void *ctx, size_t size) {
  return fails_now() ? NULL : g_pools.malloc(ctx, size);
}
static void *failing_calloc(void *ctx, size_t count, size_t size) {
  return fails_now() ? NULL : g_pools.calloc(ctx, count, size);
}
static void *failing_realloc(void *ctx, void *ptr, size_t size) {
  return fails_now() ? NULL : g_pools.realloc(ctx, ptr, size);
}

static void begin(void) {
  use_heap(g_heap);
  if (measure_rounds() > 0) return;
  PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &g_pools);
  PyMemAllocatorEx memory = {g_pools.ctx, failing_alloc, failing_calloc, failing_realloc,
                             g_pools.free};
  PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &memory);
  PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &memory);
}
static void end(void) { MUST(Py_FinalizeEx() == 0); }

static const char script[] =
    "import json\n"
    "table = [{'name': 'n%d' % i, 'value': i * i % 97} for i in range(60)]\n"
    "table.sort(key=lambda entry: (entry['value'], entry['name']))\n"
    "text = json.dumps(table[::9]) + str(2 ** 500 % 10 ** 40)\n";

static int start(void) {
  PyConfig config;
  PyConfig_InitIsolatedConfig(&config);
  config.site_import = 0;
  PyStatus status = Py_InitializeFromConfig(&config);
  PyConfig_Clear(&config);
  return PyStatus_Exception(status) ? 1 : 0;
}

static int work(char *result) {
  if (!Py_IsInitialized() && start() != 0) return 1;
  PyObject *names = PyDict_New(), *text = NULL; /* of this run */
  MUST(names != NULL &&
       PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins()) == 0);
  g_running = true;
  PyObject *done = PyRun_String(script, Py_file_input, names, names);
  g_running = false;
  PyErr_Clear();
  if (done != NULL) text = PyDict_GetItemString(names, "text");
  if (text != NULL) snprintf(result, RESULT_MAX, "%s", PyUnicode_AsUTF8(text));
  int error = text == NULL;
  Py_XDECREF(done);
  Py_DECREF(names);
  return error;
}

int main(void) {
  g_keeps = true; /* what it makes for good */
  static const integration_t python = {"python", 64 << 20, begin, end, work, NULL};
  return integrate(&python);
}
