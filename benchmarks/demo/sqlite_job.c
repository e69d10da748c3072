#include "demo/sqlite_job.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/bench.h"

/* ---- Data sets -------------------------------------------------------------- */

void job_read_lines(const char *path, job_lines_t *out) {
  struct stat status;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0 || fstat(file, &status) != 0 || status.st_size == 0) {
    fprintf(stderr, "cannot read %s\n", path);
    exit(1);
  }
  size_t size = (size_t)status.st_size, done = 0;
  out->text = bench_records(size + 1);
  while (done < size) {
    ssize_t got = read(file, out->text + done, size - done);
    if (got <= 0) break;
    done += (size_t)got;
  }
  close(file);
  size_t lines = 1;
  for (size_t i = 0; i < done; i++) lines += out->text[i] == '\n';
  out->start = bench_records(lines * sizeof *out->start);
  out->length = bench_records(lines * sizeof *out->length);
  out->count = 0;
  for (char *at = out->text, *end = at + done; at < end;) {
    char *stop = memchr(at, '\n', (size_t)(end - at));
    if (stop == NULL) stop = end;
    if (stop > at) {
      out->start[out->count] = at;
      out->length[out->count++] = (uint32_t)(stop - at);
    }
    at = stop + 1;
  }
}

/* ---- SQL, with every error fatal -------------------------------------------- */

static void check(sqlite3 *db, int status) {
  if (status == SQLITE_OK || status == SQLITE_ROW || status == SQLITE_DONE) return;
  fprintf(stderr, "SQLite: %s\n", db != NULL ? sqlite3_errmsg(db) : "out of memory");
  exit(1);
}

