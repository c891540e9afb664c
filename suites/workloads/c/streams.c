/* Writes 1 MiB to stdout and a different 1 MiB to stderr, in turns of 4 KiB:
 * shows that the streams are complete, apart, and drained at the same time.
 *
 * Each is 16384 lines of 64 bytes, "out 000000 " (or "err 000000 ") with the
 * line's number, the 52 letters A-Za-z, a newline. conformance/build/patterns.py
 * has the same bytes. */
#include "guest.h"

enum { LINE = 64, LINES = 16384, LINES_A_TURN = 64 };

static void fill(char *at, const char *stream, int number) {
    memcpy(at, stream, 4);
    for (int digit = 9; digit >= 4; digit--, number /= 10)
        at[digit] = (char)('0' + number % 10);
    at[10] = ' ';
    memcpy(at + 11, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\n", 53);
}

int main(int argc, char **argv) {
    static char block[LINE * LINES_A_TURN];
    announce("streams", argc, argv);
    for (int first = 0; first < LINES; first += LINES_A_TURN) {
        for (int i = 0; i < LINES_A_TURN; i++)
            fill(block + LINE * i, "out ", first + i);
        if (!write_all(1, block, sizeof block))
            return 1;
        for (int i = 0; i < LINES_A_TURN; i++)
            fill(block + LINE * i, "err ", first + i);
        if (!write_all(2, block, sizeof block))
            return 1;
    }
    return 0;
}
