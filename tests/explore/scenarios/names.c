/* names.c - what is said of heaps to those who look at them without a lock: names, the
 * program's pointer, handles of records that pass from heap to heap, heaps that serve
 * another one.
 */
#include <string.h>

#include "api/tree.h"
#include "hakmem/hakmem.h"
#include "hakmem/introspect.h"
#include "heap/groups.h"
#include "heap/heap.h"
#include "heap/serial.h"
#include "heap/thread.h"
#include "pages/registry.h"
#include "start.h"

static hak_heap_t *heap, *record, *later, *parent;

static hak_heap_t *make(const char *name, hak_heap_t *above) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = name;
  config.parent = above;
  hak_heap_t *made = hak_heap_create(&config);
  EXPLORE_CHECK(made != NULL);
  return made;
}
static void start_named(void) {
  start_library();
  heap = make("aaaa", NULL);
  record = hak_heap_record(heap);
}

/* --- names and pointers of a live heap ------------------------------------------------
 */

/* By plain reads, as a program reads it. */
static bool is_text(const char *text, char c) {
  for (int i = 0; i < 4; i++) {
    if (text[i] != c) return false;
  }
  return text[4] == '\0';
}
static void rename_it(void) { EXPLORE_CHECK(hak_heap_set_name(heap, "bbbb") == 0); }
static void read_name(void) {
  const char *name = hak_heap_name_of(record);
  EXPLORE_CHECK(is_text(name, 'a') || is_text(name, 'b'));
}
static void copy_name(void) {
  char name[HAK_HEAP_NAME_MAX + 1];
  hak_heap_copy_name(record, name);
  EXPLORE_CHECK(is_text(name, 'a') || is_text(name, 'b'));
}
static bool named(char c) { return is_text(hak_heap_name_of(record), c); }
static void named_b(void) { EXPLORE_CHECK(named('b')); }
const explore_scenario_t heap_name = {.name = "heap.name",
                                      .setup = start_named,
                                      .thread = {rename_it, read_name, copy_name},
                                      .check = named_b};

static int value;
static void set_user(void) {
  value = 7;
  EXPLORE_CHECK(hak_heap_set_user(heap, &value) == 0);
}
static void read_user(void) {
  const int *user = hak_heap_user(heap);
  if (user != NULL) EXPLORE_CHECK(*user == 7);
}
static void look_at_user_twice(void) {
  read_user();
  read_user();
}
const explore_scenario_t heap_user = {
    .name = "heap.user", .setup = start_named, .thread = {set_user, look_at_user_twice}};

/* --- records that pass to other heaps -------------------------------------------------
 */

/* One heap ends and its record is another's at once, with another name and parent. */
static void end_and_begin(void) {
  EXPLORE_CHECK(hak_heap_destroy(heap) == 0);
  later = make("bbbb", parent);
}
/* And then with a further name, which lies where the first heap's did. */
static void end_begin_and_rename(void) {
  end_and_begin();
  hak_heap_rename(record, "bbbb");
}
static void look_at_tree(void) {
  hak_tree_t tree;
  EXPLORE_CHECK(hak_tree_take(&tree) == 0);
  for (uint32_t i = 0; i < tree.count; i++) {
    const hak_tree_heap_t *at = &tree.heaps[i];
    if (at->record != record) continue;
    bool first = at->handle == heap;
    EXPLORE_CHECK(is_text(at->name, first ? 'a' : 'b'));
    EXPLORE_CHECK(at->parent_handle == (first ? NULL : parent));
  }
  hak_tree_release(&tree);
}
static void start_family(void) {
  start_named();
  parent = make("pppp", NULL);
}
static void is_later(void) {
  EXPLORE_CHECK(hak_heap_record(later) == record && hak_heap_handle(record) == later);
  EXPLORE_CHECK(named('b') && hak_heap_above(record) == hak_heap_record(parent));
}
const explore_scenario_t heap_again = {.name = "heap.again",
                                       .setup = start_family,
                                       .thread = {end_and_begin, look_at_tree},
                                       .check = is_later,
                                       .stale = 5};
