/* SPDX-License-Identifier: MIT
 *
 * llem pack: a study or a run as one archive.
 */
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>

#include "src/cmd.h"

struct args {
    const char *output;
    int redact;
};

static const struct opt options[] = {
    { 'o', "output", OPT_STRING, 0, offsetof(struct args, output), "FILE",
      .help = "the archive; DIR's name with .tar.zst here unless it is given" },
    { 0, "redact", OPT_FLAG, 0, offsetof(struct args, redact),
      .help = "leave out what tells the machine and the person: paths, logs, texts, identifiers" },
    { .name = NULL },
};

static int run(struct app *app, void *p)
{
    struct args *args = p;
    llem_pack_opts opts = { .size = sizeof(opts),
                            .dir = app->parse.rest[0],
                            .path = args->output,
                            .redact = args->redact,
                            .cancel = &signals.cancel };
    llem_error err = { 0 };
    llem_ctx *ctx;
    json_t *report = NULL;
    char *json = NULL;
    int code = EXIT_DONE;

    if (!opts.dir)
        return complain_usage(app, "which study? Give its directory");
    if (app->parse.n_rest > 1)
        return complain_usage(app, "one directory at a time: '%s' is one too many",
                              app->parse.rest[1]);
    ctx = make_context(app);
    if (!ctx)
        return EXIT_FAILED;
    signals_catch();
    if (llem_pack(&json, ctx, &opts, &err) < 0) {
        code = signals.count ? exit_code_of_signal((int)signals.last)
                             : complain_error(app, NULL, &err);
    } else if (!(report = json_loads(json, 0, NULL))) {
        code = complain("out of memory");
    } else {
        json_int_t left_out = json_integer_value(json_object_get(report, "left_out"));

        text_print(stdout, json_string_value(json_object_get(report, "path")));
        fputc('\n', stdout);
        if (left_out)
            fprintf(stderr,
                    "%" JSON_INTEGER_FORMAT " files were left out; REDACTED.txt says what is "
                    "missing.\n",
                    left_out);
    }
    json_decref(report);
    free(json);
    llem_ctx_free(ctx);
    return code;
}

const struct cmd cmd_pack = {
    .name = "pack",
    .summary = "make one archive of a study, with checksums",
    .usage = "[OPTIONS] DIR",
    .description =
        "Writes a tar archive within zstd with all files of the study (or the run), and a "
        "SHA256SUMS "
        "that sha256sum -c takes after unpacking; prints its name. The same files make the same "
        "bytes, "
        "whoever packs them. A study that runs, a symbolic link and a file that changes meanwhile "
        "are "
        "refused.\n"
        "With --redact paths, logs, command lines, values of variables, names of users and local "
        "models, and texts of prompts and outputs are left out, and UUIDs are hashed; llem verify "
        "still recomputes every figure (docs/formats.md).",
    .examples = "llem pack results/study_2026-01-31T12-00-00\n"
                "llem pack --redact results/study_2026-01-31T12-00-00 -o study.tar.zst\n"
                "tar --zstd -xf study.tar.zst",
    .options = options,
    .args_size = sizeof(struct args),
    .run = run,
};
