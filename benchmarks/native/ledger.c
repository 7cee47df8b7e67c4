#include "ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Four bits a character, from an alphabet that is base64 as well as base64url. */
static void stamp(char *at, uint64_t value, int characters)
{
    for (int i = 0; i < characters; i++)
        at[i] = (char)('A' + (value >> 4 * (characters - 1 - i) & 15));
}

static uint64_t unstamped(const char *at, int characters)
{
    uint64_t value = 0;

    for (int i = 0; i < characters; i++)
        value = value << 4 | ((uint64_t)(at[i] - 'A') & 15);
    return value;
}

static void *zeroed(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (memory == NULL) {
        fprintf(stderr, "load: out of memory\n");
        exit(2);
    }
    return memory;
}

void ledger_open(struct ledger *ledger, uint32_t rooms, uint32_t members, uint32_t slots,
                 size_t text_size)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t noise = 1;

    ledger->rooms = rooms;
    ledger->members = members;
    ledger->slots = slots;
    ledger->words = (members + 63) / 64;
    ledger->text_size = text_size;
    ledger->text = zeroed(text_size, 1);
    for (size_t i = STAMP_SIZE; i < text_size; i++) {
        noise = noise * 1664525 + 1013904223; /* any noise does; the same in every run */
        ledger->text[i] = alphabet[noise >> 26];
    }
    ledger->slot = zeroed((size_t)rooms * slots, sizeof *ledger->slot);
    ledger->seen = zeroed((size_t)rooms * slots * ledger->words, sizeof *ledger->seen);
    ledger->sequences = zeroed(rooms, sizeof *ledger->sequences);
    ledger->under_way = 0;
}

uint32_t ledger_begin(struct ledger *ledger, uint32_t room, uint64_t due)
{
    struct slot *slot = ledger->slot + (size_t)room * ledger->slots;
    uint32_t number = 0;

    while (number < ledger->slots && slot[number].missing > 0)
        number++;
    if (number == ledger->slots)
        return 0;
    slot += number;
    slot->due = due;
    slot->sequence = ++ledger->sequences[room];
    slot->missing = ledger->members;
    memset(ledger->seen + ((size_t)room * ledger->slots + number) * ledger->words, 0,
           ledger->words * sizeof *ledger->seen);
    ledger->under_way++;
    stamp(ledger->text, room, 4);
    stamp(ledger->text + 4, number, 4);
    stamp(ledger->text + 8, slot->sequence, 8);
    return slot->sequence;
}

enum verdict ledger_enter(struct ledger *ledger, uint32_t room, uint32_t member, const char *text,
                          size_t size, uint64_t *due)
{
    if (size != ledger->text_size ||
        memcmp(text + STAMP_SIZE, ledger->text + STAMP_SIZE, size - STAMP_SIZE) != 0)
        return DAMAGED;
    if (unstamped(text, 4) != room)
        return ASTRAY;
    uint64_t number = unstamped(text + 4, 4), sequence = unstamped(text + 8, 8);
    if (number >= ledger->slots || sequence == 0 || sequence > ledger->sequences[room])
        return DAMAGED;
    size_t index = (size_t)room * ledger->slots + number;
    struct slot *slot = ledger->slot + index;
    uint64_t *word = ledger->seen + index * ledger->words + member / 64;
    uint64_t bit = (uint64_t)1 << member % 64;
    /* A slot is given to a new message only when every member had the one before. */
    if (sequence != slot->sequence || *word & bit)
        return DOUBLED;
    *word |= bit;
    if (--slot->missing > 0)
        return DELIVERED;
    ledger->under_way--;
    *due = slot->due;
    return COMPLETED;
}

uint64_t ledger_missing(const struct ledger *ledger)
{
    uint64_t missing = 0;

    for (size_t i = 0; i < (size_t)ledger->rooms * ledger->slots; i++)
        missing += ledger->slot[i].missing;
    return missing;
}
