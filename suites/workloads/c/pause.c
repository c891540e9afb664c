/* Announces itself and waits until somebody ends it. The native twin ends with 0 on SIGTERM and
 * SIGINT and reaps what becomes its child: it holds a pod's namespaces, as pause programs do. */
#include <time.h>

#include "guest.h"

#if !defined(__wasi__)
#include <signal.h>
#include <sys/wait.h>

static void leave(int signal_number) {
    (void)signal_number;
    _exit(0);
}

static void reap(int signal_number) {
    (void)signal_number;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}
#endif

int main(int argc, char **argv) {
    struct timespec hour = {.tv_sec = 3600};
#if !defined(__wasi__)
    signal(SIGTERM, leave);
    signal(SIGINT, leave);
    signal(SIGCHLD, reap);
#endif
    announce("pause", argc, argv);
    for (;;)
        nanosleep(&hour, NULL);
}
