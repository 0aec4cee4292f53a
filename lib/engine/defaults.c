/* SPDX-License-Identifier: MIT
 *
 * Slots of the engine table for engines that have nothing special to do there.
 */
#include "lib/engine/engine.h"

struct llem_value *llem_engine_no_errors(void *self, struct llem_arena *a)
{
    (void)self;
    return llem_list(a);
}

llem_errcode llem_engine_cpu_device(void *self, struct llem_arena *a, struct llem_value **devices,
                                    llem_error *err)
{
    struct llem_value *list = llem_list(a), *device = llem_map(a);

    (void)self;
    llem_set(a, device, "kind", llem_string(a, "cpu"));
    llem_set(a, device, "uuid", llem_null(a));
    llem_set(a, device, "name", llem_null(a));
    llem_set(a, device, "pci", llem_null(a));
    llem_append(a, list, device);
    if (a->oom)
        return llem_fail(err, LLEM_ENOMEM, "out of memory for the list of devices");
    *devices = list;
    return LLEM_OK;
}

llem_errcode llem_engine_host_sync(void *self, int64_t *t_ns, llem_error *err)
{
    (void)self;
    (void)err;
    *t_ns = llem_now_ns(&llem_system_clock);
    return LLEM_OK;
}

int64_t llem_engine_output_unknown(void *self)
{
    (void)self;
    return LLEM_UNKNOWN;
}
