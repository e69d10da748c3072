/* lessons.h - what was learned of places, written down for another run.
 *
 * Depends on: base, os, origin, waves.   Used by: lifecycle, api.
 *
 * A lesson is what waves.h knows of one place, under a key made of the place's texts and
 * line. Lessons that were read wait in a table until their places allocate for the first
 * time; places that have allocated take them at once, if nothing is known of them.
 *
 * As bytes: a header, a lesson for each place, and an end with a checksum of all before.
 * Nothing is believed that is not checked: neither length nor any figure.
 */
#ifndef HAK_LEARN_LESSONS_H
#define HAK_LEARN_LESSONS_H

#include "learn/origin.h"
#include "os/os.h"

/* Writes all that is known. `build`: what lessons are of; the same text reads them. */
typedef void(hak_lessons_write_fn)(const void *bytes, size_t length, void *ctx);
void hak_lessons_write(const char *build, hak_lessons_write_fn *write, void *ctx);

/* What became of bytes that were read. */
typedef enum hak_lessons_result {
  HAK_LESSONS_READ = 0,
  HAK_LESSONS_STRANGE, /* they are no lessons, or of another format */
  HAK_LESSONS_DAMAGED,
  HAK_LESSONS_OTHERS, /* of another build */
  HAK_LESSONS_TWICE,  /* some were read since the start */
  HAK_LESSONS_NO_MEMORY
} hak_lessons_result_t;
/* May call the OS: no lock held. Where the result is another than the first, nothing has
 * changed. */
hak_lessons_result_t hak_lessons_read(const hak_os_t *os, const char *build,
                                      const void *bytes, size_t length);

/* The place of a new origin takes its lesson, if there is one. O(lessons). */
void hak_lessons_apply(uint32_t origin);

/* At shutdown. */
void hak_lessons_stop(void);

#endif
