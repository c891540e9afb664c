/* Reports its working directory and reads a file by a relative path: shows
 * whether process.cwd holds, in name and in effect. */
#include <fcntl.h>

#include "guest.h"
#include "errno-names.h"

int main(int argc, char **argv) {
    static char cwd[4096], content[256];
    announce("working-directory", argc, argv);
    int fd = open("here.txt", O_RDONLY);
    ssize_t size = fd < 0 ? -1 : read(fd, content, sizeof content);
    int error = size < 0 ? errno : 0;
    report_begin();
    json_key("cwd");
    if (getcwd(cwd, sizeof cwd))
        json_string(cwd);
    else
        json_null();
    json_key("relative");
    if (error)
        json_null();
    else
        json_bytes(content, (size_t)size);
    json_key("errno");
    if (error)
        json_string(errno_name(error));
    else
        json_null();
    report_end();
    return 0;
}
