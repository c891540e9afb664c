/* Hands 256 to proc_exit (or _exit): a code that does not fit a Unix status;
 * natively it becomes 0. */
#include "guest.h"

int main(int argc, char **argv) {
    announce("exit-256", argc, argv);
    _exit(256);
}
