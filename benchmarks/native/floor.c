/* The least that a server can do for the same frames: one thread, epoll, no limits, no checks, no
 * timers, tokens not looked at. What a relay costs beyond this is the price of what it does more.
 *
 * Without --cork each message is sent to each member as it comes. With it, what came for a room in
 * one turn of epoll goes out together. --fault KIND:N spoils the Nth message, to test the
 * generator: drop (one delivery is left out), double (one is sent twice), damage (one character is
 * another), close (one member is cut off). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "digest.h"
#include "frames.h"

enum { READ_SIZE = 1 << 18, FRAME_MAX = 1 << 20, MEMBERS_MAX = 1000, EVENTS = 512 };
enum { NO_FAULT, DROP, DOUBLE, DAMAGE, CUT };

struct bytes {
    uint8_t *data;
    size_t size, space;
};

struct peer {
    int fd;
    bool open; /* the handshake is done */
    struct room *room;
    struct bytes held, queued;
};

struct room {
    char id[32];
    struct peer **members;
    unsigned count;
    struct bytes corked;
    struct room *next, *next_corked;
};

static struct {
    int epoll;
    bool cork;
    int fault;
    unsigned long fault_at, messages;
    unsigned rooms;
    struct room *table[4096];
    struct room *corked;
} the;

static uint8_t buffer[FRAME_MAX + READ_SIZE];

static void fail(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void append(struct bytes *bytes, const void *data, size_t size)
{
    if (bytes->size + size > bytes->space) {
        bytes->space = bytes->size + size;
        bytes->data = realloc(bytes->data, bytes->space);
        if (bytes->data == NULL)
            fail("memory");
    }
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static void discard(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

static void watch(struct peer *peer, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = peer};

    if (epoll_ctl(the.epoll, operation, peer->fd, &event) != 0)
        fail("epoll_ctl");
}

static void send_to(struct peer *peer, const void *data, size_t size)
{
    ssize_t put = 0;

    if (peer->queued.size == 0)
        put = send(peer->fd, data, size, MSG_NOSIGNAL);
    if (put < 0)
        put = 0; /* what ails the connection shows up at the next read */
    if ((size_t)put < size) {
        if (peer->queued.size == 0)
            watch(peer, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
        append(&peer->queued, (const uint8_t *)data + put, size - (size_t)put);
    }
}

static void flush(struct peer *peer)
{
    ssize_t put = send(peer->fd, peer->queued.data, peer->queued.size, MSG_NOSIGNAL);

    if (put > 0) {
        peer->queued.size -= (size_t)put;
        memmove(peer->queued.data, peer->queued.data + put, peer->queued.size);
    }
    if (peer->queued.size == 0) {
        discard(&peer->queued);
        watch(peer, EPOLL_CTL_MOD, EPOLLIN);
    }
}

static void say(struct peer *peer, const char *json)
{
    uint8_t frame[1024];
    size_t size = strlen(json), head = frame_head(frame, TEXT, size, NULL);

    memcpy(frame + head, json, size);
    send_to(peer, frame, head + size);
}

static struct room **place_of(const char *id, size_t length)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)id[i]) * 16777619u;
    struct room **place = &the.table[hash % 4096];
    while (*place && (strlen((*place)->id) != length || memcmp((*place)->id, id, length) != 0))
        place = &(*place)->next;
    return place;
}

static void enter(struct peer *peer, struct room *room)
{
    room->members = realloc(room->members, (room->count + 1) * sizeof *room->members);
    if (room->members == NULL)
        fail("memory");
    room->members[room->count++] = peer;
    peer->room = room;
}

static void stats(const struct room *room, struct peer *peer)
{
    char json[256];

    snprintf(json, sizeof json,
             "{\"v\":1,\"t\":\"ROOM_STATS\",\"id\":\"floor-stats\",\"body\":{\"roomId\":\"%s\","
             "\"participants\":%u,\"max\":%d}}",
             room->id, room->count, MEMBERS_MAX);
    say(peer, json);
}

static void create(struct peer *peer)
{
    char json[512];
    struct room *room = calloc(1, sizeof *room);

    if (room == NULL)
        fail("memory");
    snprintf(room->id, sizeof room->id, "floor-room-%08u", ++the.rooms);
    *place_of(room->id, strlen(room->id)) = room;
    enter(peer, room);
    snprintf(json, sizeof json,
             "{\"v\":1,\"t\":\"ROOM_CREATED\",\"id\":\"floor-created\",\"body\":{\"roomId\":\"%s\","
             "\"qrToken\":\"none-is-needed-here\",\"qrExpUnixMs\":0,\"maxParticipants\":%d}}",
             room->id, MEMBERS_MAX);
    say(peer, json);
    stats(room, peer);
}

