/* je.h - jemalloc's non-standard functions over hakmem's own, for programs that were
 * written for jemalloc: mallocx and its like, mallctl with the names that such programs
 * use, and the hint for active defragmentation.
 *
 * Everything here is inline and calls the public interface; include the header instead of
 * <jemalloc/jemalloc.h>. With HAK_JE_PREFIX defined before, the names begin with it:
 * `#define HAK_JE_PREFIX je_` makes je_mallocx. The rules of hakmem.h hold. What differs
 * from jemalloc is said at each function; docs/JEMALLOC.md has the whole list.
 */
#ifndef HAKMEM_JE_H
#define HAKMEM_JE_H

/* What is here is C, whose casts and null pointers C++ compilers can be told to warn of.
 */
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC system_header
#endif

#include <errno.h>
#include <hakmem/hakmem.h>
#include <string.h>

#ifdef HAK_JE_PREFIX
#define HAK_JE_JOIN2(a, b) a##b
#define HAK_JE_JOIN(a, b) HAK_JE_JOIN2(a, b)
#define HAK_JE(name) HAK_JE_JOIN(HAK_JE_PREFIX, name)
#else
#define HAK_JE(name) name
#endif

/* ---- Flags, as jemalloc lays them out -----------------------------------------------
 */

/* The alignment 2^la. */
#define MALLOCX_LG_ALIGN(la) ((int)(la))
/* The alignment `a`, a power of two. */
#define MALLOCX_ALIGN(a) ((int)__builtin_ctzll((unsigned long long)(a)))
/* Zero, up to the usable size. */
#define MALLOCX_ZERO ((int)0x40)
/* A thread has one cache, so those of any number are that one. */
#define MALLOCX_TCACHE(tc) ((int)(((tc) + 2) << 8))
/* Past the thread's cache: HAK_NO_CACHE. */
#define MALLOCX_TCACHE_NONE MALLOCX_TCACHE(-1)
/* There is one arena, 0, which is the default heap; others are invalid. */
#define MALLOCX_ARENA(a) ((((int)(a)) + 1) << 20)

/* For mallctl: all arenas. */
#define MALLCTL_ARENAS_ALL 4096
#define MALLCTL_ARENAS_DESTROYED 4097

static inline size_t hak_je_alignment(int flags) {
  return (flags & 0x3f) == 0 ? 0 : (size_t)1 << (flags & 0x3f);
}

static inline unsigned hak_je_flags(int flags) {
  return ((flags & MALLOCX_ZERO) != 0 ? HAK_ZERO : 0u) |
         ((flags & 0xfff00) == MALLOCX_TCACHE_NONE ? HAK_NO_CACHE : 0u);
}

/* False, with errno = EINVAL, for an arena that does not exist. */
static inline bool hak_je_arena_is_valid(int flags) {
  if (((unsigned)flags >> 20) <= 1) return true;
  errno = EINVAL;
  return false;
}

/* ---- Blocks -------------------------------------------------------------------------
 */

/* The same address, of a block whose end compilers do not know: programs for jemalloc use
 * all that sallocx and xallocx tell, where _FORTIFY_SOURCE allows what was asked for. */
static inline void *hak_je_whole(void *ptr) {
#ifdef __GNUC__
  __asm__("" : "+r"(ptr));
#endif
  return ptr;
}

/* A block of at least `size` bytes; NULL with ENOMEM, or EINVAL for an arena. A size of
 * 0, undefined in jemalloc, is that of hak_alloc. */
static inline void *HAK_JE(mallocx)(size_t size, int flags) {
  if (!hak_je_arena_is_valid(flags)) return NULL;
  return hak_je_whole(
      hak_allocx(NULL, size, hak_je_alignment(flags), hak_je_flags(flags), NULL));
}

/* As hak_reallocx; the block stays in its heap. */
static inline void *HAK_JE(rallocx)(void *ptr, size_t size, int flags) {
  if (!hak_je_arena_is_valid(flags)) return NULL;
  return hak_je_whole(
      hak_reallocx(NULL, ptr, size, hak_je_alignment(flags), hak_je_flags(flags), NULL));
}

/* Bytes that may be used at `ptr`. */
static inline size_t HAK_JE(sallocx)(const void *ptr, int flags) {
  (void)flags;
  return hak_usable_size(ptr);
}

/* Resizes in place to `size` bytes at least, and up to `extra` more if possible. Returns
 * the usable size, whether it has changed or not. */
