/* SPDX-License-Identifier: MIT */
#include "src/left.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void sample_add(struct left_sample *s, double value)
{
    double sorted[LEFT_LATEST], low = -INFINITY, high = INFINITY, sum = 0, squares = 0;
    int n;

    s->values[s->n++ % LEFT_LATEST] = value;
    n = s->n < LEFT_LATEST ? s->n : LEFT_LATEST;
    memcpy(sorted, s->values, (size_t)n * sizeof(*sorted));
    qsort(sorted, (size_t)n, sizeof(*sorted), compare);
    if (n >= 5) { /* Tukey's outer fences */
        double q1 = sorted[n / 4], q3 = sorted[n - 1 - n / 4];

        low = q1 - 3 * (q3 - q1);
        high = q3 + 3 * (q3 - q1);
    }
    for (int i = 0; i < n; i++) {
        double d = fmin(fmax(sorted[i], low), high);

        sum += d;
        squares += d * d;
    }
    s->mean = sum / n;
    s->sd = n > 1 ? sqrt(fmax(squares - sum * sum / n, 0) / (n - 1)) : 0;
}

/* What a run of it is expected to take; NaN = not known. */
static double expected_s(const struct left_experiment *x)
{
    float a = x->took_s[0], b = x->took_s[1], c = x->took_s[2];

    switch (x->n_took) {
    case 0:
        return NAN;
    case 1:
        return a;
    case 2:
        return (a + b) / 2;
    default:
        return fmaxf(fminf(a, b), fminf(fmaxf(a, b), c));
    }
}

/* Put it into the sums, or (sign -1) take it out of them. */
static void account(struct left *l, const struct left_experiment *x, int sign)
{
    double s = x->n_left * expected_s(x), n = x->n_left;

    if (x->n_took) {
        l->known_s += sign * s;
        l->known_s2 += sign * s * s;
    } else {
        l->unknown += sign * n;
        l->unknown2 += sign * n * n;
    }
}

/* NULL: out of memory. */
static struct left_experiment *experiment_of(struct left *l, int experiment)
{
    if (experiment >= l->n_experiments) {
        int n = experiment < 15 ? 16 : 2 * experiment + 2;
        struct left_experiment *x = realloc(l->experiments, (size_t)n * sizeof(*x));

        if (!x)
            return NULL;
        memset(x + l->n_experiments, 0, (size_t)(n - l->n_experiments) * sizeof(*x));
        l->experiments = x;
        l->n_experiments = n;
    }
    return &l->experiments[experiment];
}

bool left_add(struct left *l, int experiment, double pause_s)
{
    struct left_experiment *x = experiment_of(l, experiment);

    if (!x)
        return false;
    account(l, x, -1);
    x->n_left++;
    account(l, x, 1);
    l->pauses_s += pause_s;
    return true;
}

void left_paused(struct left *l, double pause_s)
{
    l->pauses_s = fmax(l->pauses_s - pause_s, 0);
}

void left_took(struct left *l, int experiment, double seconds)
{
    struct left_experiment *x = experiment_of(l, experiment);

    if (!x)
        return;
    account(l, x, -1);
    x->n_left -= x->n_left > 0;
    if (isfinite(seconds) && seconds >= 0) {
        if (x->n_took && expected_s(x) > 0)
            sample_add(&l->missed, seconds / expected_s(x) - 1);
        x->took_s[x->n_took % LEFT_REPEATS] = (float)seconds;
        /* Once it has three, their number no longer matters, but which of them is the oldest does.
         */
        x->n_took = x->n_took < 2 * LEFT_REPEATS - 1 ? x->n_took + 1 : LEFT_REPEATS;
        sample_add(&l->took, seconds);
    }
    account(l, x, 1);
}

bool left_estimate(const struct left *l, int running, double elapsed_s, double *s, double *spread_s)
{
    const struct left_sample *all = &l->took, *missed = &l->missed;
    double known, variance, differ = all->mean > 0 ? all->sd / all->mean : 0;

    if (all->n < LEFT_BASIS)
        return false;
    if (missed->n >= LEFT_BASIS)
        differ = sqrt(missed->mean * missed->mean + missed->sd * missed->sd);
    *s = l->known_s + l->unknown * all->mean + l->pauses_s;
    if (running > 0 && running < l->n_experiments) {
        known = expected_s(&l->experiments[running]);
        *s -= fmin(elapsed_s, isfinite(known) ? known : all->mean);
    }
    variance =
        differ * differ * l->known_s2 +
        all->sd * all->sd * (l->unknown2 + l->unknown * l->unknown / fmin(all->n, LEFT_LATEST));
    *s = fmax(*s, 0);
    *spread_s = 2 * sqrt(fmax(variance, 0));
    return true;
}

void left_done(struct left *l)
{
    free(l->experiments);
    memset(l, 0, sizeof(*l));
}
