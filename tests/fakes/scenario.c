/* SPDX-License-Identifier: MIT
 *
 * The scenario file: one statement a line, words separated by blanks.
 */
#include "tests/fakes/scenario.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Boards with the sensors that reference §2.2 and §2.3 give for drivers after 530. average_s 0:
 * field 185 is not supported. */
static const struct preset {
    const char *key, *name;
    unsigned arch;
    int major, minor;
    double period_s, window_s, average_s, sensor_tau_s;
    bool usage_is_average, counter;
    double idle_w, limit_w, gib;
} presets[] = {
    { "h100", "NVIDIA H100 80GB HBM3", 9, 9, 0, 0.1, 0.025, 1, 0, true, true, 70, 700, 80 },
    { "h200", "NVIDIA H200", 9, 9, 0, 0.1, 0.025, 1, 0, true, true, 75, 700, 141 },
    { "a100", "NVIDIA A100-SXM4-80GB", 7, 8, 0, 0.101, 0.025, 0, 0, false, true, 60, 400, 80 },
    { "rtx4090", "NVIDIA GeForce RTX 4090", 8, 8, 9, 0.1, 0.1, 1, 0, true, true, 20, 450, 24 },
    { "rtx3090", "NVIDIA GeForce RTX 3090", 7, 8, 6, 0.1, 0.1, 1, 0, true, true, 25, 350, 24 },
    { "rtx2080ti", "NVIDIA GeForce RTX 2080 Ti", 6, 7, 5, 0.1, 0.1, 0, 0, false, true, 20, 250,
      11 },
    { "v100", "Tesla V100-SXM2-16GB", 5, 7, 0, 0.02, 0.01, 0, 0, false, true, 40, 300, 16 },
    { "p100", "Tesla P100-PCIE-16GB", 4, 6, 0, 0.02, 0.01, 0, 0, false, false, 30, 250, 16 },
    { "m40", "Tesla M40", 3, 5, 2, 0.1, 0, 0, 0.2, false, false, 20, 250, 12 },
    { "k40", "Tesla K40m", 2, 3, 5, 0.015, 0, 0, 0.2, false, false, 20, 235, 12 },
};

static bool real(const char *word, double *ret)
{
    char *end;

    *ret = strtod(word, &end);
    return end != word && !*end && isfinite(*ret);
}

/* The last argument and what follows it as one text: names have blanks in them. */
static void rest_of(const struct scenario_line *l, int from, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (int i = from; i < l->n && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i > from ? " " : "", l->word[i]);
}

/* "3" from 3 s on, "3-5" from 3 to 5 s, "@PATH" while PATH exists. */
static bool when(const char *word, struct fault *f)
{
    char *end;
    double from, to = 1e9;

    f->since_ns = -1;
    if (word[0] == '@') {
        snprintf(f->flag, sizeof(f->flag), "%s", word + 1);
        return true;
    }
    from = strtod(word, &end);
    if (*end == '-' && end != word)
        to = strtod(end + 1, &end);
    f->from_ns = llround(from * 1e9);
    f->to_ns = llround(to * 1e9);
    return !*end && end != word;
}

static bool add_unsupported(struct board *b, const char *what)
{
    if (b->n_unsupported == MAX_UNSUPPORTED)
        return false;
    snprintf(b->unsupported[b->n_unsupported], sizeof(b->unsupported[0]), "%s", what);
    b->unsupported_id[b->n_unsupported++] =
        !strcmp(what, "energy") ? 83 : (unsigned)strtoul(what, NULL, 10);
    return true;
}

