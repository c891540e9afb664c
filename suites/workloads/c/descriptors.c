/* Reports the open descriptors among 0 to 255 and, under WASI, the directories
 * handed in: shows that nothing of the runtime's own is reachable. */
#include "guest.h"

static void begin(int fd, const char *kind) {
    json_open('{');
    json_key("fd");
    json_number(fd);
    json_key("kind");
    json_string(kind);
}

#ifdef __wasi__
#include <wasi/api.h>

static const char *kind_of(__wasi_filetype_t type) {
    switch (type) {
    case __WASI_FILETYPE_REGULAR_FILE: return "file";
    case __WASI_FILETYPE_DIRECTORY: return "directory";
    case __WASI_FILETYPE_CHARACTER_DEVICE: return "character-device";
    case __WASI_FILETYPE_BLOCK_DEVICE: return "block-device";
    case __WASI_FILETYPE_SOCKET_STREAM: return "socket";
    case __WASI_FILETYPE_SOCKET_DGRAM: return "socket";
    default: return "unknown"; /* WASI has no name for a pipe */
    }
}

static void describe(int fd) {
    static char name[4096];
    __wasi_fdstat_t found;
    __wasi_prestat_t preopen;
    if (__wasi_fd_fdstat_get(fd, &found))
        return;
    begin(fd, kind_of(found.fs_filetype));
    if (!__wasi_fd_prestat_get(fd, &preopen) && preopen.u.dir.pr_name_len <= sizeof name &&
        !__wasi_fd_prestat_dir_name(fd, (uint8_t *)name, preopen.u.dir.pr_name_len)) {
        json_key("preopen"); /* some engines count a closing NUL, some do not */
        json_bytes(name, strnlen(name, preopen.u.dir.pr_name_len));
    }
    json_close('}');
}
#else
#include <sys/stat.h>

static const char *kind_of(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "directory";
    case S_IFCHR: return "character-device";
    case S_IFBLK: return "block-device";
    case S_IFSOCK: return "socket";
    case S_IFIFO: return "pipe";
    default: return "unknown";
    }
}

static void describe(int fd) {
    struct stat found;
    if (fstat(fd, &found))
        return;
    begin(fd, kind_of(found.st_mode));
    json_close('}');
}
#endif

int main(int argc, char **argv) {
    announce("descriptors", argc, argv);
    report_begin();
    json_key("fds");
    json_open('[');
    for (int fd = 0; fd < 256; fd++)
        describe(fd);
    json_close(']');
    report_end();
    return 0;
}
