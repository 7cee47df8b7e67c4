#define _GNU_SOURCE
#include "dialogue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "digest.h"

static const char TEXT_KEY[] = "\"ciphertextB64\":\"";
static const char EVENT[] = "42[\"frame\",";

uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void give_up(const struct client *client, const char *what, const void *text, size_t size)
{
    fprintf(stderr, "load: member %u of room %u: %s %.*s\n", client->member, client->room, what,
            (int)(size < 200 ? size : 200), (const char *)text);
    exit(2);
}

/* One frame of the protocol; under socket.io it is the argument of an event. */
static void say(struct load *load, struct client *client, const char *json, size_t size)
{
    static uint8_t event[1 << 17];
    size_t at = 0;

    if (load->options.socketio) {
        memcpy(event, EVENT, sizeof EVENT - 1);
        at = sizeof EVENT - 1;
    }
    memcpy(event + at, json, size);
    at += size;
    if (load->options.socketio)
        event[at++] = ']';
    client_say(client, load->epoll, TEXT, event, at);
}

/* A join token, as docs/api.md describes it. The jti is of this run, which has its own server. */
static void mint(const struct load *load, const struct client *client, char *out)
{
    char claims[400], jti[32];
    uint8_t mac[SHA256_SIZE], random[16] = "load generator";
    struct timespec now;

    random[12] = (uint8_t)(client->member >> 8);
    random[13] = (uint8_t)client->member;
    random[14] = (uint8_t)(client->room >> 8);
    random[15] = (uint8_t)client->room;
    base64url(random, sizeof random, jti);
    clock_gettime(CLOCK_REALTIME, &now);
    int size = snprintf(claims, sizeof claims,
                        "{\"v\":1,\"rid\":\"%s\",\"exp\":%" PRId64 ",\"jti\":\"%s\"}",
                        load->room_ids[client->room], ((int64_t)now.tv_sec + 60) * 1000, jti);
    const char *secret = load->options.secret;
    hmac_sha256(secret, strlen(secret), claims, (size_t)size, mac);
    out += base64url(claims, (size_t)size, out);
    *out++ = '.';
    base64url(mac, sizeof mac, out);
}

static void enter(struct load *load, struct client *client)
{
    char frame[1200], token[700];
    int size;

    client->state = ENTERING;
    if (client->member == 0) {
        size = snprintf(frame, sizeof frame,
                        "{\"v\":1,\"t\":\"ROOM_CREATE\",\"id\":\"create-%06u\",\"body\":{}}",
                        client->room);
    } else {
        mint(load, client, token);
        size = snprintf(frame, sizeof frame,
                        "{\"v\":1,\"t\":\"JOIN_REQUEST\",\"id\":\"join-%06u-%04u\",\"body\":"
                        "{\"roomId\":\"%s\",\"qrToken\":\"%s\"}}",
                        client->room, client->member, load->room_ids[client->room], token);
    }
    say(load, client, frame, (size_t)size);
}

static void entered(struct load *load, struct client *client)
{
    client->state = MEMBER;
    load->members++;
    load->joining--;
}

/* What is not a chat message. */
static void hear_other(struct load *load, struct client *client, const void *data, size_t size)
{
    size_t length, id_length;
    const char *kind = text_after(data, size, "\"t\":\"", &length);

#define IS(name) (length == sizeof name - 1 && memcmp(kind, name, length) == 0)
    if (kind == NULL)
        give_up(client, "this is no frame of the protocol:", data, size);
    else if (client->state == GREETING && IS("HELLO"))
        enter(load, client);
    else if (client->state == ENTERING && IS("JOINED"))
        entered(load, client);
    else if (client->state == ENTERING && IS("ROOM_CREATED")) {
        const char *id = text_after(data, size, "\"roomId\":\"", &id_length);
        if (id == NULL || id_length > ROOM_ID_MAX)
            give_up(client, "no roomId in", data, size);
        memcpy(load->room_ids[client->room], id, id_length);
        entered(load, client);
    } else if (IS("ERROR")) {
        if (client->state != MEMBER)
            give_up(client, "refused:", data, size);
        if (load->errors++ == 0) {
            const char *code = text_after(data, size, "\"code\":\"", &length);
            snprintf(load->complaint, sizeof load->complaint, "%.*s", code ? (int)length : 0, code);
        }
    }
#undef IS
}