static bool add_boards(struct scenario *s, const struct scenario_line *l, size_t *first)
{
    const struct preset *p = NULL;
    double count = 1;

    for (size_t i = 0; i < sizeof(presets) / sizeof(presets[0]); i++)
        if (l->n > 1 && !strcmp(presets[i].key, l->word[1]))
            p = &presets[i];
    if (!p || (l->n > 2 && !real(l->word[2], &count)) || count < 1 ||
        s->n_boards + (size_t)count > MAX_BOARDS)
        return false;
    *first = s->n_boards;
    for (int i = 0; i < (int)count; i++) {
        struct board *b = &s->boards[s->n_boards];
        uint64_t seed = fake_hash(s->seed * 1000 + s->n_boards);
        double normal =
            sqrt(-2 * log(1 - fake_uniform(seed))) * cos(2 * M_PI * fake_uniform(seed + 1));

        memset(b, 0, sizeof(*b));
        load_init(&b->load);
        b->index = (int)s->n_boards;
        snprintf(b->uuid, sizeof(b->uuid), "GPU-fa4e0000-0000-0000-0000-%012d", b->index);
        snprintf(b->name, sizeof(b->name), "%s", p->name);
        snprintf(b->pci, sizeof(b->pci), "00000000:%02X:00.0", b->index + 1);
        b->arch = p->arch;
        b->cc_major = p->major;
        b->cc_minor = p->minor;
        b->gain = 0.97 + 0.02 * normal; /* units of one product differ by a few percent */
        b->period_s = p->period_s;
        b->phase_s = p->period_s * fake_uniform(seed + 2);
        b->window_s = p->window_s;
        b->average_s = p->average_s;
        b->sensor_tau_s = p->sensor_tau_s;
        b->usage_is_average = p->usage_is_average;
        b->counter_start_mj = 1000000000 + fake_hash(seed + 3) % 1000000000;
        b->limit_w = b->default_limit_w = b->max_limit_w = p->limit_w;
        b->min_limit_w = p->limit_w / 2;
        b->memory_bytes = (uint64_t)(p->gib * 1073741824.0);
        b->ambient_c = 30;
        b->kelvin_per_w = 0.08;
        b->thermal_tau_s = 60;
        b->slowdown_c = 87;
        b->persistence = true;
        b->load.idle_w = p->idle_w;
        b->load.tau_s = 0.008;
        b->load.seed = seed + 4;
        if (!p->counter)
            add_unsupported(b, "energy");
        if (p->average_s <= 0)
            add_unsupported(b, "185");
        s->n_boards++;
    }
    return true;
}

bool scenario_line_load(const struct scenario_line *l, struct load *load, double *lag_s)
{
    struct load_part p = { 0 };
    double v[8] = { 0 };
    int n = 0;

    if (l->n < 3)
        return false;
    if (!strcmp(l->word[1], "trace")) {
        rest_of(l, 2, load->trace, sizeof(load->trace));
        if (*lag_s <= 0)
            *lag_s = 0.005; /* whoever writes the trace is a moment late */
        return true;
    }
    if (!strcmp(l->word[1], "steps")) {
        for (int i = 2; i < l->n; i++) {
            if (sscanf(l->word[i], "%lf:%lf", &v[0], &v[1]) != 2)
                return false;
            p = (struct load_part){ .kind = PART_STEP,
                                    .begin_ns = llround(v[0] * 1e9),
                                    .a_w = v[1] };
            if (!load_add(load, &p))
                return false;
        }
        return true;
    }
    for (int i = 2; i < l->n && n < 8; i++)
        if (!real(l->word[i], &v[n++]))
            return false;
    if (!strcmp(l->word[1], "idle") && n == 1) {
        load->idle_w = v[0];
        return true;
    }
    p.begin_ns = llround(v[0] * 1e9);
    p.end_ns = llround(v[1] * 1e9);
    if (p.end_ns <= p.begin_ns)
        return false;
    if (!strcmp(l->word[1], "square") && n >= 5 && v[4] > 0) {
        p.kind = PART_SQUARE;
        p.a_w = v[2];
        p.b_w = v[3];
        p.period_s = v[4];
        p.duty = n > 5 ? v[5] : 0.5;
        return load_add(load, &p);
    }
    if (!strcmp(l->word[1], "decode") && (n == 2 || n == 5)) {
        p.kind = PART_DECODE;
        p.a_w = n == 5 ? v[2] : 465;
        p.b_w = n == 5 ? v[3] : 320;
        p.c_w = n == 5 ? v[4] : 650;
        return load_add(load, &p);
    }
    return false;
}

