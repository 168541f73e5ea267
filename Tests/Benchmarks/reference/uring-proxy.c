/*
 * A TCP proxy on io_uring, as small as one can be: a connection of its own to the upstream for each client,
 * and a stream in each direction. One thread. FIN passes as FIN.
 *
 *   uring-proxy PORT UPSTREAM-PORT [--buffers N] [--buffer-size BYTES]
 *
 * Listens on 127.0.0.1, and connects to it.
 */
#define _GNU_SOURCE
#include "uring-stream.h"

#include <getopt.h>

static int *peers;          /* by descriptor */
static unsigned char *over; /* by descriptor: its stream has ended */
static struct sockaddr_in upstream;

static void stream_ended(int in) {
    int out = peers[in];
    over[in] = 1;
    if (streams[in].failed)
        shutdown(out, SHUT_RDWR);
    else
        shutdown(out, SHUT_WR);
    if (over[out]) {
        close_socket(in);
        close_socket(out);
    }
}

static void accepted(int listener, const struct io_uring_cqe *cqe) {
    int client = cqe->res;
    if ((cqe->flags & IORING_CQE_F_MORE) == 0)
        accept_on(listener);
    if (client < 0) {
        fprintf(stderr, "accept: %s\n", strerror(-client));
        return;
    }
    int one = 1, server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server < 0) {
        fprintf(stderr, "socket: %s\n", strerror(errno));
        close_socket(client);
        return;
    }
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    peers[client] = server;
    peers[server] = client;
    over[client] = over[server] = 0;
    io_uring_prep_connect(get_sqe(CONNECT, server), server, (struct sockaddr *)&upstream, sizeof upstream);
}

static void connected(int server, int result) {
    int client = peers[server];
    if (result < 0) {
        fprintf(stderr, "connect: %s\n", strerror(-result));
        close_socket(server);
        close_socket(client);
        return;
    }
    start_stream(client, server);
    start_stream(server, client);
}

static void completed(enum operation operation, int fd, const struct io_uring_cqe *cqe) {
    if (operation == ACCEPT)
        accepted(fd, cqe);
    else if (operation == CONNECT)
        connected(fd, cqe->res);
}

int main(int argc, char **argv) {
    const struct option options[] = {
        {"buffers", required_argument, NULL, 'n'}, {"buffer-size", required_argument, NULL, 'b'}, {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'n')
            buffer_count = (uint32_t)number_option("--buffers", optarg, 1, 32768);
        else if (option == 'b')
            buffer_size = (uint32_t)number_option("--buffer-size", optarg, 1, 1 << 24);
        else
            return 64;
    }
    if (optind + 2 != argc) {
        fprintf(stderr, "usage: uring-proxy PORT UPSTREAM-PORT [--buffers N] [--buffer-size BYTES]\n");
        return 64;
    }
    check_buffers();
    set_up(256, 4096);
    peers = calloc(descriptors, sizeof *peers);
    over = calloc(descriptors, sizeof *over);
    if (peers == NULL || over == NULL)
        die("memory", ENOMEM);
    upstream = loopback(number_option("UPSTREAM-PORT", argv[optind + 1], 1, 65535));
    accept_on(listen_on(number_option("PORT", argv[optind], 1, 65535), 0));
    run();
}
