#include "pages/rent.h"

/* --- epochs ------------------------------------------------------------------------ */

static void refund(hak_rent_t *rent, uint64_t bytes) {
  if (bytes != 0) hak_sub_relaxed(&rent->spent, bytes);
}

static bool has_passed(uint64_t since, const hak_rent_terms_t *terms) {
  return terms->now >= since && terms->now - since >= terms->decay;
}

/* What was given a decay ago and was not needed was right. */
static void next_epoch(hak_rent_t *rent, const hak_rent_terms_t *terms) {
  uint64_t since = hak_load_relaxed(&rent->since);
  if (!has_passed(since, terms)) return;
  bool all = has_passed(hak_load_relaxed(&rent->last), terms);
  /* One thread turns the page. */
  if (!hak_cas_relaxed(&rent->since, &since, terms->now)) return;
  uint64_t given = hak_exchange_relaxed(&rent->given, 0);
  refund(rent, hak_exchange_relaxed(&rent->before, all ? 0 : given));
  if (all) refund(rent, given);
}

void hak_rent_note_given(hak_rent_t *rent, uint64_t bytes,
                         const hak_rent_terms_t *terms) {
  if (bytes == 0) return;
  next_epoch(rent, terms);
  hak_store_relaxed(&rent->last, terms->now);
  hak_add_relaxed(&rent->given, bytes);
  hak_add_relaxed(&rent->spent, bytes);
}

/* Up to so many bytes of those that went were a mistake. */
static uint64_t take(hak_atomic_u64_t *given, uint64_t bytes) {
  uint64_t there = hak_load_relaxed(given);
  do {
    if (there < bytes) bytes = there;
  } while (bytes != 0 && !hak_cas_relaxed(given, &there, there - bytes));
  return bytes;
}

void hak_rent_note_needed(hak_rent_t *rent, uint64_t bytes,
                          const hak_rent_terms_t *terms) {
  next_epoch(rent, terms);
  /* The longest gone first, as they are the next to be found right. */
  uint64_t mistakes = take(&rent->before, bytes);
  mistakes += take(&rent->given, bytes - mistakes);
  if (mistakes == 0) return;
  /* What it has spent stays spent, and to touch it earns nothing. */
  hak_add_relaxed(&rent->spent, mistakes);
  hak_rent_allow(rent, hak_load_relaxed(&rent->allowance) + mistakes, terms);
}

/* --- the allowance ----------------------------------------------------------------- */

void hak_rent_allow(hak_rent_t *rent, uint64_t allowed, const hak_rent_terms_t *terms) {
  uint64_t before = hak_load_relaxed(&rent->allowance);
  /* More than there is need not be allowed for: it would take longer to be forgotten. */
  if (allowed > terms->committed) allowed = terms->committed;
  if (allowed > before) hak_store_relaxed(&rent->allowance, allowed);
  hak_rent_confirm(rent, terms->now);
}

uint64_t hak_rent_allowance(hak_rent_t *rent, uint64_t least,
                            const hak_rent_terms_t *terms) {
  uint64_t allowed = hak_load_relaxed(&rent->allowance);
  uint64_t at = hak_load_relaxed(&rent->at);
  if (allowed == 0 || terms->now < at || terms->now - at <= terms->decay) return allowed;
  uint64_t halvings = terms->decay == 0 ? 64 : (terms->now - at) / terms->decay;
  allowed = halvings >= 64 ? 0 : allowed >> halvings;
  if (allowed < least) allowed = 0;
  hak_rent_confirm(rent, terms->now);
  hak_store_relaxed(&rent->allowance, allowed);
  return allowed;
}

/* --- the bounds -------------------------------------------------------------------- */

uint64_t hak_rent_credit(hak_rent_t *rent, uint64_t touched,
                         const hak_rent_terms_t *terms) {
  next_epoch(rent, terms);
  uint64_t spent = hak_load_relaxed(&rent->spent);
  if (spent >= touched) return 0;
  uint64_t credit = touched - spent;
  if (credit <= terms->committed) return credit;
  /* A long time without mistakes does not pay for any number of them later. Where threads
   * look at once, one of them notes that. */
  (void)hak_cas_relaxed(&rent->spent, &spent, touched - terms->committed);
  return terms->committed;
}

uint64_t hak_rent_share(uint64_t all, uint64_t least, uint64_t passed, uint64_t late,
                        uint64_t decay) {
  uint64_t span = decay / 2;
  if (late >= span || passed >= span - late) return all;
  if (passed == 0) passed = 1;
  /* The number of looks until then, rounded down. */
  uint64_t share = all / ((span - late) / passed);
  if (share < least) share = least;
  return share < all ? share : all;
}