/* The place of a message's text is the same in all frames of a server: looked for once. */
static const char *message_text(const struct load *load, const uint8_t *data, size_t size)
{
    static size_t offset = sizeof TEXT_KEY - 1;
    const size_t key = sizeof TEXT_KEY - 1;

    if (size < offset || memcmp(data + offset - key, TEXT_KEY, key) != 0) {
        const uint8_t *found = memmem(data, size, TEXT_KEY, key);
        if (found == NULL)
            return NULL;
        offset = (size_t)(found - data) + key;
    }
    return size > offset + load->ledger.text_size ? (const char *)data + offset : "";
}

static void account(struct load *load, struct client *client, const char *text)
{
    size_t size = load->ledger.text_size;
    uint64_t due = 0;

    if (*text == '\0' || text[size] != '"')
        size = 0;
    switch (ledger_enter(&load->ledger, client->room, client->member, text, size, &due)) {
    case DOUBLED: load->doubled++; return;
    case DAMAGED: load->damaged++; return;
    case ASTRAY: load->astray++; return;
    case DELIVERED: load->deliveries++; return;
    case COMPLETED: break;
    }
    load->deliveries++;
    load->messages++;
    uint64_t now = now_ns();
    if (due >= load->window_begins && due < load->window_ends)
        histogram_add(&load->latency, now - due);
    if (load->sending)
        dialogue_post(load, client->room, now);
}

/* Engine.io's packets (protocol 4) and the two of socket.io (protocol 5) that a connection needs.
 * True if an event's argument is left in the frame. */
static bool unwrapped(struct load *load, struct client *client, struct frame *frame)
{
    uint8_t connect[] = "40", pong[] = "3";
    const size_t head = sizeof EVENT - 1;

    if (frame->size > head && memcmp(frame->payload, EVENT, head) == 0) {
        frame->payload += head;
        frame->size -= head + 1;
        return true;
    }
    if (frame->size > 0 && frame->payload[0] == '0')
        client_say(client, load->epoll, TEXT, connect, 2);
    else if (frame->size > 0 && frame->payload[0] == '2')
        client_say(client, load->epoll, TEXT, pong, 1);
    return false;
}

static void told(void *context, struct client *client, struct frame *frame)
{
    struct load *load = context;

    if (frame->opcode == PING) {
        client_say(client, load->epoll, PONG, frame->payload, frame->size);
    } else if (frame->opcode == CLOSE && load->complaint[0] == '\0') {
        snprintf(load->complaint, sizeof load->complaint, "close %.*s",
                 frame->size > 2 ? (int)frame->size - 2 : 0, (const char *)frame->payload + 2);
    } else if (frame->opcode == TEXT) {
        if (load->options.socketio && !unwrapped(load, client, frame))
            return;
        const char *text =
            client->state == MEMBER ? message_text(load, frame->payload, frame->size) : NULL;
        if (text)
            account(load, client, text);
        else
            hear_other(load, client, frame->payload, frame->size);
    }
}

static void lost(void *context, struct client *client)
{
    struct load *load = context;

    if (load->members < load->options.rooms * load->options.members)
        give_up(client, "the connection ended;", load->complaint, strlen(load->complaint));
    load->closed_early++;
}

static void shaken(void *context, struct client *client)
{
    (void)context;
    (void)client; /* HELLO comes next, of the server's own accord */
}

struct listener dialogue_with(struct load *load)
{
    return (struct listener){load, shaken, told, lost};
}

void dialogue_open(struct load *load, struct client *client)
{
    const struct options *o = &load->options;
    uint32_t instance = (o->split ? client->member : client->room) % o->instances;
    const char *path = o->socketio ? "/socket.io/?EIO=4&transport=websocket" : "/ws";

    load->joining++;
    if (!client_open(client, load->epoll, o->ports[instance], o->tls, path))
        give_up(client, "cannot connect:", strerror(errno), strlen(strerror(errno)));
}

void dialogue_post(struct load *load, uint32_t room, uint64_t due)
{
    static char frame[1 << 17];
    struct ledger *ledger = &load->ledger;
    uint32_t sequence = ledger_begin(ledger, room, due);

    if (sequence == 0) {
        load->overloaded++;
        return;
    }
    int head = snprintf(frame, 512,
                        "{\"v\":1,\"t\":\"APP_MSG\",\"id\":\"load-%.*s\",\"body\":{\"roomId\":\"%s\","
                        "\"ciphertextB64\":\"",
                        STAMP_SIZE, ledger->text, load->room_ids[room]);
    memcpy(frame + head, ledger->text, ledger->text_size);
    memcpy(frame + head + ledger->text_size, "\"}}", 3);
    struct client *sender =
        &load->clients[(size_t)room * load->options.members + sequence % load->options.members];
    say(load, sender, frame, (size_t)head + ledger->text_size + 3);
}
