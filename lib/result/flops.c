/* SPDX-License-Identifier: MIT
 *
 * Floating-point operations of a decoder's forward pass, counted from the model's dimensions: every
 * matrix product, a multiplication and an addition for each weight, and attention over the causal
 * context. Biases, norms, softmax and the activation functions are left out.
 */
#include <math.h>
#include <string.h>

#include "lib/result/derive.h"

bool llem__dims_read(struct llem__dims *d, const struct llem_value *model)
{
    const char *const names[] = { "hidden_size", "num_layers", "num_heads", "intermediate_size",
                                  "vocab_size" };
    double *const slots[] = { &d->hidden, &d->layers, &d->heads, &d->intermediate, &d->vocab };

    memset(d, 0, sizeof(*d));
    for (size_t i = 0; i < LLEM_COUNT(names); i++) {
        *slots[i] = llem_real_at(model, names[i], 0);
        if (!(*slots[i] >= 1 && *slots[i] <= 1e9))
            return false;
    }
    d->kv_heads = llem_real_at(model, "num_kv_heads", d->heads);
    d->head = llem_real_at(model, "head_size", d->hidden / d->heads);
    d->gated = llem_bool_at(model, "gated_mlp", false);
    d->window = llem_real_at(model, "sliding_window", 0);
    d->experts = llem_real_at(model, "experts", 0);
    d->active_experts = llem_real_at(model, "active_experts", d->experts);
    return d->kv_heads >= 1 && d->kv_heads <= 1e9 && d->head >= 1 && d->head <= 1e9 &&
           d->window >= 0 && d->experts >= 0 && d->active_experts >= 0 && d->experts <= 1e6 &&
           d->active_experts <= d->experts;
}

/* Sum over positions from+1 .. to of how many positions each attends to. */
static double contexts(const struct llem__dims *d, double from, double to)
{
    double w = d->window, sum;

    if (to <= from)
        return 0;
    if (!(w > 0) || to <= w)
        return (to * (to + 1) - from * (from + 1)) / 2;
    sum = from >= w ? 0 : (w * (w + 1) - from * (from + 1)) / 2;
    return sum + w * (to - fmax(from, w));
}

void llem__flops_add(struct llem__flops *f, const struct llem__dims *d, int64_t input,
                     int64_t cached, int64_t output)
{
    double attention_weights =
        2 * d->hidden * d->heads * d->head + 2 * d->hidden * d->kv_heads * d->head;
    double mlp_weights = (d->gated ? 3 : 2) * d->hidden * d->intermediate, position, context, head;
    double p = (double)input, c = (double)(cached > 0 ? cached : 0), g = (double)output, at;

    if (d->experts > 0)
        mlp_weights = d->active_experts * mlp_weights + d->hidden * d->experts; /* and the router */
    position = 2 * d->layers * (attention_weights + mlp_weights);
    context = 4 * d->layers * d->heads * d->head;
    head = 2 * d->hidden * d->vocab;

    at = context * contexts(d, c, p);
    f->attention += at;
    /* The last position of the prompt gives the first token. */
    f->prefill += position * fmax(p - c, 0) + at + (g > 0 ? head : 0);
    if (g > 1) {
        at = context * contexts(d, p, p + g - 1);
        f->attention += at;
        f->decode += position * (g - 1) + at + head * (g - 1);
    }
}

struct llem_value *llem__flops_object(struct llem__derive *x, struct llem__q *total)
{
    const struct llem_value *model = llem_get(x->json, "model");
    struct llem_value *o = llem_map(x->a);
    double parameters = llem_real_at(model, "parameters", (double)NAN), palm = (double)NAN;
    double embedding = llem_real_at(model, "embedding_parameters", 0);
    struct llem__flops f = { 0 };
    const char *method = NULL;
    struct llem__dims d;
    size_t counted = 0;

    *total = llem__q_null("FLOP", x->is_inference ? "unknown_architecture" : "not_applicable");
    if (!x->is_inference)
        return llem_null(x->a);
    if (x->tokens.known && parameters > embedding && embedding >= 0)
        palm = 2 * (parameters - embedding) * (double)(x->tokens.input + x->tokens.output);
    if (llem__dims_read(&d, model)) {
        for (size_t k = 0; k < x->requests.n; k++) {
            if (x->requests.pass[k] != 0 || x->requests.input[k] < 0 || x->requests.output[k] < 0)
                continue;
            llem__flops_add(&f, &d, x->requests.input[k], x->requests.cached[k],
                            x->requests.output[k]);
            counted++;
        }
        if (counted > 0 && counted == x->tokens.requests) {
            method = "exact_decoder";
            *total =
                llem__q_of(f.prefill + f.decode, "FLOP", "model dimensions x receipts", "derived");
        } else {
            total->reason = "engine_does_not_report";
        }
    }
    if (!method && palm > 0) {
        method = "palm_2nt";
        *total = llem__q_of(palm, "FLOP", "2 N T", "estimated");
    }
    llem__put_real(x, o, "total", total->v);
    llem__put_real(x, o, "prefill", counted ? f.prefill : (double)NAN);
    llem__put_real(x, o, "decode", counted ? f.decode : (double)NAN);
    llem__put_real(x, o, "attention", counted ? f.attention : (double)NAN);
    llem__put_real(x, o, "palm_2nt", palm);
    llem__put_string(x, o, "flops_method", method);
    llem__put_string(x, o, "flops_confidence",
                     !method                                ? NULL
                     : strcmp(method, "exact_decoder") == 0 ? "high"
                                                            : "medium");
    return o;
}
