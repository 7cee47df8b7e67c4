/* A connected socket, plain or under TLS. TLS is there when built with -DWITH_TLS and OpenSSL. */
#ifndef CHANNEL_H
#define CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct channel {
    int fd; /* -1 while there is none */
    bool full; /* the last write waits for the socket to take more (under TLS it may wait to read) */
    void *tls;
};

/* Begin to connect to a port of 127.0.0.1; false, with errno set, if that failed at once. */
bool channel_open(struct channel *channel, int port, bool tls);

/* Bytes moved; 0 where it would have to wait; -1 at the end of the stream or on an error. */
ssize_t channel_read(struct channel *channel, void *data, size_t size);
ssize_t channel_write(struct channel *channel, const void *data, size_t size);

/* Whether more can be read although epoll says nothing: TLS took it off the socket already. */
bool channel_holds_more(const struct channel *channel);

/* End with a reset, which leaves no TIME_WAIT behind: the next run needs the port numbers. */
void channel_close(struct channel *channel);

#endif
