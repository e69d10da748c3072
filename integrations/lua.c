/* lua.c - a Lua state in a heap of its own, which is serial: one thread runs the state.
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "integrate.h"

static bool g_ours;

/* Lua takes it for granted that a block can be made smaller. */
static void *failing_resize(void *heap, void *ptr, size_t old_size, size_t size) {
  if (size > 0 && (ptr == NULL || size > old_size) && fails()) return NULL;
  return hak_hook_resize(heap, ptr, old_size, size);
}

/* glue: Lua passes a pointer, which is the heap. */
static lua_State *new_state(hak_heap_t *heap) {
  return lua_newstate(hak_hook_resize, heap);
}
/* glue end */

static void begin(void) { g_ours = true; }
static void end(void) {}

static const char *const script =
    "local t, s = {}, {}\n"
    "for i = 1, 500 do t[i] = { name = 'n' .. i, value = i * i % 97 } end\n"
    "table.sort(t, function(a, b) return a.value < b.value or\n"
    "  a.value == b.value and a.name < b.name end)\n"
    "for i = 1, #t, 25 do s[#s + 1] = t[i].name .. '=' .. t[i].value end\n"
    "return table.concat(s, ' ') .. string.rep('x', 1000):gsub('x', 'y'):sub(1, 10)\n";

static int open_libraries(lua_State *state) {
  luaL_openlibs(state);
  return 0;
}

static int work(char *result) {
  lua_State *state = !g_ours          ? luaL_newstate()
                     : g_fail_at == 0 ? new_state(g_heap)
                                      : lua_newstate(failing_resize, g_heap);
  if (state == NULL) return LUA_ERRMEM;
  lua_pushcfunction(state, open_libraries);
  int error = lua_pcall(state, 0, 0, 0);
  if (error == LUA_OK) error = luaL_loadstring(state, script);
  if (error == LUA_OK) error = lua_pcall(state, 0, 1, 0);
  if (error == LUA_OK) snprintf(result, RESULT_MAX, "%s", lua_tostring(state, -1));
  lua_close(state);
  return error;
}

int main(void) {
  static const integration_t lua = {"lua", 64 << 20, begin, end, work, NULL};
  return integrate(&lua);
}
