/* SPDX-License-Identifier: MIT
 *
 * A batch from its prompts to its ends. Prompts are computed first, as many tokens a step as fit,
 * whatever rows they are of; then each step gives every row that goes on one token. Nothing here
 * allocates, so it can stand inside the measured window.
 */
#include "engines/cpu/cpu.h"

const char *const cpu_finish_names[] = { "stop", "length", "context" };

/* What a step's threads need to choose the tokens. */
struct choice {
    struct cpu_generate *g;
    struct cpu_request *requests;
    const int32_t *rows; /* of the logits, in order */
    int32_t *ids;
};

static void choose(void *arg, int i, int thread)
{
    const struct choice *c = arg;
    struct cpu_request *r = &c->requests[c->rows[i]];

    c->ids[i] = cpu_sample(&c->g->samplers[thread], c->g->sampling, c->g->kernels,
                           cpu_logits(c->g->state, i), r->prompt, (size_t)r->n_prompt, r->output,
                           (size_t)r->n_output, &r->rng);
}

static bool ends(const struct cpu_generate *g, int32_t id)
{
    int i;

    for (i = 0; i < g->n_eos; i++)
        if (g->eos[i] == id)
            return true;
    return false;
}

static bool goes_on(const struct cpu_request *r)
{
    return r->n_output < r->max_new && r->finish == CPU_FINISH_LENGTH;
}

/* Compute the tokens that were gathered, and give those rows whose logits were wanted their next
 * token. */
static void step(struct cpu_generate *g, struct cpu_request *requests, int count, int prefill,
                 int batch)
{
    struct choice choice = { g, requests, g->wanted_rows, g->chosen };
    int64_t begin = llem_now_ns(g->clock), end;
    int i, wanted = 0;

    cpu_forward(g->state, g->tokens, count);
    for (i = 0; i < count; i++)
        if (g->tokens[i].wanted)
            g->wanted_rows[wanted++] = g->tokens[i].row;
    cpu_pool_run(g->pool, choose, &choice, wanted);
    end = llem_now_ns(g->clock);
    for (i = 0; i < wanted; i++) {
        struct cpu_request *r = &requests[g->wanted_rows[i]];

        r->token_ns[r->n_output] = end;
        r->output[r->n_output++] = g->chosen[i];
        if (ends(g, g->chosen[i]))
            r->finish = CPU_FINISH_STOP;
    }
    if (g->output)
        atomic_fetch_add_explicit(g->output, wanted, memory_order_relaxed);
    if (g->steps && g->n_steps < g->max_steps)
        g->steps[g->n_steps++] = (struct cpu_step){ begin, end, prefill, count - prefill, batch };
}

llem_errcode cpu_generate_batch(struct cpu_generate *g, struct cpu_request *requests, int count)
{
    int row = 0, n, i;
    int32_t pos = 0;

    for (i = 0; i < count; i++) {
        requests[i].n_output = 0;
        requests[i].finish = CPU_FINISH_LENGTH;
    }

    while (row < count) {
        int64_t now;

        if (g->cancelled && g->cancelled(g->user))
            return LLEM_ECANCELED;
        now = llem_now_ns(g->clock);
        for (n = 0; row < count && n < g->max_tokens; n++) {
            struct cpu_request *r = &requests[row];
            bool last = pos + 1 == r->n_prompt;

            if (pos == 0)
                r->scheduled_ns = now;
            g->tokens[n] = (struct cpu_token){ r->prompt[pos], row, pos, last && r->max_new > 0 };
            pos++;
            if (last) {
                row++;
                pos = 0;
            }
        }
        step(g, requests, n, n, count);
    }
    for (;;) {
        for (n = 0, i = 0; i < count; i++) {
            struct cpu_request *r = &requests[i];

            if (goes_on(r))
                g->tokens[n++] = (struct cpu_token){ r->output[r->n_output - 1], i,
                                                     r->n_prompt + r->n_output - 1, true };
        }
        if (n == 0)
            break;
        if (g->cancelled && g->cancelled(g->user))
            return LLEM_ECANCELED;
        step(g, requests, n, 0, n);
    }
    for (i = 0; i < count; i++)
        if (requests[i].finish == CPU_FINISH_LENGTH && requests[i].context_ends)
            requests[i].finish = CPU_FINISH_CONTEXT;
    return LLEM_OK;
}
