/* Reads standard input to its end, sends it unchanged to stderr and reports
 * its size and FNV-1a hash: shows that no byte of stdin is lost or changed. */
#include "guest.h"

int main(int argc, char **argv) {
    static char block[65536];
    unsigned long long hash = 0xcbf29ce484222325ull;
    long long total = 0;
    ssize_t size;
    announce("stdin-echo", argc, argv);
    while ((size = read(0, block, sizeof block)) > 0) {
        for (ssize_t i = 0; i < size; i++)
            hash = (hash ^ (unsigned char)block[i]) * 0x100000001b3ull;
        total += size;
        if (!write_all(2, block, (size_t)size))
            return 1;
    }
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(hash >> (56 - 8 * i));
    report_begin();
    json_key("bytes");
    json_number(total);
    json_key("fnv1a64");
    json_hex(bytes, sizeof bytes);
    report_end();
    return size < 0;
}
