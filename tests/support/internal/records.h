/* records.h - bytes of the library's records, without the registry. */
#ifndef HAKMEM_TEST_RECORDS_H
#define HAKMEM_TEST_RECORDS_H

#include <stdint.h>

/* metadata_bytes of the process but for the registry's: how many leaves that has, and how
 * many of their pages are resident, depends on where the system places mappings, so that
 * a test which counts records counts them without. The library has started. */
uint64_t test_record_bytes(void);

#endif /* HAKMEM_TEST_RECORDS_H */