static void join(struct peer *peer, const struct frame *frame)
{
    char json[512];
    size_t length;
    const char *id = text_after(frame->payload, frame->size, "\"roomId\":\"", &length);
    struct room *room = id ? *place_of(id, length) : NULL;

    if (room == NULL || room->count == MEMBERS_MAX) {
        say(peer, "{\"v\":1,\"t\":\"ERROR\",\"id\":\"floor-error\",\"body\":{\"code\":"
                  "\"ERR_NO_ROOM\",\"retryable\":false}}");
        return;
    }
    enter(peer, room);
    snprintf(json, sizeof json,
             "{\"v\":1,\"t\":\"JOINED\",\"id\":\"floor-joined\",\"body\":{\"roomId\":\"%s\","
             "\"participants\":%u,\"max\":%d,\"label\":\"P%u\"}}",
             room->id, room->count, MEMBERS_MAX, room->count);
    say(peer, json);
    snprintf(json, sizeof json,
             "{\"v\":1,\"t\":\"SYSTEM_MSG\",\"id\":\"floor-system\",\"body\":{\"roomId\":\"%s\","
             "\"text\":\"this person has entered the chat with the name P%u\",\"type\":\"info\"}}",
             room->id, room->count);
    for (unsigned i = 0; i < room->count; i++) {
        say(room->members[i], json);
        stats(room, room->members[i]);
    }
}

static void leave(struct peer *peer)
{
    struct room *room = peer->room;

    for (unsigned i = 0; room && i < room->count; i++)
        if (room->members[i] == peer)
            room->members[i] = room->members[--room->count];
    peer->room = NULL;
}

static void hang_up(struct peer *peer)
{
    leave(peer);
    close(peer->fd);
    discard(&peer->held);
    discard(&peer->queued);
    free(peer);
}

/* The frame that every member gets, built once; its length. */
static size_t build(const struct frame *frame, uint8_t *out)
{
    static uint8_t json[FRAME_MAX];
    size_t id_length, text_length;
    const char *id = text_after(frame->payload, frame->size, "\"id\":\"", &id_length);
    const char *text = text_after(frame->payload, frame->size, "\"ciphertextB64\":\"", &text_length);
    const char *room = text_after(frame->payload, frame->size, "\"roomId\":\"", &(size_t){0});

    if (id == NULL || text == NULL || room == NULL || id_length > 256)
        return 0;
    int begin = snprintf((char *)json, 512,
                         "{\"v\":1,\"t\":\"APP_MSG\",\"id\":\"%.*s\",\"body\":{\"roomId\":\"%.*s\","
                         "\"memberId\":\"floor-member-00000000\",\"ciphertextB64\":\"",
                         (int)id_length, id, (int)strcspn(room, "\""), room);
    size_t size = (size_t)begin + text_length + 3;
    memcpy(json + begin, text, text_length);
    memcpy(json + begin + text_length, "\"}}", 3);
    size_t head = frame_head(out, TEXT, size, NULL);
    memcpy(out + head, json, size);
    return head + size;
}

static void spoiled(struct room *room, uint8_t *data, size_t size)
{
    unsigned last = room->count - 1;

    for (unsigned i = 0; i < last; i++)
        send_to(room->members[i], data, size);
    if (the.fault == DAMAGE)
        data[size - 8] ^= 1;
    if (the.fault == CUT)
        shutdown(room->members[last]->fd, SHUT_RDWR);
    else if (the.fault != DROP)
        send_to(room->members[last], data, size);
    if (the.fault == DOUBLE)
        send_to(room->members[last], data, size);
}

static void relay(struct room *room, const struct frame *frame)
{
    static uint8_t out[HEAD_MAX + FRAME_MAX];
    size_t size = build(frame, out);

    if (size == 0)
        return;
    if (++the.messages == the.fault_at) {
        spoiled(room, out, size);
    } else if (!the.cork) {
        for (unsigned i = 0; i < room->count; i++)
            send_to(room->members[i], out, size);
    } else {
        if (room->corked.size == 0) {
            room->next_corked = the.corked;
            the.corked = room;
        }
        append(&room->corked, out, size);
    }
}

static void uncork(void)
{
    for (; the.corked; the.corked = the.corked->next_corked) {
        struct room *room = the.corked;
        for (unsigned i = 0; i < room->count; i++)
            send_to(room->members[i], room->corked.data, room->corked.size);
        room->corked.size = 0;
    }
}

