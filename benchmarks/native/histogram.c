#include "histogram.h"

/* As in HdrHistogram: exact below 128; above that, a power of two and its seven following bits. */
static uint32_t bucket_of(uint64_t value)
{
    if (value < 1u << FINE_BITS)
        return (uint32_t)value;
    int shift = 63 - __builtin_clzll(value) - FINE_BITS;
    return (uint32_t)((uint64_t)(shift + 1) << FINE_BITS | (value >> shift & ((1u << FINE_BITS) - 1)));
}

static uint64_t top_of(uint32_t bucket)
{
    if (bucket < 1u << FINE_BITS)
        return bucket;
    int shift = (int)(bucket >> FINE_BITS) - 1;
    uint64_t base = (uint64_t)1 << FINE_BITS | (bucket & ((1u << FINE_BITS) - 1));
    return ((base + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->bucket[bucket_of(value)]++;
    if (value > histogram->greatest)
        histogram->greatest = value;
}

uint64_t histogram_at(const struct histogram *histogram, double share)
{
    double wanted = share * (double)histogram->count;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < BUCKETS; i++) {
        sum += histogram->bucket[i];
        if (sum > 0 && (double)sum >= wanted)
            return top_of(i) < histogram->greatest ? top_of(i) : histogram->greatest;
    }
    return histogram->greatest;
}
