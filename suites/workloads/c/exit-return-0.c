/* Ends by returning 0 from main: shows that a guest which simply finishes is
 * reported as success. */
#include "guest.h"

int main(int argc, char **argv) {
    announce("exit-return-0", argc, argv);
    return 0;
}
