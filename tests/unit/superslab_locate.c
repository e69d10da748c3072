/* superslab_locate.c - from an address to the slab, span or block that it lies in. */
#include "registry_fixture.h"

#include <string.h>

#include "superslab/locate.h"

/* Nothing looks at the addresses that the registry is told of, so any will do. */
#define NEAR ((uintptr_t)0x123400000000)

static void check_nothing_at(uintptr_t address) {
  hak_place_t place = hak_locate(address);
  CHECK_MSG(place.extent == NULL && place.slab == NULL && place.start == NULL &&
                place.cls == HAK_CLASS_NONE,
            "something at 0x%llx", (unsigned long long)address);
}

static void init_superslab(hak_superslab_t *ss, uintptr_t base) {
  memset(ss, 0, sizeof *ss);
  hak_superslab_init(ss, NULL, 0, (char *)base, &g_os.hooks);
  hak_store_relaxed(&ss->extent.kind, HAK_EXTENT_SLABS);
  CHECK(hak_registry_cover(&g_os.hooks, base, HAK_SUPERSLAB_SIZE));
  hak_registry_set_extent(base, HAK_SUPERSLAB_SIZE, &ss->extent);
}

static void find__of_any_64_bit_value_gives_nothing_when_nothing_is_there(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 1);
  static hak_superslab_t ss;
  init_superslab(&ss, NEAR);
  hak_locate_set_class(NEAR, HAK_SUPERSLAB_SLABS, 5);
  for (size_t n = 0; n < test_scale(100000); n++) {
    uintptr_t address = test_random(&rng) >> test_below(&rng, 64);
    if (address >> HAK_SUPERSLAB_SHIFT != NEAR >> HAK_SUPERSLAB_SHIFT) {
      check_nothing_at(address);
    }
  }
  check_nothing_at(0);
  check_nothing_at(UINTPTR_MAX);
  check_nothing_at(NEAR - 1);
  check_nothing_at(NEAR + HAK_SUPERSLAB_SIZE);
  CHECK(hak_locate(NEAR).extent == &ss.extent);
  /* The same low bits under others above: they are compared, not cut off. */
  for (unsigned bit = HAK_ADDRESS_BITS; bit < 64; bit++) {
    check_nothing_at(NEAR | (uintptr_t)1 << bit);
  }
  check_nothing_at(NEAR | ~(uintptr_t)0 << HAK_ADDRESS_BITS);
  check_nothing_at((uintptr_t)1 << HAK_ADDRESS_BITS);
  check_nothing_at(((uintptr_t)1 << HAK_ADDRESS_BITS) - 1);
}

static void find__names_the_spans_first_slab_from_each_of_its_slabs(void **state) {
  (void)state;
  static hak_superslab_t ss;
  init_superslab(&ss, NEAR);
  test_rng_t rng = test_rng(test_seed(), 2);
  for (int n = 0; n < 300; n++) {
    unsigned first[HAK_SUPERSLAB_SLABS];
    uint32_t cls[HAK_SUPERSLAB_SLABS];
    for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS;) {
      unsigned span = 1 + (unsigned)test_below(&rng, HAK_SUPERSLAB_SLABS - i);
      uint32_t draw = (uint32_t)test_below(&rng, 64);
      uint32_t its = draw == 63 ? HAK_CLASS_NONE : draw == 62 ? HAK_CLASS_LARGE : draw;
      hak_locate_set_class(NEAR + i * HAK_SLAB_SIZE, span, its);
      hak_slab_set_class(&ss.slabs[i], its);
      for (unsigned k = i; k < i + span; k++) {
        first[k] = i;
        cls[k] = its;
      }
      i += span;
    }
    for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
      uintptr_t at = NEAR + i * HAK_SLAB_SIZE + test_below(&rng, HAK_SLAB_SIZE);
      hak_place_t place = hak_locate(at);
      CHECK(place.extent == &ss.extent);
      CHECK_EQ(place.cls, cls[i]);
      if (cls[i] == HAK_CLASS_NONE) {
        CHECK(place.slab == NULL && place.start == NULL);
        continue;
      }
      CHECK(place.slab == &ss.slabs[first[i]]);
      CHECK(place.start == (char *)NEAR + first[i] * HAK_SLAB_SIZE);
      CHECK(hak_slab_of((void *)at) == place.slab);
    }
  }
}

