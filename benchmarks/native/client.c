#define _GNU_SOURCE
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>

enum { READ_SIZE = 1 << 18, FRAME_MAX = 1 << 20 };

/* Shared by all: what is over at the end of a turn is copied away. */
static uint8_t buffer[FRAME_MAX + READ_SIZE];

static void watch(struct client *client, int epoll, bool write)
{
    struct epoll_event event = {.events = EPOLLIN | (write ? (uint32_t)EPOLLOUT : 0)};

    if (client->wants_write == write)
        return;
    client->wants_write = write;
    event.data.ptr = client;
    epoll_ctl(epoll, EPOLL_CTL_MOD, client->channel.fd, &event);
}

static void *grown(void *memory, size_t size)
{
    void *more = realloc(memory, size);

    if (more == NULL) {
        fprintf(stderr, "load: out of memory\n");
        exit(2);
    }
    return more;
}

bool client_open(struct client *client, int epoll, int port, bool tls, const char *path)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT};
    char request[512];

    if (!channel_open(&client->channel, port, tls))
        return false;
    client->state = SHAKING;
    client->wants_write = true;
    event.data.ptr = client;
    epoll_ctl(epoll, EPOLL_CTL_ADD, client->channel.fd, &event);
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Key: bG9hZC1nZW5lcmF0b3IhIQ==\r\n"
                        "Sec-WebSocket-Version: 13\r\n\r\n",
                        path, port);
    client_send(client, epoll, request, (size_t)size);
    return true;
}

void client_send(struct client *client, int epoll, const void *data, size_t size)
{
    size_t put = 0;

    if (client->channel.fd < 0)
        return;
    if (client->queued_size == 0) {
        ssize_t result = channel_write(&client->channel, data, size);
        put = result > 0 ? (size_t)result : 0; /* an error shows up at the next read */
    }
    if (put == size)
        return;
    client->queued = grown(client->queued, client->queued_size + size - put);
    memcpy(client->queued + client->queued_size, (const uint8_t *)data + put, size - put);
    client->queued_size += size - put;
    watch(client, epoll, client->channel.full);
}

void client_say(struct client *client, int epoll, uint8_t opcode, uint8_t *payload, size_t size)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    static uint8_t frame[HEAD_MAX + (1 << 17)];

    if (size > sizeof frame - HEAD_MAX)
        abort();
    size_t head = frame_head(frame, opcode, size, mask);
    memcpy(frame + head, payload, size);
    apply_mask(frame + head, size, mask);
    client_send(client, epoll, frame, head + size);
}

static void flush(struct client *client, int epoll)
{
    ssize_t put = 0;

    if (client->queued_size > 0)
        put = channel_write(&client->channel, client->queued, client->queued_size);
    if (put > 0) {
        client->queued_size -= (size_t)put;
        memmove(client->queued, client->queued + put, client->queued_size);
    }
    watch(client, epoll, client->queued_size > 0 && client->channel.full);
    if (client->queued_size == 0) {
        free(client->queued);
        client->queued = NULL;
    }
}

/* The answer to the upgrade request; its length, or 0 while it is incomplete. */
static size_t take_answer(struct client *client, const uint8_t *data, size_t size)
{
    const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);

    if (end == NULL)
        return 0;
    if (size < 12 || memcmp(data, "HTTP/1.1 101", 12) != 0) {
        fprintf(stderr, "load: the handshake of member %u of room %u was refused: %.*s\n",
                client->member, client->room, (int)(size < 32 ? size : 32), (const char *)data);
        exit(2);
    }
    return (size_t)(end + 4 - data);
}

static size_t take_all(struct client *client, uint8_t *data, size_t size,
                       const struct listener *listener)
{
    size_t at = 0;
    struct frame frame;
    long taken;

    if (client->state == SHAKING) {
        at = take_answer(client, data, size);
        if (at == 0)
            return 0;
        client->state = GREETING;
        listener->shaken(listener->context, client);
    }
    while (client->state != GONE && (taken = take_frame(data + at, size - at, &frame)) != 0) {
        if (taken < 0) {
            fprintf(stderr, "load: member %u of room %u got what is no whole frame\n",
                    client->member, client->room);
            exit(2);
        }
        listener->told(listener->context, client, &frame);
        at += (size_t)taken;
    }
    return at;
}

static void keep(struct client *client, const uint8_t *data, size_t size)
{
    if (size == 0) {
        free(client->held);
        client->held = NULL;
    } else {
        if (size > FRAME_MAX) {
            fprintf(stderr, "load: a frame of more than 1 MiB\n");
            exit(2);
        }
        client->held = grown(client->held, size);
        memcpy(client->held, data, size);
    }
    client->held_size = size;
}

void client_turn(struct client *client, int epoll, uint32_t events, const struct listener *listener)
{
    if (client->state == GONE)
        return;
    if (client->queued_size > 0)
        flush(client, epoll);
    else if (events & EPOLLOUT)
        watch(client, epoll, false);
    if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        return;
    do {
        size_t size = client->held_size;
        if (size > 0)
            memcpy(buffer, client->held, size);
        ssize_t got = channel_read(&client->channel, buffer + size, READ_SIZE);
        if (got < 0) {
            client_close(client);
            listener->lost(listener->context, client);
            return;
        }
        if (got == 0)
            break;
        size += (size_t)got;
        size_t taken = take_all(client, buffer, size, listener);
        if (client->state == GONE)
            return;
        keep(client, buffer + taken, size - taken);
    } while (channel_holds_more(&client->channel));
    if (client->queued_size > 0)
        flush(client, epoll); /* a TLS handshake may just have come through */
}

void client_close(struct client *client)
{
    channel_close(&client->channel);
    free(client->held);
    free(client->queued);
    client->held = client->queued = NULL;
    client->held_size = client->queued_size = 0;
    client->state = GONE;
}
