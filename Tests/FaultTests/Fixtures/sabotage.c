/*
 * Preloaded into the supervisor, and so into its workers (LD_PRELOAD). A worker aborts as soon as it is
 * loaded, as long as the file exists that FAULT_FLAG names; one that was loaded falls into an endless loop on
 * SIGURG.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t turns;

/* Not static, so that a backtrace can name it. */
void loop_for_ever(int number) {
    for (;;)
        turns = number;
}

__attribute__((constructor)) static void boot(void) {
    const char *flag = getenv("FAULT_FLAG"), *words = "the fault suite aborts this worker\n";
    if (!getenv("RINGMASTER_INTERNAL_WORKER") || !flag)
        return;
    signal(SIGURG, loop_for_ever);
    if (access(flag, F_OK) != 0)
        return;
    if (write(STDERR_FILENO, words, strlen(words)) < 0)
        _exit(1);
    abort();
}
