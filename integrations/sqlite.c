/* sqlite.c - SQLite in a heap of its own. */
#include <sqlite3.h>

#include "integrate.h"

/* glue: SQLite's sizes are ints, and it asks for usable sizes. */
HAK_DEFINE_HOOKS(sql, g_heap);

static void *sql_give(int size) { return sql_malloc((size_t)size); }
static void *sql_resize(void *ptr, int size) { return sql_realloc(ptr, (size_t)size); }
static int sql_size(void *ptr) { return (int)sql_usable_size(ptr); }
static int sql_roundup(int size) { return (size + 7) & ~7; }
static int sql_start(void *data) { return data == NULL ? SQLITE_OK : SQLITE_ERROR; }
static void sql_stop(void *data) { (void)data; }

static const sqlite3_mem_methods sql_methods = {
    sql_give, sql_free, sql_resize, sql_size, sql_roundup, sql_start, sql_stop, NULL};
/* glue end: sqlite3_config(SQLITE_CONFIG_MALLOC, &sql_methods) before anything else. */

static void *failing_give(int size) { return fails() ? NULL : sql_give(size); }
static void *failing_resize(void *ptr, int size) {
  return fails() ? NULL : sql_resize(ptr, size);
}

static void begin(void) {
  sqlite3_mem_methods methods = sql_methods;
  methods.xMalloc = HOOK(sql_give, failing_give);
  methods.xRealloc = HOOK(sql_resize, failing_resize);
  MUST(sqlite3_shutdown() == SQLITE_OK);
  MUST(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK);
}

static void end(void) { MUST(sqlite3_shutdown() == SQLITE_OK); }

static int row(void *result, int columns, char **values, char **names) {
  (void)names;
  for (int i = 0; i < columns; i++) {
    strncat(result, values[i] == NULL ? "-" : values[i], 40);
    strncat(result, i + 1 < columns ? "," : ";", 2);
  }
  return 0;
}

static int work(char *result) {
  static const char *const sql[] = {
      "CREATE TABLE t(id INTEGER PRIMARY KEY, word TEXT, n INT); CREATE INDEX i ON "
      "t(word);",
      "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1000) "
      "INSERT INTO t SELECT x, hex(x * 7919 % 1000) || 'word', x * x % 97 FROM c;",
      "UPDATE t SET word = upper(word) || id WHERE n % 3 = 0; DELETE FROM t WHERE n = 5;",
      "SELECT n, count(*), min(word), max(word) FROM t GROUP BY n ORDER BY 2, 1 LIMIT "
      "20;"};
  sqlite3 *db = NULL;
  result[0] = 0;
  int error = sqlite3_open(":memory:", &db);
  for (size_t i = 0; error == SQLITE_OK && i < sizeof sql / sizeof *sql; i++) {
    error = sqlite3_exec(db, sql[i], row, result, NULL);
  }
  sqlite3_close(db);
  return error;
}

int main(void) {
  static const integration_t sqlite = {"sqlite", 64 << 20, begin, end, work, NULL};
  return integrate(&sqlite);
}
