/* wave_sample.h - a sample as those see it who follow waves of load.
 *
 * Depends on: base.   Used by: sample, waves, outgrow.
 */
#ifndef HAK_LEARN_WAVE_SAMPLE_H
#define HAK_LEARN_WAVE_SAMPLE_H

#include <stdint.h>

#include "base/compiler.h"

/* A sample, and what it stands for. */
typedef struct hak_wave_sample {
  uint32_t origin;
  uint32_t led; /* to which group, when its life began */
  double bytes, blocks;
  uint64_t clock; /* bytes that had been allocated when its life began */
} hak_wave_sample_t;

/* Calls `fn` for each sample that lives and counts here; given by sample.c, which has the
 * table. */
typedef void(hak_wave_sample_fn)(const hak_wave_sample_t *sample);
typedef void(hak_wave_each_fn)(hak_wave_sample_fn *fn);

typedef struct hak_wave_now {
  uint64_t clock; /* bytes that were allocated so far */
  uint64_t mean;  /* bytes; the mean distance of samples */
  hak_wave_each_fn *each;
} hak_wave_now_t;

#endif
