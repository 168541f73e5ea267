/*
 * Runs a command and adopts what it leaves behind (PR_SET_CHILD_SUBREAPER): says how each process ended, `PID
 * exit CODE` or `PID signal NUMBER`, and ends when there is none left.
 *
 *   orphanage COMMAND [ARGUMENT]...
 */
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 2 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return 1;
    pid_t child = fork();
    if (child == 0) {
        execv(argv[1], argv + 1);
        perror(argv[1]);
        _exit(127);
    }
    int status;
    while ((child = wait(&status)) > 0) {
        if (WIFEXITED(status))
            printf("%d exit %d\n", child, WEXITSTATUS(status));
        else
            printf("%d signal %d\n", child, WTERMSIG(status));
        fflush(stdout);
    }
    return 0;
}
