/* machine.h - where and how a benchmark ran. */
#ifndef BENCH_SUPPORT_MACHINE_H
#define BENCH_SUPPORT_MACHINE_H

#ifdef __cplusplus
extern "C" {
#endif

/* One line "note NAME TEXT" each on the compiler and its flags, the processor and how
 * many of them this process may use, the kernel, huge pages, the page size and the C
 * library. Every benchmark prints them first. */
void bench_print_machine(void);

#ifdef __cplusplus
}
#endif

#endif
