/* SPDX-License-Identifier: MIT
 *
 * Uses the whole base once. tests/unit/base/torture runs it with each of its allocations failing in
 * turn: it must end by itself with 0 (nobody noticed) or 1 (out of memory, said so and cleaned up).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/ctx.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/process.h"

static void ignore(void *user, enum llem_log_level level, const char *module, const char *text)
{
}

static llem_errcode run(const char *dir, struct llem_arena *a, llem_error *err)
{
    static const char *const argv[] = { "sh", "-c", "echo one; echo two >&2; cat", NULL };
    struct llem_process_opts opts = { .argv = argv,
                                      .mark = "torture-of-the-base",
                                      .own_group = true,
                                      .stdin_fd = LLEM_PIPE,
                                      .stdout_fd = LLEM_PIPE,
                                      .stderr_fd = LLEM_NULL_FD };
    llem_ctx_opts ctx_opts = { .size = sizeof(ctx_opts), .log = ignore };
    struct llem_buf text = LLEM_BUF_INIT(1 << 20);
    struct llem_value *v, *back = NULL;
    struct llem_process p = { 0 };
    struct llem_lines lines;
    llem_ctx *ctx = NULL;
    char *path = llem_path_join(a, dir, "torture.json");
    char *line;
    llem_errcode rc;
    size_t len;
    int i;

    llem_lines_init(&lines, -1, 100);
    rc = llem_ctx_new(&ctx, &ctx_opts, err);
    if (rc < 0)
        goto done;
    llem_log(ctx, LLEM_LOG_INFO, "torture", "%0400d", 1);

    v = llem_map(a);
    for (i = 0; i < 200; i++)
        llem_set(a, v, llem_arena_printf(a, "key%d", i), llem_stringf(a, "%0100d", i));
    v = llem_merge(a, v, llem_copy(a, v));
    if (a->oom) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory");
        goto done;
    }
    llem_json_dump(&text, v, LLEM_JSON_PYTHON);
    if (text.failed) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory");
        goto done;
    }
    rc = llem_json_save(path, v, err);
    if (rc < 0)
        goto done;
    rc = llem_json_load(a, &back, path, 1 << 20, err);
    if (rc < 0)
        goto done;
    if (!llem_equal(v, back)) {
        fprintf(stderr, "what was saved reads back as something else\n");
        abort();
    }

    rc = llem_process_start(&p, &opts, err);
    if (rc < 0)
        goto done;
    rc = llem_pipe_write(p.in, "three\n", 6, 5000, err);
    if (rc < 0)
        goto done;
    close(p.in);
    p.in = -1;
    llem_lines_init(&lines, p.out, 100);
    i = 0;
    while (!lines.ended) {
        struct llem_lines *const one[] = { &lines };

        llem_lines_wait(one, 1, -1, 5000);
        while (llem_lines_next(&lines, &line, &len))
            i++;
    }
    if (lines.failed)
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory");
    else if (i != 2)
        abort();

done:
    llem_process_end(&p, 1000);
    llem_lines_done(&lines);
    llem_buf_done(&text);
    if (llem_remove_tree(dir, NULL) < 0)
        rmdir(dir); /* opendir() needs memory; once it had it not */
    llem_ctx_free(ctx);
    return rc;
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    char dir[512];
    struct llem_arena a = LLEM_ARENA_INIT;
    llem_error err = { 0 };
    llem_errcode rc;

    snprintf(dir, sizeof(dir), "%s/llem-torture-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    if (!mkdtemp(dir))
        return 3;
    rc = run(dir, &a, &err);
    llem_arena_done(&a);
    llem_remove_tree(dir, NULL);
    if (rc == LLEM_OK)
        return 0;
    fprintf(stderr, "%s: %s\n", llem_errcode_name(rc), err.msg);
    return err.msg[0] ? 1 : 3;
}
