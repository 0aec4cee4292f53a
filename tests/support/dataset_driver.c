/* SPDX-License-Identifier: MIT
 *
 * What is read of data sets, for comparison with other readers: for each file named, one line of
 * JSON: a list of [text, kind], or the error as text.
 */
#include <stdio.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/measure/dataset.h"

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct llem_arena a = LLEM_ARENA_INIT;
        struct llem_buf file = LLEM_BUF_INIT(LLEM_DATASET_MAX_BYTES);
        struct llem_buf line = LLEM_BUF_INIT((size_t)1 << 30);
        struct llem_record *records = NULL;
        struct llem_value *v = llem_list(&a);
        size_t n = 0;
        llem_error err;
        llem_errcode rc = llem_file_read(&file, argv[i], &err);

        if (rc == LLEM_OK)
            rc = llem_dataset_parse(&records, &n, LLEM_DATASET_PARQUET, file.data, file.len,
                                    argv[i], &a, &err);
        for (size_t k = 0; k < n && rc == LLEM_OK; k++) {
            struct llem_value *pair = llem_list(&a);

            llem_append(&a, pair, llem_string(&a, records[k].text));
            llem_append(&a, pair, llem_string(&a, records[k].kind));
            llem_append(&a, v, pair);
        }
        llem_json_dump(&line, rc == LLEM_OK ? v : llem_string(&a, err.msg), LLEM_JSON_COMPACT);
        if (a.oom || line.failed)
            return 1;
        puts(line.data);
        llem_buf_done(&line);
        llem_buf_done(&file);
        llem_arena_done(&a);
    }
    return 0;
}
