/* Computes for ever and never calls the host: shows whether such a guest can be
 * stopped, and whether a CPU limit holds it. */
#include "guest.h"

int main(int argc, char **argv) {
    volatile unsigned long turns = 0; /* volatile: the loop has an effect, so it stays */
    announce("spin", argc, argv);
    for (;;)
        turns = turns + 1;
}
