/*
 * Preloaded into the supervisor, and so into its workers (LD_PRELOAD): a worker aborts as soon as it is
 * loaded, as long as the file exists that FAULT_FLAG names.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((constructor)) static void boot(void) {
    const char *flag = getenv("FAULT_FLAG"), *words = "the fault suite aborts this worker\n";
    if (!getenv("RINGMASTER_INTERNAL_WORKER") || !flag || access(flag, F_OK) != 0)
        return;
    if (write(STDERR_FILENO, words, strlen(words)) < 0)
        _exit(1);
    abort();
}
