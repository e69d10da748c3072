/* api_profiles.c - reports of places, and profiles for heaptrack, pprof and jeprof, read
 * as their readers do: what is named exists, nothing is named twice, and places, their
 * stacks and what has no stack add up. The readers themselves are run in tests/profiles.
 */
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static test_text_t g_text;

static const char *print(int format) {
  test_text_clear(&g_text);
  CHECK_EQ(hak_sites_print(format, test_text_add, &g_text), 0);
  return g_text.bytes;
}

static unsigned times(const char *text, const char *part) {
  unsigned count = 0;
  for (; (text = strstr(text, part)) != NULL; text++) count++;
  return count;
}

/* ---- what is allocated ---------------------------------------------------------------
 */

static size_t g_depth;
static uintptr_t g_frame; /* the innermost, returned to; others have no code */

static size_t hook(void **frames, size_t most, void *ctx) {
  (void)ctx;
  for (size_t i = 0; i < g_depth && i < most; i++) {
    frames[i] = (void *)(i == 0 ? g_frame : 0x1000 + 16 * i);
  }
  return g_depth;
}

static void sample_each(void) {
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
  HAK_SITE(before);
  for (int i = 0; i < 100; i++) hak_free(hak_alloc_at(MIB, &before));
}

static hak_site_t g_unseen = {"unseen.c", 1, "unseen", {0}};
static hak_site_t g_shared = {"shared.c", 2, "shared", {0}};
static hak_site_t g_gone = {"gone.c", 3, "gone", {0}};
static hak_site_t g_bare = {NULL, 0, "bare", {0}};
static void *g_live[64];
static size_t g_count;

static void keep(hak_site_t *site, size_t size, int count) {
  for (int i = 0; i < count; i++) {
    CHECK((g_live[g_count++] = hak_alloc_at(size, site)) != NULL);
  }
}

static void pass(hak_site_t *site, size_t size, int count) {
  for (int i = 0; i < count; i++) hak_free(hak_alloc_at(size, site));
}

/* Of shared 3 blocks of 100 bytes by one stack, 2 of 50 by another, 4 of 30 by none, and
 * of each some that were freed. */
static void begin(void) {
  hak_set_stack_hook(NULL, NULL);
  g_count = 0;
  hak_free(hak_alloc(1));
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0); /* no place is known */
  test_restart();
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 0), 0);
  hak_free(hak_alloc_at(8, &g_unseen)); /* less than any distance */
  sample_each();
  hak_set_stack_hook(hook, NULL);
  g_depth = 2;
  g_frame = (uintptr_t)&begin + 1;
  keep(&g_shared, 100, 3);
  pass(&g_shared, 1000, 1);
  g_frame = 0x2001;
  keep(&g_shared, 50, 2);
  pass(&g_shared, 1000, 2);
  hak_set_stack_hook(NULL, NULL);
  keep(&g_shared, 30, 4);
  pass(&g_shared, 500, 1);
  pass(&g_gone, 64, 4);
  keep(&g_bare, 10, 1);
}

static void end(void) {
  while (g_count > 0) hak_free(g_live[--g_count]);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 262144), 0);
}

/* ---- heaptrack -----------------------------------------------------------------------
 */

enum {
  MOST = 1000
};

/* By number, from 1 on; allocations from 0. */
typedef struct tracked {
  const char *strings[MOST];
  unsigned string_count, instruction_count, trace_count, allocation_count;
  struct instruction {
    unsigned map, function, file, line;
  } instructions[MOST];
  unsigned trace_instruction[MOST];
  uint64_t live[MOST], all[MOST]; /* bytes of an instruction */
  struct allocation {
    uint64_t size, events;
    unsigned instruction;
  } allocations[MOST];
} tracked_t;

static void read_event(tracked_t *t, char kind, const char *line) {
  unsigned number = (unsigned)strtoul(line, NULL, 16);
  CHECK(number < t->allocation_count);
  struct allocation *a = &t->allocations[number];
  a->events++;
  if (kind == '+') t->all[a->instruction] += a->size;
  t->live[a->instruction] += kind == '+' ? a->size : -a->size;
}

