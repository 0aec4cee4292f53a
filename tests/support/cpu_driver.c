/* SPDX-License-Identifier: MIT
 *
 * The engine cpu's parts from the command line, for tests that compare them with another program's.
 *
 *     cpu_driver logits DIR KERNELS    lines of token ids on standard input; of each a line of
 * logits cpu_driver tokens FILE           texts, each ended by a zero byte; of each a line of token
 * ids
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engines/cpu/cpu.h"

enum { POSITIONS = 512 };

static int fail(const llem_error *err)
{
    fprintf(stderr, "cpu_driver: %s\n", err->msg);
    return 1;
}

static int logits(const char *dir, const char *kernels)
{
    struct cpu_token tokens[POSITIONS];
    struct cpu_config config;
    struct cpu_weights *w;
    struct cpu_model *model;
    struct cpu_pool *pool;
    struct cpu_state *state;
    struct cpu_blas blas;
    llem_error err = { 0 };
    char line[POSITIONS * 12];

    if (cpu_config_load(&config, dir, &err) < 0 || cpu_weights_open(&w, dir, &err) < 0 ||
        cpu_model_load(&model, &config, w, CPU_F32, NULL, NULL, &err) < 0 ||
        cpu_pool_new(&pool, 2, &err) < 0)
        return fail(&err);
    cpu_weights_close(w);
    {
        struct cpu_state_opts opts = { .model = model,
                                       .pool = pool,
                                       .kernels = cpu_kernels_find(kernels),
                                       .blas = cpu_blas_open(&blas) ? &blas : NULL,
                                       .rows = 1,
                                       .positions = POSITIONS,
                                       .max_tokens = POSITIONS };
        if (!opts.kernels) {
            fprintf(stderr, "cpu_driver: no kernels '%s' here\n", kernels);
            return 1;
        }
        if (cpu_state_new(&state, &opts, &err) < 0)
            return fail(&err);
    }
    while (fgets(line, sizeof(line), stdin)) {
        char *at = line, *end;
        int n, i;

        for (n = 0; n < POSITIONS; n++, at = end) {
            tokens[n] = (struct cpu_token){ (int32_t)strtol(at, &end, 10), 0, n, false };
            if (end == at)
                break;
        }
        if (n == 0)
            continue;
        tokens[n - 1].wanted = true;
        cpu_forward(state, tokens, n);
        for (i = 0; i < config.vocab; i++)
            printf(i ? " %.9g" : "%.9g", (double)cpu_logits(state, 0)[i]);
        putchar('\n');
    }
    cpu_state_free(state);
    cpu_pool_free(pool);
    cpu_model_free(model);
    cpu_config_done(&config);
    return 0;
}

static int tokens(const char *path)
{
    struct cpu_tokenizer *t;
    struct cpu_ids ids = { 0 };
    llem_error err = { 0 };
    char *text = NULL;
    size_t cap = 0, i;
    ssize_t len;

    if (cpu_tokenizer_load(&t, path, &err) < 0)
        return fail(&err);
    while ((len = getdelim(&text, &cap, '\0', stdin)) > 0) {
        ids.count = 0;
        if (cpu_tokenizer_encode(t, text, strlen(text), true, &ids, &err) < 0)
            return fail(&err);
        for (i = 0; i < ids.count; i++)
            printf(i ? " %d" : "%d", ids.ids[i]);
        putchar('\n');
    }
    free(text);
    free(ids.ids);
    cpu_tokenizer_free(t);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "logits"))
        return logits(argv[2], argv[3]);
    if (argc == 3 && !strcmp(argv[1], "tokens"))
        return tokens(argv[2]);
    fprintf(stderr, "usage: cpu_driver logits DIR KERNELS | tokens FILE\n");
    return 2;
}
