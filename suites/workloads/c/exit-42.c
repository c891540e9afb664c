/* Ends by exit(42): shows whether the guest's own exit code reaches the
 * caller. */
#include "guest.h"

int main(int argc, char **argv) {
    announce("exit-42", argc, argv);
    exit(42);
}
