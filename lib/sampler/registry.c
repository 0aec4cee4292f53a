/* SPDX-License-Identifier: MIT
 *
 * The list of samplers, and what a sampler without windows or edges of its own puts into those
 * slots.
 */
#include "lib/sampler/sampler.h"

#include <string.h>
#include <strings.h>

/*
 * Best first. NVML, Zeus and CodeCarbon stand in the order of the original; ours stand by what they
 * give: a counter that is read directly goes before the same one through somebody else, whose way
 * is longer and whose edges are less sharp, and an estimate with a range, of the window's own load,
 * before one without.
 */
const struct llem_sampler_class *const llem_samplers[] = {
    &llem_sampler_nvml,     &llem_sampler_rapl,       &llem_sampler_zeus,
    &llem_sampler_estimate, &llem_sampler_codecarbon, NULL,
};

const struct llem_sampler_class *llem_sampler_find(const char *name)
{
    for (size_t i = 0; llem_samplers[i]; i++)
        if (!strcmp(llem_samplers[i]->name, name))
            return llem_samplers[i];
    return NULL;
}

const char *llem_role_name(enum llem_role role)
{
    static const char *const names[LLEM_ROLE_COUNT] = {
        [LLEM_ROLE_COUNTER] = "counter",
        [LLEM_ROLE_POWER_INSTANT] = "power_instant",
        [LLEM_ROLE_POWER_AVERAGE] = "power_average",
        [LLEM_ROLE_CPU_BUSY] = "cpu_busy",
        [LLEM_ROLE_TEMPERATURE] = "temperature",
        [LLEM_ROLE_CLOCK_SM] = "clock_sm",
        [LLEM_ROLE_CLOCK_MEMORY] = "clock_memory",
        [LLEM_ROLE_UTILIZATION] = "utilization",
        [LLEM_ROLE_MEMORY_USED] = "memory_used",
        [LLEM_ROLE_EVENT_REASONS] = "event_reasons",
    };

    return (unsigned)role < LLEM_ROLE_COUNT ? names[role] : "unknown";
}

bool llem_same_pci(const char *a, const char *b)
{
    a += strspn(a, "0");
    b += strspn(b, "0");
    return *a && strcasecmp(a, b) == 0;
}

llem_errcode llem_sampler_no_window_begin(void *self, llem_error *err)
{
    return LLEM_OK;
}

llem_errcode llem_sampler_no_window_end(void *self, struct llem_arena *a,
                                        struct llem_value **window, llem_error *err)
{
    *window = NULL;
    return LLEM_OK;
}

struct llem_value *llem_sampler_no_snapshot(void *self, struct llem_arena *a)
{
    return llem_map(a);
}