static void read_line(tracked_t *t, char *line) {
  uint64_t address, size;
  unsigned trace, parent, n;
  struct instruction *i;
  switch (line[0]) {
    case 's':
      t->strings[++t->string_count] = line + 2;
      return;
    case 'i':
      i = &t->instructions[++t->instruction_count];
      n = (unsigned)sscanf(line, "i %" SCNx64 " %x %x %x %x", &address, &i->map,
                           &i->function, &i->file, &i->line);
      CHECK(n == 3 || n == 5 || n == 2);
      CHECK(i->map >= 1 && i->map <= t->string_count);
      CHECK(i->function <= t->string_count && i->file <= t->string_count);
      return;
    case 't':
      CHECK_EQ(sscanf(line, "t %x %x", &n, &parent), 2);
      CHECK(n >= 1 && n <= t->instruction_count && parent <= t->trace_count);
      t->trace_instruction[++t->trace_count] = n;
      return;
    case 'a':
      CHECK_EQ(sscanf(line, "a %" SCNx64 " %x", &size, &trace), 2);
      CHECK(size > 0 && trace >= 1 && trace <= t->trace_count);
      t->allocations[t->allocation_count++] =
          (struct allocation){size, 0, t->trace_instruction[trace]};
      return;
    case '+':
    case '-':
      read_event(t, line[0], line + 2);
      return;
    default:
      CHECK(strchr("vXIc", line[0]) != NULL);
  }
}

static tracked_t g_tracked;

static const tracked_t *read_heaptrack(int flags) {
  tracked_t *t = &g_tracked;
  memset(t, 0, sizeof *t);
  print(HAK_FORMAT_HEAPTRACK | flags);
  char *next, *line = g_text.bytes;
  for (; (next = strchr(line, '\n')) != NULL; line = next + 1) {
    *next = '\0';
    CHECK(t->string_count + 1 < MOST && t->instruction_count + 1 < MOST);
    CHECK(t->trace_count + 1 < MOST && t->allocation_count + 1 < MOST);
    read_line(t, line);
  }
  for (unsigned i = 0; i < t->allocation_count; i++) CHECK(t->allocations[i].events > 0);
  return t;
}

/* The one instruction of the place whose title begins so; 0 if there is none. */
static unsigned place_of(const tracked_t *t, const char *title) {
  unsigned found = 0;
  for (unsigned i = 1; i <= t->instruction_count; i++) {
    const char *name = t->strings[t->instructions[i].function];
    if (name == NULL || strncmp(name, title, strlen(title)) != 0) continue;
    CHECK_EQ(found, 0);
    found = i;
  }
  return found;
}

static bool has_string(const tracked_t *t, const char *part) {
  bool found = false;
  for (unsigned i = 1; i <= t->string_count; i++) {
    found |= strstr(t->strings[i], part) != NULL;
  }
  return found;
}

static void heaptrack__adds_up_with_and_without_stacks(void **state) {
  (void)state;
  begin();
  for (int flags = 0; flags <= HAK_FORMAT_STACKS; flags += HAK_FORMAT_STACKS) {
    const tracked_t *t = read_heaptrack(flags);
    unsigned shared = place_of(t, "shared"), gone = place_of(t, "gone"),
             bare = place_of(t, "bare");
    CHECK(shared != 0 && gone != 0 && bare != 0);
    CHECK_EQ(t->live[shared], 3 * 100 + 2 * 50 + 4 * 30);
    CHECK_EQ(t->all[shared], 3 * 100 + 2 * 50 + 4 * 30 + 3 * 1000 + 500);
    CHECK(t->live[gone] == 0 && t->all[gone] == 4 * 64);
    CHECK(t->live[bare] == 10 && t->all[bare] == 10);
    CHECK(strcmp(t->strings[t->instructions[shared].file], "shared.c") == 0);
    CHECK(t->instructions[shared].line == 2 && t->instructions[bare].file == 0);
    /* Of what nothing was seen nothing is told. */
    CHECK(place_of(t, "unseen") == 0 && !has_string(t, "unseen"));
    CHECK_EQ(has_string(t, "hakmem_unit_api_profiles"), flags != 0);
  }
  end();
}

