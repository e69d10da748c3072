#include "records.h"

#include "api/rows.h"
#include "pages/registry.h"
#include "support.h"

uint64_t test_record_bytes(void) {
  hak_rows_t rows = {.records = 0}; /* those of the registry that are not resident */
  hak_rows_add_registry(&rows);
  uint64_t registry = hak_load_relaxed(&hak_registry_reserved) - rows.records;
  return test_stats().metadata_bytes - registry;
}