const explore_scenario_t heap_again_renamed = {
    .name = "heap.again_renamed",
    .setup = start_family,
    .thread = {end_begin_and_rename, look_at_tree},
    .check = is_later,
    .stale = 5};

/* --- heaps that others find -----------------------------------------------------------
 */

/* What plain reads of a record that is in use find is all there. */
static void look_at_used(hak_heap_t *at) {
  if (at == NULL || !hak_heap_is_used(at)) return;
  EXPLORE_CHECK(at->tag != 0 && at->store->pool.huge_pages == HAK_HUGE_NEVER);
}
static void look_at_used_records(void) {
  for (uint32_t i = 1; i < 3; i++) look_at_used(hak_heap_at(i));
}
static hak_heap_t *make_serving(hak_heap_release_t serves) {
  hak_heap_plan_t plan = {
      .parent = hak_heap_get_default(), .huge_pages = HAK_HUGE_NEVER, .serves = serves};
  hak_heap_t *made = hak_heap_make(hak_registry_os(), &plan);
  EXPLORE_CHECK(made != NULL);
  return made;
}
static void make_kept(void) { (void)make_serving(HAK_HEAP_KEPT); }
static void make_group(void) { (void)make_serving(HAK_HEAP_GROUP); }
const explore_scenario_t heap_used = {.name = "heap.used",
                                      .setup = start_library,
                                      .thread = {make_kept, look_at_used_records}};
const explore_scenario_t heap_used_group = {.name = "heap.used_group",
                                            .setup = start_library,
                                            .thread = {make_group, look_at_used_records}};

static void make_samples(void) {
  if (!hak_heap_begin_samples(record)) return;
  hak_heap_set_samples(record, make_serving(HAK_HEAP_SAMPLES));
}
static void look_at_samples(void) {
  hak_heap_t *samples = hak_heap_samples(record);
  if (samples != NULL) EXPLORE_CHECK(samples->tag != 0 && samples->store != NULL);
}
const explore_scenario_t heap_samples = {
    .name = "heap.samples",
    .setup = start_named,
    .thread = {make_samples, make_samples, look_at_samples}};

static void start_groups(void) {
  EXPLORE_CHECK(hak_option_set(HAK_OPTION_LEARN, 1) == 0);
  start_library();
}
static void look_at_group(void) {
  hak_heap_t *group = hak_group_at(1);
  if (group != NULL) EXPLORE_CHECK(group->tag != 0 && group->store != NULL);
}
static void ask_for_group(void) {
  hak_heap_t *group = hak_group_heap(1);
  if (group != NULL) EXPLORE_CHECK(group->tag != 0 && group->store != NULL);
}
static void one_group(void) { EXPLORE_CHECK(hak_group_at(1) != NULL); }
const explore_scenario_t heap_group = {
    .name = "heap.group",
    .setup = start_groups,
    .thread = {ask_for_group, ask_for_group, look_at_group},
    .check = one_group};

/* --- a serial heap's state ------------------------------------------------------------
 */

static void start_serial(void) {
  start_library();
  explore_as(0, start_thread);
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.flags = HAK_HEAP_SERIAL;
  heap = hak_heap_create(&config);
  EXPLORE_CHECK(heap != NULL);
  record = hak_heap_record(heap);
}
static void use_serial(void) {
  if (hak_heap_own_serial(record) != NULL) return;
  EXPLORE_CHECK(hak_serial_make(hak_thread_self, record));
}
static void look_at_serial(void) {
  hak_serial_t *serial = hak_heap_serial(record);
  if (serial != NULL) EXPLORE_CHECK(serial->cache.store == record->store);
}
const explore_scenario_t heap_serial = {
    .name = "heap.serial", .setup = start_serial, .thread = {use_serial, look_at_serial}};
