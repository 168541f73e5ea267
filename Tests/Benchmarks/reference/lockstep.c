/*
 * Sends messages in lock step, to count a server's instructions: one message on each connection, then the
 * answers of all, compared, then the next. It measures no time.
 *
 *   lockstep PORT MESSAGES CONNECTIONS BYTES        MESSAGES on each connection; exit code 1 when one came
 * back wrong
 */
#define _GNU_SOURCE
#include "reference.h"

#include <sched.h>
#include <signal.h>

static void transfer(int fd, unsigned char *bytes, size_t size, int is_sent) {
    for (size_t done = 0; done < size;) {
        ssize_t n = is_sent ? send(fd, bytes + done, size - done, MSG_NOSIGNAL)
                            : recv(fd, bytes + done, size - done, 0);
        if (n <= 0)
            die(is_sent ? "send" : "recv", n < 0 ? errno : ECONNRESET);
        done += (size_t)n;
    }
}

static void stop(pid_t pid) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (kill(pid, SIGSTOP) < 0)
        die("kill", errno);
    for (;;) {
        FILE *file = fopen(path, "r");
        if (file == NULL || fgets(line, sizeof line, file) == NULL)
            die(path, errno);
        fclose(file);
        /* The state stands behind the name, which is in brackets (proc(5)). */
        const char *bracket = strrchr(line, ')');
        if (bracket != NULL && bracket[2] == 'T')
            return;
        sched_yield();
    }
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: lockstep PORT MESSAGES CONNECTIONS BYTES PID\n");
        return 64;
    }
    struct sockaddr_in address = loopback(number_option("PORT", argv[1], 1, 65535));
    unsigned long messages = number_option("MESSAGES", argv[2], 1, 1ul << 32);
    size_t count = number_option("CONNECTIONS", argv[3], 1, 10000);
    size_t size = number_option("BYTES", argv[4], 1, 1 << 16);
    pid_t pid = (pid_t)number_option("PID", argv[5], 2, 1 << 22);
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
        stop(pid);
        for (size_t i = 0; i < count; i++) {
            memset(out, (int)(number * 31 + i), size);
            transfer(fds[i], out, size, 1);
        }
        kill(pid, SIGCONT);
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