/* A thread may read a slab's class while another gives the span a new use: a
 * distance that leads out of the SuperSlab must not be followed. */
static void find__of_a_stale_note_stays_inside_the_superslab(void **state) {
  (void)state;
  static hak_superslab_t ss[2];
  init_superslab(&ss[0], NEAR);
  init_superslab(&ss[1], NEAR + HAK_SUPERSLAB_SIZE);
  /* As of a run that reached from the one into the other. */
  hak_locate_set_class(NEAR + 28 * HAK_SLAB_SIZE, 12, 7);
  for (unsigned i = 0; i < 8; i++) {
    uintptr_t at = NEAR + HAK_SUPERSLAB_SIZE + i * HAK_SLAB_SIZE;
    hak_place_t place = hak_locate(at);
    CHECK(place.extent == &ss[1].extent);
    CHECK(place.slab == NULL && place.start == NULL);
    CHECK_EQ(place.cls, HAK_CLASS_NONE);
  }
  /* A free SuperSlab is unowned whatever is noted of its slabs. */
  hak_store_relaxed(&ss[0].extent.kind, HAK_EXTENT_FREE);
  hak_place_t place = hak_locate(NEAR + 30 * HAK_SLAB_SIZE);
  CHECK(place.extent == &ss[0].extent && place.slab == NULL);
  CHECK_EQ(place.cls, HAK_CLASS_NONE);
}

static void find__in_a_large_span_asks_its_slab_whether_it_is_in_use(void **state) {
  (void)state;
  static hak_superslab_t ss;
  init_superslab(&ss, NEAR);
  hak_locate_set_class(NEAR + 3 * HAK_SLAB_SIZE, 4, HAK_CLASS_LARGE);
  const uint32_t classes[] = {HAK_CLASS_LARGE, HAK_CLASS_NONE}; /* in use, and kept */
  for (size_t i = 0; i < TEST_COUNT(classes); i++) {
    hak_slab_set_class(&ss.slabs[3], classes[i]);
    hak_place_t place = hak_locate(NEAR + 6 * HAK_SLAB_SIZE);
    CHECK_EQ(place.cls, classes[i]);
    CHECK(place.slab == &ss.slabs[3]);
    CHECK(place.start == (char *)NEAR + 3 * HAK_SLAB_SIZE);
  }
}

static void find__in_a_mapping_names_the_blocks_start(void **state) {
  (void)state;
  static hak_extent_t mapping;
  mapping.base = (char *)NEAR;
  size_t size = 5 * HAK_SUPERSLAB_SIZE + HAK_SLAB_SIZE;
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, size));
  hak_registry_set_extent(NEAR, size, &mapping);
  hak_store_relaxed(&mapping.kind, HAK_EXTENT_MAPPING);
  for (size_t at = 0; at < size; at += 123456) {
    hak_store_relaxed(&mapping.block, mapping.base);
    hak_place_t place = hak_locate(NEAR + at);
    CHECK(place.extent == &mapping && place.slab == NULL);
    CHECK(place.start == mapping.base);
    CHECK_EQ(place.cls, HAK_CLASS_LARGE);
    hak_store_relaxed(&mapping.block, NULL); /* it was freed */
    place = hak_locate(NEAR + at);
    CHECK(place.extent == &mapping && place.start == NULL);
    CHECK_EQ(place.cls, HAK_CLASS_NONE);
  }
  hak_registry_set_extent(NEAR, size, NULL);
  for (size_t at = 0; at < size; at += 123456) check_nothing_at(NEAR + at);
}

