/* SPDX-License-Identifier: MIT
 *
 * Recordings from elsewhere. The first byte says how the rest is used: as files just as they are
 * (names, lengths and hashes hostile too), or as rows behind correct hashes, so that what computes
 * is reached as well.
 *
 *     byte 0    bit 0: rows behind correct hashes
 *     then      recording.json up to a NUL, then for each column: its number, a length of 3 bytes,
 * bytes
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/result/result.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const extension[] = { "i64", "i32", "u16", "f64", "utf8" };
static const size_t width[] = { 8, 4, 2, 8, 0 };

static void write_raw(const char *dir, const struct llem_column_def *def, const uint8_t *data,
                      size_t size)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s.%s.%s.zst", dir, def->table, def->name,
             extension[def->type]);
    f = fopen(path, "we");
    if (f) {
        fwrite(data, 1, size, f);
        fclose(f);
    }
}

/* Rows in a UTF8 column, as far as its lengths make sense. */
static size_t rows_of_text(const uint8_t *data, size_t size)
{
    size_t n = 0;

    while (size >= 4) {
        uint32_t len;

        memcpy(&len, data, 4);
        if (len > size - 4)
            break;
        data += 4 + len;
        size -= 4 + len;
        n++;
    }
    return n;
}

static void try(const char *dir)
{
    struct llem_arena a = { .max = (size_t)1 << 28 };
    struct llem_difference *list;
    struct llem_recording r;
    struct llem_value *v;
    char rec[256];
    size_t n, compared;

    snprintf(rec, sizeof(rec), "%s/recording", dir);
    if (llem_recording_open(&r, rec, NULL) == LLEM_OK) {
        if (llem_derive(&r, &a, &v, NULL) == LLEM_OK &&
            llem_result_write(&r, v, dir, NULL) == LLEM_OK &&
            llem_result_verify(dir, &a, &list, &n, &compared, NULL) == LLEM_OK && n != 0)
            abort(); /* a result just derived is what its recording says */
        llem_recording_close(&r);
    }
    llem_arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *json = data + 1, *nul = size > 1 ? memchr(json, 0, size - 1) : NULL, *p;
    struct llem_arena a = { .max = (size_t)1 << 26 };
    struct llem_value *tree = NULL, *columns;
    char dir[128], rec[160], path[200];
    struct llem_batch batch = { .dir = rec, .in_place = true };
    size_t n_defs = 0, left;
    bool sound;

    if (!nul || size > (1 << 20))
        return 0;
    columns = llem_list(&a);
    while (llem_column_defs[n_defs].table)
        n_defs++;
    snprintf(dir, sizeof(dir), "%s/llem-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(dir)) {
        llem_arena_done(&a);
        return 0;
    }
    snprintf(rec, sizeof(rec), "%s/recording", dir);
    snprintf(path, sizeof(path), "%s/recording.json", rec);
    llem_mkdirs(rec, NULL);
    sound = data[0] & 1 &&
            llem_json_parse(&a, &tree, (const char *)json, (size_t)(nul - json), "fuzz", NULL) ==
                LLEM_OK &&
            tree->kind == LLEM_MAP;
    p = nul + 1;
    left = (size_t)(data + size - p);
    while (left >= 4) {
        const struct llem_column_def *def = &llem_column_defs[p[0] % n_defs];
        size_t len = (size_t)p[1] | (size_t)p[2] << 8 | (size_t)p[3] << 16, w = width[def->type];

        p += 4;
        left -= 4;
        len = len < left ? len : left;
        if (sound && w)
            llem_column_write(&batch, def, p, len / w, len / w * w, &a, columns, NULL);
        else if (sound)
            llem_column_write(&batch, def, p, rows_of_text(p, len), len, &a, columns, NULL);
        else
            write_raw(rec, def, p, len);
        llem_batch_done(&batch); /* one by one: the same column may come often */
        p += len;
        left -= len;
    }
    if (sound) {
        llem_set(&a, tree, "columns", columns);
        llem_json_save(path, tree, NULL);
    } else {
        FILE *f = fopen(path, "we");

        if (f) {
            fwrite(json, 1, (size_t)(nul - json), f);
            fclose(f);
        }
    }
    try(dir);
    llem_remove_tree(dir, NULL);
    llem_arena_done(&a);
    return 0;
}