static inline size_t HAK_JE(xallocx)(void *ptr, size_t size, size_t extra, int flags) {
  size_t before = hak_usable_size(ptr), want = size + extra;
  if (want < size) want = SIZE_MAX;
  size_t now = hak_resize_in_place(ptr, size, want);
  if (now == 0) return before;
  if ((flags & MALLOCX_ZERO) != 0 && now > before) {
    memset((char *)hak_je_whole(ptr) + before, 0, now - before);
  }
  return now;
}

static inline void HAK_JE(dallocx)(void *ptr, int flags) {
  (void)hak_freex(ptr, hak_je_flags(flags) & HAK_NO_CACHE);
}

/* The size is one that was asked for, or the usable one; a larger one is misuse. With
 * MALLOCX_TCACHE_NONE it is not looked at. */
static inline void HAK_JE(sdallocx)(void *ptr, size_t size, int flags) {
  if ((hak_je_flags(flags) & HAK_NO_CACHE) != 0) {
    HAK_JE(dallocx)(ptr, flags);
  } else {
    hak_free_aligned_sized(ptr, hak_je_alignment(flags), size);
  }
}

/* What mallocx would give can be used to this size, never less than `size`; 0 if no block
 * can be that large. docs/JEMALLOC.md says where it is exact. */
static inline size_t HAK_JE(nallocx)(size_t size, int flags) {
  size_t alignment = hak_je_alignment(flags), good = hak_good_size(size);
  if (good == 0 || alignment > HAK_ALIGNMENT_MAX) return 0;
  if (size == 0) size = 1;
  /* Large blocks that are to be zero may come by pages instead of size classes, and those
   * that are aligned to more than a slab always do. */
  bool by_pages = alignment > 65536 || ((flags & MALLOCX_ZERO) != 0 && size > 32768);
  /* No class is as small: blocks are malloc's, or may be guarded, and have no more than
   * what is asked for. */
  if (hak_good_size(1) == 1) return by_pages ? size : good;
  size_t canary = (0 - hak_good_size(4096)) & 15; /* behind blocks of hardened builds */
  size += canary;
  if (by_pages) return ((size + 4095) & ~(size_t)4095) - canary;
  /* Larger ones are not rounded up. */
  if (alignment > 1 && size <= 65536) size = (size + alignment - 1) & ~(alignment - 1);
  return hak_good_size(size - canary);
}

/* ---- Defragmentation ----------------------------------------------------------------
 */

/* The hint of the jemalloc that Redis carries: 1 if memory goes when the block moves.
 * Move it with mallocx and dallocx, both with MALLOCX_TCACHE_NONE; see hak_move_hint. */
static inline int HAK_JE(get_defrag_hint)(void *ptr) { return hak_move_hint(ptr); }

/* ---- mallctl ------------------------------------------------------------------------
 */

/* Gives the value of a name. EINVAL if the caller's place has another size. */
static inline int hak_je_give(void *old, size_t *old_size, const void *value,
                              size_t size) {
  if (old == NULL || old_size == NULL) return 0;
  if (*old_size != size) return EINVAL;
  memcpy(old, value, size);
  return 0;
}

static inline int hak_je_give_size(void *old, size_t *old_size, uint64_t value) {
  size_t size = (size_t)value;
  return hak_je_give(old, old_size, &size, sizeof size);
}

static inline int hak_je_give_unsigned(void *old, size_t *old_size, unsigned value) {
  return hak_je_give(old, old_size, &value, sizeof value);
}

/* What is retained may never have been touched, which is not in what is committed. */
static inline uint64_t hak_je_active(const hak_stats_t *stats) {
  uint64_t rest = stats->retained_bytes + stats->metadata_bytes;
  uint64_t active = stats->committed_bytes > rest ? stats->committed_bytes - rest : 0;
  return active > stats->live_bytes ? active : stats->live_bytes;
}

/* Programs subtract active from resident, which jemalloc never has below it: there blocks
 * count as resident that nobody has written to. */
static inline uint64_t hak_je_resident(const hak_stats_t *stats) {
  uint64_t active = hak_je_active(stats);
  return stats->committed_bytes > active ? stats->committed_bytes : active;
}

