/* program.c - prints a profile of itself: program FORMAT SAMPLE_BYTES TIMES. On stderr, a
 * line for each place and each way to it, what is true: "name way live_blocks live_bytes
 * blocks bytes". Where FORMAT is by stack, the ways are what the program says of stacks;
 * a line "# way address" says where each lies. */
#include <hakmem/hakmem.h>

#include <stdio.h>
#include <stdlib.h>

typedef void(way_t)(unsigned times);

static void write_out(const char *text, size_t length, void *ctx) {
  fwrite(text, 1, length, (FILE *)ctx);
}

int main(int argc, char **argv);
static way_t *way; /* what the program is in; NULL: main alone */

/* As if each function called at its first byte. */
static void *returns_to(uintptr_t function) { return (void *)(function + 1); }
static size_t give_stack(void **addresses, size_t most, void *ctx) {
  ++*(unsigned *)ctx;
  if (way == NULL || most < 2) return 0;
  addresses[0] = returns_to((uintptr_t)way);
  addresses[1] = returns_to((uintptr_t)main);
  return 2;
}

/* Allocates `made` blocks and frees all but `kept` of them. */
static void use(hak_site_t *site, const char *by, size_t size, unsigned made,
                unsigned kept) {
  for (unsigned i = 0; i < made; i++) {
    void *block = hak_alloc_at(size, site);
    if (block == NULL) exit(2);
    if (i >= kept) hak_free(block);
  }
  fprintf(stderr, "%s\t%s\t%u\t%zu\t%u\t%zu\n", site->name, by, kept, kept * size, made,
          made * size);
}

static hak_site_t particles = {"game/level.c", 120, "particles", {0}};
static hak_site_t textures = {"game/level.c", 77, "textures", {0}};
static hak_site_t odd = {"", 0, "std::map<a;b, \"c\\d\">", {0}};
static hak_site_t frames = {"game/frame.c", 9, "frames", {0}};

__attribute__((noinline)) static void level(unsigned times) {
  use(&particles, "level", 100, 400 * times, 150 * times);
  use(&textures, "level", 10000, 3 * times, 2 * times);
}
__attribute__((noinline)) static void menu(unsigned times) {
  use(&particles, "menu", 100, 100 * times, 50 * times);
}

static void go(way_t *where, unsigned times) {
  way = where;
  where(times);
  way = NULL;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int format = atoi(argv[1]);
  unsigned asked = 0, times = (unsigned)atol(argv[3]);
  if (hak_option_set(HAK_OPTION_SAMPLE_BYTES, atol(argv[2])) != 0) return 2;
  if ((format & HAK_FORMAT_STACKS) != 0) hak_set_stack_hook(give_stack, &asked);
  fprintf(stderr, "# level %#zx\n# menu %#zx\n", (size_t)(uintptr_t)level,
          (size_t)(uintptr_t)menu);
  go(level, times);
  go(menu, times);
  use(&odd, "", 24, 1000 * times, 1000 * times);
  hak_set_stack_hook(NULL, NULL);
  unsigned before = asked;
  use(&frames, "", 300000, 40, 0);
  if (asked != before || (asked != 0) != ((format & HAK_FORMAT_STACKS) != 0)) return 3;
  return hak_sites_print(format, write_out, stdout);
}
