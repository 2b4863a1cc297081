/* A bare pass over a pcap file: reads it in blocks of 512 KiB and adds up a few fields of each packet's headers. The least that a program can
 * do which looks at every packet; the measure of what captool does beyond it. Prints packets, TCP bytes and a sum that keeps the compiler honest. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 1 << 19, LARGEST = 1 << 18 };

static uint32_t host32(const unsigned char *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return value;
}

static uint32_t net16(const unsigned char *at) { return at[0] << 8 | at[1]; }

int main(int count, char **names) {
    static unsigned char block[LARGEST + BLOCK];
    uint64_t packets = 0, bytes = 0, sum = 0;
    size_t kept = 0, at = 24;
    ssize_t got;
    int file = count == 2 ? open(names[1], O_RDONLY) : -1;

    if (file < 0) {
        fputs("usage: bare_pass FILE.pcap (written on a host of the same byte order)\n", stderr);
        return 2;
    }
    while ((got = read(file, block + kept, BLOCK)) > 0) {
        size_t end = kept + got;
        while (end - at >= 16) {
            const unsigned char *record = block + at, *ip = record + 16 + 14;
            uint32_t length = host32(record + 8);
            if (length > LARGEST - 16)
                return 3;
            if (end - at < 16 + length)
                break;
            if (length >= 54 && ip[9] == 6) {
                const unsigned char *tcp = ip + (ip[0] & 15) * 4;
                bytes += net16(ip + 2) - (ip[0] & 15) * 4 - (tcp[12] >> 4) * 4;
                sum += host32(tcp + 4) ^ host32(tcp + 8) ^ host32(ip + 12) ^ host32(ip + 16) ^ host32(record);
            }
            packets++;
            at += 16 + length;
        }
        kept = end - at;
        memmove(block, block + at, kept);
        at = 0;
    }
    printf("%llu %llu %llx\n", (unsigned long long)packets, (unsigned long long)bytes, (unsigned long long)sum);
    return 0;
}
