/* The relay's protocol as a member speaks it: create or join a room, send, hear. */
#ifndef DIALOGUE_H
#define DIALOGUE_H

#include <stdint.h>

#include "client.h"
#include "histogram.h"
#include "ledger.h"
#include "options.h"

enum { ROOM_ID_MAX = 128 };

struct load {
    struct options options;
    int epoll;
    struct client *clients; /* by room, then member */
    char (*room_ids)[ROOM_ID_MAX + 1];
    struct ledger ledger;
    struct histogram latency;
    uint64_t window_begins, window_ends; /* ns; latency is of messages due in between */
    bool sending; /* a completed message is followed by the next */
    uint32_t members, joining;
    uint64_t deliveries, messages;
    uint64_t doubled, damaged, astray, errors, closed_early, overloaded;
    char complaint[80]; /* the first ERROR's code, or the first close's reason */
};

uint64_t now_ns(void);

struct listener dialogue_with(struct load *load);

/* Connect one client; it is a member when load->members has counted it. */
void dialogue_open(struct load *load, struct client *client);

/* Send the room's next message, from each of its members in turn. */
void dialogue_post(struct load *load, uint32_t room, uint64_t due);

#endif
