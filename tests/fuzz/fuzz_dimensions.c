/* SPDX-License-Identifier: MIT
 *
 * config.json of any model: what is believed of it can be counted from, written down and read back.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/result/derive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static double count(const struct llem_dims *d)
{
    struct llem__flops f = { 0 };

    llem__flops_add(&f, d, 1 << 20, 3, 1 << 20);
    return f.prefill + f.decode;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *config, *model = llem_map(&a);
    struct llem_dims d, back;
    llem_error err;

    a.max = (size_t)64 << 20;
    if (llem_json_parse(&a, &config, (const char *)data, size, "fuzz", &err) == LLEM_OK) {
        if (llem_dims_get(&d, config) && !isfinite(count(&d)))
            __builtin_trap();
        if (llem_dims_read(&d, config, NULL, "fuzz", &err) == LLEM_OK) {
            llem_dims_put(&a, model, &d);
            if (!a.oom && (!llem_dims_get(&back, model) || !(count(&d) > 0) ||
                           count(&d) != count(&back) || d.parameters < d.embedding_parameters))
                __builtin_trap();
        }
    }
    llem_arena_done(&a);
    return 0;
}
