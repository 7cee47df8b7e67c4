/* WebSocket frames (RFC 6455, section 5.2) and the few strings of JSON that both programs look for.
 * Neither program has a JSON parser: both know what their opposite writes. */
#ifndef FRAMES_H
#define FRAMES_H

#include <stddef.h>
#include <stdint.h>

enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10, HEAD_MAX = 14 };

struct frame {
    uint8_t opcode;
    uint8_t *payload;
    size_t size;
};

/* How many bytes the first frame takes in all, with its payload unmasked in place; 0 while it is
 * incomplete; -1 for what no sound peer sends (a fragment, a reserved bit). */
long take_frame(uint8_t *data, size_t size, struct frame *frame);

/* Write a frame's head; returns its length. With a mask, its four bytes are part of the head. */
size_t frame_head(uint8_t *out, uint8_t opcode, size_t size, const uint8_t *mask);

void apply_mask(uint8_t *data, size_t size, const uint8_t mask[4]);

/* The string value after `key` (written as `"key":"`), up to its closing quote; NULL if not there. */
const char *text_after(const void *data, size_t size, const char *key, size_t *length);

#endif
