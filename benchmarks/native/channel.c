#define _GNU_SOURCE
#include "channel.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>

/* The certificate is made for the run and not checked: what is measured is the server. */
static SSL_CTX *context(void)
{
    static SSL_CTX *made;

    if (made == NULL) {
        made = SSL_CTX_new(TLS_client_method());
        if (made == NULL)
            abort();
        SSL_CTX_set_mode(made, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                   SSL_MODE_RELEASE_BUFFERS);
    }
    return made;
}

static void begin_tls(struct channel *channel)
{
    SSL *tls = SSL_new(context());

    if (tls == NULL || SSL_set_fd(tls, channel->fd) != 1)
        abort();
    SSL_set_connect_state(tls);
    channel->tls = tls;
}

/* 0 where it waits for the socket, else -1. */
static ssize_t waits(struct channel *channel, int result)
{
    int error = SSL_get_error(channel->tls, result);

    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return 0;
    ERR_clear_error(); /* what stays in the queue would be taken for the next connection's */
    return -1;
}
#endif

bool channel_open(struct channel *channel, int port, bool tls)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *channel = (struct channel){0};
    channel->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (channel->fd < 0)
        return false;
    setsockopt(channel->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(channel->fd, (struct sockaddr *)&address, sizeof address) != 0 &&
        errno != EINPROGRESS) {
        int reason = errno;
        close(channel->fd);
        channel->fd = -1;
        errno = reason;
        return false;
    }
#ifdef WITH_TLS
    if (tls)
        begin_tls(channel);
#else
    if (tls) {
        fprintf(stderr, "load: built without TLS\n");
        exit(2);
    }
#endif
    return true;
}

ssize_t channel_read(struct channel *channel, void *data, size_t size)
{
#ifdef WITH_TLS
    if (channel->tls) {
        int got = SSL_read(channel->tls, data, (int)size);
        return got > 0 ? got : waits(channel, got);
    }
#endif
    ssize_t got = recv(channel->fd, data, size, 0);
    if (got > 0)
        return got;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

ssize_t channel_write(struct channel *channel, const void *data, size_t size)
{
#ifdef WITH_TLS
    if (channel->tls) {
        int put = SSL_write(channel->tls, data, (int)size);
        channel->full = put <= 0 && SSL_want_write(channel->tls);
        return put > 0 ? put : waits(channel, put);
    }
#endif
    channel->full = true;
    ssize_t put = send(channel->fd, data, size, MSG_NOSIGNAL);
    if (put >= 0)
        return put;
    return errno == EAGAIN || errno == EINTR || errno == ENOTCONN ? 0 : -1;
}

bool channel_holds_more(const struct channel *channel)
{
#ifdef WITH_TLS
    if (channel->tls)
        return SSL_has_pending(channel->tls);
#endif
    (void)channel;
    return false;
}

void channel_close(struct channel *channel)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    if (channel->fd < 0)
        return;
#ifdef WITH_TLS
    if (channel->tls)
        SSL_free(channel->tls);
    channel->tls = NULL;
#endif
    setsockopt(channel->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(channel->fd);
    channel->fd = -1;
}
