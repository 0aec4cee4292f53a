/* SPDX-License-Identifier: MIT
 *
 * Numbers as text: the shortest decimal that reads back as a double, and the double nearest to a
 * decimal. A result holds thousands of them, so those of ordinary size are done in exact integers;
 * what lies outside is left to snprintf() and strtod(), which take ten times as long.
 */
#include <langinfo.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/base.h"

typedef unsigned __int128 u128;

static const uint64_t powers_of_five[] = {
    UINT64_C(1),
    UINT64_C(5),
    UINT64_C(25),
    UINT64_C(125),
    UINT64_C(625),
    UINT64_C(3125),
    UINT64_C(15625),
    UINT64_C(78125),
    UINT64_C(390625),
    UINT64_C(1953125),
    UINT64_C(9765625),
    UINT64_C(48828125),
    UINT64_C(244140625),
    UINT64_C(1220703125),
    UINT64_C(6103515625),
    UINT64_C(30517578125),
    UINT64_C(152587890625),
    UINT64_C(762939453125),
    UINT64_C(3814697265625),
    UINT64_C(19073486328125),
    UINT64_C(95367431640625),
    UINT64_C(476837158203125),
    UINT64_C(2384185791015625),
    UINT64_C(11920928955078125),
    UINT64_C(59604644775390625),
    UINT64_C(298023223876953125),
    UINT64_C(1490116119384765625),
    UINT64_C(7450580596923828125),
};

enum { MOST_FIVES = LLEM_COUNT(powers_of_five) - 1, MANTISSA_BITS = 53 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool llem_parse_i64(const char *s, int64_t *ret)
{
    bool negative = *s == '-';
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    uint64_t v = 0;

