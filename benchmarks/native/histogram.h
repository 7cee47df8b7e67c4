/* Times in ns, counted in steps of less than 1 %. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { FINE_BITS = 7, BUCKETS = 64 << FINE_BITS };

struct histogram {
    uint64_t count, greatest;
    uint64_t bucket[BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);

/* The value that this share (0..1) of all does not exceed; 0 when there is none. */
uint64_t histogram_at(const struct histogram *histogram, double share);

#endif
