#include "CSocket.h"

#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { FRAMES_MAX = 64 };

static void say(const char *text) {
    /* Nobody is left to tell of a failure. */
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written;
}

/* Async-signal-safe (signal-safety(7)) but for backtrace(3), which is once libgcc has been loaded. */
static void aborted(int number) {
    void *frames[FRAMES_MAX];
    say("SIGABRT at:\n");
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), STDERR_FILENO);
    /* Blocked until this returns; SA_RESETHAND has brought the default action back. */
    raise(number);
}

int csocket_backtrace_on_abort(void) {
    void *frame;
    backtrace(&frame, 1);
    struct sigaction action = {.sa_handler = aborted, .sa_flags = SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    return sigaction(SIGABRT, &action, NULL) == 0 ? 0 : -errno;
}
