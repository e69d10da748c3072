/* zstd.c - zstd's contexts in a heap of their own. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include "integrate.h"

/* glue: zstd passes a pointer, which is the heap. */
static ZSTD_customMem zstd_memory(hak_heap_t *heap) {
  return (ZSTD_customMem){hak_hook_alloc, hak_hook_free, heap};
}
/* glue end: ZSTD_createCCtx_advanced(zstd_memory(heap)), and other functions `_advanced`
 */

static bool g_ours;
static void begin(void) { g_ours = true; }
static void end(void) {}

static void *failing_alloc(void *heap, size_t size) {
  return fails() ? NULL : hak_hook_alloc(heap, size);
}

static int work(char *result) {
  static char text[300000], packed[300000], unpacked[300000];
  for (size_t i = 0; i < sizeof text; i++)
    text[i] = (char)('a' + i * i / 7 % 13 % (i % 26 + 1));
  ZSTD_customMem memory = g_ours ? zstd_memory(g_heap) : ZSTD_defaultCMem;
  if (g_ours) memory.customAlloc = HOOK(hak_hook_alloc, failing_alloc);
  int error = 1;
  ZSTD_CCtx *compress = ZSTD_createCCtx_advanced(memory);
  ZSTD_DCtx *expand = ZSTD_createDCtx_advanced(memory);
  if (compress != NULL && expand != NULL) {
    size_t size =
        ZSTD_compressCCtx(compress, packed, sizeof packed, text, sizeof text, 5);
    if (!ZSTD_isError(size)) {
      size_t back = ZSTD_decompressDCtx(expand, unpacked, sizeof unpacked, packed, size);
      error = ZSTD_isError(back) || memcmp(text, unpacked, sizeof text) != 0;
      snprintf(result, RESULT_MAX, "%zu bytes", size);
    }
  }
  ZSTD_freeCCtx(compress);
  ZSTD_freeDCtx(expand);
  return error;
}

int main(void) {
  static const integration_t zstd = {"zstd", 64 << 20, begin, end, work, NULL};
  return integrate(&zstd);
}
