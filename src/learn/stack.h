/* stack.h - the calls by which places were reached, of samples.
 *
 * Depends on: base, origin.   Used by: sample, api.
 *
 * Where the program asks for stacks, each sample has one: the return addresses that the
 * program's own function gave. Samples of one place with the same stack share a record,
 * which has sums as the place has (origin.h). The first STACKS stacks have records; a
 * sample of any other one is of its place alone, as if nobody had asked.
 *
 * The number of no stack is 0. Records stay until shutdown. Nothing is allocated as long
 * as nobody asks; then about 300 KiB at once, which become resident as they are used.
 *
 * Access: [lock] is the lock of origin.h.
 */
#ifndef HAK_LEARN_STACK_H
#define HAK_LEARN_STACK_H

#include "learn/origin.h"

/* Addresses that are kept of a stack, the innermost. */
#define HAK_STACK_FRAMES 30
#define HAK_STACK_NONE 0u

typedef struct hak_stack_record {
  uint32_t origin;                      /* [const] the place's number */
  uint32_t depth;                       /* [const] addresses */
  uint32_t next;                        /* [const] the next one of the place's, or 0 */
  uint32_t samples, live_samples;       /* [lock] */
  double blocks, bytes;                 /* [lock] allocated so far */
  double live_blocks, live_bytes;       /* [lock] of them not freed yet */
  const void *frames[HAK_STACK_FRAMES]; /* [const] the innermost first */
} hak_stack_record_t;

/* There is memory for records; false if it is short. May call the OS: no lock held. */
bool hak_stacks_prepare(const hak_os_t *os);

/* The number of a place's stack, which is given a record if there is none yet and room
 * for one; else HAK_STACK_NONE. After hak_stacks_prepare. Takes the lock. */
uint32_t hak_stack_number(uint32_t origin, void *const *frames, size_t depth);

/* A sample of the stack is new, begins its life (+1) or ends it (-1): it stands for so
 * many blocks and bytes. Nothing happens for HAK_STACK_NONE. */
void hak_stack_count_locked(uint32_t stack, double blocks, double bytes);
void hak_stack_live_locked(uint32_t stack, int sign, double blocks, double bytes);

/* The first stack of a place, or 0; the others follow by `next`. Takes the lock. */
uint32_t hak_stack_first(uint32_t origin);
/* Copies a record of a number that is not 0. Takes the lock. */
hak_stack_record_t hak_stack_read(uint32_t stack);

/* At shutdown. */
void hak_stacks_stop(void);

#endif
