/* atomic.h - stands in for src/base/atomic.h where the library is compiled for the
 * explorer: the same names, each of which hands its access to the explorer together with
 * the place that it stands at. No other file of the library is replaced.
 *
 * The test explore.wrappers compares the names with those of the file that ships.
 */
#ifndef HAK_BASE_ATOMIC_H
#define HAK_BASE_ATOMIC_H

#include <stdatomic.h>

#include "base/compiler.h"
#include "explore_access.h"

typedef _Atomic(uint64_t) hak_atomic_u64_t;
typedef _Atomic(uint32_t) hak_atomic_u32_t;
typedef _Atomic(int32_t) hak_atomic_i32_t;
typedef _Atomic(uint16_t) hak_atomic_u16_t;
typedef _Atomic(uint8_t) hak_atomic_u8_t;
typedef _Atomic(int64_t) hak_atomic_i64_t;
typedef _Atomic(void *) hak_atomic_ptr_t;

#define hak_load_relaxed(p) EXPLORE_LOAD(p, RELAXED)
#define hak_load_acquire(p) EXPLORE_LOAD(p, ACQUIRE)
#define hak_store_relaxed(p, v) EXPLORE_STORE(p, v, RELAXED)
#define hak_store_release(p, v) EXPLORE_STORE(p, v, RELEASE)
#define hak_add_relaxed(p, v) EXPLORE_MODIFY(p, v, ADD, RELAXED)
#define hak_add_acquire(p, v) EXPLORE_MODIFY(p, v, ADD, ACQUIRE)
#define hak_add_release(p, v) EXPLORE_MODIFY(p, v, ADD, RELEASE)
#define hak_sub_relaxed(p, v) EXPLORE_MODIFY(p, v, SUB, RELAXED)
#define hak_sub_release(p, v) EXPLORE_MODIFY(p, v, SUB, RELEASE)
#define hak_or_acquire(p, v) EXPLORE_MODIFY(p, v, OR, ACQUIRE)
#define hak_or_release(p, v) EXPLORE_MODIFY(p, v, OR, RELEASE)
#define hak_and_release(p, v) EXPLORE_MODIFY(p, v, AND, RELEASE)
#define hak_or_relaxed(p, v) EXPLORE_MODIFY(p, v, OR, RELAXED)
#define hak_and_relaxed(p, v) EXPLORE_MODIFY(p, v, AND, RELAXED)
#define hak_exchange_acquire(p, v) EXPLORE_MODIFY(p, v, EXCHANGE, ACQUIRE)
#define hak_exchange_release(p, v) EXPLORE_MODIFY(p, v, EXCHANGE, RELEASE)
#define hak_exchange_relaxed(p, v) EXPLORE_MODIFY(p, v, EXCHANGE, RELAXED)

#define hak_cas_relaxed(p, expected, v) EXPLORE_CAS(p, expected, v, STRONG, RELAXED)
#define hak_cas_acquire(p, expected, v) EXPLORE_CAS(p, expected, v, STRONG, ACQUIRE)
#define hak_cas_release(p, expected, v) EXPLORE_CAS(p, expected, v, STRONG, RELEASE)

/* Every write of a thread is a step where a fork is explored. */
#define hak_compiler_fence() __asm__ volatile("" ::: "memory")

#define hak_count_own(p, n) hak_store_relaxed((p), hak_load_relaxed(p) + (n))
#define hak_sum_relaxed(x, p) ((uint64_t)(x) + hak_load_relaxed(p))
#define hak_equals_relaxed(x, p) ((uint64_t)(x) == hak_load_relaxed(p))
#define hak_below_relaxed(x, p) ((uint64_t)(x) < hak_load_relaxed(p))

/* A thread that waits in a loop goes on when another has written what it looked at, or
 * because it has waited for long enough. */
#define hak_cpu_relax() explore_pause()

#endif
