/* program.c - prints a profile of itself: program FORMAT SAMPLE_BYTES TIMES. On stderr, a
 * line for each place, what is true: "title live_blocks live_bytes blocks bytes". */
#include <hakmem/hakmem.h>

#include <stdio.h>
#include <stdlib.h>

static void write_out(const char *text, size_t length, void *ctx) {
  fwrite(text, 1, length, (FILE *)ctx);
}

/* Allocates `made` blocks and frees all but `kept` of them. */
static void use(hak_site_t *site, size_t size, unsigned made, unsigned kept) {
  for (unsigned i = 0; i < made; i++) {
    void *block = hak_alloc_at(size, site);
    if (block == NULL) exit(2);
    if (i >= kept) hak_free(block);
  }
  fprintf(stderr, "%s\t%u\t%zu\t%u\t%zu\n", site->name, kept, kept * size, made,
          made * size);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  if (hak_option_set(HAK_OPTION_SAMPLE_BYTES, atol(argv[2])) != 0) return 2;
  static hak_site_t particles = {"game/level.c", 120, "particles", {0}};
  static hak_site_t textures = {"game/level.c", 77, "textures", {0}};
  static hak_site_t odd = {"", 0, "std::map<a;b, \"c\\d\">", {0}};
  static hak_site_t frames = {"game/frame.c", 9, "frames", {0}};
  unsigned times = (unsigned)atol(argv[3]);
  use(&particles, 100, 500 * times, 200 * times);
  use(&textures, 10000, 3 * times, 2 * times);
  use(&odd, 24, 1000 * times, 1000 * times);
  use(&frames, 300000, 40, 0);
  return hak_sites_print(atoi(argv[1]), write_out, stdout);
}
