/* Forks until it is refused, at most 1000 times: shows that a pids limit holds.
 * WASI has no processes, so a module is refused at once. */
#include "guest.h"
#include "errno-names.h"

#ifndef __wasi__
#include <unistd.h>

static int fork_once(void) {
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    return child < 0 ? errno : 0;
}
#else
static int fork_once(void) {
    return ENOSYS;
}
#endif

int main(int argc, char **argv) {
    int forks = 0, error = 0;
    announce("fork-bomb", argc, argv);
    while (forks < 1000 && !(error = fork_once()))
        forks++;
    report_begin();
    json_key("forks");
    json_number(forks);
    json_key("errno");
    json_string(errno_name(error));
    report_end();
    return 0;
}
