/* Writes lines without end to stdout (or, with an argument `stderr`, there), or
 * `mib=N` MiB of them: shows what a reader that is slow or absent does to it. */
#include "guest.h"

int main(int argc, char **argv) {
    static char block[65536];
    long limit = option_number(argc, argv, "mib=", 0);
    int fd = option(argc, argv, "stderr") ? 2 : 1;
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = i % 64 == 63 ? '\n' : "flood "[i % 64 % 6];
    announce("flood", argc, argv);
    for (long written = 0; !limit || written < limit * 16; written++)
        if (!write_all(fd, block, sizeof block))
            return 1;
    report_begin();
    json_key("flooded");
    json_number(limit);
    report_end();
    return 0;
}
