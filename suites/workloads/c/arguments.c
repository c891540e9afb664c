/* Reports its arguments: shows that process.args arrive whole, in order and
 * unjoined. */
#include "guest.h"

int main(int argc, char **argv) {
    announce("arguments", argc, argv);
    report_begin();
    json_key("args");
    json_open('[');
    for (int i = 0; i < argc; i++)
        json_string(argv[i]);
    json_close(']');
    report_end();
    return 0;
}
