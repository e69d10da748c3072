/* stacks.c - the calls by which places are reached, where the program asks for them. */
#include "api/api.h"
#include "base/callee.h"
#include "learn/stack.h"

static hak_callee_t stack_hook;

void hak_set_stack_hook(hak_stack_fn *fn, void *ctx) {
  hak_callee_set(&stack_hook, (hak_any_fn *)fn, ctx);
}

static HAK_SLOW uint32_t ask(uint32_t origin) {
  void *ctx, *frames[HAK_STACK_FRAMES];
  hak_stack_fn *fn = (hak_stack_fn *)hak_callee_get(&stack_hook, &ctx);
  size_t depth = fn == NULL ? 0 : fn(frames, HAK_STACK_FRAMES, ctx);
  if (depth == 0 || !hak_stacks_prepare(hak_lifecycle_os())) return HAK_STACK_NONE;
  return hak_stack_number(origin, frames, depth);
}

size_t hak_api_calls(void **frames, size_t most) {
  void *ctx;
  hak_stack_fn *fn = (hak_stack_fn *)hak_callee_get(&stack_hook, &ctx);
  return fn == NULL ? 0 : fn(frames, most, ctx);
}

uint32_t hak_api_stack(uint32_t origin) {
  /* Relaxed: who finds a hook reads it together with its context. */
  if (HAK_LIKELY(hak_load_relaxed(&stack_hook.fn) == NULL)) return HAK_STACK_NONE;
  return ask(origin);
}
