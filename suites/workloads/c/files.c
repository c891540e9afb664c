/* Does the file operations it is told to and reports each outcome: shows what
 * the guest may see and change of its root file system and mounts.
 *
 * Each argument `op:path` or `op:path:text` is one operation, done in order;
 * where no argument is one, the lines of FILES_OPS are. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "guest.h"
#include "errno-names.h"

enum { READ_AT_MOST = 4096, FILL_BLOCK = 65536, FILL_BLOCKS = (1 << 30) / FILL_BLOCK, ENTRIES = 1024 };

static void text_result(const char *text, size_t size) {
    json_key("text");
    json_bytes(text, size);
}

/* Every operation returns 0 or an errno, and may add findings of its own. */

static int read_file(const char *path, const char *text) {
    static char content[READ_AT_MOST];
    size_t size = 0;
    ssize_t got = 0;
    int fd = open(path, O_RDONLY);
    (void)text;
    if (fd < 0)
        return errno;
    while (size < sizeof content && (got = read(fd, content + size, sizeof content - size)) > 0)
        size += (size_t)got;
    int error = got < 0 ? errno : 0;
    close(fd);
    if (!error)
        text_result(content, size);
    return error;
}

static int write_with(const char *path, const char *text, int flags) {
    int fd = open(path, O_WRONLY | flags, 0644);
    if (fd < 0)
        return errno;
    int error = write_all(fd, text, strlen(text)) ? 0 : errno;
    if (close(fd) < 0 && !error)
        error = errno;
    return error;
}

static int write_file(const char *path, const char *text) {
    return write_with(path, text, O_CREAT | O_TRUNC);
}

static int append_file(const char *path, const char *text) {
    return write_with(path, text, O_CREAT | O_APPEND);
}

static int open_write(const char *path, const char *text) {
    (void)text;
    return write_with(path, "", 0);
}

static int by_name(const void *left, const void *right) {
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static int list(const char *path, const char *text) {
    static char *names[ENTRIES];
    size_t count = 0;
    struct dirent *entry;
    DIR *directory = opendir(path);
    (void)text;
    if (!directory)
        return errno;
    errno = 0;
    while (count < ENTRIES && (entry = readdir(directory)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            names[count++] = strdup(entry->d_name);
    int error = errno;
    closedir(directory);
    if (error)
        return error;
    qsort(names, count, sizeof names[0], by_name);
    json_key("entries");
    json_open('[');
    for (size_t i = 0; i < count; i++) {
        json_string(names[i]);
        free(names[i]);
    }
    json_close(']');
    return 0;
}

static int status(const char *path, const char *text) {
    struct stat found;
    (void)text;
    if (stat(path, &found) < 0)
        return errno;
    json_key("size");
    json_number(found.st_size);
    json_key("kind");
    json_string(S_ISREG(found.st_mode)   ? "file"
                : S_ISDIR(found.st_mode) ? "directory"
                : S_ISCHR(found.st_mode) ? "character-device"
                                         : "other");
    return 0;
}

static int make_directory(const char *path, const char *text) {
    (void)text;
    return mkdir(path, 0755) < 0 ? errno : 0;
}

static int remove_file(const char *path, const char *text) {
    (void)text;
    return unlink(path) < 0 ? errno : 0;
}

static int remove_directory(const char *path, const char *text) {
    (void)text;
    return rmdir(path) < 0 ? errno : 0;
}

static int make_link(const char *path, const char *target) {
    return symlink(target, path) < 0 ? errno : 0;
}

static int read_link(const char *path, const char *text) {
    static char target[READ_AT_MOST];
    ssize_t size = readlink(path, target, sizeof target);
    (void)text;
    if (size < 0)
        return errno;
    text_result(target, (size_t)size);
    return 0;
}

static int fill(const char *path, const char *text) {
    static char block[FILL_BLOCK];
    long long total = 0;
    int error = 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    (void)text;
    if (fd < 0)
        return errno;
    for (int i = 0; i < FILL_BLOCKS && !error; i++) {
        ssize_t written = write(fd, block, sizeof block);
        if (written < 0)
            error = errno;
        else
            total += written;
    }
    if (close(fd) < 0 && !error)
        error = errno;
    json_key("bytes");
    json_number(total);
    return error;
}

static int change_mode(const char *path, const char *text) {
#ifdef __wasi__
    (void)path, (void)text; /* WASI preview 1 has no modes */
    return ENOSYS;
#else
    return chmod(path, (mode_t)strtol(text, NULL, 8)) < 0 ? errno : 0;
#endif
}

static const struct {
    const char *name;
    int (*perform)(const char *path, const char *text);
} operations[] = {
    {"read", read_file},       {"write", write_file},         {"append", append_file},
    {"list", list},            {"stat", status},              {"mkdir", make_directory},
    {"unlink", remove_file},   {"rmdir", remove_directory},   {"symlink", make_link},
    {"readlink", read_link},   {"open-write", open_write},    {"fill", fill},
    {"chmod", change_mode},
};

/* Performs one request; false where it is none (a nonce, the program's name). */
static bool perform(const char *request) {
    size_t name_size = strcspn(request, ":");
    if (!request[name_size])
        return false;
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (strlen(operations[i].name) != name_size || strncmp(operations[i].name, request, name_size))
            continue;
        char *path = strdup(request + name_size + 1);
        char *text = strchr(path, ':');
        if (text)
            *text++ = 0;
        report_begin();
        json_key("op");
        json_string(operations[i].name);
        json_key("path");
        json_string(path);
        int error = operations[i].perform(path, text ? text : "");
        json_key("ok");
        json_bool(!error);
        json_key("errno");
        if (error)
            json_string(errno_name(error));
        else
            json_null();
        report_end();
        free(path);
        return true;
    }
    return false;
}

int main(int argc, char **argv) {
    bool any = false;
    announce("files", argc, argv);
    for (int i = 0; i < argc; i++)
        any = perform(argv[i]) || any;
    const char *from_environment = getenv("FILES_OPS");
    if (any || !from_environment)
        return 0;
    char *rest = strdup(from_environment);
    for (char *request = strtok(rest, "\n"); request; request = strtok(NULL, "\n"))
        perform(request);
    return 0;
}