/* ---- heap_v2 and folded stacks
 * ---------------------------------------------------------
 */

static void text__has_a_row_for_each_place_or_stack(void **state) {
  (void)state;
  begin();
  const char *text = print(HAK_FORMAT_HEAP_V2);
  /* Places alone: before, unseen, shared, gone and bare. */
  CHECK_EQ(times(text, "\n@"), 5);
  CHECK_EQ(times(text, " bare\n"), 1);
  CHECK(strstr(text, "--- symbol\n") == text);
  const char *maps = strstr(text, "MAPPED_LIBRARIES:\n");
  CHECK(maps != NULL && strstr(maps, "r-xp") == NULL);
  text = print(HAK_FORMAT_HEAP_V2 | HAK_FORMAT_STACKS);
  /* Shared has two stacks, and what is left of it. */
  CHECK_EQ(times(text, "\n@"), 5 + 2);
  CHECK(strstr(text, "--- symbol\n") == NULL);
  maps = strstr(text, "MAPPED_LIBRARIES:\n");
  CHECK(maps != NULL && strstr(maps, "hakmem_unit_api_profiles\n") != NULL);
  text = print(HAK_FORMAT_FOLDED);
  CHECK_EQ(times(text, "shared (shared.c:2) "), 1);
  CHECK(strstr(text, "shared.c;shared (shared.c:2) 520\n") != NULL);
  text = print(HAK_FORMAT_FOLDED | HAK_FORMAT_STACKS);
  CHECK(strstr(text, ";hakmem_unit_api_profiles+0x") != NULL);
  CHECK(strstr(text, ";0x2000;shared.c;shared (shared.c:2) 100\n") != NULL);
  CHECK(strstr(text, "\nshared.c;shared (shared.c:2) 120\n") != NULL ||
        strncmp(text, "shared.c;shared (shared.c:2) 120\n", 33) == 0);
  CHECK(strstr(text, "gone") == NULL && strstr(text, "unseen") == NULL);
  /* What has a stack for all that it is has no row besides. */
  while (g_count > 0) hak_free(g_live[--g_count]);
  HAK_SITE(all);
  hak_set_stack_hook(hook, NULL);
  keep(&all, 100, 2);
  hak_set_stack_hook(NULL, NULL);
  CHECK_EQ(times(print(HAK_FORMAT_HEAP_V2 | HAK_FORMAT_STACKS), "\n@"), 5 + 2 + 1);
  end();
}

/* ---- text, JSON and visits
 * -------------------------------------------------------------
 */

static bool count_place(const hak_site_info_t *info, void *ctx) {
  (void)info;
  ++*(unsigned *)ctx;
  return true;
}

static void text__and_json_have_each_place_once(void **state) {
  (void)state;
  static const char *const titles[] = {"before (", "unseen (", "shared (", "gone (",
                                       "bare\n"};
  begin();
  unsigned visited = 0;
  CHECK_EQ(hak_sites_visit(count_place, &visited), 0);
  CHECK_EQ(visited, TEST_COUNT(titles));
  const char *text = print(HAK_FORMAT_TEXT);
  CHECK(strstr(text, "5 places, 530 live bytes, ") != NULL);
  for (size_t i = 0; i < TEST_COUNT(titles); i++) CHECK_EQ(times(text, titles[i]), 1);
  /* Two lines of heads, and a row each. */
  CHECK_EQ(times(text, "\n"), 3 + TEST_COUNT(titles));
  text = print(HAK_FORMAT_JSON);
  CHECK_EQ(times(text, "\"file\":"), TEST_COUNT(titles));
  CHECK_EQ(hak_sites_print(-1 & ~HAK_FORMAT_STACKS, test_text_add, &g_text), EINVAL);
  end();
}

