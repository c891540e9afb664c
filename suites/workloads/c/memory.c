/* Takes and touches memory, 1 MiB at a time, up to `mib=N` (or MEMORY_MIB,
 * or 256): shows whether a memory limit stops it, and how far it got. */
#include "guest.h"

int main(int argc, char **argv) {
    const char *from_environment = getenv("MEMORY_MIB");
    long wanted = option_number(argc, argv, "mib=", from_environment ? strtol(from_environment, NULL, 10) : 256);
    announce("memory", argc, argv);
    for (long mib = 1; mib <= wanted; mib++) {
        volatile char *block = malloc(1 << 20); /* never freed; volatile: the touching stays */
        if (!block) {
            report_begin();
            json_key("mib");
            json_number(mib - 1);
            json_key("malloc");
            json_string("failed");
            report_end();
            return 3;
        }
        for (long page = 0; page < 1 << 20; page += 4096)
            block[page] = 1;
        if (mib % 16 == 0) {
            report_begin();
            json_key("mib");
            json_number(mib);
            report_end();
        }
    }
    report_begin();
    json_key("mib");
    json_number(wanted);
    json_key("done");
    json_bool(true);
    report_end();
    return 0;
}
