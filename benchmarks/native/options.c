#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger.h"

static const char USAGE[] =
    "usage: load --port P --pid P [options]   (JOIN_TOKEN_SECRET in the environment)\n"
    "  --mode closed|rate|join|idle  closed: W messages under way in each room;\n"
    "                                rate: so many deliveries a second; join: time joining;\n"
    "                                idle: the memory of connections that are silent\n"
    "  --port P      port on 127.0.0.1; several times for several instances\n"
    "  --pid P       process whose CPU time and memory are read; several times\n"
    "  --rooms N --members R --bytes B --outstanding W --rate D\n"
    "  --warm S --seconds S          before and in the measurement\n"
    "  --concurrency C               connections being made at once\n"
    "  --split       the members of a room take turns on the ports\n"
    "  --socketio    speak the protocol in events of socket.io\n"
    "  --tls         connect with TLS\n";

static void refuse(const char *why)
{
    fprintf(stderr, "load: %s\n%s", why, USAGE);
    exit(2);
}

static double number(const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= least && value <= most)) {
        fprintf(stderr, "load: %s is not a number from %g to %g\n", text, least, most);
        exit(2);
    }
    return value;
}

static enum mode mode_of(const char *name)
{
    static const char *const names[] = {"closed", "rate", "join", "idle"};

    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum mode)i;
    refuse("no such mode");
    return IDLE;
}

static void take(struct options *o, int option, const char *text)
{
    switch (option) {
    case 'm':
        o->mode = mode_of(text);
        o->mode_name = text;
        break;
    case 'p':
        if (o->instances == INSTANCES_MAX)
            refuse("too many ports");
        o->ports[o->instances++] = (int)number(text, 1, 65535);
        break;
    case 'P':
        if (o->processes == INSTANCES_MAX)
            refuse("too many processes");
        o->pids[o->processes++] = (pid_t)number(text, 1, 1 << 30);
        break;
    case 'n': o->rooms = (uint32_t)number(text, 1, 65535); break;
    case 'r': o->members = (uint32_t)number(text, 1, 1000); break;
    case 'b': o->text_size = ((size_t)number(text, 12, 48 * 1024) + 2) / 3 * 4; break;
    case 'w': o->outstanding = (uint32_t)number(text, 1, 1024); break;
    case 'c': o->concurrency = (uint32_t)number(text, 1, 10000); break;
    case 'd': o->rate = number(text, 1, 1e8); break;
    case 'W': o->warm = number(text, 0, 600); break;
    case 's': o->seconds = number(text, 0.1, 600); break;
    case 'S': o->split = true; break;
    case 'i': o->socketio = true; break;
    case 't': o->tls = true; break;
    default: refuse("an option is not known");
    }
}

struct options options_from(int argc, char **argv)
{
    static const struct option known[] = {
        {"mode", 1, NULL, 'm'},     {"port", 1, NULL, 'p'},        {"pid", 1, NULL, 'P'},
        {"rooms", 1, NULL, 'n'},    {"members", 1, NULL, 'r'},     {"bytes", 1, NULL, 'b'},
        {"rate", 1, NULL, 'd'},     {"outstanding", 1, NULL, 'w'}, {"warm", 1, NULL, 'W'},
        {"seconds", 1, NULL, 's'},  {"concurrency", 1, NULL, 'c'}, {"split", 0, NULL, 'S'},
        {"socketio", 0, NULL, 'i'}, {"tls", 0, NULL, 't'},         {NULL, 0, NULL, 0},
    };
    struct options o = {
        .mode_name = "closed", .rooms = 10, .members = 10, .outstanding = 1, .concurrency = 64,
        .text_size = 344, .rate = 1000, .warm = 1, .seconds = 3,
    };
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
        take(&o, option, optarg);
    if (optind != argc || o.instances == 0 || o.processes == 0)
        refuse("at least one --port and one --pid, and nothing but options");
    o.secret = getenv("JOIN_TOKEN_SECRET");
    if (o.secret == NULL || *o.secret == '\0')
        refuse("JOIN_TOKEN_SECRET is not set");
    return o;
}
