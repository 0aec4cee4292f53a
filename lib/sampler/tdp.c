/* SPDX-License-Identifier: MIT
 *
 * The power that common CPUs are sold with: a table, and what to assume of the others. These are
 * vendors' figures for cooling, not measurements; whoever uses them shows the range with them.
 */
#include "lib/sampler/sampler.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* One model: what its name in /proc/cpuinfo contains, the vendor's TDP of one package, its hardware
 * threads, and the vendor's own upper figure (maximum turbo power) where one is published, else 0.
 */
struct row {
    const char *name;
    float tdp_w;
    short threads;
    float peak_w;
};

/* TDP: vendors' product pages; compared with cpu_power.csv of CodeCarbon 3. Of Intel's desktops
 * from the 12th generation on that file has two only (i9-13900K: 125 W; i7-12700K: 190 W, which is
 * the upper figure here), so "processor base power", "maximum turbo power" and threads of each were
 * compared with what the press has printed of Intel's tables: Club386 (i9-12900K), cputronic
 * (i5-12600K), The Register and ComputerBase (i7-13700K), Digital Trends (14th generation, and
 * that i9-13900K and i5-13600K are as their successors), Notebookcheck (i7-1360P, Ultra 7 155H),
 * Wccftech (12th generation H: 45 and 115 W). The upper figures of the 10th and 11th generation
 * are PL2 of their datasheets. */
