/* SPDX-License-Identifier: MIT
 *
 * Floating-point operations of a decoder's forward pass, counted from the model's dimensions: every
 * matrix product, a multiplication and an addition for each weight, and attention over the causal
 * context. Biases, norms, softmax and the activation functions are left out. The dimensions come
 * out of the recorded config.json, else from what the engine told of the loaded model.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/result/derive.h"

/* Sum over positions from+1 .. to of how many positions each attends to; window 0: all. */
static double contexts(double window, double from, double to)
{
    double sum;

    if (to <= from)
        return 0;
    if (!(window > 0) || to <= window)
        return (to * (to + 1) - from * (from + 1)) / 2;
    sum = from >= window ? 0 : (window * (window + 1) - from * (from + 1)) / 2;
    return sum + window * (to - fmax(from, window));
}

/* Of all layers, for the positions from+1 .. to: queries with keys, and weights with values. */
static double attention(const struct llem_dims *d, double from, double to)
{
    double windowed = (double)d->window_layers, full = (double)(d->layers - d->window_layers);

    return 2 * (double)d->heads * (double)(d->head + d->value_head) *
           (full * contexts(0, from, to) + windowed * contexts((double)d->window, from, to));
}

void llem__flops_add(struct llem__flops *f, const struct llem_dims *d, int64_t input,
                     int64_t cached, int64_t output)
{
    double p = (double)input, c = (double)(cached > 0 ? cached : 0), g = (double)output, at;
    double plain = (double)(d->layers - d->expert_layers), experts = (double)d->expert_layers;
    double position =
        2 * ((double)d->layers * llem_dims_attention(d) + plain * llem_dims_mlp(d) +
             (d->expert_layers ? experts * llem_dims_experts(d, d->active_experts) : 0));
    double head = 2 * (double)d->hidden * (double)d->vocab;

    at = attention(d, c, p);
    f->attention += at;
    /* The last position of the prompt gives the first token. */
    f->prefill += position * fmax(p - c, 0) + at + (g > 0 ? head : 0);
    if (g > 1) {
        at = attention(d, p, p + g - 1);
        f->attention += at;
        f->decode += position * (g - 1) + at + head * (g - 1);
    }
}

/* ---- the model ---------------------------------------------------------------------------- */

/* Whatever makes the count doubtful is a warning. */
static void read_dims(struct llem__derive *x)
{
    const struct llem_value *model = llem_get(x->json, "model"),
                            *config = llem_get(model, "config");
    struct llem_dims told = { 0 };
    llem_error err = { 0 };
    const char *differs;
    char text[sizeof(err.msg) + 1];
    llem_errcode rc;

    if (llem_dims_get(&told, model)) {
        x->dims = told;
        x->dims_from = "engine";
    }
    if (llem_is_null(config))
        return;
    rc = llem_dims_read(&x->dims, config, NULL, "config.json", &err);
    if (rc == LLEM_ENOTSUP)
        x->dims_from = NULL; /* the sizes are those of something else than a plain decoder */
    if (rc != LLEM_OK) {
        snprintf(text, sizeof(text), "%s.", err.msg);
        if (!x->dims_from)
            llem__warn(x, "unknown_architecture", NULL, text);
        return;
    }
    x->dims_from = "config.json";
    differs = llem_dims_differ(&x->dims, model);
    if (differs) {
        snprintf(text, sizeof(text), "The engine tells another %s than config.json does.", differs);
        llem__warn(x, "dimensions_differ", NULL, text);
    }
    /* What was loaded is what has that many; of tied and merged weights too. */
    if (told.parameters)
        x->dims.parameters = told.parameters;
    if (told.embedding_parameters)
        x->dims.embedding_parameters = told.embedding_parameters;
}

struct llem_value *llem__model_object(struct llem__derive *x)
{
    const struct llem_value *model = llem_get(x->json, "model");
    struct llem_value *o;

    if (llem_is_null(model) || model->kind != LLEM_MAP)
        return llem_null(x->a);
    o = llem_copy(x->a, model);
    llem_unset(o, "config");
    if (x->dims_from)
        llem_dims_put(x->a, o, &x->dims);
    llem__put_string(x, o, "dimensions_from", x->dims_from);
    return o;
}

/* ---- utilisation -------------------------------------------------------------------------- */

/* Dense peaks of boards in FLOP/s, of products of 16-bit numbers, as their makers publish them. A
 * name that ends in '*' stands for all that begin so. */
static const struct {
    const char *board;
    double flops;
} peaks[] = {
    { "NVIDIA A100*", 312e12 },
    { "NVIDIA H100 80GB HBM3", 989.4e12 },
    { "NVIDIA H200", 989.4e12 },
};

