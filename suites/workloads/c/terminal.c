/* Reports which of its streams are terminals, then one line read from stdin:
 * shows whether process.terminal holds and input reaches the guest. */
#include "guest.h"

int main(int argc, char **argv) {
    static char input[4096];
    size_t size = 0;
    announce("terminal", argc, argv);
    report_begin();
    json_key("isatty");
    json_open('[');
    for (int fd = 0; fd < 3; fd++)
        json_bool(isatty(fd));
    json_close(']');
    report_end();
    while (size < sizeof input && read(0, input + size, 1) == 1 && input[size] != '\n')
        size++;
    report_begin();
    json_key("line");
    json_bytes(input, size);
    report_end();
    return 0;
}