/* Forty places are shown, and how many more there are. */
static void text__of_many_places_has_the_largest_forty(void **state) {
  (void)state;
  static hak_site_t sites[50];
  begin();
  for (unsigned i = 0; i < TEST_COUNT(sites); i++) {
    sites[i] = (hak_site_t){"many.c", 1 + i, NULL, {0}};
    keep(&sites[i], 1000 + i / 2 * 10, 1); /* two each have as many bytes */
  }
  const char *text = print(HAK_FORMAT_TEXT);
  CHECK(strstr(text, "\nand 15 more\n") != NULL);
  CHECK_EQ(times(text, "  many.c:"), 40);
  for (unsigned i = 0; i < TEST_COUNT(sites); i++) {
    char title[32];
    snprintf(title, sizeof title, "  many.c:%u\n", 1 + i);
    CHECK_EQ(times(text, title), i >= 10);
  }
  end();
}

static void reports__without_a_library_have_no_place(void **state) {
  (void)state;
  begin();
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  g_count = 0;
  const char *text = print(HAK_FORMAT_TEXT);
  CHECK_EQ(times(text, "\n"), 2);
  CHECK(strstr(text, "\n0 places, 0 live bytes, 0 bytes allocated") != NULL);
  hak_waves_info_t waves = {.struct_size = sizeof waves, .waves = 7};
  CHECK_EQ(hak_waves_get(&waves), 0);
  CHECK(waves.waves == 0 && waves.places_apart == 0);
  CHECK_EQ(hak_learned_save("build", test_text_add, &g_text), ENODATA);
  test_restart();
  end();
}

static void learned__bad_arguments_are_invalid(void **state) {
  (void)state;
  hak_free(hak_alloc(1));
  const char *why = NULL;
  CHECK_EQ(hak_learned_save("build", NULL, NULL), EINVAL);
  CHECK_EQ(hak_learned_load("build", NULL, 0, &why), EINVAL);
  CHECK(why != NULL && why[0] != '\0');
  CHECK_EQ(hak_learned_load("build", NULL, 100, NULL), EINVAL);
}

/* ---- pprof
 * ----------------------------------------------------------------------------- */

typedef struct message {
  const unsigned char *at, *end;
} message_t;