static double peak_of(const char *board)
{
    for (size_t i = 0; i < LLEM_COUNT(peaks); i++) {
        size_t n = strlen(peaks[i].board);
        bool all = peaks[i].board[n - 1] == '*';

        if (strncmp(peaks[i].board, board, all ? n - 1 : n + 1) == 0)
            return peaks[i].flops;
    }
    return (double)NAN;
}

/* Of all devices that the engine ran on, together; NaN if one's is not known. */
static double peak_of_devices(const struct llem__derive *x)
{
    const struct llem_value *devices = llem_at(x->json, "engine.devices");
    const char *dtype = llem_str_at(x->json, "model.dtype", "");
    double sum = 0;

    if ((strcmp(dtype, "bfloat16") != 0 && strcmp(dtype, "float16") != 0) ||
        !llem_is_null(llem_at(x->json, "model.config.quantization_config")) ||
        !llem_is_null(llem_at(x->json, "engine.effective.quantization")) || !devices ||
        devices->kind != LLEM_LIST || devices->count == 0)
        return (double)NAN;
    for (size_t i = 0; i < devices->count; i++)
        sum += peak_of(llem_str_at(devices->items[i], "name", ""));
    return sum;
}

/* ---- the whole ---------------------------------------------------------------------------- */

void llem__derive_flops(struct llem__derive *x)
{
    struct llem__flops *f = &x->flops;
    double weights;

    x->palm = (double)NAN;
    x->total_flops =
        llem__q_null("FLOP", x->is_inference ? "unknown_architecture" : "not_applicable");
    if (!x->is_inference)
        return;
    read_dims(x);
    if (!x->dims_from) {
        /* Numbers of parameters may be known without dimensions. */
        double n = llem_real_at(x->json, "model.parameters", 0);

        weights = n - llem_real_at(x->json, "model.embedding_parameters", 0);
        weights = weights <= n ? weights : 0;
    } else {
        weights = (double)(x->dims.parameters - x->dims.embedding_parameters);
    }
    if (x->tokens.known && weights > 0)
        x->palm = 2 * weights * (double)(x->tokens.input + x->tokens.output);
    if (x->dims_from) {
        size_t counted = 0;

        for (size_t k = 0; k < x->requests.n; k++) {
            if (x->requests.pass[k] != 0 || x->requests.input[k] < 0 || x->requests.output[k] < 0)
                continue;
            llem__flops_add(f, &x->dims, x->requests.input[k], x->requests.cached[k],
                            x->requests.output[k]);
            counted++;
        }
        x->flops_counted = counted > 0 && counted == x->tokens.requests;
        if (x->flops_counted)
            x->total_flops = llem__q_of(f->prefill + f->decode, "FLOP",
                                        "model dimensions x receipts", "derived");
        else
            x->total_flops.reason = "engine_does_not_report";
    }
    if (!x->flops_counted && x->palm > 0)
        x->total_flops = llem__q_of(x->palm, "FLOP", "2 N T", "estimated");
}

struct llem_value *llem__flops_object(struct llem__derive *x)
{
    double peak, rate = x->window_s > 0 ? x->total_flops.v / x->window_s : (double)NAN;
    struct llem_value *o = llem_map(x->a);
    struct llem__q mfu = llem__q_null("1", x->total_flops.reason);

    if (!x->is_inference)
        return llem_null(x->a);
    peak = peak_of_devices(x);
    if (isfinite(rate))
        mfu = isfinite(peak) ? llem__q_of(rate / peak, "1", "total_flops / time / peak of devices",
                                          x->total_flops.quality)
                             : llem__q_null("1", "peak_unknown");
    else if (isfinite(x->total_flops.v))
        mfu.reason = x->has_window ? "window_too_short" : "no_window";
    llem__put_real(x, o, "total", x->total_flops.v);
    llem__put_real(x, o, "prefill", x->flops_counted ? x->flops.prefill : (double)NAN);
    llem__put_real(x, o, "decode", x->flops_counted ? x->flops.decode : (double)NAN);
    llem__put_real(x, o, "attention", x->flops_counted ? x->flops.attention : (double)NAN);
    llem__put_real(x, o, "palm_2nt", x->palm);
    llem__put_string(x, o, "flops_method", llem__flops_method(x));
    llem__put_string(x, o, "flops_confidence", llem__flops_confidence(x));
    llem__put_real(x, o, "peak_flops_per_second", peak);
    llem_set(x->a, o, "mfu", llem__quantity(x, "flops.mfu", mfu));
    return o;
}

const char *llem__flops_method(const struct llem__derive *x)
{
    return x->flops_counted ? "exact_decoder" : isfinite(x->total_flops.v) ? "palm_2nt" : NULL;
}

const char *llem__flops_confidence(const struct llem__derive *x)
{
    return x->flops_counted ? "high" : isfinite(x->total_flops.v) ? "medium" : NULL;
}