    if (*s == '-' || *s == '+')
        s++;
    if (!is_digit(*s))
        return false;
    for (; is_digit(*s); s++) {
        unsigned digit = (unsigned)(*s - '0');

        if (v > (UINT64_MAX - 9) / 10)
            return false;
        v = v * 10 + digit;
    }
    if (*s || v > limit)
        return false;
    /* The magnitude of INT64_MIN does not fit; negate one less. */
    *ret = negative && v ? -(int64_t)(v - 1) - 1 : (int64_t)v;
    return true;
}

static int put_digits(char *out, uint64_t v)
{
    char reversed[20];
    int n = 0;

    do
        reversed[n++] = (char)('0' + v % 10);
    while (v /= 10);
    for (int i = 0; i < n; i++)
        out[i] = reversed[n - 1 - i];
    return n;
}

int llem_format_i64(char out[24], int64_t v)
{
    int len = 0;

    if (v < 0)
        out[len++] = '-';
    len += put_digits(out + len, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    out[len] = '\0';
    return len;
}

/*
 * The double nearest to w * 10^exponent, ties to even, for w > 0 and at most MOST_FIVES tens either
 * way: ten is five times two, and five to that power fits 64 bits, so that product and quotient are
 * exact, the latter to 63 bits at least and what is left over.
 */
static double nearest_double(uint64_t w, int exponent)
{
    u128 q, rest, half;
    bool inexact = false;
    int shift, drop;

    if (exponent >= 0) {
        q = (u128)w * powers_of_five[exponent];
    } else {
        uint64_t five = powers_of_five[-exponent];

        shift = __builtin_clzll(w);
        rest = (u128)(w << shift) << 64;
        q = rest / five;
        inexact = q * five != rest;
        exponent -= 64 + shift;
    }
    drop = q >> 64 ? 128 - __builtin_clzll((uint64_t)(q >> 64)) : 64 - __builtin_clzll((uint64_t)q);
    drop -= MANTISSA_BITS;
    if (drop > 0) {
        rest = q & (((u128)1 << drop) - 1);
        half = (u128)1 << (drop - 1);
        q >>= drop;
        q += rest > half || (rest == half && (inexact || q % 2));
        exponent += drop;
    }
    return ldexp((double)(uint64_t)q, exponent);
}

/* strtod() wants the decimal point of the locale of the moment. */
static double parse_by_strtod(const char *s, const char *point)
{
    const char *radix = nl_langinfo(RADIXCHAR);
    size_t head = point ? (size_t)(point - s) : 0, radix_len = strlen(radix), len = strlen(s);
    char small[128];
    char *copy;
    double d;

    if (!point || strcmp(radix, ".") == 0)
        return strtod(s, NULL);
    copy = len + radix_len < sizeof(small) ? small : malloc(len + radix_len + 1);
    if (!copy)
        return NAN;
    memcpy(copy, s, head);
    memcpy(copy + head, radix, radix_len);
    memcpy(copy + head + radix_len, point + 1, len - head);
    d = strtod(copy, NULL);
    if (copy != small)
        free(copy);
    return d;
}

bool llem_parse_f64(const char *s, double *ret)
{
    const char *p = s, *point = NULL;
    uint64_t w = 0;   /* the digits, as long as they fit */
    int exponent = 0; /* of the last digit in w */
    bool any = false, fits = true;
    double d;

    if (*p == '-' || *p == '+')
        p++;
    for (; is_digit(*p) || (*p == '.' && !point); p++) {
        if (*p == '.') {
            point = p;
            continue;
        }
        any = true;
        fits = fits && w <= (UINT64_MAX - 9) / 10 && exponent > -MOST_FIVES;
        if (fits) {
            w = w * 10 + (uint64_t)(*p - '0');
            exponent -= point != NULL;
        }
    }
    if (!any)
        return false;
    if (*p == 'e' || *p == 'E') {
        bool negative = *++p == '-';
        int e = 0;

        if (*p == '-' || *p == '+')
            p++;
        if (!is_digit(*p))
            return false;
        for (; is_digit(*p); p++)
            e = e < 1000 ? e * 10 + (*p - '0') : e;
        exponent += negative ? -e : e;
    }
    if (*p)
        return false;
    if (fits && w > 0 && exponent >= -MOST_FIVES && exponent <= MOST_FIVES) {
        d = nearest_double(w, exponent);
        d = *s == '-' ? -d : d;
    } else {
        d = parse_by_strtod(s, point);
    }
    if (!isfinite(d))
        return false;
    *ret = d;
    return true;
}

/* Add one to the last digit of "d.ddde+xx"; false if that would need another digit. */
static bool next_up(char *text)
{
    char *p = strchr(text, 'e');

    while (p && p-- > text) {
        if (!is_digit(*p))
            continue;
        if (*p != '9') {
            ++*p;
            return true;
        }
        *p = '0';
    }
    return false;
}

/* The shortest digits that read back as d > 0, and the power of ten of the first one. Works on what
 * snprintf() and strtod() agree on in any locale: only digits and the exponent are looked at. */
static int shortest_by_printf(char digits[20], int *exponent, double d)
{
    char text[48];
    const char *p;
    int precision, binary, n = 0;
    bool lopsided = frexp(d, &binary) == 0.5;

    /* What reads back with some digits does with more, but for the lopsided ones, and most results
     * of arithmetic need sixteen or seventeen: do not try the fifteen before. */
    snprintf(text, sizeof(text), "%.14e", d);
    precision = lopsided || strtod(text, NULL) == d ? 0 : 15; /* NOLINT: exactly */
    for (; precision < 17; precision++) {
        snprintf(text, sizeof(text), "%.*e", precision, d);
        if (strtod(text, NULL) == d) /* NOLINT: exactly the same number is meant */
            break;
        /* Above a power of two doubles are twice as far apart as below it, so that the second
         * nearest decimal may read back where the nearest, below, does not: 2^-44
         * is 5.684341886080802e-14. */
        if (lopsided && next_up(text) && strtod(text, NULL) == d)
            break;
    }
    for (p = text; *p && *p != 'e'; p++)
        if (is_digit(*p) && n < 17)
            digits[n++] = *p;
    *exponent = 0;
    if (*p == 'e') {
        bool negative = p[1] == '-';

        for (p += 2; is_digit(*p); p++)
            *exponent = *exponent * 10 + (*p - '0');
        if (negative)
            *exponent = -*exponent;
    }
    while (n > 1 && digits[n - 1] == '0')
        n--;
    return n;
}

/*
 * As shortest_by_printf(), in exact integers, for what is near enough to one. d is m * 2^e. Times
 * 10^k it has 17 or 18 digits before the point, so that there is an integer among what reads back
 * as d: what lies between the middles to the doubles on either side, and they themselves where m is
 * even. The multiple of the greatest power of ten among them, and of those the nearest to d, is
 * the shortest. All is counted in 2^-s, s being such that the middles are whole: m times four times
 * 5^k, below 2^127 where k is at most 31, which LEAST sees to.
 */
static int shortest_digits(char digits[20], int *exponent, double d)
{
    enum { FRACTION_BITS = MANTISSA_BITS - 1, LEAST = -49, GREATEST = 54 };
    uint64_t bits, m, least, greatest, t, step = 1;
    u128 unit, v, low, high, over, under;
    int binary, k, s, n, zeros = 0;
    bool even, lopsided;

    memcpy(&bits, &d, sizeof(bits));
    binary = (int)(bits >> FRACTION_BITS) - 1023;
    if (binary < LEAST || binary > GREATEST)
        return shortest_by_printf(digits, exponent, d);
    m = bits & ((UINT64_C(1) << FRACTION_BITS) - 1);
    lopsided = m == 0; /* doubles below are twice as near as above */
    even = m % 2 == 0;
    m |= UINT64_C(1) << FRACTION_BITS;

    k = 16 - (binary * 1233 - (binary < 0 ? 4095 : 0)) / 4096; /* 1233 / 4096: log10(2) */
    s = FRACTION_BITS + 2 - binary - k;
    unit = powers_of_five[k < MOST_FIVES ? k : MOST_FIVES];
    if (k > MOST_FIVES)
        unit *= powers_of_five[k - MOST_FIVES];
    v = 4 * m * unit;
    low = v - (lopsided ? 1 : 2) * unit;
    high = v + 2 * unit;

    least = (uint64_t)((low - even) >> s) + 1;
    greatest = (uint64_t)((high - !even) >> s);
    while (greatest / 10 >= (least + 9) / 10) {
        greatest /= 10;
        least = (least + 9) / 10;
        step *= 10;
        zeros++;
    }
    t = (uint64_t)(v >> s) / step;
    over = v - ((u128)(t * step) << s);
    under = ((u128)step << s) - over;
    t += over > under || (over == under && t % 2);
    t = t < least ? least : t > greatest ? greatest : t;

    n = put_digits(digits, t);
    *exponent = n - 1 + zeros - k;
    return n;
}

int llem_format_f64(char out[32], double d, bool python)
{
    char digits[20];
    int exponent, n, i, len = 0;

    if (signbit(d)) {
        out[len++] = '-';
        d = -d;
    }
    if (d > 0) {
        n = shortest_digits(digits, &exponent, d);
    } else {
        digits[0] = '0';
        n = 1;
        exponent = 0;
    }

    if (exponent < -4 || exponent >= 16) {
        out[len++] = digits[0];
        if (n > 1)
            out[len++] = '.';
        for (i = 1; i < n; i++)
            out[len++] = digits[i];
        out[len++] = 'e';
        out[len++] = exponent < 0 ? '-' : '+';
        exponent = exponent < 0 ? -exponent : exponent;
        if (exponent >= 100)
            out[len++] = (char)('0' + exponent / 100);
        out[len++] = (char)('0' + exponent / 10 % 10);
        out[len++] = (char)('0' + exponent % 10);
    } else if (exponent < 0) {
        out[len++] = '0';
        out[len++] = '.';
        for (i = -1; i > exponent; i--)
            out[len++] = '0';
        for (i = 0; i < n; i++)
            out[len++] = digits[i];
    } else {
        for (i = 0; i <= exponent; i++)
            out[len++] = i < n ? digits[i] : '0';
        if (n > exponent + 1) {
            out[len++] = '.';
            for (; i < n; i++)
                out[len++] = digits[i];
        } else if (python) {
            out[len++] = '.';
            out[len++] = '0';
        }
    }
    out[len] = '\0';
    return len;
}
