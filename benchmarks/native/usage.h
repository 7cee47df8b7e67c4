/* What processes used, as the kernel tells it (proc(5)). */
#ifndef USAGE_H
#define USAGE_H

#include <sys/types.h>

/* User and system time of all threads since the start, in seconds; in steps of 10 ms. */
double cpu_seconds(pid_t pid);

/* Resident memory in KiB. */
long resident_kib(pid_t pid);

#endif