/* clang-format off */
static const struct row rows[] = {
    /* AMD, servers */
    { "EPYC 7302", 155, 32, 0 },    { "EPYC 7352", 155, 48, 0 },    { "EPYC 7402", 180, 48, 0 },
    { "EPYC 7413", 180, 48, 0 },    { "EPYC 7443", 200, 48, 0 },    { "EPYC 7452", 155, 64, 0 },
    { "EPYC 7502", 180, 64, 0 },    { "EPYC 7513", 200, 64, 0 },    { "EPYC 7543", 225, 64, 0 },
    { "EPYC 7551", 180, 64, 0 },    { "EPYC 7601", 180, 64, 0 },    { "EPYC 7643", 225, 96, 0 },
    { "EPYC 7702", 200, 128, 0 },   { "EPYC 7713", 225, 128, 0 },   { "EPYC 7742", 225, 128, 0 },
    { "EPYC 7763", 280, 128, 0 },   { "EPYC 7R13", 225, 96, 0 },    { "EPYC 8024P", 90, 16, 0 },
    { "EPYC 8324P", 180, 64, 0 },   { "EPYC 9124", 200, 32, 0 },    { "EPYC 9224", 200, 48, 0 },
    { "EPYC 9254", 200, 48, 0 },    { "EPYC 9334", 210, 64, 0 },    { "EPYC 9354", 280, 64, 0 },
    { "EPYC 9374F", 320, 64, 0 },   { "EPYC 9454", 290, 96, 0 },    { "EPYC 9474F", 360, 96, 0 },
    { "EPYC 9534", 280, 128, 0 },   { "EPYC 9554", 360, 128, 0 },   { "EPYC 9575F", 400, 128, 0 },
    { "EPYC 9654", 360, 192, 0 },   { "EPYC 9655", 400, 192, 0 },   { "EPYC 9684X", 400, 192, 0 },
    { "EPYC 9754", 360, 256, 0 },   { "EPYC 9755", 500, 256, 0 },   { "EPYC 9965", 500, 384, 0 },
    /* AMD, workstations and desktops */
    { "Threadripper 1950X", 180, 32, 0 },     { "Threadripper 2990WX", 250, 64, 0 },
    { "Threadripper 3960X", 280, 48, 0 },     { "Threadripper 3970X", 280, 64, 0 },
    { "Threadripper 3990X", 280, 128, 0 },    { "Threadripper PRO 3995WX", 280, 128, 0 },
    { "Threadripper PRO 5965WX", 280, 48, 0 },{ "Threadripper PRO 5975WX", 280, 64, 0 },
    { "Threadripper PRO 5995WX", 280, 128, 0 },{ "Threadripper 7960X", 350, 48, 0 },
    { "Threadripper 7970X", 350, 64, 0 },     { "Threadripper 7980X", 350, 128, 0 },
    { "Ryzen 5 2600", 65, 12, 0 },  { "Ryzen 5 3600", 65, 12, 0 },  { "Ryzen 5 5600X", 65, 12, 0 },
    { "Ryzen 5 5600", 65, 12, 0 },  { "Ryzen 5 7600", 65, 12, 0 },  { "Ryzen 5 7600X", 105, 12, 0 },
    { "Ryzen 5 9600X", 65, 12, 0 }, { "Ryzen 7 1700", 65, 16, 0 },  { "Ryzen 7 1800X", 95, 16, 0 },
    { "Ryzen 7 2700X", 105, 16, 0 },{ "Ryzen 7 3700X", 65, 16, 0 }, { "Ryzen 7 3800X", 105, 16, 0 },
    { "Ryzen 7 5700G", 65, 16, 0 }, { "Ryzen 7 5700X", 65, 16, 0 }, { "Ryzen 7 5800X", 105, 16, 0 },
    { "Ryzen 7 5800X3D", 105, 16, 0 },{ "Ryzen 7 7700", 65, 16, 0 },{ "Ryzen 7 7700X", 105, 16, 0 },
    { "Ryzen 7 7800X3D", 120, 16, 0 },{ "Ryzen 7 8700G", 65, 16, 0 },{ "Ryzen 7 9700X", 65, 16, 0 },
    { "Ryzen 7 9800X3D", 120, 16, 0 },{ "Ryzen 9 3900X", 105, 24, 0 },{ "Ryzen 9 3950X", 105, 32, 0 },
    { "Ryzen 9 5900X", 105, 24, 0 },{ "Ryzen 9 5950X", 105, 32, 0 },{ "Ryzen 9 7900X", 170, 24, 0 },
    { "Ryzen 9 7900", 65, 24, 0 },  { "Ryzen 9 7950X", 170, 32, 0 },{ "Ryzen 9 7950X3D", 120, 32, 0 },
    { "Ryzen 9 9900X", 120, 24, 0 },{ "Ryzen 9 9950X", 170, 32, 0 },{ "Ryzen 9 9950X3D", 170, 32, 0 },
    /* AMD, laptops */
    { "Ryzen 7 4800H", 45, 16, 0 }, { "Ryzen 7 5800H", 45, 16, 0 }, { "Ryzen 7 5800U", 15, 16, 0 },
    { "Ryzen 7 6800H", 45, 16, 0 }, { "Ryzen 7 7840HS", 54, 16, 0 },{ "Ryzen 7 7840U", 28, 16, 0 },
    { "Ryzen AI 9 HX 370", 28, 24, 0 },{ "RYZEN AI MAX+ 395", 55, 32, 0 },
    /* Intel, servers */
    { "E5-2670 v3", 120, 24, 0 },   { "E5-2680 v3", 120, 24, 0 },   { "E5-2690 v3", 135, 24, 0 },
    { "E5-2620 v4", 85, 16, 0 },    { "E5-2630 v4", 85, 20, 0 },    { "E5-2640 v4", 90, 20, 0 },
    { "E5-2650 v4", 105, 24, 0 },   { "E5-2660 v4", 105, 28, 0 },   { "E5-2680 v4", 120, 28, 0 },
    { "E5-2686 v4", 145, 36, 0 },   { "E5-2690 v4", 135, 28, 0 },   { "E5-2695 v4", 120, 36, 0 },
    { "E5-2697 v4", 145, 36, 0 },   { "E5-2698 v4", 135, 40, 0 },   { "E5-2699 v4", 145, 44, 0 },
    { "Silver 4110", 85, 16, 0 },   { "Silver 4114", 85, 20, 0 },   { "Silver 4116", 85, 24, 0 },
    { "Silver 4208", 85, 16, 0 },   { "Silver 4210", 85, 20, 0 },   { "Silver 4214", 85, 24, 0 },
    { "Silver 4216", 100, 32, 0 },  { "Silver 4310", 120, 24, 0 },  { "Silver 4314", 135, 32, 0 },
    { "Silver 4316", 150, 40, 0 },  { "Silver 4410Y", 150, 24, 0 }, { "Gold 5118", 105, 24, 0 },
    { "Gold 5120", 105, 28, 0 },    { "Gold 5218", 125, 32, 0 },    { "Gold 5220", 125, 36, 0 },
    { "Gold 5318Y", 165, 48, 0 },   { "Gold 5320", 185, 52, 0 },    { "Gold 6130", 125, 32, 0 },
    { "Gold 6132", 140, 28, 0 },    { "Gold 6138", 125, 40, 0 },    { "Gold 6140", 140, 36, 0 },
    { "Gold 6148", 150, 40, 0 },    { "Gold 6150", 165, 36, 0 },    { "Gold 6152", 140, 44, 0 },
    { "Gold 6154", 200, 36, 0 },    { "Gold 6226R", 150, 32, 0 },   { "Gold 6230", 125, 40, 0 },
    { "Gold 6230R", 150, 52, 0 },   { "Gold 6240", 150, 36, 0 },    { "Gold 6242", 150, 32, 0 },
    { "Gold 6248", 150, 40, 0 },    { "Gold 6248R", 205, 48, 0 },   { "Gold 6252", 150, 48, 0 },
    { "Gold 6258R", 205, 56, 0 },   { "Gold 6326", 185, 32, 0 },    { "Gold 6330", 205, 56, 0 },
    { "Gold 6338", 205, 64, 0 },    { "Gold 6342", 230, 48, 0 },    { "Gold 6346", 205, 32, 0 },
    { "Gold 6348", 235, 56, 0 },    { "Gold 6354", 205, 36, 0 },    { "Gold 6426Y", 185, 32, 0 },
    { "Gold 6430", 270, 64, 0 },    { "Gold 6438Y+", 205, 64, 0 },  { "Gold 6442Y", 225, 48, 0 },
    { "Gold 6448Y", 225, 64, 0 },   { "Gold 6530", 270, 64, 0 },    { "Gold 6542Y", 250, 48, 0 },
    { "Platinum 8124M", 240, 36, 0 },  { "Platinum 8160", 150, 48, 0 },  { "Platinum 8168", 205, 48, 0 },
    { "Platinum 8171M", 165, 52, 0 },  { "Platinum 8175M", 240, 48, 0 }, { "Platinum 8180", 205, 56, 0 },
    { "Platinum 8259CL", 210, 48, 0 }, { "Platinum 8260", 165, 48, 0 },  { "Platinum 8268", 205, 48, 0 },
    { "Platinum 8270", 205, 52, 0 },   { "Platinum 8272CL", 195, 52, 0 },{ "Platinum 8275CL", 240, 48, 0 },
    { "Platinum 8276", 165, 56, 0 },   { "Platinum 8280", 205, 56, 0 },  { "Platinum 8352Y", 205, 64, 0 },
    { "Platinum 8358", 250, 64, 0 },   { "Platinum 8360Y", 250, 72, 0 }, { "Platinum 8368", 270, 76, 0 },
    { "Platinum 8375C", 300, 64, 0 },  { "Platinum 8380", 270, 80, 0 },  { "Platinum 8460Y+", 300, 80, 0 },
    { "Platinum 8462Y+", 300, 64, 0 }, { "Platinum 8468", 350, 96, 0 },  { "Platinum 8470", 350, 104, 0 },
    { "Platinum 8480+", 350, 112, 0 }, { "Platinum 8490H", 350, 120, 0 },{ "Platinum 8558", 330, 96, 0 },
    { "Platinum 8580", 350, 120, 0 },  { "PLATINUM 8592+", 350, 128, 0 },{ "W-2245", 155, 16, 0 },
    { "W-2295", 165, 36, 0 },          { "W-3375", 270, 76, 0 },
    /* Intel, desktops and laptops */
    { "i7-6700", 65, 8, 0 },        { "i7-6700K", 91, 8, 0 },       { "i7-7700", 65, 8, 0 },
    { "i7-7700K", 91, 8, 0 },       { "i7-8700", 65, 12, 0 },       { "i7-8700K", 95, 12, 0 },
    { "i7-9700K", 95, 8, 0 },       { "i9-9900K", 95, 16, 0 },      { "i5-10400", 65, 12, 0 },
    { "i7-10700K", 125, 16, 0 },    { "i9-10900K", 125, 20, 250 },  { "i5-11400", 65, 12, 0 },
    { "i7-11700K", 125, 16, 0 },    { "i9-11900K", 125, 16, 251 },  { "i5-12600K", 125, 16, 150 },
    { "i7-12700K", 125, 20, 190 },  { "i9-12900K", 125, 24, 241 },  { "i5-13600K", 125, 20, 181 },
    { "i7-13700K", 125, 24, 253 },  { "i9-13900K", 125, 32, 253 },  { "i5-14600K", 125, 20, 181 },
    { "i7-14700K", 125, 28, 253 },  { "i9-14900K", 125, 32, 253 },  { "i5-8250U", 15, 8, 0 },
    { "i5-8265U", 15, 8, 0 },       { "i7-8550U", 15, 8, 0 },       { "i7-8565U", 15, 8, 0 },
    { "i7-10750H", 45, 12, 0 },     { "i7-11800H", 45, 16, 0 },     { "i7-1165G7", 28, 8, 0 },
    { "i7-1185G7", 28, 8, 0 },      { "i7-12700H", 45, 20, 115 },   { "i7-1360P", 28, 16, 64 },
    { "Ultra 7 155H", 28, 22, 115 },
};
/* clang-format on */

