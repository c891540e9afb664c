/* Traps (natively: dies by SIGILL): shows that a crash is not reported as
 * success. */
#include "guest.h"

int main(int argc, char **argv) {
    announce("trap", argc, argv);
    __builtin_trap();
}
