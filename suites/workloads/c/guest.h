/* What every C guest shares: the announcement that proves who ran, and JSON
 * findings. It uses write(2) and no stdio: modules stay at a few kilobytes, so
 * a JIT compiles them in milliseconds, and nothing sits in a buffer when the
 * guest traps or is killed. */
#ifndef GUEST_H
#define GUEST_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A compile-time constant, so that a runtime which runs the native twin in
 * place of the module cannot pass for one that ran the module. */
#if defined(__wasi__)
#define GUEST_TARGET "wasm32-wasip1"
#elif defined(__x86_64__) && defined(__linux__)
#define GUEST_TARGET "x86_64-linux"
#elif defined(__aarch64__) && defined(__linux__)
#define GUEST_TARGET "aarch64-linux"
#else
#error "no name for this target"
#endif

/* Writes all of it, or says false: a pipe may take less than it is offered. */
static inline bool write_all(int fd, const void *data, size_t size) {
    const char *at = data;
    while (size > 0) {
        ssize_t written = write(fd, at, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        at += written;
        size -= (size_t)written;
    }
    return true;
}

/* One line is collected here and leaves in one write, so that it does not
 * interleave with a neighbour's; only lines longer than this are split. */
static char line[8192];
static size_t line_size;
static bool comma_due;

static inline void line_flush(void) {
    write_all(1, line, line_size);
    line_size = 0;
}

static inline void line_byte(char byte) {
    if (line_size == sizeof line)
        line_flush();
    line[line_size++] = byte;
}

static inline void line_text(const char *text) {
    while (*text)
        line_byte(*text++);
}

static inline void json_separate(void) {
    if (comma_due)
        line_byte(',');
    comma_due = true;
}

static inline void json_open(char bracket) {
    json_separate();
    line_byte(bracket);
    comma_due = false;
}

static inline void json_close(char bracket) {
    line_byte(bracket);
    comma_due = true;
}

/* Bytes that are not printable ASCII become \u00XX (latin-1): the reader gets
 * back exactly the bytes the guest saw, whatever their encoding. */
static inline void json_bytes(const char *text, size_t size) {
    static const char hex[] = "0123456789abcdef";
    json_separate();
    line_byte('"');
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte == '"' || byte == '\\') {
            line_byte('\\');
            line_byte((char)byte);
        } else if (byte >= 0x20 && byte < 0x7f) {
            line_byte((char)byte);
        } else {
            line_text("\\u00");
            line_byte(hex[byte >> 4]);
            line_byte(hex[byte & 15]);
        }
    }
    line_byte('"');
}

static inline void json_string(const char *text) {
    json_bytes(text, strlen(text));
}

static inline void json_key(const char *key) {
    json_string(key);
    line_byte(':');
    comma_due = false;
}

static inline void json_bool(bool value) {
    json_separate();
    line_text(value ? "true" : "false");
}

static inline void json_null(void) {
    json_separate();
    line_text("null");
}

static inline void json_number(long long value) {
    char digits[20];
    int count = 0;
    unsigned long long rest = value < 0 ? 0ull - (unsigned long long)value : (unsigned long long)value;
    json_separate();
    if (value < 0)
        line_byte('-');
    do
        digits[count++] = (char)('0' + rest % 10);
    while (rest /= 10);
    while (count > 0)
        line_byte(digits[--count]);
}

static inline void json_hex(const unsigned char *bytes, size_t size) {
    static const char hex[] = "0123456789abcdef";
    json_separate();
    line_byte('"');
    for (size_t i = 0; i < size; i++) {
        line_byte(hex[bytes[i] >> 4]);
        line_byte(hex[bytes[i] & 15]);
    }
    line_byte('"');
}

static inline void report_begin(void) {
    line_text("@report ");
    comma_due = false;
    json_open('{');
}

static inline void report_end(void) {
    json_close('}');
    line_byte('\n');
    line_flush();
}

/* The text after `key` (for instance "mib=") in whichever argument contains
 * it, or null. Contains, not begins with: some runtimes join the arguments. */
static inline const char *option(int argc, char **argv, const char *key) {
    for (int i = 0; i < argc; i++) {
        const char *found = strstr(argv[i], key);
        if (found)
            return found + strlen(key);
    }
    return NULL;
}

static inline long option_number(int argc, char **argv, const char *key, long otherwise) {
    const char *text = option(argc, argv, key);
    return text && *text >= '0' && *text <= '9' ? strtol(text, NULL, 10) : otherwise;
}

/* The first thing every guest does. */
static inline void announce(const char *name, int argc, char **argv) {
    const char *nonce = option(argc, argv, "nonce=");
    if (!nonce)
        nonce = getenv("CONFORMANCE_NONCE");
    if (!nonce)
        nonce = "";
    line_text("@guest ");
    comma_due = false;
    json_open('{');
    json_key("guest");
    json_string(name);
    json_key("target");
    json_string(GUEST_TARGET);
    json_key("nonce");
    json_bytes(nonce, strspn(nonce, "0123456789abcdef"));
    json_close('}');
    line_byte('\n');
    line_flush();
}

#endif
