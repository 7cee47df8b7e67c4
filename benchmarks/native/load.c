/* The load generator: rooms full of members who talk, and an account of what each of them hears.
 * Prints one JSON object; exits with 0 when every delivery was right, 1 when one was not, and 2
 * when the run could not be made. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "dialogue.h"
#include "usage.h"

enum { EVENTS = 512, RATE_SLOTS = 256, SETUP_SECONDS = 180, DRAIN_SECONDS = 5 };

static const uint64_t SECOND = 1000000000u, MILLISECOND = 1000000u;

/* What was used up to an instant. */
struct reading {
    uint64_t at, deliveries, messages;
    double server, own;
};

static struct reading reading(const struct load *load)
{
    struct reading r = {now_ns(), load->deliveries, load->messages, 0, 0};

    for (uint32_t i = 0; i < load->options.processes; i++)
        r.server += cpu_seconds(load->options.pids[i]);
    r.own = cpu_seconds(getpid());
    return r;
}

static long memory(const struct load *load)
{
    long sum = 0;

    for (uint32_t i = 0; i < load->options.processes; i++)
        sum += resident_kib(load->options.pids[i]);
    return sum;
}

static void turn(struct load *load, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    struct listener listener = dialogue_with(load);
    int count = epoll_wait(load->epoll, events, EVENTS, timeout_ms);

    for (int i = 0; i < count; i++)
        if (events[i].data.ptr)
            client_turn(events[i].data.ptr, load->epoll, events[i].events, &listener);
}

static void turn_for(struct load *load, double seconds)
{
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9), now;

    while ((now = now_ns()) < end)
        turn(load, (int)((end - now) / MILLISECOND) + 1);
}

/* All founders (member 0) or all others, so many at a time; rooms fill evenly. */
static void open_members(struct load *load, bool founders)
{
    const struct options *o = &load->options;
    uint32_t per_room = founders ? 1 : o->members - 1, begun = 0;
    uint32_t wanted = load->members + o->rooms * per_room;
    uint64_t end = now_ns() + SETUP_SECONDS * SECOND;

    while (load->members < wanted) {
        for (; begun < o->rooms * per_room && load->joining < o->concurrency; begun++) {
            uint32_t member = founders ? 0 : 1 + begun / o->rooms;
            size_t index = (size_t)(begun % o->rooms) * o->members + member;
            dialogue_open(load, &load->clients[index]);
        }
        turn(load, 1000);
        if (now_ns() > end) {
            fprintf(stderr, "load: %u of %u members after %d s\n", load->members, wanted,
                    SETUP_SECONDS);
            exit(2);
        }
    }
}

static void prepare(struct load *load)
{
    const struct options *o = &load->options;
    uint32_t total = o->rooms * o->members;
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < total + 32) {
        fprintf(stderr, "load: %u connections need more than %lu open files\n", total,
                (unsigned long)files.rlim_cur);
        exit(2);
    }
    load->window_begins = load->window_ends = UINT64_MAX;
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    load->clients = calloc(total, sizeof *load->clients);
    load->room_ids = calloc(o->rooms, sizeof *load->room_ids);
    if (load->epoll < 0 || load->clients == NULL || load->room_ids == NULL) {
        fprintf(stderr, "load: %s\n", strerror(errno));
        exit(2);
    }
    for (uint32_t i = 0; i < total; i++) {
        load->clients[i].channel.fd = -1;
        load->clients[i].room = i / o->members;
        load->clients[i].member = i % o->members;
    }
    ledger_open(&load->ledger, o->rooms, o->members,
                o->mode == FIXED_RATE ? RATE_SLOTS : o->outstanding, o->text_size);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1000ul);
}

/* After the window: let everything under way arrive, and then what may come twice. */
static void drain(struct load *load)
{
    uint64_t seen = load->deliveries, end = now_ns() + DRAIN_SECONDS * SECOND;

    load->sending = false;
    while (load->ledger.under_way > 0 && now_ns() < end) {
        turn(load, 100);
        if (load->deliveries != seen)
            end = now_ns() + DRAIN_SECONDS * SECOND;
        seen = load->deliveries;
    }
    turn_for(load, 0.1);
}

static void run_closed(struct load *load, struct reading *from, struct reading *to)
{
    load->sending = true;
    for (uint32_t i = 0; i < load->options.outstanding; i++)
        for (uint32_t room = 0; room < load->options.rooms; room++)
            dialogue_post(load, room, now_ns());
    turn_for(load, load->options.warm);
    *from = reading(load);
    load->window_begins = from->at;
    turn_for(load, load->options.seconds);
    *to = reading(load);
    load->window_ends = to->at;
}

