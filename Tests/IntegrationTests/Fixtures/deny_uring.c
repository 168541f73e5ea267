/*
 * deny_uring EPERM|ENOSYS PROGRAM [ARGUMENT...]: runs PROGRAM under a seccomp filter that answers io_uring's
 * three system calls with the given error, as container engines (EPERM) and old kernels (ENOSYS) do.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* io_uring_setup, io_uring_enter and io_uring_register have these numbers on every architecture but Alpha. */
enum { FIRST = 425, LAST = 427 };

int main(int argc, char **argv) {
    if (argc < 3 || (strcmp(argv[1], "EPERM") != 0 && strcmp(argv[1], "ENOSYS") != 0)) {
        fprintf(stderr, "usage: %s EPERM|ENOSYS PROGRAM [ARGUMENT...]\n", argv[0]);
        return 64;
    }
    unsigned error = strcmp(argv[1], "EPERM") == 0 ? EPERM : ENOSYS;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, LAST, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("prctl");
        return 70;
    }
    execv(argv[2], argv + 2);
    perror(argv[2]);
    return 71;
}
