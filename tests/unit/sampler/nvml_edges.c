/* SPDX-License-Identifier: MIT
 *
 * nvml-edges SECONDS: read the counter of every board now and again SECONDS later by the sampler
 * `nvml`, and print a line for each board: UUID, begin and end of the first read, its value, and
 * those of the second. For tests that compare with other programs.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/sampler/sampler.h"

enum { MAX_FIELDS = 16, MAX_BOARDS = 64 };

struct edge {
    int64_t begin_ns, end_ns, raw;
};

static struct edge counter(void *self, size_t domain)
{
    struct llem_reading r[MAX_FIELDS];
    struct edge e = { .begin_ns = llem_now_ns(&llem_system_clock), .raw = -1 };
    size_t n = llem_sampler_nvml.read(self, domain, false, r);

    e.end_ns = llem_now_ns(&llem_system_clock);
    for (size_t i = 0; i < n; i++)
        if (r[i].field == 83 && r[i].status == LLEM_READ_OK)
            e.raw = r[i].raw;
    return e;
}

int main(int argc, char **argv)
{
    llem_ctx_opts opts = { .size = sizeof(opts), .user_config = "" };
    struct edge first[MAX_BOARDS];
    const struct llem_domain *domains;
    llem_error err = { 0 };
    llem_ctx *ctx = NULL;
    void *self = NULL;
    double seconds;
    size_t n;

    if (argc != 2 || !llem_parse_f64(argv[1], &seconds))
        return 2;
    if (llem_ctx_new(&ctx, &opts, &err) != LLEM_OK ||
        llem_sampler_nvml.open(&self, ctx, &err) != LLEM_OK) {
        fprintf(stderr, "nvml-edges: %s %s\n", err.msg, err.hint);
        llem_ctx_free(ctx);
        return 1;
    }
    domains = llem_sampler_nvml.domains(self, &n);
    for (size_t i = 0; i < n && i < MAX_BOARDS; i++)
        first[i] = counter(self, i);
    llem_system_clock.sleep_until_ns(NULL, first[0].begin_ns + (int64_t)(seconds * 1e9));
    for (size_t i = 0; i < n && i < MAX_BOARDS; i++) {
        struct edge last = counter(self, i);

        printf("%s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n",
               domains[i].uuid, first[i].begin_ns, first[i].end_ns, first[i].raw, last.begin_ns,
               last.end_ns, last.raw);
    }
    llem_sampler_nvml.close(self);
    llem_ctx_free(ctx);
    return 0;
}
