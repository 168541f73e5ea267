/*
 * The limit that Ringmaster's echo on io_uring is held against: multishot accept, multishot receives into a
 * ring of buffers, each sent back from where it lies. One thread.
 *
 *   uring-echo PORT [--buffers N] [--buffer-size BYTES] [--submissions N] [--completions N] [--exit-after N]
 *
 * Listens on 127.0.0.1; with --exit-after until N connections have ended.
 */
#define _GNU_SOURCE
#include "uring-stream.h"

#include <getopt.h>
#include <limits.h>

static unsigned long connections_left = ULONG_MAX;

static void stream_ended(int fd) {
    close_socket(fd);
    if (--connections_left == 0)
        exit(0);
}

static void accepted(int listener, const struct io_uring_cqe *cqe) {
    if (cqe->res >= 0)
        start_stream(cqe->res, cqe->res);
    else
        fprintf(stderr, "accept: %s\n", strerror(-cqe->res));
    if ((cqe->flags & IORING_CQE_F_MORE) == 0)
        accept_on(listener);
}

static void completed(enum operation operation, int fd, const struct io_uring_cqe *cqe) {
    if (operation == ACCEPT)
        accepted(fd, cqe);
}

int main(int argc, char **argv) {
    unsigned submissions = 256, completions = 4096;
    const struct option options[] = {
        {"buffers", required_argument, NULL, 'n'},     {"buffer-size", required_argument, NULL, 'b'},
        {"submissions", required_argument, NULL, 's'}, {"completions", required_argument, NULL, 'c'},
        {"exit-after", required_argument, NULL, 'x'},  {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'n')
            buffer_count = (uint32_t)number_option("--buffers", optarg, 1, 32768);
        else if (option == 'b')
            buffer_size = (uint32_t)number_option("--buffer-size", optarg, 1, 1 << 24);
        else if (option == 's')
            submissions = (unsigned)number_option("--submissions", optarg, 1, 32768);
        else if (option == 'c')
            completions = (unsigned)number_option("--completions", optarg, 1, 65536);
        else if (option == 'x')
            connections_left = number_option("--exit-after", optarg, 1, ULONG_MAX);
        else
            return 64;
    }
    if (optind + 1 != argc) {
        fprintf(stderr, "usage: uring-echo PORT [--buffers N] [--buffer-size BYTES] [--submissions N] "
                        "[--completions N] [--exit-after N]\n");
        return 64;
    }
    check_buffers();
    set_up(submissions, completions);
    accept_on(listen_on(number_option("PORT", argv[optind], 1, 65535), 0));
    run();
}
