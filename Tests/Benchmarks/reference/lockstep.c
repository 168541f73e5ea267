/*
 * Sends messages in lock step, to count a server's instructions: one message on each connection, then the
 * answers of all, compared, then the next. It measures no time.
 *
 *   lockstep PORT MESSAGES CONNECTIONS BYTES        MESSAGES on each connection; exit code 1 when one came
 * back wrong
 */
#define _GNU_SOURCE
#include "reference.h"

static void transfer(int fd, unsigned char *bytes, size_t size, int is_sent) {
    for (size_t done = 0; done < size;) {
        ssize_t n = is_sent ? send(fd, bytes + done, size - done, MSG_NOSIGNAL)
                            : recv(fd, bytes + done, size - done, 0);
        if (n <= 0)
            die(is_sent ? "send" : "recv", n < 0 ? errno : ECONNRESET);
        done += (size_t)n;
    }
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: lockstep PORT MESSAGES CONNECTIONS BYTES\n");
        return 64;
    }
    struct sockaddr_in address = loopback(number_option("PORT", argv[1], 1, 65535));
    unsigned long messages = number_option("MESSAGES", argv[2], 1, 1ul << 32);
    size_t count = number_option("CONNECTIONS", argv[3], 1, 10000);
    size_t size = number_option("BYTES", argv[4], 1, 1 << 20);
    int *fds = calloc(count, sizeof *fds), one = 1;
    unsigned char *out = malloc(size), *in = malloc(size);
    if (fds == NULL || out == NULL || in == NULL)
        die("memory", ENOMEM);
    for (size_t i = 0; i < count; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fds[i] < 0 || connect(fds[i], (struct sockaddr *)&address, sizeof address) < 0)
            die("connect", errno);
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    for (unsigned long number = 0; number < messages; number++) {
        for (size_t i = 0; i < count; i++) {
            memset(out, (int)(number * 31 + i), size);
            transfer(fds[i], out, size, 1);
        }
        for (size_t i = 0; i < count; i++) {
            memset(out, (int)(number * 31 + i), size);
            transfer(fds[i], in, size, 0);
            if (memcmp(in, out, size) != 0) {
                fprintf(stderr, "a message came back wrong\n");
                return 1;
            }
        }
    }
    return 0;
}
