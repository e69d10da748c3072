/* sample.h - blocks that stand for others: what is live, by the place that asked for it.
 *
 * Depends on: base, chance, origin, shadow, stack, waves.   Used by: heap, api.
 *
 * A few blocks, picked as chance.h says, lie in slabs of which each free takes the slow
 * path, so what becomes of them is known exactly, on whatever thread. They are in the
 * table of this module, at most 3,072 of them; while more than half of that are live, the
 * mean distance grows, and shrinks again when they are few. Each block of the table
 * stands for others of its place (chance.h), and the sums over a place's blocks say what
 * is live. A block that is resized stands for as many as before, of its new size.
 *
 * Each picked block counts as allocated, but not each is followed, as that takes some
 * thousand instructions: of a place whose blocks live for a short time only, most would
 * say that they are gone, again and again. So a place has a mean distance of its own with
 * which its blocks are followed: up to 8 times the usual one where 15 of 16 bytes that
 * it freed had been allocated less than 256 KiB ago, 4 times where 31 of 32 had less than
 * 2 MiB ago. Blocks of this kind are never more than 2 MiB of what lives. A picked block
 * is followed as if it had been picked with the place's distance:
 *
 *     accepted with the chance p(size, place's mean) / p(size, mean),
 *
 * which is decided by what was known before, so sums of live blocks have no bias either.
 * Where a place begins to keep blocks, the distance is what its live bytes L allow:
 * (4 mean)^2 / L, at least the usual one, so that the place adds no more to the variance
 * of what lives than 16 times the mean would.
 *
 * What is not here: which slabs those are (heap/samples.h), and when a sample is due
 * (api/site.c).
 *
 * Access: the table, and the sums of origins, are guarded by the lock of origin.h.
 */
#ifndef HAK_LEARN_SAMPLE_H
#define HAK_LEARN_SAMPLE_H

#include "learn/chance.h"
#include "learn/origin.h"
#include "learn/stack.h"

/* A sampled block. */
typedef struct hak_sample {
  const void *block;   /* [lock] NULL: the place in the table is free */
  const void *heap_id; /* [lock] of the heap whose slab it lies in */
  uint64_t size;       /* [lock] bytes that were asked for, or it was resized to */
  double chance;       /* [lock] that a block which is picked with as many bytes is a
                          sample; see chance.h */
  uint64_t mean;       /* [lock] with which it is followed, in bytes */
  uint64_t clock;      /* [lock] hak_samples_clock then */
  uint32_t origin;     /* [lock] its number */
  uint16_t stack;      /* [lock] see stack.h */
  uint8_t led;         /* [lock] the group that its origin was led to then */
  bool brief;          /* [lock] followed as one of a place whose blocks live briefly */
} hak_sample_t;

/* The way has run out: draws the distances that follow. The mean distance with which the
 * allocation that made it run out was picked, in bytes; 0: no sample is due. `seed`
 * begins the way. Where SAMPLE_BYTES is 0 no sample is due, and the option is looked at
 * again after some 64 MiB. */
uint64_t hak_sample_due(hak_sample_way_t *way, uint64_t seed);

/* The usual mean distance of this moment; 0: there are no samples. */
uint64_t hak_samples_mean(void);

/* There is memory for the table; false if it is short. May call the OS: no lock held. */
bool hak_samples_prepare(const hak_os_t *os);

/* Who asked for a sample. */
typedef struct hak_asker {
  uint32_t origin, stack; /* numbers of the place and of its stack */
} hak_asker_t;

/* The mean distance with which blocks of the origin are followed, where others are picked
 * with `mean`; a copy of the record does. */
uint64_t hak_sample_follows_with(const hak_origin_t *origin, uint64_t mean);
/* The mean distance with which a block is followed of which `bytes` were picked with
 * `mean`; 0: it is not. `random` is of chance.h. */
uint64_t hak_sample_follow(hak_asker_t asker, size_t bytes, uint64_t mean,
                           uint64_t *random);

/* A block that is about to be given to the program, picked with a mean distance and
 * followed with another. False if the table is full: the block is no sample. */
bool hak_sample_add(hak_asker_t asker, const void *block, size_t size, uint64_t mean,
                    uint64_t followed, const void *heap_id);
/* The same for a block of which nobody will say that it is freed: it counts as allocated,
 * but not as live. */
void hak_sample_count(hak_asker_t asker, size_t size, uint64_t mean);
/* The block is freed. False: it is no sample, or its heap was forgotten. */
bool hak_sample_remove(const void *block);
/* The block may move while it is resized: it is not in the table until it is put back, at
 * an address that the thread has, and the sums are without it. False: it is no sample. */
bool hak_sample_take(const void *block, hak_sample_t *out);
void hak_sample_put(const hak_sample_t *sample);
/* The same, but as a block that its origin allocated. */
void hak_sample_put_new(const hak_sample_t *sample);
/* All blocks of the heap are gone. O(table). */
void hak_samples_forget(const void *heap_id);

/* Lives are told apart by the bytes that all places asked for meanwhile: those of kind i
 * were shorter than this, those of the last kind longer than all. */
#define HAK_LIFE_MOST(i) ((uint64_t)1 << (18 + 3 * (i)))

/* Bytes that were asked for by all places, estimated: the clock of samples. */
uint64_t hak_samples_clock(void);

/* Copies what is known of an origin; its number is below hak_origins_made(). */
hak_origin_t hak_origin_read(uint32_t number);
/* Calls `visit` with a copy of each live sample, in no order; no lock is held, so samples
 * that come or go meanwhile may be missed. Stops when it says false. */
void hak_samples_visit(bool (*visit)(const hak_sample_t *sample, void *ctx), void *ctx);
/* How many blocks a sample stands for. */
HAK_HOT double hak_sample_stands_for(const hak_sample_t *sample) {
  return 1 / sample->chance;
}
/* It was picked with more bytes than before, as it has grown; for one that was taken. */
void hak_sample_grow(hak_sample_t *sample, size_t size);

/* The table has what the origins' sums say. O(table). */
bool hak_samples_are_valid(void);
/* At shutdown. */
void hak_samples_stop(void);

#endif
