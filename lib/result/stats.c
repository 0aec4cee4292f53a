/* SPDX-License-Identifier: MIT
 *
 * Means, quantiles, autocorrelation and a small least-squares fit.
 */
#include "lib/result/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double llem__mean(const double *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return n ? sum / (double)n : (double)NAN;
}

static double squares(const double *x, size_t n)
{
    double m = llem__mean(x, n), sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (x[i] - m) * (x[i] - m);
    return sum;
}

double llem__sd(const double *x, size_t n)
{
    return n > 1 ? sqrt(squares(x, n) / (double)(n - 1)) : (double)NAN;
}

double llem__population_sd(const double *x, size_t n)
{
    return n ? sqrt(squares(x, n) / (double)n) : (double)NAN;
}

double llem__quadrature(double a, double b)
{
    return sqrt(a * a + b * b);
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

void llem__sort(double *x, size_t n)
{
    if (n)
        qsort(x, n, sizeof(*x), compare);
}

double llem__quantile(const double *sorted, size_t n, double q)
{
    double at, low;
    size_t i;

    if (!n)
        return (double)NAN;
    at = q * (double)(n - 1);
    low = floor(at);
    i = (size_t)low;
    if (i + 1 >= n)
        return sorted[n - 1];
    return sorted[i] + (sorted[i + 1] - sorted[i]) * (at - low);
}

double llem__median(double *x, size_t n)
{
    llem__sort(x, n);
    return llem__quantile(x, n, 0.5);
}

double llem__variance_of_mean(const double *x, size_t n)
{
    double m = llem__mean(x, n), s2 = squares(x, n), factor = 1;

    if (n < 2)
        return (double)NAN;
    for (size_t lag = 1; s2 > 0 && lag <= n / 4; lag++) {
        double c = 0;

        for (size_t i = lag; i < n; i++)
            c += (x[i] - m) * (x[i - lag] - m);
        if (c <= 0)
            break;
        factor += 2 * c / s2;
    }
    return s2 / (double)(n - 1) * factor / (double)n;
}

/* Invert a symmetric positive matrix of 2 or 3 rows by Gauss-Jordan; false if it is singular. */
static bool invert(double m[3][3], int n)
{
    double inv[3][3] = { { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 } };

    for (int col = 0; col < n; col++) {
        int pivot = col;
        double scale;

        for (int row = col + 1; row < n; row++)
            if (fabs(m[row][col]) > fabs(m[pivot][col]))
                pivot = row;
        if (!(fabs(m[pivot][col]) > 1e-300))
            return false;
        for (int k = 0; k < n; k++) {
            double t = m[col][k], u = inv[col][k];

            m[col][k] = m[pivot][k];
            m[pivot][k] = t;
            inv[col][k] = inv[pivot][k];
            inv[pivot][k] = u;
        }
        scale = m[col][col];
        for (int k = 0; k < n; k++) {
            m[col][k] /= scale;
            inv[col][k] /= scale;
        }
        for (int row = 0; row < n; row++) {
            double f = m[row][col];

            if (row == col)
                continue;
            for (int k = 0; k < n; k++) {
                m[row][k] -= f * m[col][k];
                inv[row][k] -= f * inv[col][k];
            }
        }
    }
    memcpy(m, inv, sizeof(inv));
    return true;
}

bool llem__fit(struct llem__fit *f, const double *x, const double *y, size_t n, int terms)
{
    double m[3][3] = { { 0 } }, rhs[3] = { 0 }, sum = 0;

    memset(f, 0, sizeof(*f));
    if (n < (size_t)terms)
        return false;
    for (size_t i = 0; i < n; i++) {
        double p[3] = { 1, x[i], x[i] * x[i] };

        for (int r = 0; r < terms; r++) {
            rhs[r] += p[r] * y[i];
            for (int c = 0; c < terms; c++)
                m[r][c] += p[r] * p[c];
        }
    }
    if (!invert(m, terms))
        return false;
    for (int r = 0; r < terms; r++)
        for (int c = 0; c < terms; c++)
            f->c[r] += m[r][c] * rhs[c];
    for (size_t i = 0; i < n; i++) {
        double d = y[i] - f->c[0] - f->c[1] * x[i] - f->c[2] * x[i] * x[i];

        sum += d * d;
    }
    memcpy(f->cov, m, sizeof(m));
    f->residual_sd = n > (size_t)terms ? sqrt(sum / (double)(n - (size_t)terms)) : 0;
    f->terms = terms;
    return true;
}

/* Abramowitz and Stegun 26.7.3 and 26.7.4, as finite sums in the angle atan(t / sqrt(freedom)). */
static double within_angle(double angle, size_t freedom)
{
    double sine = sin(angle), cosine = cos(angle), term = freedom % 2 ? cosine : 1, sum = 0;

    for (size_t k = freedom % 2 ? 3 : 2; k <= freedom; k += 2) {
        sum += term;
        term *= cosine * cosine * (double)(k - 1) / (double)k;
        if (term < 1e-20)
            break;
    }
    return freedom % 2 ? (angle + sine * sum) * M_2_PI : sine * sum;
}

double llem__t_within(double t, size_t freedom)
{
    return within_angle(atan(fabs(t) / sqrt((double)freedom)), freedom);
}

double llem__t_95(size_t freedom)
{
    double low = 0, high = M_PI_2;

    for (int i = 0; i < 64; i++) {
        double middle = low + (high - low) / 2;

        if (within_angle(middle, freedom) < 0.95)
            low = middle;
        else
            high = middle;
    }
    return tan(high) * sqrt((double)freedom);
}
