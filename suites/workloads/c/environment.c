/* Reports its environment in the order it was given: shows that process.env
 * arrives, and that nothing of the host's leaks in. */
#include "guest.h"

extern char **environ;

int main(int argc, char **argv) {
    announce("environment", argc, argv);
    report_begin();
    json_key("env");
    json_open('[');
    for (char **entry = environ; entry && *entry; entry++)
        json_string(*entry);
    json_close(']');
    report_end();
    return 0;
}
