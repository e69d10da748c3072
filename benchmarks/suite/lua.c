/* lua.c - a real program: the Lua interpreter, given the allocator's functions.
 *
 * Measures lua_job.lua, whose objects are tables, strings and closures that Lua's
 * collector frees in its own order. Wall time of the whole, by round of the script;
 * what it returns, a checksum of its results, must be the same for all.
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapters/prove.h"
#include "suite/groups.h"

/* The last block that Lua got. */
typedef struct memory {
  void *block;
  size_t size;
} memory_t;

static void *lua_memory(void *context, void *ptr, size_t old_size, size_t size) {
  memory_t *memory = context;
  (void)old_size;
  if (size == 0) {
    bench_free(ptr);
    return NULL;
  }
  memory->block = ptr != NULL ? bench_realloc(ptr, size) : bench_alloc(size);
  memory->size = size;
  return memory->block;
}

static void fail(lua_State *lua) {
  fprintf(stderr, "Lua: %s\n", lua_tostring(lua, -1));
  exit(1);
}

/* That Lua really uses it: where an object of its own lies is the allocator's. */
static void prove_lua(lua_State *lua, const memory_t *memory) {
  const char *object = lua_newuserdatauv(lua, 5000, 0);
  const char *block = memory->block;
  bool inside = object > block && object + 5000 <= block + memory->size;
  bench_prove_block(inside ? memory->block : NULL, memory->size);
  lua_pop(lua, 1);
}

static void run_lua(const suite_workload_t *self) {
  uint32_t rounds = suite_rounds(self->operations, 1);
  memory_t memory = {NULL, 0};
  lua_State *lua = lua_newstate(lua_memory, &memory);
  if (lua == NULL) {
    fprintf(stderr, "Lua refuses the allocator\n");
    exit(1);
  }
  luaL_openlibs(lua);
  prove_lua(lua, &memory);
  if (luaL_dofile(lua, SUITE_SCRIPT) != LUA_OK) fail(lua);
  double start = suite_now();
  lua_pushinteger(lua, rounds);
  if (lua_pcall(lua, 1, 1, 0) != LUA_OK) fail(lua);
  suite_time("round", suite_now() - start, rounds);
  suite_check(lua_tostring(lua, -1));
  prove_lua(lua, &memory);
  lua_close(lua);
}

static const suite_workload_t workloads[] = {
    {.name = "lua",
     .what = "the Lua interpreter builds, sorts and drops tables and strings",
     .run = run_lua,
     .operations = 40,
     .high = MIB},
};

const suite_group_t suite_lua = SUITE_GROUP("programs", workloads);
