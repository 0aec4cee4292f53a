/* SPDX-License-Identifier: MIT
 *
 * The few statistics that results need, over plain arrays. Nothing here allocates or fails; what is
 * not defined for the input is NaN.
 */
#ifndef LLEM_RESULT_STATS_H
#define LLEM_RESULT_STATS_H

#include "lib/base/base.h"

double llem__mean(const double *x, size_t n);
double llem__sd(const double *x, size_t n); /* of a sample: divides by n - 1 */
double llem__population_sd(const double *x, size_t n);
void llem__sort(double *x, size_t n);
/* Of sorted values, q in 0..1, with linear interpolation between neighbours (as numpy's default).
 */
double llem__quantile(const double *sorted, size_t n, double q);
/* Root of the sum of squares. Not hypot(): its last digit depends on the version of the C library,
 * and verify compares what two machines computed. */
double llem__quadrature(double a, double b);
double llem__median(double *x, size_t n); /* sorts x */
/* Variance of the mean of a series whose values depend on each other: s^2 (1 + 2 sum rho_k) / n,
 * summed up to the first autocorrelation that is not positive and at most n/4 lags. */
double llem__variance_of_mean(const double *x, size_t n);

/* Least squares y = c[0] + c[1] x (+ c[2] x^2), with the covariance of c for unit variance of y. */
struct llem__fit {
    int terms; /* 2 or 3; 0 = no fit */
    double c[3], cov[3][3];
    double residual_sd; /* with n - terms degrees of freedom; 0 if there are none */
};
bool llem__fit(struct llem__fit *f, const double *x, const double *y, size_t n, int terms);

/* Student's t with a whole number of degrees of freedom (1 or more): the probability of lying
 * within -t .. t, and the t within which 95 % lie. */
double llem__t_within(double t, size_t freedom);
double llem__t_95(size_t freedom);

#endif
