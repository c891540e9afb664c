/* Symbolic names of the errors a check compares: numbers differ between WASI
 * and Linux, names do not. */
#ifndef ERRNO_NAMES_H
#define ERRNO_NAMES_H

#include <errno.h>

static inline const char *errno_name(int number) {
    static char other[] = "errno-0000";
    switch (number) {
#define NAME(symbol) case symbol: return #symbol;
    NAME(ENOENT) NAME(EAGAIN) NAME(EACCES) NAME(EPERM) NAME(EROFS) NAME(EXDEV) NAME(ENOTDIR)
    NAME(EISDIR) NAME(ELOOP) NAME(ENOSPC) NAME(EBADF) NAME(ENOSYS) NAME(EINVAL)
    NAME(EEXIST) NAME(ENOTEMPTY) NAME(ETXTBSY) NAME(EFBIG) NAME(EIO)
#ifdef ENOTCAPABLE
    NAME(ENOTCAPABLE)
#endif
#undef NAME
    }
    char *end = other + sizeof other - 1;
    char *at = end;
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) && at > other + 6);
    memmove(other + 6, at, (size_t)(end - at));
    other[6 + (end - at)] = 0;
    return other;
}

#endif
