/* Writes bytes that break careless readers: shows that output reaches the
 * caller, and a report, unchanged and harmless.
 * conformance/build/patterns.py has the same bytes. */
#include "guest.h"

static const char hostile[] =
    "invalid \xff\xfe\xc3\x28\n"          /* invalid UTF-8 */
    "nul \0 nul\n"                        /* NUL */
    "\x1b[31mred\x1b[0m\n"                /* terminal colour */
    "\x1b]0;title\x07\n"                  /* terminal title */
    "carriage\rreturn\r\n"                /* CR */
    "noncharacter \xef\xbf\xbe\n"         /* U+FFFE, not allowed in XML */
    "surrogate \xed\xa0\x80\n"            /* a lone surrogate, encoded */
    "]]>\n"                               /* the end of a CDATA section */
    "unterminated";                       /* a last line without its newline */

int main(int argc, char **argv) {
    announce("bytes", argc, argv);
    return !write_all(1, hostile, sizeof hostile - 1);
}
