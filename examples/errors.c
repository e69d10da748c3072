/* errors.c - hearing of misuse instead of being aborted by it. What it does wrong on
 * purpose a compiler would already name, but for HAK_NO_ATTRIBUTES. */
#define HAK_NO_ATTRIBUTES
#include <hakmem/hakmem.h>
#include <stdio.h>
#include <stdlib.h>

static int reports;

/* May not allocate from hakmem. If it returns, the call in question is dropped. */
static void on_error(const hak_error_info_t *info, void *context) {
  (void)context;
  reports++;
  printf("%s: %s\n", info->function, hak_error_text(info->error));
}

int main(void) {
  int local = 0;
  char *foreign = malloc(100);
  hak_set_error_handler(on_error, NULL);
  hak_free(&local);  /* an address of the stack */
  hak_free(foreign); /* another allocator's block */
  free(foreign);
  return reports == 2 ? 0 : 1;
}
