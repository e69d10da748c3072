/* program.c FOLDER - a made-up server with heaps of all kinds, which writes what it has
 * into FOLDER/1.json, 2.json and 3.json: dumps of heaps. What places have is appended to
 * FOLDER/sites.json, and the process's statistics to FOLDER/statistics.json. Names are as
 * bad as they come. */
#include <hakmem/hakmem.h>

#include <stdio.h>
#include <stdlib.h>

static void to_file(const char *text, size_t length, void *file) {
  fwrite(text, 1, length, file);
}

static int statistics(int format, hak_write_fn *write, void *file) {
  return hak_stats_print(NULL, format, write, file);
}

static bool append(const char *folder, const char *name,
                   int (*print)(int format, hak_write_fn *write, void *file)) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s.json", folder, name);
  FILE *file = fopen(path, "a");
  if (file == NULL) return false;
  int error = print(HAK_FORMAT_JSON, to_file, file);
  return fclose(file) == 0 && error == 0;
}

static bool dump(const char *folder, int number) {
  char name[8];
  snprintf(name, sizeof name, "%d", number);
  return append(folder, name, hak_heaps_print) &&
         append(folder, "sites", hak_sites_print) &&
         append(folder, "statistics", statistics);
}

static hak_heap_t *make(const char *name, hak_heap_t *parent, size_t limit,
                        unsigned flags) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = name;
  config.parent = parent;
  config.hard_limit = limit;
  config.flags = flags;
  hak_heap_t *heap = hak_heap_create(&config);
  if (heap == NULL) exit(2);
  return heap;
}

static void fill(hak_heap_t *heap, size_t blocks, size_t size) {
  static hak_site_t fill_blocks = {"odd;\n</title>.c", 7, "<b>\xe2\x80\xae&amp;\"", {0}};
  for (size_t i = 0; i < blocks; i++) {
    if (hak_heap_alloc_at(heap, size + i % 50, &fill_blocks) == NULL) exit(3);
  }
}

int main(int argc, char **argv) {
  enum {
    TENANTS = 30
  };
  static char memory[1 << 20];
  static hak_heap_t *tenants[TENANTS];
  if (argc != 2) return 1;
  (void)hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1024);
  hak_heap_t *server = make("server", NULL, 0, 0);
  hak_heap_t *cache = make("cache", server, (size_t)64 << 20, 0);
  hak_heap_t *script = make("</script><script>alert(1)//", server, 0, HAK_HEAP_SERIAL);
  hak_heap_t *odd = make("a \"name\"\n\x01\xff&amp;<b>", server, 0, 0);
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = "plugin \xe2\x82\xac\xf0\x9f\x98\x80";
  config.memory = memory;
  config.memory_size = sizeof memory;
  hak_heap_t *plugin = hak_heap_create(&config);
  if (plugin == NULL || !dump(argv[1], 1)) return 4;
  for (int i = 0; i < TENANTS; i++) {
    char name[40];
    snprintf(name, sizeof name, "tenant %d", i);
    tenants[i] = make(name, cache, (size_t)4 << 20, 0);
    fill(tenants[i], 100 + 150 * (size_t)i, 100);
  }
  fill(script, 10000, 24);
  fill(odd, 3000, 700);
  fill(plugin, 100, 1000);
  fill(server, 3, (size_t)3 << 20);
  fill(server, 1, (size_t)50 << 20);
  if (!dump(argv[1], 2)) return 5;
  for (int i = 0; i < TENANTS; i += 2) {
    if (hak_heap_destroy(tenants[i]) != 0) return 6;
  }
  if (hak_heap_reset(odd) != 0) return 7;
  return dump(argv[1], 3) ? 0 : 8;
}
