/* The account of every message under way: who has it already. A delivery is checked against it, so
 * that none is lost, none comes twice, none is cut or altered, and none reaches another room. */
#ifndef LEDGER_H
#define LEDGER_H

#include <stddef.h>
#include <stdint.h>

enum { STAMP_SIZE = 16 };

enum verdict { DELIVERED, COMPLETED, DOUBLED, DAMAGED, ASTRAY };

struct slot {
    uint64_t due;      /* when it was to be sent, in ns; latency counts from here */
    uint32_t sequence; /* 0 before the slot's first message */
    uint32_t missing;  /* members who do not have it yet */
};

struct ledger {
    uint32_t rooms, members, slots, words;
    size_t text_size;
    char *text;          /* STAMP_SIZE characters to be stamped, then the filler */
    struct slot *slot;   /* rooms * slots */
    uint64_t *seen;      /* a bit for each member, rooms * slots * words */
    uint32_t *sequences; /* the last one given out in each room */
    uint64_t under_way;
};

void ledger_open(struct ledger *ledger, uint32_t rooms, uint32_t members, uint32_t slots,
                 size_t text_size);

/* Begin a message: its text is in ledger->text, valid until the next call. Returns the sequence
 * number, or 0 if every slot of the room is taken. */
uint32_t ledger_begin(struct ledger *ledger, uint32_t room, uint64_t due);

/* Enter a text that reached a member. When it was the last one to get it, *due is set. */
enum verdict ledger_enter(struct ledger *ledger, uint32_t room, uint32_t member, const char *text,
                          size_t size, uint64_t *due);

/* Deliveries that are still to come: what is lost, once nothing comes any more. */
uint64_t ledger_missing(const struct ledger *ledger);

#endif