/* Names below "stats.", which are read. `key` is what follows. */
static inline int hak_je_stats(const char *key, void *old, size_t *old_size) {
  hak_stats_t stats;
  memset(&stats, 0, sizeof stats);
  stats.struct_size = (uint32_t)sizeof stats;
  int error = hak_stats_get(NULL, &stats);
  if (error != 0) return error;
  if (strcmp(key, "allocated") == 0)
    return hak_je_give_size(old, old_size, stats.live_bytes);
  if (strcmp(key, "active") == 0)
    return hak_je_give_size(old, old_size, hak_je_active(&stats));
  if (strcmp(key, "resident") == 0)
    return hak_je_give_size(old, old_size, hak_je_resident(&stats));
  if (strcmp(key, "metadata") == 0)
    return hak_je_give_size(old, old_size, stats.metadata_bytes);
  if (strcmp(key, "mapped") == 0)
    return hak_je_give_size(old, old_size, stats.reserved_bytes);
  if (strcmp(key, "retained") == 0)
    return hak_je_give_size(old, old_size,
                            stats.reserved_bytes > stats.committed_bytes
                                ? stats.reserved_bytes - stats.committed_bytes
                                : 0);
  return ENOENT;
}

/* Decimal digits at `text`; *end is what follows. Values past any arena's are one. */
static inline size_t hak_je_number(const char *text, const char **end) {
  size_t number = 0;
  for (; *text >= '0' && *text <= '9'; text++) {
    if (number <= MALLCTL_ARENAS_DESTROYED) number = number * 10 + (size_t)(*text - '0');
  }
  *end = text;
  return number;
}

/* ".<what>", after "arena.<i>": actions on the one arena, or on all. */
static inline int hak_je_arena(size_t arena, const char *what) {
  if (arena != 0 && arena != MALLCTL_ARENAS_ALL) return EFAULT;
  if (strcmp(what, ".purge") == 0) {
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    return 0;
  }
  if (strcmp(what, ".decay") == 0) {
    (void)hak_collect(NULL, SIZE_MAX, 0);
    return 0;
  }
  return ENOENT;
}

/* Names below "arenas.". */
static inline int hak_je_arenas(const char *key, void *old, size_t *old_size,
                                const void *fresh, size_t fresh_size) {
  if (strcmp(key, "dirty_decay_ms") == 0) {
    intptr_t now = (intptr_t)hak_option_get(HAK_OPTION_PURGE_DECAY_MS), ms;
    int error = hak_je_give(old, old_size, &now, sizeof now);
    if (error != 0 || fresh == NULL) return error;
    if (fresh_size != sizeof ms) return EINVAL;
    memcpy(&ms, fresh, sizeof ms);
    return hak_option_set(HAK_OPTION_PURGE_DECAY_MS, ms) == 0 ? 0 : EFAULT;
  }
  if (fresh != NULL) return EPERM;
  if (strcmp(key, "narenas") == 0) return hak_je_give_unsigned(old, old_size, 1);
  if (strcmp(key, "page") == 0)
    return hak_je_give_size(old, old_size, hak_os_default()->page_size);
  if (strcmp(key, "quantum") == 0) return hak_je_give_size(old, old_size, 16);
  return ENOENT;
}

/* The library's thread that gives back what is due (hak_maintenance_start); its state
 * cannot be read. */
static inline int hak_je_background(const void *old, const void *fresh,
                                    size_t fresh_size) {
  enum {
    PERIOD_MS = 100
  };
  bool on;
  if (old != NULL || fresh == NULL) return EPERM;
  if (fresh_size != sizeof on) return EINVAL;
  memcpy(&on, fresh, sizeof on);
  int error = on ? hak_maintenance_start(PERIOD_MS) : hak_maintenance_stop();
  return error == (on ? EALREADY : EINVAL) ? 0 : error; /* it is so already */
}

/* Reads the value of a name into *old, whose size is *old_size, and sets it to *fresh. 0;
 * ENOENT for a name that is not in docs/JEMALLOC.md; EINVAL for a size; EPERM for one
 * that cannot be read or set; EFAULT for an arena or a value that is none. */
static inline int HAK_JE(mallctl)(const char *name, void *old, size_t *old_size,
                                  void *fresh, size_t fresh_size) {
  static const char version[] = "5.3.0-0-hakmem";
  const char *text = version;
  uint64_t epoch = 1;
  if (strcmp(name, "epoch") == 0) return hak_je_give(old, old_size, &epoch, sizeof epoch);
  if (strcmp(name, "background_thread") == 0)
    return hak_je_background(old, fresh, fresh_size);
  if (strncmp(name, "arenas.", 7) == 0)
    return hak_je_arenas(name + 7, old, old_size, fresh, fresh_size);
  if (fresh != NULL) return EPERM;
  if (strncmp(name, "stats.", 6) == 0) return hak_je_stats(name + 6, old, old_size);
  if (strncmp(name, "arena.", 6) == 0) {
    const char *what;
    size_t arena = hak_je_number(name + 6, &what);
    return what == name + 6 ? ENOENT : hak_je_arena(arena, what);
  }
  if (strcmp(name, "version") == 0) return hak_je_give(old, old_size, &text, sizeof text);
  if (strcmp(name, "opt.narenas") == 0) return hak_je_give_unsigned(old, old_size, 1);
  if (strcmp(name, "thread.arena") == 0) return hak_je_give_unsigned(old, old_size, 0);
  if (strcmp(name, "thread.tcache.flush") == 0 || strcmp(name, "thread.idle") == 0) {
    hak_thread_idle();
    return 0;
  }
  return ENOENT;
}

