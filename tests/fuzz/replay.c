/* SPDX-License-Identifier: MIT
 *
 * Runs a fuzz target over the files of a corpus, so that every input ever found stays tested where
 * libFuzzer is not installed. Each file is also run cut short and with single bits flipped.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    static uint8_t data[1 << 22];
    FILE *f = fopen(path, "re");
    size_t size, step, i;

    if (!f)
        return -1;
    size = fread(data, 1, sizeof(data), f);
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    step = size / 24 + 1;
    for (i = 0; i < size; i += step) {
        uint8_t *cut = malloc(i + 1); /* its own allocation, so that reading past the end is seen */
        if (!cut)
            return -1;
        memcpy(cut, data, i);
        LLVMFuzzerTestOneInput(cut, i);
        free(cut);
        data[i] ^= (uint8_t)(1u << (i % 8));
        LLVMFuzzerTestOneInput(data, size);
        data[i] ^= (uint8_t)(1u << (i % 8));
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct dirent **names;
    int n, i, failed = 0, number = 0;

    if (argc != 2)
        return 2;
    n = scandir(argv[1], &names, NULL, alphasort);
    if (n < 0) {
        printf("1..1\nnot ok 1 - no corpus at %s\n", argv[1]);
        return 1;
    }
    for (i = 0; i < n; i++) {
        char path[4096];

        snprintf(path, sizeof(path), "%s/%s", argv[1], names[i]->d_name);
        if (names[i]->d_name[0] != '.') {
            int bad = run_file(path) < 0;
            failed += bad;
            printf("%s %d - %s\n", bad ? "not ok" : "ok", ++number, names[i]->d_name);
        }
        free(names[i]);
    }
    free(names);
    printf("1..%d\n", number);
    return failed || !number;
}
