/* scenarios.h - the names of all scenarios: a new one is added here. */
#ifndef EXPLORE_SCENARIOS_H
#define EXPLORE_SCENARIOS_H

#include "explore.h"

/* clang-format off */
#define EXPLORE_ALL(one) \
  one(litmus_mp) one(litmus_mp_no_release) one(litmus_mp_no_acquire) one(litmus_sb) \
  one(litmus_lb) one(litmus_iriw) one(litmus_corr) one(litmus_corr_passed) \
  one(litmus_rs) one(litmus_rs_broken) one(litmus_wrc) one(litmus_adds) \
  one(litmus_counts) one(litmus_cas) one(litmus_cas_weak) one(litmus_cas_old) \
  one(litmus_spin) one(litmus_race) one(litmus_race_relaxed) one(litmus_stuck) \
  one(litmus_aba) one(litmus_waits) one(litmus_hasty) one(litmus_fork) \
  one(base_lock) one(base_lock_twice) one(base_lock_try) one(base_gate) \
  one(base_gate_reason) one(base_readers) one(base_readers_turn) \
  one(base_callee) one(base_callee_both) \
  one(registry_start) one(registry_publish) one(registry_locate) one(registry_withdraw) \
  one(registry_cover_twice) one(registry_spares) \
  one(budget_two) one(budget_three) one(budget_fixed) one(budget_begun) one(budget_pages) \
  one(budget_fixed_refused) one(budget_alarm) one(budget_quota) \
  one(range_add_lowest) one(range_add_between) one(range_remove) one(range_move) \
  one(range_pass_on) one(range_pass_on_second) one(range_two_change) \
  one(slab_push) one(slab_push_twice) one(slab_let_go) one(slab_claim) \
  one(slab_give_up) one(slab_last) one(partial_refill) one(partial_refill_last) \
  one(transfer_take) one(transfer_take_any) one(transfer_two_take) one(transfer_shut) \
  one(depot_take) one(depot_cut) one(depot_home) one(depot_part) \
  one(slab_to_list) one(slab_to_other) one(partial_refill_claim) \
  one(start_twice) one(start_look) one(exit_both) \
  one(exit_collect) one(heap_destroy_collect) one(heap_destroy_exit) \
  one(heap_release_free) \
  one(phase_start) one(phase_change) one(phase_stay) one(heap_record) one(heap_record_twice) \
  one(threads_first) one(threads_attach) one(threads_revive) one(threads_revive_purge) one(threads_purge_refused) one(threads_purge) \
  one(cache_visit) one(cache_at) one(cache_index) \
  one(region_visit) one(region_owner) one(region_second) one(region_lay) one(region_lay_again) \
  one(origin_make) one(origins_made) \
  one(heap_name) one(heap_user) one(heap_again) one(heap_again_renamed) one(heap_used) one(heap_used_group) \
  one(heap_samples) one(heap_group) one(heap_serial) \
  one(turn_tail) one(turn_memory) one(turn_sweep) one(turn_maintenance) one(turn_audit) \
  one(walk_stats) one(walk_tree) one(walk_map) one(walk_cache_stats) \
  one(walk_cache_tree) one(walk_external) one(turn_span) one(turn_mapped) one(walk_visit) \
  one(walk_moved_stats) one(walk_moved_tree) one(walk_moved_map) one(walk_moved_visit) \
  one(walk_bare_stats) one(walk_bare_tree) one(walk_magazine) one(walk_magazine_over) \
  one(turn_pinned) one(turn_pinned_mapped) \
  one(tail_slab) one(tail_span) one(pool_grow) \
  one(pool_take_over) one(pool_take_over_alone) one(pool_grow_slowly) one(pool_grow_give) \
  one(huge_mend) one(huge_mend_put) one(huge_again) one(huge_taken_again) \
  one(lend_first) one(lend_and_back) one(lend_and_home) one(lend_grown) one(lend_last) \
  one(lend_full) one(lend_of_carved) one(lend_exit) one(lend_destroy) one(lend_release) \
  one(lend_short_first) one(lend_short_and_back) one(lend_short_and_home) \
  one(lend_short_last) one(lend_short_exit) one(lend_short_begin) \
  one(look_use) one(look_twice) one(look_exit) one(look_destroy) one(look_reset) \
  one(pool_purge) one(pool_purge_twice) \
  one(recall_destroy) one(recall_release) one(recall_exit) one(recall_limit) \
  one(lean_home) \
  one(fork_alloc) one(fork_flip) one(fork_large) one(fork_free) one(fork_idle) one(fork_exit) \
  one(fork_destroy) one(fork_reset) one(fork_create) one(fork_heap_idle) \
  one(fork_collect) one(fork_grow) one(fork_mend) one(fork_lend) \
  one(fork_locks) one(fork_twice) \
  one(fork_lists_flip) one(fork_lists_flip_of_heap) one(fork_lists_last) \
  one(fork_lists_fast) one(fork_lists_fast_of_heap) one(fork_lists_idle) \
  one(fork_lists_idle_of_heap) one(fork_lists_slow_of_heap) \
  one(fork_lists_shared) one(fork_lists_shared_full) \
  one(external_free) one(external_alloc) one(external_grow) one(external_destroy) \
  one(external_release) one(external_release_beside) one(external_same) \
  one(external_beside) one(external_again) one(external_units) \
  one(external_units_destroy) one(external_units_release) \
  one(external_units_annexed) one(external_fork) one(external_fork_make) \
  one(external_fork_destroy) \
  one(samples_first) one(samples_first_of_heap) one(samples_free) \
  one(samples_free_of_heap) one(samples_kept) one(samples_move) one(samples_destroy) \
  one(samples_reset) one(samples_release) one(samples_fork) \
  one(samples_fork_of_heap) one(samples_save) \
  one(leave_exit) one(leave_release) one(leave_free) one(leave_two) one(leave_refill) \
  one(leave_serve_again) one(leave_collect) one(leave_free_of_heap) \
  one(leave_two_of_heap) one(leave_refill_of_heap) one(leave_end_free) \
  one(leave_end_two_free) one(leave_end_take_over) one(leave_end_collect) \
  one(leave_end_free_of_heap) one(leave_end_take_over_of_heap) \
  one(leave_end_collect_of_heap) one(leave_end_begin) \
  one(fork_hook_commit) one(fork_hook_commit_large) one(fork_hook_commit_idle) \
  one(fork_hook_commit_heap) one(fork_hook_reserve) one(fork_hook_purge) \
  one(fork_hook_release) one(fork_hook_own_commit) one(fork_hook_own_commit_idle) \
  one(fork_hook_own_purge) one(fork_hook_event) one(fork_hook_pressure) \
  one(fork_hook_pressure_beside) \
  one(signal_free) one(signal_alloc) one(signal_large) one(signal_mapped) \
  one(signal_collect) one(signal_print) one(signal_destroy) one(signal_release) \
  one(signal_exit) one(signal_fork)
/* clang-format on */

#define EXPLORE_DECLARE(name) extern const explore_scenario_t name;
EXPLORE_ALL(EXPLORE_DECLARE)

#endif
