/* What one run of the generator does, as its command line says it. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum mode { CLOSED_LOOP, FIXED_RATE, JOIN, IDLE };

enum { INSTANCES_MAX = 8 };

struct options {
    enum mode mode;
    const char *mode_name;
    int ports[INSTANCES_MAX];
    uint32_t instances;
    pid_t pids[INSTANCES_MAX];
    uint32_t processes;
    uint32_t rooms, members, outstanding, concurrency;
    size_t text_size;    /* characters of base64 for so many bytes */
    double rate;         /* deliveries a second */
    double warm, seconds;
    bool split;          /* a room's members take turns on the ports; else a room is on one */
    bool socketio, tls;
    const char *secret;  /* signs join tokens */
};

/* Exits with status 2 and a line on standard error for what cannot be. */
struct options options_from(int argc, char **argv);

#endif