/* An open loop: a message is due when it is due, however slow the server; latency counts from then,
 * so that a stall is charged to every message it held up. */
static void run_rate(struct load *load, struct reading *from, struct reading *to)
{
    const struct options *o = &load->options;
    uint64_t step = (uint64_t)(1e9 * o->members / o->rate), begin = now_ns(), sent = 0, now;
    uint64_t warm = (uint64_t)(o->warm * 1e9), length = (uint64_t)(o->seconds * 1e9);
    uint64_t tick = step < 50000 ? 50000 : step, passed;
    struct itimerspec every = {.it_interval.tv_sec = (time_t)(tick / SECOND),
                               .it_interval.tv_nsec = (long)(tick % SECOND)};
    struct epoll_event event = {.events = EPOLLIN};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    bool measuring = false;

    every.it_value = every.it_interval;
    timerfd_settime(timer, 0, &every, NULL);
    epoll_ctl(load->epoll, EPOLL_CTL_ADD, timer, &event);
    load->window_begins = begin + warm;
    load->window_ends = begin + warm + length;
    while ((now = now_ns()) < load->window_ends) {
        if (!measuring && now >= load->window_begins) {
            *from = reading(load);
            measuring = true;
        }
        for (; begin + sent * step <= now; sent++)
            dialogue_post(load, (uint32_t)(sent % o->rooms), begin + sent * step);
        turn(load, 100);
        if (read(timer, &passed, sizeof passed) < 0 && errno != EAGAIN)
            abort();
    }
    *to = reading(load);
    close(timer);
}

static void print(const struct load *load, const struct reading *from, const struct reading *to)
{
    const struct histogram *l = &load->latency;
    double seconds = (double)(to->at - from->at) / 1e9;

    printf("{\"mode\":\"%s\",\"connections\":%u,\"joined\":%u,\"seconds\":%.6f,"
           "\"server_cpu\":%.2f,\"generator_cpu\":%.2f,",
           load->options.mode_name, load->members,
           load->options.rooms * (load->options.members - 1), seconds,
           to->server - from->server, to->own - from->own);
    printf("\"deliveries\":%" PRIu64 ",\"messages\":%" PRIu64 ",",
           to->deliveries - from->deliveries, to->messages - from->messages);
    printf("\"latency_us\":{\"count\":%" PRIu64
           ",\"p50\":%.1f,\"p99\":%.1f,\"p99_9\":%.1f,\"max\":%.1f},",
           l->count, (double)histogram_at(l, 0.5) / 1e3, (double)histogram_at(l, 0.99) / 1e3,
           (double)histogram_at(l, 0.999) / 1e3, (double)l->greatest / 1e3);
}

static int conclude(const struct load *load, long before, long after)
{
    uint64_t missing = ledger_missing(&load->ledger);

    printf("\"resident_before_kib\":%ld,\"resident_kib\":%ld,\"checked\":%" PRIu64
           ",\"lost\":%" PRIu64 ",\"doubled\":%" PRIu64 ",\"damaged\":%" PRIu64
           ",\"astray\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"closed_early\":%" PRIu64
           ",\"overloaded\":%" PRIu64 ",\"complaint\":\"",
           before, after, load->deliveries, missing, load->doubled, load->damaged, load->astray,
           load->errors, load->closed_early, load->overloaded);
    for (const char *at = load->complaint; *at; at++)
        if (*at >= ' ' && *at != '"' && *at != '\\')
            putchar(*at);
    printf("\"}\n");
    return missing + load->doubled + load->damaged + load->astray + load->errors +
               load->closed_early > 0;
}

int main(int argc, char **argv)
{
    static struct load load;
    struct reading from, to;

    load.options = options_from(argc, argv);
    alarm((unsigned)(2 * SETUP_SECONDS + load.options.warm + load.options.seconds + 60));
    prepare(&load);
    long before = memory(&load);
    open_members(&load, true);
    from = reading(&load);
    open_members(&load, false);
    to = reading(&load);
    turn_for(&load, 0.3); /* what the joins left to be said */
    to.server = reading(&load).server;
    if (load.options.mode == IDLE)
        turn_for(&load, load.options.seconds);
    else if (load.options.mode == CLOSED_LOOP)
        run_closed(&load, &from, &to);
    else if (load.options.mode == FIXED_RATE)
        run_rate(&load, &from, &to);
    long after = memory(&load);
    drain(&load);
    print(&load, &from, &to);
    int result = conclude(&load, before, after);
    for (uint32_t i = 0; i < load.members; i++)
        client_close(&load.clients[i]);
    return result;
}
