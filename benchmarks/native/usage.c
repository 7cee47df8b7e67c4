#include "usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void read_file(pid_t pid, const char *name, char *out, size_t size)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fprintf(stderr, "load: process %d is gone\n", (int)pid);
        exit(2);
    }
    size_t got = fread(out, 1, size - 1, file);
    out[got] = '\0';
    fclose(file);
}

double cpu_seconds(pid_t pid)
{
    char text[1024];
    unsigned long user = 0, kernel = 0;

    read_file(pid, "stat", text, sizeof text);
    /* The program's name, in parentheses, may hold anything: the fields follow the last one. */
    const char *fields = strrchr(text, ')');
    if (fields == NULL ||
        sscanf(fields + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &kernel) != 2) {
        fprintf(stderr, "load: /proc/%d/stat cannot be read\n", (int)pid);
        exit(2);
    }
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

long resident_kib(pid_t pid)
{
    char text[256];
    long pages = 0;

    read_file(pid, "statm", text, sizeof text);
    if (sscanf(text, "%*d %ld", &pages) != 1) {
        fprintf(stderr, "load: /proc/%d/statm cannot be read\n", (int)pid);
        exit(2);
    }
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}
