/* option.c - options by name: environment, set, get, describe. */
#include "base/option.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/report.h"
#include "base/sys.h"
#include "base/text.h"

hak_atomic_i64_t hak_option_values[HAK_OPTION_COUNT] = {
#define HAK_OPTION(id, env, def, min, max, doc) def,
#include <hakmem/options.def>
#undef HAK_OPTION
};

typedef struct option {
  const char *name;
  int64_t default_value, min, max;
  const char *doc;
} option_t;

static const option_t options[HAK_OPTION_COUNT] = {
#define HAK_OPTION(id, env, def, min, max, doc) {env, def, min, max, doc},
#include <hakmem/options.def>
#undef HAK_OPTION
};

/* Names that options had before, which the environment may use for one version more. */
static const struct {
  const char *name;
  hak_option_t option;
} former_names[] = {{"ARENA_BYTES", HAK_OPTION_REGION_BYTES},
                    {"ARENA_BYTES_MAX", HAK_OPTION_REGION_BYTES_MAX},
                    {"TICK_REFILLS", HAK_OPTION_TRIM_REFILLS},
                    {"TRANSFER_SLOTS", HAK_OPTION_TRANSFER_MAGAZINES}};

static const char prefix[] = "HAKMEM_";
/* Names that are not the library's: variables of its tests and benchmarks. */
static const char *const foreign_prefixes[] = {"TEST_", "BENCH_"};

static bool starts_with(const char *s, const char *start) {
  return strncmp(s, start, strlen(start)) == 0;
}

/* The environment is read once, by the thread that starts the library. */
static HAK_SLOW void report(const char *variable, hak_option_t option) {
  static char text[172], quoted[88];
  hak_text_quote(quoted, sizeof quoted, variable);
  size_t used = hak_text_print(text, sizeof text, "the environment variable %s ", quoted);
  if (option == HAK_OPTION_COUNT) {
    hak_text_print(text + used, sizeof text - used, "names no option; ignored");
  } else {
    hak_text_print(text + used, sizeof text - used,
                   "is no number from %lld to %lld%s; ignored",
                   (long long)options[option].min, (long long)options[option].max,
                   option == HAK_OPTION_BACKEND ? ", auto, native or malloc" : "");
  }
  hak_report(HAK_ERROR_BAD_OPTION, variable, NULL, "hak_init", text);
}

/* A decimal number, perhaps with k, m or g for powers of 1024. One that *value has no
 * room for is the largest or the smallest that it has, which no option can be. */
static bool parse(const char *text, int64_t *value) {
  if (*text == '\0') return false;
  char *end;
  long long number = strtoll(text, &end, 10);
  if (end == text) return false;
  int64_t unit = 1;
  switch (*end | 0x20) { /* a letter in lower case; nothing else becomes a letter */
    case 'k':
      unit = 1024;
      break;
    case 'm':
      unit = 1024 * 1024;
      break;
    case 'g':
      unit = 1024 * 1024 * 1024;
      break;
    default:
      break;
  }
  if (unit != 1) end++;
  if (__builtin_mul_overflow((int64_t)number, unit, value)) {
    *value = number < 0 ? INT64_MIN : INT64_MAX;
  }
  return *end == '\0';
}

/* Words that stand for a number, in the environment. */
static const struct {
  hak_option_t option;
  const char *word;
  int64_t value;
} words[] = {{HAK_OPTION_BACKEND, "auto", HAK_BACKEND_AUTO},
             {HAK_OPTION_BACKEND, "native", HAK_BACKEND_NATIVE},
             {HAK_OPTION_BACKEND, "malloc", HAK_BACKEND_MALLOC}};

static bool parse_for(hak_option_t option, const char *text, int64_t *value) {
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    if (words[i].option != option || strcmp(words[i].word, text) != 0) continue;
    *value = words[i].value;
    return true;
  }
  return parse(text, value);
}

static bool is_name(const char *known, const char *name, size_t length) {
  return strncmp(known, name, length) == 0 && known[length] == 0;
}

