/* Answers HTTP requests, one connection after the other: each answer is the
 * nonce. Arguments: port=N, requests=N (how many until it ends).
 *
 * WASI preview 1 can accept on a socket it is given and cannot make one. The
 * module imports WasmEdge's extension, in the signatures from before 0.12 that
 * it still serves first (lib/host/wasi/wasimodule.cpp); the twin uses libc. */
#include <stdint.h>
#include <stdio.h>

#include "guest.h"
#include "errno-names.h"

#if defined(__wasi__)
#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(name)))
struct address {
    const uint8_t *bytes;
    uint32_t size;
};
IMPORT("sock_open") uint32_t sock_open(uint32_t family, uint32_t type, uint32_t *fd);
IMPORT("sock_bind") uint32_t sock_bind(uint32_t fd, const struct address *address, uint32_t port);
IMPORT("sock_listen") uint32_t sock_listen(uint32_t fd, uint32_t backlog);
IMPORT("sock_accept") uint32_t sock_accept_one(uint32_t fd, uint32_t *connection);

enum { INET4 = 1, STREAM = 2 };

static int failed(uint32_t code) {
    errno = (int)code; /* wasi-libc's errno values are WASI's */
    return -1;
}

static int listen_on(int port) {
    static const uint8_t any[4];
    struct address address = {any, sizeof any};
    uint32_t fd, code;
    if ((code = sock_open(INET4, STREAM, &fd)) || (code = sock_bind(fd, &address, (uint32_t)port)) ||
        (code = sock_listen(fd, 8)))
        return failed(code);
    return (int)fd;
}

static int accept_on(int fd) {
    uint32_t connection, code = sock_accept_one((uint32_t)fd, &connection);
    return code ? failed(code) : (int)connection;
}
#else
#include <arpa/inet.h>
#include <sys/socket.h>

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 8))
        return -1;
    return fd;
}

static int accept_on(int fd) {
    return accept(fd, NULL, NULL);
}
#endif

static bool answer(int connection, const char *nonce) {
    char request[1024], reply[256];
    size_t size = 0;
    while (size < sizeof request - 1) {
        ssize_t got = read(connection, request + size, sizeof request - 1 - size);
        if (got <= 0)
            return false;
        size += (size_t)got;
        request[size] = 0;
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    int length = snprintf(reply, sizeof reply,
                          "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                          "Connection: close\r\n\r\n%s\n",
                          strlen(nonce) + 1, nonce);
    return write_all(connection, reply, (size_t)length);
}

static void report(const char *key, long value, int error) {
    report_begin();
    json_key(key);
    json_number(value);
    if (error) {
        json_key("errno");
        json_string(errno_name(error));
    }
    report_end();
}

int main(int argc, char **argv) {
    announce("listen", argc, argv);
    int port = (int)option_number(argc, argv, "port=", 8080);
    long wanted = option_number(argc, argv, "requests=", 1), served = 0;
    char nonce[64] = "";
    const char *given = option(argc, argv, "nonce=");
    if (given)
        strncat(nonce, given, strspn(given, "0123456789abcdef") < 63 ? strspn(given, "0123456789abcdef") : 63);
    int fd = listen_on(port);
    report("listening", port, fd < 0 ? errno : 0);
    if (fd < 0)
        return 1;
    while (served < wanted) {
        int connection = accept_on(fd);
        if (connection < 0) {
            report("served", served, errno);
            return 1;
        }
        served += answer(connection, nonce);
        close(connection);
    }
    report("served", served, 0);
    return 0;
}
