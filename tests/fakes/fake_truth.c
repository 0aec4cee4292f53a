/* SPDX-License-Identifier: MIT
 *
 * fake-truth SCENARIO BOARD T0_NS T1_NS: the joules that a board of a scenario truly consumed
 * between two moments of CLOCK_MONOTONIC.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fakes/scenario.h"

int main(int argc, char **argv)
{
    static struct scenario s;
    char why[512] = "";
    size_t board;
    struct load *l;

    if (argc != 5) {
        fprintf(stderr, "usage: fake-truth SCENARIO BOARD T0_NS T1_NS\n");
        return 2;
    }
    board = strtoul(argv[2], NULL, 10);
    if (scenario_load(&s, argv[1], why, sizeof(why)) != 0 || board >= s.n_boards) {
        fprintf(stderr, "fake-truth: %s\n", why[0] ? why : "no such board");
        return 1;
    }
    l = &s.boards[board].load;
    if (s.epoch == EPOCH_INIT && l->n_parts) {
        fprintf(stderr, "fake-truth: a timed load needs `epoch boot` or `epoch NS`\n");
        return 1;
    }
    scenario_set_epoch(&s, s.epoch_ns);
    printf("%.6f\n", load_joules(l, strtoll(argv[4], NULL, 10) - s.epoch_ns) -
                         load_joules(l, strtoll(argv[3], NULL, 10) - s.epoch_ns));
    scenario_done(&s);
    return 0;
}
