/* sdl.c - SDL's surfaces and texts in a heap of their own. */
#include <SDL.h>

#include "integrate.h"

/* glue: SDL passes nothing. */
HAK_DEFINE_HOOKS(sdl, g_heap);
/* glue end: SDL_SetMemoryFunctions(sdl_malloc, sdl_calloc, sdl_realloc, sdl_free) before
 * anything else */

static void *SDLCALL failing_malloc(size_t size) {
  return fails() ? NULL : sdl_malloc(size);
}
static void *SDLCALL failing_calloc(size_t count, size_t size) {
  return fails() ? NULL : sdl_calloc(count, size);
}
static void *SDLCALL failing_realloc(void *ptr, size_t size) {
  return fails() ? NULL : sdl_realloc(ptr, size);
}

static void begin(void) {
  MUST(SDL_SetMemoryFunctions(HOOK(sdl_malloc, failing_malloc),
                              HOOK(sdl_calloc, failing_calloc),
                              HOOK(sdl_realloc, failing_realloc), sdl_free) == 0);
}
static void end(void) { SDL_Quit(); }

static SDL_Surface *surface(int width, int height) {
  return SDL_CreateRGBSurfaceWithFormat(0, width, height, 32, SDL_PIXELFORMAT_ARGB8888);
}

static int draw(SDL_Surface *from, SDL_Surface *to, unsigned long *sum) {
  SDL_Rect square = {10, 10, 30, 20};
  if (SDL_FillRect(from, &square, 0xff336699) != 0 ||
      SDL_BlitScaled(from, NULL, to, NULL) != 0) {
    return 0;
  }
  SDL_Surface *grey = SDL_ConvertSurfaceFormat(to, SDL_PIXELFORMAT_RGB565, 0);
  if (grey == NULL) return 0;
  for (int y = 0; y < grey->h; y++) {
    const unsigned char *row = (const unsigned char *)grey->pixels + y * grey->pitch;
    for (int x = 0; x < 2 * grey->w; x++) *sum = *sum * 31 + row[x];
  }
  SDL_FreeSurface(grey);
  return 1;
}

static int work(char *result) {
  unsigned long sum = 0;
  SDL_Surface *from = surface(100, 80), *to = surface(300, 200);
  int ok = from != NULL && to != NULL && draw(from, to, &sum);
  SDL_FreeSurface(from);
  SDL_FreeSurface(to);
  char *text = ok ? SDL_iconv_string("UTF-16LE", "UTF-8", "surface", 8) : NULL;
  if (text == NULL) return 1;
  snprintf(result, RESULT_MAX, "%lu %d", sum, text[0] + text[2]);
  SDL_free(text);
  return 0;
}

int main(int argc, char **argv) {
  (void)argc, (void)argv;
  static const integration_t sdl = {"sdl", 16 << 20, begin, end, work, NULL};
  return integrate(&sdl);
}