/* The option of this name; HAK_OPTION_COUNT if there is none. */
static hak_option_t option_named(const char *name, size_t length) {
  for (int i = 0; i < HAK_OPTION_COUNT; i++) {
    if (is_name(options[i].name, name, length)) return (hak_option_t)i;
  }
  for (size_t i = 0; i < sizeof former_names / sizeof former_names[0]; i++) {
    if (is_name(former_names[i].name, name, length)) return former_names[i].option;
  }
  return HAK_OPTION_COUNT;
}

/* What the variable calls an option, of that length; NULL if it is none of ours. */
static const char *name_in(const char *variable, size_t *length) {
  if (!starts_with(variable, prefix)) return NULL;
  const char *name = variable + strlen(prefix);
  for (size_t i = 0; i < sizeof foreign_prefixes / sizeof foreign_prefixes[0]; i++) {
    if (starts_with(name, foreign_prefixes[i])) return NULL;
  }
  const char *equals = strchr(name, '=');
  if (equals == NULL) return NULL;
  *length = (size_t)(equals - name);
  return name;
}

/* What hak_option_set says; sets nothing. */
static HAK_SLOW int refusal(hak_option_t option, int64_t value) {
  if ((int)option < 0 || option >= HAK_OPTION_COUNT) return EINVAL;
  if (value < options[option].min || value > options[option].max) return ERANGE;
  return 0;
}

hak_atomic_u32_t hak_options_wrong;

/* Sets its option, or says which it is if it is ignored. */
static HAK_SLOW void look_at(const char *variable, bool telling) {
  size_t length;
  const char *name = name_in(variable, &length);
  if (name == NULL) return;
  int saved = errno;
  hak_option_t option = option_named(name, length);
  int64_t value = 0;
  bool good = parse_for(option, name + length + 1, &value) && refusal(option, value) == 0;
  if (telling) {
    if (!good) report(variable, option);
  } else if (good) {
    hak_store_relaxed(&hak_option_values[option], value);
  } else {
    hak_or_relaxed(&hak_options_wrong, HAK_OPTIONS_WRONG_VARIABLE);
  }
  errno = saved;
}

void hak_options_read_environment(void) { hak_sys_environment(look_at, false); }

HAK_SLOW void hak_options_report(void) {
  uint32_t wrong = hak_exchange_relaxed(&hak_options_wrong, 0);
  if ((wrong & HAK_OPTIONS_WRONG_VARIABLE) != 0) hak_sys_environment(look_at, true);
  if ((wrong & HAK_OPTIONS_WRONG_BACKEND) != 0) {
    hak_report(HAK_ERROR_BAD_OPTION, NULL, NULL, "hak_init",
               "malloc gives no blocks for the backend");
  }
}

static hak_atomic_u32_t told; /* [any] relaxed: 1 once a variable was seen, for good */
static HAK_SLOW void note_variable(const char *variable, bool any) {
  (void)any;
  size_t length;
  if (name_in(variable, &length) != NULL) hak_store_relaxed(&told, 1);
}
HAK_SLOW bool hak_options_are_in_environment(void) {
  hak_sys_environment(note_variable, false);
  return hak_load_relaxed(&told) != 0;
}

int hak_option_set(hak_option_t option, int64_t value) {
  int error = refusal(option, value);
  if (error == 0) hak_store_relaxed(&hak_option_values[option], value);
  return error;
}

int64_t hak_option_get(hak_option_t option) {
  if ((int)option < 0 || option >= HAK_OPTION_COUNT) return 0;
  return hak_load_relaxed(&hak_option_values[option]);
}

int hak_option_describe(hak_option_t option, hak_option_info_t *out) {
  if (out == NULL || out->struct_size < sizeof *out) return EINVAL;
  if ((int)option < 0 || option >= HAK_OPTION_COUNT) return ENOENT;
  const option_t *o = &options[option];
  *out = (hak_option_info_t){.struct_size = sizeof *out,
                             .name = o->name,
                             .value = hak_option_get(option),
                             .default_value = o->default_value,
                             .min = o->min,
                             .max = o->max,
                             .doc = o->doc};
  return 0;
}