/* How far a busy CPU may be from its TDP. Load times TDP was up to 4.1 times too high in the
 * ML.ENERGY benchmark (arXiv 2505.06371); AMD's sockets allow 1.35 times the TDP (their PPT limit).
 */
static const double below = 4.1, above = 1.35;
/* A CPU that is not in the table: CodeCarbon takes 4 W per logical CPU; the table spans 1.3 to 8.
 */
static const double default_w = 4, default_low_w = 1, default_high_w = 8;

/* name stands in model as whole words: "EPYC 7763" is no "EPYC 776". Case is ignored, as vendors
 * do. */
static bool names(const char *model, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = model; (at = strcasestr(at, name)); at++) {
        bool begins = at == model || !isalnum((unsigned char)at[-1]);
        char next = at[len];

        /* "EPYC 7302P" is the same chip for one socket; no other letter or sign may follow. */
        if (next == 'P' && llem_starts_with(name, "EPYC"))
            next = at[len + 1];
        if (begins && !isalnum((unsigned char)next) && next != '+')
            return true;
    }
    return false;
}

void llem_tdp_of(struct llem_tdp *out, const char *model, int n_cpus, int n_packages)
{
    const struct row *row = NULL;

    if (n_cpus < 1)
        n_cpus = 1;
    if (n_packages < 1)
        n_packages = 1;
    for (size_t i = 0; i < LLEM_COUNT(rows) && !row; i++)
        if (names(model, rows[i].name))
            row = &rows[i];

    if (row) {
        double threads = (double)row->threads * n_packages;
        double share = n_cpus < threads ? n_cpus / threads : 1;
        double peak = row->peak_w > 0 ? (double)row->peak_w / (double)row->tdp_w : above;

        /* Half the threads is a whole machine with hyper-threading turned off. */
        if (2 * n_cpus == (int)threads)
            share = 1;
        out->w = (double)row->tdp_w * n_packages * share;
        out->low_w = out->w / below;
        out->high_w = out->w * peak;
        out->known = true;
        snprintf(out->source, sizeof(out->source),
                 "TDP of %s by its vendor: %g W for %d logical CPUs, times %g", row->name,
                 (double)row->tdp_w, row->threads, n_packages * share);
        return;
    }
    out->w = default_w * n_cpus;
    out->low_w = default_low_w * n_cpus;
    out->high_w = default_high_w * n_cpus;
    out->known = false;
    snprintf(out->source, sizeof(out->source),
             "default: the CPU is not in the table, %g W (%g to %g) per logical CPU", default_w,
             default_low_w, default_high_w);
}