static bool add_fault(struct board *b, const struct scenario_line *l)
{
    static const struct {
        const char *name;
        enum fault_kind kind;
        int arguments;
    } kinds[] = {
        { "lost", FAULT_LOST, 0 },
        { "reset", FAULT_RESET, 0 },
        { "stuck", FAULT_STUCK, 0 },
        { "jump", FAULT_JUMP, 1 },
        { "zero_power", FAULT_ZERO_POWER, 0 },
        { "max_power", FAULT_MAX_POWER, 0 },
        { "garbage", FAULT_GARBAGE, 0 },
        { "error", FAULT_ERROR, 1 },
        { "field", FAULT_FIELD, 2 },
        { "duplicates", FAULT_DUPLICATES, 0 },
        { "throttle", FAULT_THROTTLE, 0 },
        { "block", FAULT_BLOCK, 1 },
    };
    struct fault f = { 0 };

    if (l->n < 3 || b->n_faults == MAX_FAULTS || !when(l->word[2], &f))
        return false;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, l->word[1]) != 0)
            continue;
        f.kind = kinds[i].kind;
        if (l->n != 3 + kinds[i].arguments || (l->n > 3 && !real(l->word[3], &f.a)) ||
            (l->n > 4 && !real(l->word[4], &f.b)))
            return false;
        b->faults[b->n_faults++] = f;
        return true;
    }
    return false;
}

static bool board_line(struct board *b, const struct scenario_line *l)
{
    static const struct {
        const char *name;
        size_t offset;
    } numbers[] = {
#define N(name, member) { name, offsetof(struct board, member) }
        N("gain", gain),       N("offset", offset_w), N("counter_offset", counter_offset_w),
        N("period", period_s), N("phase", phase_s),   N("jitter", jitter_s),
        N("lag", lag_s),       N("window", window_s), N("average", average_s),
        N("limit", limit_w),   N("tau", load.tau_s),  N("slowdown", slowdown_c),
#undef N
    };
    double v[4] = { 0 };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (!strcmp(l->word[0], numbers[i].name))
            return l->n == 2 && real(l->word[1], (double *)(void *)((char *)b + numbers[i].offset));
    if (!strcmp(l->word[0], "load"))
        return scenario_line_load(l, &b->load, &b->lag_s);
    if (!strcmp(l->word[0], "fault"))
        return add_fault(b, l);
    if (l->n < 2)
        return false;
    if (!strcmp(l->word[0], "uuid"))
        rest_of(l, 1, b->uuid, sizeof(b->uuid));
    else if (!strcmp(l->word[0], "name"))
        rest_of(l, 1, b->name, sizeof(b->name));
    else if (!strcmp(l->word[0], "pci"))
        rest_of(l, 1, b->pci, sizeof(b->pci));
    else if (!strcmp(l->word[0], "counter"))
        b->counter = !strcmp(l->word[1], "sampled") ? COUNTER_SAMPLED : COUNTER_TRUE;
    else if (!strcmp(l->word[0], "counter_start"))
        b->counter_start_mj = strtoull(l->word[1], NULL, 10);
    else if (!strcmp(l->word[0], "power_usage"))
        b->usage_is_average = !strcmp(l->word[1], "average");
    else if (!strcmp(l->word[0], "persistence"))
        b->persistence = !strcmp(l->word[1], "on");
    else if (!strcmp(l->word[0], "mig"))
        b->mig = (unsigned)strtoul(l->word[1], NULL, 10);
    else if (!strcmp(l->word[0], "latency")) {
        if (!real(l->word[1], &b->latency_s[0]) ||
            !real(l->word[l->n > 2 ? 2 : 1], &b->latency_s[1]))
            return false;
    } else if (!strcmp(l->word[0], "thermal")) {
        for (int i = 1; i < l->n && i < 4; i++)
            if (!real(l->word[i], &v[i]))
                return false;
        b->ambient_c = v[1];
        b->kelvin_per_w = v[2];
        b->thermal_tau_s = v[3];
        return l->n == 4;
    } else if (!strcmp(l->word[0], "unsupported")) {
        for (int i = 1; i < l->n; i++)
            if (!add_unsupported(b, l->word[i]))
                return false;
    } else if (!strcmp(l->word[0], "process")) {
        if (l->n < 3 || b->n_processes == MAX_PROCESSES)
            return false;
        b->processes[b->n_processes].pid =
            !strcmp(l->word[1], "self") ? 0 : (unsigned)strtoul(l->word[1], NULL, 10);
        b->processes[b->n_processes].bytes = strtoull(l->word[2], NULL, 10);
        if (l->n > 3 && l->word[3][0] == '@')
            snprintf(b->processes[b->n_processes].flag, sizeof(b->processes[0].flag), "%s",
                     l->word[3] + 1);
        b->n_processes++;
    } else {
        return false;
    }
    return true;
}

