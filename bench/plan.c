/* SPDX-License-Identifier: MIT
 *
 * Expanding, checking, hashing, grouping and ordering a study of 10,000 and of 100,000 experiments:
 * time, and memory that the plan keeps for each.
 *
 * usage: plan DATA_DIR
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "lib/engine/registry.h"
#include "lib/study/plan.h"

enum { ROUNDS = 5 };

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void write_study(const char *path, int fifth)
{
    FILE *f = fopen(path, "w");

    if (!f)
        exit(1);
    fputs("task: {model: gpt2}\nengine: transformers\nsweep:\n"
          "  transformers.dtype: [float16, bfloat16]\n"
          "  transformers.batch_size: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]\n"
          "  task.max_output_tokens: [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]\n"
          "  transformers.compilation: [{}, {transformers.torch_compile: true}]\n"
          "  transformers.sampling.temperature: [0.1, 0.2, 0.3, 0.4, 0.5]\n"
          "  task.random_seed: [1, 2, 3, 4, 5]\n",
          f);
    if (fifth)
        fputs("  task.dataset.n_prompts: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n", f);
    fclose(f);
}

int main(int argc, char **argv)
{
    llem_ctx_opts opts = { .size = sizeof(opts), .data_dir = argc > 1 ? argv[1] : "." };
    char path[] = "/tmp/llem-bench-plan-XXXXXX.yaml";
    int fd = mkstemps(path, 5);

    if (fd < 0)
        return 1;
    close(fd);
    for (int large = 0; large < 2; large++) {
        double best = 1e9, expand = 0;
        size_t kept = 0, count = 0;

        write_study(path, large);
        for (int i = 0; i < ROUNDS; i++) {
            const struct llem_schema *schema;
            struct llem_sweep *sweep;
            struct llem_plan *plan;
            llem_error err = { 0 };
            llem_ctx *ctx;
            size_t before;
            double begin, middle, end;

            if (llem_ctx_new(&ctx, &opts, &err) < 0 || llem_ctx_schema(ctx, &schema, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                return 1;
            }
            before = mallinfo2().uordblks + mallinfo2().hblkhd;
            begin = now_ms();
            if (llem_sweep_load(&sweep, ctx, schema, &(struct llem_config_source){ .path = path },
                                NULL, 0, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                return 1;
            }
            middle = now_ms();
            if (llem_plan_make(&plan, sweep, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                return 1;
            }
            end = now_ms();
            kept = mallinfo2().uordblks + mallinfo2().hblkhd - before;
            count = plan->sweep->count;
            if (end - begin < best) {
                best = end - begin;
                expand = middle - begin;
            }
            llem_plan_free(plan);
            llem_ctx_free(ctx);
        }
        printf(
            "%zu experiments: %.1f ms of CPU, %.1f of them reading the file; %.2f us and %zu bytes "
            "each; best of %d\n",
            count, best, expand, best * 1e3 / (double)count, kept / count, ROUNDS);
    }
    unlink(path);
    return 0;
}
