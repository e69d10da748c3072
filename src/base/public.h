/* public.h - the public header, as the library itself sees it.
 *
 * Depends on: nothing.   Used by: everything.
 *
 * No public function may become part of its caller, which link-time optimisation would
 * do: a compiler takes the address of thread-local data once for a whole function, and a
 * fiber may call the library, change threads and call it again within one. So each is
 * said to be apart; the test `rules.public` compares this list with the header.
 */
#ifndef HAK_BASE_PUBLIC_H
#define HAK_BASE_PUBLIC_H

#include <hakmem/hakmem.h>

#define HAK_APART(function) extern __typeof__(function) function __attribute__((noinline))

HAK_APART(hak_alloc);
HAK_APART(hak_calloc);
HAK_APART(hak_realloc);
HAK_APART(hak_reallocarray);
HAK_APART(hak_free);
HAK_APART(hak_aligned_alloc);
HAK_APART(hak_aligned_realloc);
HAK_APART(hak_free_sized);
HAK_APART(hak_free_aligned_sized);
HAK_APART(hak_usable_size);
HAK_APART(hak_alloc_usable);
HAK_APART(hak_free_usable);
HAK_APART(hak_good_size);
HAK_APART(hak_resize_in_place);
HAK_APART(hak_strdup);
HAK_APART(hak_strndup);
HAK_APART(hak_allocx);
HAK_APART(hak_freex);
HAK_APART(hak_reallocx);
HAK_APART(hak_alloc_at);
HAK_APART(hak_alloc_named);
HAK_APART(hak_calloc_at);
HAK_APART(hak_realloc_at);
HAK_APART(hak_reallocarray_at);
HAK_APART(hak_aligned_alloc_at);
HAK_APART(hak_aligned_realloc_at);
HAK_APART(hak_strdup_at);
HAK_APART(hak_strndup_at);
HAK_APART(hak_site_count);
HAK_APART(hak_site_of_caller);
HAK_APART(hak_heap_create);
HAK_APART(hak_heap_destroy);
HAK_APART(hak_heap_release);
HAK_APART(hak_heap_reset);
HAK_APART(hak_heap_set_limits);
HAK_APART(hak_heap_default);
HAK_APART(hak_heap_use);
HAK_APART(hak_heap_current);
HAK_APART(hak_heap_of);
HAK_APART(hak_heap_name);
HAK_APART(hak_heap_set_name);
HAK_APART(hak_heap_parent);
HAK_APART(hak_heap_set_user);
HAK_APART(hak_heap_user);
HAK_APART(hak_heap_alloc);
HAK_APART(hak_heap_calloc);
HAK_APART(hak_heap_realloc);
HAK_APART(hak_heap_aligned_alloc);
HAK_APART(hak_heap_alloc_at);
HAK_APART(hak_heap_calloc_at);
HAK_APART(hak_heap_realloc_at);
HAK_APART(hak_heap_aligned_alloc_at);
HAK_APART(hak_heap_prefault);
HAK_APART(hak_heap_prewarm);
HAK_APART(hak_heap_free);
HAK_APART(hak_os_default);
HAK_APART(hak_set_error_handler);
HAK_APART(hak_error_ignore);
HAK_APART(hak_error_text);
HAK_APART(hak_init);
HAK_APART(hak_shutdown);
HAK_APART(hak_thread_init);
HAK_APART(hak_thread_exit);
HAK_APART(hak_thread_idle);
HAK_APART(hak_collect);
HAK_APART(hak_purge_due);
HAK_APART(hak_maintenance_start);
HAK_APART(hak_maintenance_stop);
HAK_APART(hak_option_set);
HAK_APART(hak_option_get);
HAK_APART(hak_option_describe);
HAK_APART(hak_fork_prepare);
HAK_APART(hak_fork_parent);
HAK_APART(hak_fork_child);
HAK_APART(hak_version);
HAK_APART(hak_stats_get);
HAK_APART(hak_stats_print);
HAK_APART(hak_stats_classes);
HAK_APART(hak_sites_visit);
HAK_APART(hak_sites_print);
HAK_APART(hak_set_stack_hook);
HAK_APART(hak_guard_explain);
HAK_APART(hak_waves_get);
HAK_APART(hak_learned_save);
HAK_APART(hak_learned_load);
HAK_APART(hak_ptr_info);
HAK_APART(hak_heap_visit);
HAK_APART(hak_move_hint);
HAK_APART(hak_visit_heaps);
HAK_APART(hak_heaps_print);
HAK_APART(hak_check);
HAK_APART(hak_set_event_hook);
HAK_APART(hak_heap_set_block_hook);

#undef HAK_APART

#endif