/* Names as numbers: the first of a name's numbers is its place here, the number of an
 * arena is itself, and the others are 0. NULL past the end. */
static inline const char *hak_je_name(size_t place) {
  static const char *const names[] = {
      "epoch",           "version",       "background_thread",
      "stats.allocated", "stats.active",  "stats.resident",
      "stats.metadata",  "stats.mapped",  "stats.retained",
      "arenas.narenas",  "arenas.page",   "arenas.quantum",
      "opt.narenas",     "thread.arena",  "arenas.dirty_decay_ms",
      "arena.0.purge",   "arena.0.decay", "thread.tcache.flush",
      "thread.idle",
  };
  return place < sizeof names / sizeof names[0] ? names[place] : NULL;
}

static inline size_t hak_je_parts(const char *name) {
  size_t parts = 1;
  for (; *name != '\0'; name++) parts += *name == '.';
  return parts;
}

/* Translates a name of mallctl to numbers for mallctlbymib, of which *count fit. Those
 * that do not are left out, and *count says how many were given. ENOENT for a name that
 * is not in docs/JEMALLOC.md. */
static inline int HAK_JE(mallctlnametomib)(const char *name, size_t *mib, size_t *count) {
  size_t arena = 0;
  const char *rest = name;
  if (strncmp(name, "arena.", 6) == 0) {
    arena = hak_je_number(name + 6, &rest);
    if (rest == name + 6) return ENOENT;
  }
  const char *known;
  for (size_t place = 0; (known = hak_je_name(place)) != NULL; place++) {
    /* Behind the number of an arena there is what follows "arena.0". */
    if (rest != name ? strncmp(known, "arena.", 6) != 0 || strcmp(known + 7, rest) != 0
                     : strcmp(known, name) != 0) {
      continue;
    }
    size_t parts = hak_je_parts(known);
    if (*count > parts) *count = parts;
    for (size_t i = 0; i < *count; i++) mib[i] = i == 0 ? place : i == 1 ? arena : 0;
    return 0;
  }
  return ENOENT;
}

/* As mallctl, for a name that mallctlnametomib has translated. The number of an arena,
 * mib[1], may be another one. */
static inline int HAK_JE(mallctlbymib)(const size_t *mib, size_t count, void *old,
                                       size_t *old_size, void *fresh, size_t fresh_size) {
  const char *name = count == 0 ? NULL : hak_je_name(mib[0]);
  if (name == NULL || hak_je_parts(name) != count) return ENOENT;
  if (strncmp(name, "arena.", 6) == 0) {
    return fresh != NULL ? EPERM : hak_je_arena(mib[1], name + 7);
  }
  return HAK_JE(mallctl)(name, old, old_size, fresh, fresh_size);
}

/* ---- Printing -----------------------------------------------------------------------
 */

typedef struct hak_je_writer {
  void (*write)(void *ctx, const char *text);
  void *ctx;
} hak_je_writer_t;

/* jemalloc's writers take text that ends in a zero byte. */
static inline void hak_je_write(const char *text, size_t length, void *ctx) {
  const hak_je_writer_t *writer = (const hak_je_writer_t *)ctx;
  char piece[256];
  while (length > 0) {
    size_t n = length < sizeof piece - 1 ? length : sizeof piece - 1;
    memcpy(piece, text, n);
    piece[n] = '\0';
    writer->write(writer->ctx, piece);
    text += n;
    length -= n;
  }
}

/* The statistics of the process, as JSON if `options` has a J; `write` NULL = stderr. The
 * text is hakmem's (hak_stats_print). */
static inline void HAK_JE(malloc_stats_print)(void (*write)(void *ctx, const char *text),
                                              void *ctx, const char *options) {
  hak_je_writer_t writer = {write, ctx};
  bool json = options != NULL && strchr(options, 'J') != NULL;
  (void)hak_stats_print(NULL, json ? HAK_FORMAT_JSON : HAK_FORMAT_TEXT,
                        write == NULL ? NULL : hak_je_write, &writer);
}

#endif /* HAKMEM_JE_H */
