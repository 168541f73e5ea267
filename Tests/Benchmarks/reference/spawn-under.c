/*
 * Preloaded into Ringmaster's supervisor (ld.so(8), LD_PRELOAD): starts its workers under another program,
 * which stands in SPAWN_UNDER with its arguments, separated by newlines. Valgrind cannot run the supervisor
 * itself: it does not know the calls on pidfds, and follows no children there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ARGUMENTS_MAX = 64 };

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *,
                           const posix_spawnattr_t *, char *const[], char *const[]);

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]) {
    spawn_function *real = (spawn_function *)(uintptr_t)dlsym(RTLD_NEXT, "posix_spawn");
    const char *under = getenv("SPAWN_UNDER");
    if (under == NULL)
        return real(pid, path, actions, attributes, argv, envp);
    char *arguments[ARGUMENTS_MAX], *words = strdup(under), *state = NULL;
    if (words == NULL)
        return ENOMEM;
    int count = 0;
    for (char *word = strtok_r(words, "\n", &state); word != NULL; word = strtok_r(NULL, "\n", &state)) {
        if (count == ARGUMENTS_MAX)
            return E2BIG;
        arguments[count++] = word;
    }
    /* Not argv[0]: valgrind opens a path, and /proc/self/exe would be its own. */
    const char *program = getenv("SPAWN_PROGRAM");
    for (int i = 0; i == 0 || argv[i] != NULL; i++) {
        if (count + 1 >= ARGUMENTS_MAX)
            return E2BIG;
        arguments[count++] = i == 0 ? (char *)(program != NULL ? program : path) : argv[i];
    }
    arguments[count] = NULL;
    int error = real(pid, arguments[0], actions, attributes, arguments, envp);
    free(words);
    return error;
}
