/* learned.c - what was learned of places, saved for another run and loaded there. */
#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "learn/lessons.h"

typedef struct output {
  hak_write_fn *write;
  void *ctx;
} output_t;

static void pass_on(const void *bytes, size_t length, void *ctx) {
  const output_t *out = ctx;
  out->write(bytes, length, out->ctx);
}

int hak_learned_save(const char *build, hak_write_fn *write, void *ctx) {
  if (write == NULL) return EINVAL;
  hak_stay_t stay = hak_stay_slow();
  if (stay == HAK_STAY_NONE) return ENODATA;
  output_t out = {write, ctx};
  hak_lessons_write(build, pass_on, &out);
  hak_stay_end(stay);
  return 0;
}

/* What each result of hak_lessons_read is to the program. */
static const struct {
  int error;
  const char *why;
} told[] = {
    [HAK_LESSONS_READ] = {0, ""},
    [HAK_LESSONS_STRANGE] = {EINVAL,
                             "this was not written by hak_learned_save, or by that "
                             "of another version or kind of processor"},
    [HAK_LESSONS_DAMAGED] = {EINVAL, "the data is damaged or cut off"},
    [HAK_LESSONS_OTHERS] = {ESTALE, "the data was saved by another build of the program"},
    [HAK_LESSONS_TWICE] = {EALREADY, "something was loaded already since the start"},
    [HAK_LESSONS_NO_MEMORY] = {ENOMEM, "memory is short"},
};

int hak_learned_load(const char *build, const void *data, size_t size, const char **why) {
  hak_lessons_result_t result = HAK_LESSONS_STRANGE;
  if (data != NULL) {
    hak_stay_t stay = hak_lifecycle_stay_slow();
    result = HAK_LESSONS_NO_MEMORY;
    if (stay != HAK_STAY_NONE) {
      result = hak_lessons_read(hak_lifecycle_os(), build, data, size);
      hak_stay_end(stay);
    }
  }
  if (why != NULL) *why = told[result].why;
  return told[result].error;
}
