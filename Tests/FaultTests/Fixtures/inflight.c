/*
 * Holds COUNT descriptors in flight, in sockets that nobody reads, until it is killed: the kernel counts what
 * is in flight for all processes of a user together (unix(7), ETOOMANYREFS). Says `holding` when they are.
 *
 *   inflight COUNT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PER_MESSAGE 250

static int send_descriptors(int socket, int count) {
    int fds[PER_MESSAGE];
    char control[CMSG_SPACE(sizeof fds)], byte = 0;
    memset(control, 0, sizeof control);
    struct iovec bytes = {&byte, 1};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control};
    message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
    for (int i = 0; i < count; i++)
        fds[i] = STDIN_FILENO;
    memcpy(CMSG_DATA(header), fds, sizeof(int) * (size_t)count);
    return sendmsg(socket, &message, 0) == 1 ? 0 : -1;
}

int main(int argc, char **argv) {
    int pair[2], left = argc == 2 ? atoi(argv[1]) : 0;
    if (left <= 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
        return 1;
    while (left > 0) {
        int count = left < PER_MESSAGE ? left : PER_MESSAGE;
        if (send_descriptors(pair[0], count) < 0) {
            perror("sendmsg");
            return 1;
        }
        left -= count;
    }
    printf("holding\n");
    fflush(stdout);
    for (;;)
        pause();
}
