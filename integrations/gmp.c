/* gmp.c - GMP's numbers in a heap of their own. */
#include <gmp.h>

#include "integrate.h"

/* glue: GMP passes sizes; a wrong one in a free would be named. */
HAK_DEFINE_HOOKS(gmp, g_heap);
/* glue end: mp_set_memory_functions(gmp_malloc, gmp_realloc_sized, gmp_free_sized) */

static void begin(void) {
  mp_set_memory_functions(gmp_malloc, gmp_realloc_sized, gmp_free_sized);
}
static void end(void) { mp_set_memory_functions(NULL, NULL, NULL); }

static int work(char *result) {
  mpz_t n, root;
  mpz_init(n);
  mpz_init(root);
  mpz_fac_ui(n, 1200);
  mpz_sqrt(root, n);
  mpz_get_str(result, 10, root);
  mpz_clear(n);
  mpz_clear(root);
  return 0;
}

int main(void) {
  static const integration_t gmp = {
      "gmp", 1 << 20, begin, end, work, "GMP knows no error for it and ends the program"};
  return integrate(&gmp);
}
