/* atomic.h - atomics that carry their order in their name.
 *
 * The only file that names a memory order. Add a wrapper when one is needed.
 *
 * Depends on: compiler.   Used by: everything.
 */
#ifndef HAK_BASE_ATOMIC_H
#define HAK_BASE_ATOMIC_H

#include <stdatomic.h>

#include "base/compiler.h"

typedef _Atomic(uint64_t) hak_atomic_u64_t;
typedef _Atomic(uint32_t) hak_atomic_u32_t;
typedef _Atomic(int32_t) hak_atomic_i32_t;
typedef _Atomic(uint16_t) hak_atomic_u16_t;
typedef _Atomic(uint8_t) hak_atomic_u8_t;
typedef _Atomic(int64_t) hak_atomic_i64_t;
typedef _Atomic(void *) hak_atomic_ptr_t;

/* Every read-modify-write stands in here: a locked instruction, or what other
 * processors have in its place. Tests build the library with HAK_COUNT_ATOMICS and
 * define the count of the thread. */
#ifdef HAK_COUNT_ATOMICS
extern _Thread_local uint64_t hak_atomics_counted;
#define HAK_LOCKED(operation) (hak_atomics_counted++, (operation))
#else
#define HAK_LOCKED(operation) (operation)
#endif

#define hak_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define hak_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define hak_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define hak_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define hak_add_relaxed(p, v) \
  HAK_LOCKED(atomic_fetch_add_explicit((p), (v), memory_order_relaxed))
#define hak_add_acquire(p, v) \
  HAK_LOCKED(atomic_fetch_add_explicit((p), (v), memory_order_acquire))
#define hak_add_release(p, v) \
  HAK_LOCKED(atomic_fetch_add_explicit((p), (v), memory_order_release))
#define hak_sub_relaxed(p, v) \
  HAK_LOCKED(atomic_fetch_sub_explicit((p), (v), memory_order_relaxed))
#define hak_sub_release(p, v) \
  HAK_LOCKED(atomic_fetch_sub_explicit((p), (v), memory_order_release))
#define hak_or_acquire(p, v) \
  HAK_LOCKED(atomic_fetch_or_explicit((p), (v), memory_order_acquire))
#define hak_or_release(p, v) \
  HAK_LOCKED(atomic_fetch_or_explicit((p), (v), memory_order_release))
#define hak_and_release(p, v) \
  HAK_LOCKED(atomic_fetch_and_explicit((p), (v), memory_order_release))
#define hak_or_relaxed(p, v) \
  HAK_LOCKED(atomic_fetch_or_explicit((p), (v), memory_order_relaxed))
#define hak_and_relaxed(p, v) \
  HAK_LOCKED(atomic_fetch_and_explicit((p), (v), memory_order_relaxed))
#define hak_exchange_acquire(p, v) \
  HAK_LOCKED(atomic_exchange_explicit((p), (v), memory_order_acquire))
#define hak_exchange_release(p, v) \
  HAK_LOCKED(atomic_exchange_explicit((p), (v), memory_order_release))
#define hak_exchange_relaxed(p, v) \
  HAK_LOCKED(atomic_exchange_explicit((p), (v), memory_order_relaxed))

/* Strong compare-and-swap: true if *p was *expected; else *expected is what it
 * is. The failing load is relaxed. */
#define HAK_CAS(p, expected, v, order)                                            \
  HAK_LOCKED(atomic_compare_exchange_strong_explicit((p), (expected), (v), order, \
                                                     memory_order_relaxed))
#define hak_cas_relaxed(p, expected, v) HAK_CAS(p, expected, v, memory_order_relaxed)
#define hak_cas_acquire(p, expected, v) HAK_CAS(p, expected, v, memory_order_acquire)
#define hak_cas_release(p, expected, v) HAK_CAS(p, expected, v, memory_order_release)

/* Keeps the compiler from moving stores across. Enough where only the child of a
 * fork, which sees a thread stopped between two instructions, could notice. */
#define hak_compiler_fence() atomic_signal_fence(memory_order_seq_cst)

/* For counters that only one thread writes and others read: no locked
 * instruction. */
#define hak_count_own(p, n) hak_store_relaxed((p), hak_load_relaxed(p) + (n))

/* x == *p, and x < *p, loaded relaxed: in one instruction, of which compilers make two.
 */
HAK_HOT bool hak_equals_relaxed(uint64_t x, hak_atomic_u64_t *p) {
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(HAK_TSAN)
  bool same;
  __asm__("cmpq %2, %1" : "=@cce"(same) : "r"(x), "m"(*(uint64_t *)p));
  return same;
#else
  return x == hak_load_relaxed(p);
#endif
}
HAK_HOT bool hak_below_relaxed(uint64_t x, hak_atomic_u64_t *p) {
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(HAK_TSAN)
  bool below;
  __asm__("cmpq %2, %1" : "=@ccb"(below) : "r"(x), "m"(*(uint64_t *)p));
  return below;
#else
  return x < hak_load_relaxed(p);
#endif
}
/* x + *p, loaded relaxed: in one instruction, of which compilers make two. */
HAK_HOT uint64_t hak_sum_relaxed(uint64_t x, hak_atomic_u64_t *p) {
#if defined(__x86_64__)
  __asm__("addq %1, %0" : "+r"(x) : "m"(*(const uint64_t *)(const void *)p) : "cc");
  return x;
#else
  return x + hak_load_relaxed(p);
#endif
}

#if defined(__x86_64__) || defined(__i386__)
#define hak_cpu_relax() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define hak_cpu_relax() __asm__ volatile("isb" ::: "memory")
#else
#define hak_cpu_relax() ((void)0)
#endif

#endif