static void find__in_a_run_names_the_first_superslab(void **state) {
  (void)state;
  enum {
    RUN = 3
  };
  static hak_superslab_t ss[RUN];
  char *base = (char *)NEAR;
  size_t size = RUN * HAK_SUPERSLAB_SIZE;
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, size));
  for (uint32_t i = 0; i < RUN; i++) {
    hak_superslab_init(&ss[i], NULL, i, base + i * HAK_SUPERSLAB_SIZE, &g_os.hooks);
    hak_store_relaxed(&ss[i].extent.kind, HAK_EXTENT_RUN);
    hak_registry_set_extent(NEAR + i * HAK_SUPERSLAB_SIZE, HAK_SUPERSLAB_SIZE,
                            &ss[i].extent);
  }
  for (size_t at = 0; at < size; at += 123456) {
    hak_superslab_t *own = &ss[at >> HAK_SUPERSLAB_SHIFT];
    hak_store_relaxed(&own->extent.block, base);
    hak_place_t place = hak_locate(NEAR + at);
    CHECK(place.extent == &ss[0].extent && place.slab == NULL && place.start == base);
    CHECK_EQ(place.cls, HAK_CLASS_LARGE);
    /* Read while it changes: what it names lies outside of its region. */
    hak_store_relaxed(&own->extent.block, base - HAK_SUPERSLAB_SIZE);
    CHECK_EQ(hak_locate(NEAR + at).cls, HAK_CLASS_NONE);
    hak_store_relaxed(&own->extent.block, base + size);
    CHECK_EQ(hak_locate(NEAR + at).cls, HAK_CLASS_NONE);
    hak_store_relaxed(&own->extent.block, NULL); /* it was freed */
    place = hak_locate(NEAR + at);
    CHECK(place.extent == &own->extent && place.start == NULL);
    CHECK_EQ(place.cls, HAK_CLASS_NONE);
  }
  hak_registry_set_extent(NEAR, size, NULL);
  for (size_t at = 0; at < size; at += 123456) check_nothing_at(NEAR + at);
}

/* 6 slabs before a multiple of 4 GiB to 6 slabs behind it. */
static void classes__reach_over_the_border_of_two_leaves(void **state) {
  (void)state;
  const uintptr_t border = NEAR + ((uintptr_t)1 << HAK_LEAF_SHIFT);
  const uintptr_t start = border - 6 * HAK_SLAB_SIZE;
  static hak_superslab_t ss[2];
  init_superslab(&ss[0], border - HAK_SUPERSLAB_SIZE);
  init_superslab(&ss[1], border);
  hak_locate_set_class(start, 6, 9);
  hak_locate_set_class(border, 6, 9);
  for (unsigned i = 0; i < 14; i++) {
    bool inside = i >= 1 && i <= 12;
    hak_place_t place = hak_locate(start - HAK_SLAB_SIZE + i * HAK_SLAB_SIZE);
    CHECK_EQ(place.cls, inside ? 9 : HAK_CLASS_NONE);
    CHECK(place.start == (!inside ? NULL : (char *)(i <= 6 ? start : border)));
  }
  /* One that does reach over: the distances go on counting. */
  hak_locate_set_class(start, 12, 9);
  hak_locate_set_class(start, 12, HAK_CLASS_NONE);
  for (unsigned i = 0; i < 12; i++) {
    CHECK_EQ(hak_locate(start + i * HAK_SLAB_SIZE).cls, HAK_CLASS_NONE);
  }
}

static void find__before_start_and_after_release_gives_nothing(void **state) {
  (void)state;
  hak_registry_stop();
  check_nothing_at(NEAR);
  CHECK(hak_registry_start(&g_os.hooks));
  check_nothing_at(NEAR);
}

#define R(f) \
  cmocka_unit_test_setup_teardown(f, test_registry_setup, test_registry_teardown)

TEST_MAIN_FRESH(R(find__of_any_64_bit_value_gives_nothing_when_nothing_is_there),
                R(find__names_the_spans_first_slab_from_each_of_its_slabs),
                R(find__of_a_stale_note_stays_inside_the_superslab),
                R(find__in_a_large_span_asks_its_slab_whether_it_is_in_use),
                R(find__in_a_mapping_names_the_blocks_start),
                R(find__in_a_run_names_the_first_superslab),
                R(classes__reach_over_the_border_of_two_leaves),
                R(find__before_start_and_after_release_gives_nothing))