static void hear(struct peer *peer, const struct frame *frame)
{
    uint8_t answer[HEAD_MAX + 125];
    size_t length;

    if (frame->opcode == PING && frame->size <= 125) {
        size_t head = frame_head(answer, PONG, frame->size, NULL);
        memcpy(answer + head, frame->payload, frame->size);
        send_to(peer, answer, head + frame->size);
    }
    if (frame->opcode != TEXT)
        return;
    const char *kind = text_after(frame->payload, frame->size, "\"t\":\"", &length);
    if (kind == NULL)
        return;
    if (peer->room && length == 7 && memcmp(kind, "APP_MSG", 7) == 0)
        relay(peer->room, frame);
    else if (!peer->room && length == 11 && memcmp(kind, "ROOM_CREATE", 11) == 0)
        create(peer);
    else if (!peer->room && length == 12 && memcmp(kind, "JOIN_REQUEST", 12) == 0)
        join(peer, frame);
}

/* Answer the upgrade request (RFC 6455, section 4.2.2); its length, 0 while it is incomplete. */
static size_t shake(struct peer *peer, const uint8_t *data, size_t size)
{
    static const char key_name[] = "Sec-WebSocket-Key: ";
    char text[128], proof[64], answer[256];
    uint8_t digest[SHA1_SIZE];
    const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
    const char *key = end ? memmem(data, size, key_name, sizeof key_name - 1) : NULL;

    if (key == NULL)
        return 0;
    key += sizeof key_name - 1;
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1(text, strlen(text), digest);
    base64(digest, sizeof digest, proof);
    snprintf(answer, sizeof answer,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n\r\n",
             proof);
    send_to(peer, answer, strlen(answer));
    say(peer, "{\"v\":1,\"t\":\"HELLO\",\"id\":\"floor-hello\",\"body\":{\"serverTimeUnixMs\":0}}");
    peer->open = true;
    return (size_t)(end + 4 - data);
}

static size_t take_all(struct peer *peer, uint8_t *data, size_t size)
{
    size_t at = peer->open ? 0 : shake(peer, data, size);
    struct frame frame;
    long taken;

    while (peer->open && (taken = take_frame(data + at, size - at, &frame)) > 0) {
        hear(peer, &frame);
        at += (size_t)taken;
    }
    return at;
}

static void turn(struct peer *peer, uint32_t events)
{
    size_t size = peer->held.size;

    if (events & EPOLLOUT)
        flush(peer);
    if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        return;
    if (size > 0)
        memcpy(buffer, peer->held.data, size);
    ssize_t got = recv(peer->fd, buffer + size, READ_SIZE, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    size += got > 0 ? (size_t)got : 0;
    size_t taken = got > 0 ? take_all(peer, buffer, size) : 0;
    if (got <= 0 || size - taken > FRAME_MAX) {
        uncork(); /* before a member of a corked room is no more */
        hang_up(peer);
        return;
    }
    discard(&peer->held);
    if (size > taken)
        append(&peer->held, buffer + taken, size - taken);
}

static void accept_all(int listener)
{
    int one = 1, fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct peer *peer = calloc(1, sizeof *peer);
        if (peer == NULL)
            fail("memory");
        peer->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(peer, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct epoll_event event = {.events = EPOLLIN};
    struct rlimit files;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 1024) != 0)
        fail("cannot listen");
    the.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (the.epoll < 0 || epoll_ctl(the.epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll");
    return fd;
}

static int options(int argc, char **argv)
{
    static const char *const faults[] = {"", "drop:", "double:", "damage:", "close:"};
    int port = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--cork") == 0) {
            the.cork = true;
        } else if (strcmp(argv[i], "--port") == 0 && i + 1 < argc) {
            port = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--fault") == 0 && i + 1 < argc) {
            const char *fault = argv[++i];
            for (int kind = DROP; kind <= CUT; kind++)
                if (strncmp(fault, faults[kind], strlen(faults[kind])) == 0)
                    the.fault = kind, the.fault_at = strtoul(strchr(fault, ':') + 1, NULL, 10);
        }
    }
    if (port <= 0 || port > 65535) {
        fprintf(stderr, "usage: floor --port P [--cork] [--fault drop|double|damage|close:N]\n");
        exit(2);
    }
    return port;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    int listener = listen_on(options(argc, argv));

    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int count = epoll_wait(the.epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                turn(events[i].data.ptr, events[i].events);
            else
                accept_all(listener);
        }
        uncork();
    }
}