static uint64_t varint(message_t *m) {
  uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    CHECK(m->at < m->end && shift < 64);
    unsigned char byte = *m->at++;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

/* The next field: a number, or a part. 0 at the end. */
static unsigned field(message_t *m, uint64_t *number, message_t *part) {
  if (m->at == m->end) return 0;
  unsigned key = (unsigned)varint(m);
  *number = varint(m);
  *part = (message_t){m->at, m->at};
  if ((key & 7) == 0) return key >> 3;
  CHECK((key & 7) == 2 && *number <= (size_t)(m->end - m->at));
  m->at += *number;
  part->end = m->at;
  return key >> 3;
}

typedef struct ids {
  uint64_t all[MOST];
  unsigned count;
} ids_t;

static bool has(const ids_t *ids, uint64_t id) {
  for (unsigned i = 0; i < ids->count; i++) {
    if (ids->all[i] == id) return true;
  }
  return false;
}

static void add(ids_t *ids, uint64_t id) {
  CHECK(id != 0 && !has(ids, id) && ids->count < MOST);
  ids->all[ids->count++] = id;
}

typedef struct profile {
  ids_t locations, functions, maps, used, used_maps, used_functions;
  unsigned samples, strings;
  uint64_t live_bytes;
} profile_t;

static void use(ids_t *ids, uint64_t id) {
  if (!has(ids, id)) add(ids, id);
}

static void read_location(profile_t *p, message_t m) {
  uint64_t number;
  message_t part;
  for (unsigned f; (f = field(&m, &number, &part)) != 0;) {
    if (f == 1) add(&p->locations, number);
    if (f == 2) use(&p->used_maps, number);
    if (f == 4 && field(&part, &number, &part) == 1) use(&p->used_functions, number);
  }
}

static void read_sample(profile_t *p, message_t m) {
  uint64_t number, values[4];
  message_t part;
  for (unsigned f; (f = field(&m, &number, &part)) != 0;) {
    if (f == 1) {
      while (part.at < part.end) use(&p->used, varint(&part));
    } else {
      for (int i = 0; i < 4; i++) values[i] = varint(&part);
      CHECK(part.at == part.end);
      p->live_bytes += values[3];
    }
  }
  p->samples++;
}

static profile_t g_profile;

static const profile_t *read_pprof(int flags) {
  profile_t *p = &g_profile;
  memset(p, 0, sizeof *p);
  print(HAK_FORMAT_PPROF | flags);
  const unsigned char *bytes = (const unsigned char *)g_text.bytes;
  message_t all = {bytes, bytes + g_text.length}, part, inner;
  uint64_t number;
  for (unsigned f; (f = field(&all, &number, &part)) != 0;) {
    if (f == 2) read_sample(p, part);
    if (f == 4) read_location(p, part);
    if ((f == 3 || f == 5) && field(&part, &number, &inner) == 1) {
      add(f == 3 ? &p->maps : &p->functions, number);
    }
    p->strings += f == 6;
  }
  for (unsigned i = 0; i < p->used.count; i++) CHECK(has(&p->locations, p->used.all[i]));
  for (unsigned i = 0; i < p->used_maps.count; i++) {
    CHECK(has(&p->maps, p->used_maps.all[i]));
  }
  for (unsigned i = 0; i < p->used_functions.count; i++) {
    CHECK(has(&p->functions, p->used_functions.all[i]));
  }
  return p;
}

static void pprof__names_what_exists_and_once(void **state) {
  (void)state;
  begin();
  const profile_t *p = read_pprof(0);
  CHECK(p->samples == 5 && p->locations.count == 5 && p->functions.count == 5);
  CHECK_EQ(p->maps.count, 0);
  CHECK_EQ(p->live_bytes, 530);
  p = read_pprof(HAK_FORMAT_STACKS);
  CHECK(p->samples == 7 && p->functions.count == 5 && p->locations.count == 5 + 4);
  CHECK(p->maps.count > 0 && p->used_maps.count == 1);
  CHECK_EQ(p->live_bytes, 530);
  end();
}

/* ---- much code
 * ------------------------------------------------------------------------- */

/* Of the files that code lies in the first 64 are told. */
static void profiles__of_programs_with_many_files_name_the_first(void **state) {
  (void)state;
  enum {
    FILES = 100,
    TOLD = 64
  };
  int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  CHECK(file >= 0);
  void *maps[FILES];
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (size_t i = 0; i < FILES; i++) {
    maps[i] = mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
    CHECK(maps[i] != MAP_FAILED);
  }
  begin();
  CHECK_EQ(read_pprof(HAK_FORMAT_STACKS)->maps.count, TOLD);
  unsigned strings = read_heaptrack(0)->string_count;
  CHECK(read_heaptrack(HAK_FORMAT_STACKS)->string_count <= strings + TOLD);
  CHECK(times(print(HAK_FORMAT_HEAP_V2 | HAK_FORMAT_STACKS), " r-xp ") >= FILES);
  CHECK(strstr(print(HAK_FORMAT_FOLDED | HAK_FORMAT_STACKS), "0x2000;") != NULL);
  end();
  for (size_t i = 0; i < FILES; i++) munmap(maps[i], page);
  close(file);
}

TEST_MAIN(T(heaptrack__adds_up_with_and_without_stacks),
          T(text__has_a_row_for_each_place_or_stack),
          T(text__and_json_have_each_place_once),
          T(text__of_many_places_has_the_largest_forty),
          T(reports__without_a_library_have_no_place),
          T(learned__bad_arguments_are_invalid), T(pprof__names_what_exists_and_once),
          T(profiles__of_programs_with_many_files_name_the_first))
