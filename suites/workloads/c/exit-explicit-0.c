/* Ends by exit(0): under WASI that is an explicit proc_exit, which an engine
 * may mistake for a trap. */
#include "guest.h"

int main(int argc, char **argv) {
    announce("exit-explicit-0", argc, argv);
    exit(0);
}
