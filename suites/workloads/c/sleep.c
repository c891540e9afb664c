/* Sleeps `seconds=N` (30 without): shows that a guest blocked in the host can
 * be stopped, and what signals do to it. */
#include <time.h>

#include "guest.h"

int main(int argc, char **argv) {
    long seconds = option_number(argc, argv, "seconds=", 30);
    struct timespec rest = {.tv_sec = seconds};
    announce("sleep", argc, argv);
    while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
        ;
    report_begin();
    json_key("slept");
    json_number(seconds);
    report_end();
    return 0;
}