static void run(sqlite3 *db, const char *sql) {
  check(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql) {
  sqlite3_stmt *statement = NULL;
  check(db, sqlite3_prepare_v2(db, sql, -1, &statement, NULL));
  return statement;
}

static void step_and_reset(sqlite3 *db, sqlite3_stmt *statement) {
  check(db, sqlite3_step(statement));
  check(db, sqlite3_reset(statement));
}

/* Adds every row of a query to the job's checksum (FNV-1a). */
static void query(sqlite3 *db, job_t *job, const char *sql) {
  sqlite3_stmt *statement = prepare(db, sql);
  uint64_t hash = job->checksum;
  int status;
  while ((status = sqlite3_step(statement)) == SQLITE_ROW) {
    for (int column = 0; column < sqlite3_column_count(statement); column++) {
      const unsigned char *text = sqlite3_column_text(statement, column);
      int length = sqlite3_column_bytes(statement, column);
      for (int i = 0; i < length; i++) hash = (hash ^ text[i]) * 0x100000001b3u;
      hash = (hash ^ 0xff) * 0x100000001b3u;
    }
    job->rows++;
  }
  check(db, status);
  check(db, sqlite3_finalize(statement));
  job->checksum = hash;
}

/* ---- The job ---------------------------------------------------------------- */

static void insert_words(sqlite3 *db, const job_t *job) {
  run(db,
      "create table words(id integer primary key, word text, length int);"
      "begin");
  sqlite3_stmt *insert = prepare(db, "insert into words values(?1, ?2, length(?2))");
  for (size_t i = job->part; i < job->words->count; i += job->parts) {
    check(db, sqlite3_bind_int64(insert, 1, (sqlite3_int64)i));
    check(db, sqlite3_bind_text(insert, 2, job->words->start[i],
                                (int)job->words->length[i], SQLITE_STATIC));
    step_and_reset(db, insert);
  }
  check(db, sqlite3_finalize(insert));
  run(db,
      "commit;"
      "create index words_by_word on words(word);"
      "create index words_by_length on words(length, word)");
}

/* Packages go in by arrays of this many, as a program reads them from a service
 * page by page. */
enum {
  PAGE = 100
};

/* Collects the next page of this part's lines, from *line on; its length. */
static size_t next_page(const job_t *job, size_t *line, char *page) {
  size_t length = 0;
  int count = 0;
  page[length++] = '[';
  for (; *line < job->packages->count && count < PAGE; *line += job->parts) {
    const char *text = job->packages->start[*line];
    size_t size = job->packages->length[*line];
    if (text[0] != '{') continue; /* the array's own brackets */
    if (text[size - 1] == ',') size--;
    if (count++ > 0) page[length++] = ',';
    memcpy(page + length, text, size);
    length += size;
  }
  page[length++] = ']';
  return count > 0 ? length : 0;
}

static void insert_packages(sqlite3 *db, const job_t *job) {
  run(db,
      "create table packages(id integer primary key, name text, version text,"
      "  section text, size int, maintainer text, description text);"
      "create table depends(package int, target text);"
      "begin");
  sqlite3_stmt *packages = prepare(
      db,
      "insert into packages"
      " select ?2 + key, json_extract(value, '$.name'), json_extract(value, '$.version'),"
      "  json_extract(value, '$.section'), json_extract(value, '$.size'),"
      "  json_extract(value, '$.maintainer'), json_extract(value, '$.description')"
      " from json_each(?1)");
  sqlite3_stmt *depends =
      prepare(db,
              "insert into depends select ?2 + p.key, d.value"
              " from json_each(?1) p, json_each(p.value, '$.depends') d");
  size_t largest = 0;
  for (size_t i = 0; i < job->packages->count; i++) {
    if (job->packages->length[i] > largest) largest = job->packages->length[i];
  }
  size_t capacity = (largest + 1) * PAGE + 2;
  char *page = bench_records(capacity);
  size_t line = job->part, length;
  for (int first = 1; (length = next_page(job, &line, page)) > 0; first += PAGE) {
    sqlite3_stmt *both[] = {packages, depends};
    for (int i = 0; i < 2; i++) {
      check(db, sqlite3_bind_text(both[i], 1, page, (int)length, SQLITE_STATIC));
      check(db, sqlite3_bind_int(both[i], 2, first));
      step_and_reset(db, both[i]);
    }
  }
  check(db, sqlite3_finalize(packages));
  check(db, sqlite3_finalize(depends));
  bench_records_free(page, capacity);
  run(db,
      "commit;"
      "create index packages_by_name on packages(name);"
      "create index packages_by_section on packages(section, size);"
      "create index depends_by_package on depends(package);"
      "create index depends_by_target on depends(target)");
}

static void join(sqlite3 *db, job_t *job) {
  query(db, job,
        "select section, count(*), sum(size), max(length(description)),"
        "  group_concat(name, ' ')"
        " from (select * from packages order by name) group by section order by section");
  query(db, job,
        "select d.target, count(*) users, max(p.size), min(p.name)"
        " from depends d join packages p on p.id = d.package"
        " group by d.target order by users desc, d.target limit 1000");
  query(db, job,
        "select w.word, p.name, p.version from packages p"
        " join words w on w.word = p.name order by w.word");
  /* How often each word of the list appears in a description. */
  query(db, job,
        "select w.word, w.length, count(*) times"
        " from packages p,"
        "  json_each('[' || replace(json_quote(p.description), ' ', '\",\"') || ']') d"
        "  join words w on w.word = lower(d.value)"
        " group by w.word order by times desc, w.word");
  /* What the first packages of the web section need, and what that needs. */
  query(db, job,
        "with recursive need(name) as ("
        "  select name from (select name from packages where section = 'web'"
        "   order by name limit 200)"
        "  union select d.target from need n join packages p on p.name = n.name"
        "   join depends d on d.package = p.id)"
        " select name from need order by name");
}

static void change(sqlite3 *db) {
  run(db,
      "begin;"
      "update words set word = word || '-' || length where id % 3 = 0;"
      "update packages set description = upper(description) || ' ' || version"
      " where id % 2 = 0;"
      "delete from words where id % 4 = 1;"
      "delete from depends where package in"
      " (select id from packages where size > 5000);"
      "delete from packages where size > 5000;"
      "commit");
}

static void check_all(sqlite3 *db, job_t *job) {
  query(db, job, "select count(*), sum(length), max(word), min(word) from words");
  query(db, job, "select word from words where length = 9 order by word");
  query(db, job, "select name, description from packages order by name");
  query(db, job, "select target, count(*) from depends group by target order by target");
  query(db, job, "pragma integrity_check");
}

void job_run(job_t *job) {
  sqlite3 *db = NULL;
  check(db, sqlite3_open_v2(
                ":memory:", &db,
                SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL));
  job->checksum = 0xcbf29ce484222325u;
  job->rows = 0;
  insert_words(db, job);
  insert_packages(db, job);
  join(db, job);
  change(db);
  check_all(db, job);
  check(db, sqlite3_close(db));
}
