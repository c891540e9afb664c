/* Imports a function no engine has: shows that a module which cannot be linked
 * is reported as a failure, not as success. */
#include "guest.h"

__attribute__((import_module("env"), import_name("no_such_function"))) void no_such_function(void);

int main(int argc, char **argv) {
    announce("unknown-import", argc, argv);
    no_such_function();
    return 0;
}
