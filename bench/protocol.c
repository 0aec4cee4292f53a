/* SPDX-License-Identifier: MIT
 *
 * What the worker protocol costs: a call without content, and a receipt of 128 tokens with times
 * and ids. Without an argument this is the client; with one, the worker, in C, so that the client
 * is what is measured.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/rpc.h"

enum { CALLS = 20000, RECEIPTS = 2000, PASSES = 10, TOKENS = 128 };

static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int be_worker(void)
{
    char line[4096];

    while (fgets(line, sizeof(line), stdin)) {
        const char *id = strstr(line, "\"id\":");

        if (strstr(line, "\"receipts\""))
            for (int i = 0; i < RECEIPTS; i++) {
                printf("{\"jsonrpc\":\"2.0\",\"method\":\"request\",\"params\":{\"pass\":0,"
                       "\"repeat\":0,"
                       "\"i\":%d,\"t_submit_ns\":1795543792247804551,\"t_last_ns\":"
                       "1795543792247804551,\"input_tokens\":100,\"output_tokens\":%d,\"finish\":"
                       "\"length\",\"token_ns\":[",
                       i, TOKENS);
                for (int k = 0; k < TOKENS; k++)
                    printf("%s%lld", k ? "," : "", 1795543792247804551LL + k);
                printf("],\"output_ids\":[");
                for (int k = 0; k < TOKENS; k++)
                    printf("%s%d", k ? "," : "", 1000 + k);
                printf("]}}\n");
            }
        printf("{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{\"t_ns\":1}}\n",
               id ? (int)strtol(id + strlen("\"id\":"), NULL, 10) : 0);
        fflush(stdout);
    }
    return 0;
}

static llem_errcode count(void *user, const char *method, const struct llem_value *params,
                          llem_error *err)
{
    size_t *n = user;

    (void)method;
    (void)err;
    *n += llem_get(params, "token_ns") != NULL;
    return LLEM_OK;
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

int main(int argc, char **argv)
{
    const char *const args[] = { argv[0], "worker", NULL };
    const struct llem_rpc_limits limits = { .deadline_s = 60 };
    static double us[CALLS];
    struct llem_rpc_opts opts = {
        .name = "the worker", .argv = args, .log_fd = -1, .notify = count
    };
    struct llem_rpc *rpc;
    struct llem_rpc_reply r;
    llem_error err;
    size_t got = 0;
    double cpu, wall = 0, least = 1e9;

    if (argc > 1)
        return be_worker();
    opts.user = &got;
    if (llem_ctx_new(&opts.ctx, NULL, &err) < 0 || llem_rpc_start(&rpc, &opts, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    cpu = cpu_s();
    for (int i = 0; i < CALLS; i++) {
        struct llem_arena a = LLEM_ARENA_INIT;

        if (llem_rpc_call(rpc, "clock", NULL, &limits, &a, &r, &err) < 0)
            return 1;
        us[i] = (double)(r.received_ns - r.sent_ns) * 1e-3;
        llem_arena_done(&a);
    }
    cpu = cpu_s() - cpu;
    qsort(us, CALLS, sizeof(*us), by_value);
    printf("call: median %.1f us, 99 %% within %.1f us, %.1f us of our CPU time\n", us[CALLS / 2],
           us[CALLS * 99 / 100], cpu / CALLS * 1e6);
    for (int i = 0; i < PASSES; i++) {
        struct llem_arena a = LLEM_ARENA_INIT;
        int64_t begin = llem_now_ns(&llem_system_clock);

        cpu = cpu_s();
        if (llem_rpc_call(rpc, "receipts", NULL, &limits, &a, &r, &err) < 0)
            return 1;
        cpu = cpu_s() - cpu;
        if (cpu < least) {
            least = cpu;
            wall = (double)(llem_now_ns(&llem_system_clock) - begin) * 1e-9;
        }
        llem_arena_done(&a);
    }
    printf(
        "receipt of %d tokens with times and ids: %.1f us of our CPU time, %.1f us in all, best of "
        "%d passes of %d\n",
        TOKENS, least / RECEIPTS * 1e6, wall / RECEIPTS * 1e6, PASSES, RECEIPTS);
    llem_rpc_end(rpc, 1000);
    llem_ctx_free(opts.ctx);
    return got == (size_t)PASSES * RECEIPTS ? 0 : 1;
}
