/* Reports the time, the monotonic clock around a sleep of 20 ms, and random
 * bytes twice: shows that clocks run and randomness is not constant. */
#include <time.h>

#include "guest.h"
#include "errno-names.h"

static long long monotonic(void) {
    struct timespec now;
    return clock_gettime(CLOCK_MONOTONIC, &now) ? -1 : now.tv_sec * 1000000000ll + now.tv_nsec;
}

int main(int argc, char **argv) {
    struct timespec now = {0}, pause = {.tv_nsec = 20000000};
    unsigned char random[2][16] = {{0}};
    announce("clock-random", argc, argv);
    clock_gettime(CLOCK_REALTIME, &now);
    long long before = monotonic();
    nanosleep(&pause, NULL);
    long long after = monotonic();
    report_begin();
    json_key("realtime_seconds");
    json_number(now.tv_sec);
    json_key("monotonic_ns");
    json_open('[');
    json_number(before);
    json_number(after);
    json_close(']');
    json_key("random");
    json_open('[');
    for (int i = 0; i < 2; i++) {
        if (getentropy(random[i], sizeof random[i]) == 0)
            json_hex(random[i], sizeof random[i]);
        else
            json_null();
    }
    json_close(']');
    report_end();
    return 0;
}