static bool statement(struct scenario *s, const struct scenario_line *l, size_t *first)
{
    double v;

    if (!strcmp(l->word[0], "board"))
        return add_boards(s, l, first);
    if (!strcmp(l->word[0], "driver") && l->n == 2)
        snprintf(s->driver, sizeof(s->driver), "%s", l->word[1]);
    else if (!strcmp(l->word[0], "nvml") && l->n == 2)
        snprintf(s->nvml, sizeof(s->nvml), "%s", l->word[1]);
    else if (!strcmp(l->word[0], "cuda") && l->n == 2 && real(l->word[1], &v))
        s->cuda = (int)v;
    else if (!strcmp(l->word[0], "seed") && l->n == 2 && !s->n_boards)
        s->seed = strtoull(l->word[1], NULL, 10);
    else if (!strcmp(l->word[0], "init_error") && l->n == 2 && real(l->word[1], &v))
        s->init_error = (int)v;
    else if (!strcmp(l->word[0], "epoch") && l->n == 2) {
        s->epoch = !strcmp(l->word[1], "init")   ? EPOCH_INIT
                   : !strcmp(l->word[1], "boot") ? EPOCH_BOOT
                                                 : EPOCH_AT;
        s->epoch_ns = s->epoch == EPOCH_AT ? strtoll(l->word[1], NULL, 10) : 0;
    } else {
        bool ok = *first < s->n_boards;

        for (size_t i = *first; ok && i < s->n_boards; i++)
            ok = board_line(&s->boards[i], l);
        return ok;
    }
    return true;
}

void scenario_line_split(struct scenario_line *l, char *text)
{
    char *save = NULL;

    l->n = 0;
    text[strcspn(text, "#\n")] = '\0';
    for (char *w = strtok_r(text, " \t\r", &save); w && l->n < SCENARIO_MAX_WORDS;
         w = strtok_r(NULL, " \t\r", &save))
        l->word[l->n++] = w;
}

int scenario_load(struct scenario *s, const char *path, char *why, size_t size)
{
    char text[4096];
    struct scenario_line l;
    size_t first = MAX_BOARDS;
    int number = 0;
    FILE *f = NULL;

    memset(s, 0, sizeof(*s));
    snprintf(s->driver, sizeof(s->driver), "550.54.15");
    snprintf(s->nvml, sizeof(s->nvml), "12.550.54.15");
    s->cuda = 12040;
    s->seed = 1;
    if (!path) {
        snprintf(text, sizeof(text), "board h100");
        scenario_line_split(&l, text);
        return add_boards(s, &l, &first) ? 0 : -1;
    }
    f = fopen(path, "re");
    if (!f) {
        snprintf(why, size, "%s: cannot be opened", path);
        return -1;
    }
    while (fgets(text, sizeof(text), f)) {
        number++;
        scenario_line_split(&l, text);
        if (l.n && !statement(s, &l, &first)) {
            snprintf(why, size, "%s:%d: cannot be understood: %s", path, number, l.word[0]);
            fclose(f);
            return -1;
        }
    }
    fclose(f);
    return 0;
}

void scenario_set_epoch(struct scenario *s, int64_t epoch_ns)
{
    s->epoch_ns = epoch_ns;
    for (size_t i = 0; i < s->n_boards; i++)
        s->boards[i].load.epoch_ns = epoch_ns;
}

void scenario_done(struct scenario *s)
{
    for (size_t i = 0; i < s->n_boards; i++)
        load_done(&s->boards[i].load);
    s->n_boards = 0;
}
