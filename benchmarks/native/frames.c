#define _GNU_SOURCE
#include "frames.h"

#include <string.h>

void apply_mask(uint8_t *data, size_t size, const uint8_t mask[4])
{
    uint32_t half;
    uint64_t whole, word;
    size_t at = 0;

    memcpy(&half, mask, 4);
    whole = (uint64_t)half << 32 | half;
    for (; at + 8 <= size; at += 8) {
        memcpy(&word, data + at, 8);
        word ^= whole;
        memcpy(data + at, &word, 8);
    }
    for (; at < size; at++)
        data[at] ^= mask[at % 4];
}

long take_frame(uint8_t *data, size_t size, struct frame *frame)
{
    size_t head = 2, length;

    if (size < 2)
        return 0;
    if ((data[0] & 0xf0) != 0x80)
        return -1;
    length = data[1] & 0x7f;
    if (length >= 126) {
        size_t bytes = length == 126 ? 2 : 8;
        if (size < 2 + bytes)
            return 0;
        length = 0;
        for (size_t i = 0; i < bytes; i++)
            length = length << 8 | data[2 + i];
        head += bytes;
    }
    size_t masked = data[1] & 0x80 ? 4 : 0;
    if (length > (1u << 30))
        return -1;
    if (size < head + masked + length)
        return 0;
    frame->opcode = data[0] & 0x0f;
    frame->payload = data + head + masked;
    frame->size = length;
    if (masked)
        apply_mask(frame->payload, length, data + head);
    return (long)(head + masked + length);
}

size_t frame_head(uint8_t *out, uint8_t opcode, size_t size, const uint8_t *mask)
{
    size_t at = 2, bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;

    out[0] = 0x80 | opcode;
    out[1] = (uint8_t)((mask ? 0x80 : 0) | (bytes == 0 ? size : bytes == 2 ? 126 : 127));
    for (size_t i = 0; i < bytes; i++)
        out[at++] = (uint8_t)(size >> 8 * (bytes - 1 - i));
    if (mask) {
        memcpy(out + at, mask, 4);
        at += 4;
    }
    return at;
}

const char *text_after(const void *data, size_t size, const char *key, size_t *length)
{
    const char *end = (const char *)data + size;
    const char *at = memmem(data, size, key, strlen(key));

    if (at == NULL)
        return NULL;
    at += strlen(key);
    const char *quote = memchr(at, '"', (size_t)(end - at));
    if (quote == NULL)
        return NULL;
    *length = (size_t)(quote - at);
    return at;
}
