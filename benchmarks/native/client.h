/* One member of one room: a connection, and what is not yet read or written of it. */
#ifndef CLIENT_H
#define CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "channel.h"
#include "frames.h"

enum state { WAITING, SHAKING, GREETING, ENTERING, MEMBER, GONE };

struct client {
    struct channel channel;
    uint32_t room, member;
    enum state state;
    bool wants_write;
    uint8_t *held; /* read, and not a whole frame yet */
    uint8_t *queued; /* to be written */
    size_t held_size, queued_size;
};

/* What the owner of the clients does with what they read; all get `context` first. */
struct listener {
    void *context;
    void (*shaken)(void *context, struct client *client);
    void (*told)(void *context, struct client *client, struct frame *frame);
    void (*lost)(void *context, struct client *client);
};

/* Connect, and write the upgrade request; false if that failed at once. */
bool client_open(struct client *client, int epoll, int port, bool tls, const char *path);

void client_send(struct client *client, int epoll, const void *data, size_t size);

/* A masked frame around a payload; the payload is masked in place. */
void client_say(struct client *client, int epoll, uint8_t opcode, uint8_t *payload, size_t size);

/* Called when epoll names the client. */
void client_turn(struct client *client, int epoll, uint32_t events, const struct listener *listener);

void client_close(struct client *client);

#endif
