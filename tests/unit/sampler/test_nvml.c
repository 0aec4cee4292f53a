/* SPDX-License-Identifier: MIT
 *
 * NVIDIA GPUs against a fake library in virtual time: what is read, what is left out, what every
 * failure of a board, a driver or a library becomes.
 */
#include "tests/unit/sampler/help.h"

#include <dlfcn.h>
#include <malloc.h>
#include <math.h>

static const struct llem_sampler_class *const nvml = &llem_sampler_nvml;

static int64_t now;
static double (*truth_mj)(unsigned, int64_t, int64_t);

static int64_t virtual_now(void)
{
    return now;
}

static int64_t s(double seconds)
{
    return llround(seconds * 1e9);
}

/* Load the fake in this process, forget what it played and let it play this. Time 0 is now. */
static void play(const char *library, const char *scenario)
{
    char path[1024];
    void *h;
    void (*reset)(void);
    void (*set_clock)(int64_t(*)(void));

    put("scenario", "%s", scenario);
    snprintf(path, sizeof(path), "%s/scenario", help_dir);
    setenv("LLEM_FAKE_NVML_SCENARIO", path, 1);
    snprintf(path, sizeof(path), "%s/tests/fakes/%s", getenv("LLEM_TEST_BUILD_DIR"), library);
    setenv("LLEM_NVML_LIBRARY", path, 1);
    h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(h);
    *(void **)(void *)&reset = dlsym(h, "llem_fake_reset");
    *(void **)(void *)&set_clock = dlsym(h, "llem_fake_set_clock");
    *(void **)(void *)&truth_mj = dlsym(h, "llem_fake_energy_mj");
    assert_true(reset && set_clock && truth_mj);
    reset();
    set_clock(virtual_now);
    now = s(1000);
    dlclose(h);
}

static const char new_driver[] = "libnvidia-ml.so.1";
static const char old_driver[] = "old-driver/libnvidia-ml.so.1";

struct opened {
    llem_ctx *ctx;
    void *self;
    const struct llem_domain *domains;
    size_t n;
};

static struct opened open_it(void)
{
    struct opened o = { .ctx = new_ctx() };
    llem_error err = { 0 };

    if (nvml->open(&o.self, o.ctx, &err) != LLEM_OK)
        fail_msg("%s", err.msg);
    o.domains = nvml->domains(o.self, &o.n);
    return o;
}

static void close_it(struct opened *o)
{
    nvml->close(o->self);
    llem_ctx_free(o->ctx);
}

static struct llem_probe probe_it(void)
{
    llem_ctx *ctx = new_ctx();
    struct llem_probe p;

    nvml->probe(ctx, &p);
    llem_ctx_free(ctx);
    return p;
}

/* The reading of one field at this moment; fails if the domain has none. */
static struct llem_reading read_field(const struct opened *o, size_t domain, uint16_t field)
{
    struct llem_reading r[16];

    for (int slow = 0; slow < 2; slow++) {
        size_t n = nvml->read(o->self, domain, slow, r);

        assert_true(n <= o->domains[domain].n_fields);
        for (size_t i = 0; i < n; i++)
            if (r[i].field == field)
                return r[i];
    }
    fail_msg("no field %d", field);
    return r[0];
}

static const struct llem_sensor_field *field_of(const struct opened *o, size_t domain, uint16_t id)
{
    for (size_t i = 0; i < o->domains[domain].n_fields; i++)
        if (o->domains[domain].fields[i].id == id)
            return &o->domains[domain].fields[i];
    return NULL;
}

/* ---- what is read ------------------------------------------------------------------------ */

static void a_board_tells_energy_and_both_powers_in_one_call(void **state)
{
    static const uint16_t ids[] = { 83, 186, 185 };
    struct llem_reading r[16];
    struct opened o;

    play(new_driver, "board h100\n gain 1\n load idle 100\n");
    o = open_it();
    assert_int_equal(o.n, 1);
    assert_string_equal(o.domains[0].id, "gpu:GPU-fa4e0000-0000-0000-0000-000000000000");
    assert_string_equal(o.domains[0].kind, "gpu");
    assert_string_equal(o.domains[0].label, "NVIDIA H100 80GB HBM3");
    assert_string_equal(o.domains[0].uuid, "GPU-fa4e0000-0000-0000-0000-000000000000");
    assert_string_equal(o.domains[0].pci, "00000000:01:00.0");
    now += s(1);
    assert_int_equal(nvml->read(o.self, 0, false, r), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(r[i].field, ids[i]);
        assert_int_equal(r[i].status, LLEM_READ_OK);
        assert_true(r[i].vendor_ns > 0);
        assert_int_equal(r[i].latency_us, 40);
        assert_false(o.domains[0].fields[i].slow);
        assert_int_equal(o.domains[0].fields[i].id, ids[i]);
        assert_true(fabs(o.domains[0].fields[i].to_si - 1e-3) < 1e-15);
    }
    assert_int_equal(r[1].raw, 100000);
    assert_int_equal(r[2].raw, 100000);
    close_it(&o);
}

static void the_raw_counter_is_the_truth_at_the_last_tick(void **state)
{
    struct llem_reading first, r;
    struct opened o;
    int64_t t0 = s(1000);

    /* By hand: 100 W to 1 s, 300 W to 2 s, then 100 W; ticks at 0.05, 0.15, ... */
    play(new_driver, "board h100\n gain 1\n period 0.1\n phase 0.05\n tau 0\n"
                     " load idle 100\n load steps 1:300 2:100\n counter_start 5000000\n");
    o = open_it();
    now = t0 + s(0.1);
    first = read_field(&o, 0, 83);
    assert_int_equal(first.raw, 5000000 + 5000);
    now = t0 + s(1.049);
    r = read_field(&o, 0, 83);
    assert_int_equal(r.raw, 5000000 + 95000);
    now = t0 + s(1.051);
    r = read_field(&o, 0, 83);
    assert_int_equal(r.raw, 5000000 + 115000);
    now = t0 + s(3.06);
    r = read_field(&o, 0, 83);
    assert_int_equal(r.raw, 5000000 + 100000 + 300000 + 105000);
    assert_true(fabs(truth_mj(0, t0 + s(0.05), t0 + s(3.05)) - (double)(r.raw - first.raw)) < 1);
    close_it(&o);
}

static void gain_and_window_shape_what_the_powers_show(void **state)
{
    struct opened o;
    int64_t t0 = s(1000);

    play(new_driver, "board h100\n gain 0.5\n offset 3\n period 0.1\n phase 0\n tau 0\n"
                     " load idle 100\n load steps 0.99:300\n");
    o = open_it();
    now = t0 + s(1.001);
    /* Of the 25 ms before the tick at 1 s the last 10 had 300 W; of the second before, the same 10.
     */
    assert_int_equal(read_field(&o, 0, 186).raw, 500 * 180 + 3000);
    assert_int_equal(read_field(&o, 0, 185).raw, 500 * 102 + 3000);
    close_it(&o);
}

static void slow_fields_are_read_apart(void **state)
{
    struct llem_reading r[16];
    struct opened o;
    size_t n, slow = 0;

    play(new_driver, "board h100\n load steps 1:500\n process 42 1000000\n");
    o = open_it();
    for (size_t i = 0; i < o.domains[0].n_fields; i++)
        slow += o.domains[0].fields[i].slow;
    assert_int_equal(slow, 6);
    now += s(2);
    n = nvml->read(o.self, 0, true, r);
    assert_int_equal(n, slow);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(r[i].status, LLEM_READ_OK);
        for (size_t k = 0; k < o.domains[0].n_fields; k++) {
            const struct llem_sensor_field *f = &o.domains[0].fields[k];

            if (f->id != r[i].field)
                continue;
            switch (f->role) {
            case LLEM_ROLE_TEMPERATURE:
                assert_in_range(r[i].raw, 30, 90);
                break;
            case LLEM_ROLE_CLOCK_SM:
                assert_true(fabs((double)r[i].raw * f->to_si - 1980e6) < 1);
                break;
            case LLEM_ROLE_CLOCK_MEMORY:
                assert_int_equal(r[i].raw, 2619);
                break;
            case LLEM_ROLE_UTILIZATION:
                assert_true((double)r[i].raw * f->to_si > 0.5);
                break;
            case LLEM_ROLE_MEMORY_USED:
                assert_int_equal(r[i].raw, 1000000);
                break;
            case LLEM_ROLE_EVENT_REASONS:
                assert_int_equal(r[i].raw, 0);
                break;
            default:
                fail();
            }
        }
    }
    close_it(&o);
}

static void eight_boards_have_eight_names_and_ticks_of_their_own(void **state)
{
    struct opened o;
    int64_t last[8] = { 0 }, seen[8] = { 0 };
    int different = 0;

    play(new_driver, "board h100 8\n");
    o = open_it();
    assert_int_equal(o.n, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(o.domains[i].index, i);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(o.domains[i].id, o.domains[k].id);
    }
    for (int ms = 0; ms < 200; ms++, now += s(0.001))
        for (size_t i = 0; i < 8; i++) {
            int64_t raw = read_field(&o, i, 83).raw;

            if (raw != last[i])
                seen[i] = now;
            last[i] = raw;
        }
    for (size_t i = 1; i < 8; i++)
        different += seen[i] != seen[0];
    assert_true(different >= 6);
    close_it(&o);
}

static void reading_allocates_nothing_and_opens_nothing(void **state)
{
    struct llem_reading r[16];
    struct opened o;
    size_t before;
    int descriptors;

    play(new_driver, "board h100 2\n");
    o = open_it();
    nvml->read(o.self, 0, false, r);
    descriptors = open_descriptors();
    before = mallinfo2().uordblks;
    for (int i = 0; i < 1000; i++, now += s(0.01)) {
        nvml->read(o.self, (size_t)i % 2, false, r);
        nvml->read(o.self, (size_t)i % 2, true, r);
    }
    assert_int_equal(mallinfo2().uordblks, before);
    assert_int_equal(open_descriptors(), descriptors);
    close_it(&o);
}

/* ---- what boards and drivers do not offer ------------------------------------------------ */

static void the_role_of_a_power_follows_the_chip_and_the_driver(void **state)
{
    static const struct {
        const char *scenario;
        uint16_t id;
        int role;
        double averaging_s;
    } rows[] = {
        { "board h100\n", 186, LLEM_ROLE_POWER_INSTANT, 0.025 },
        { "board h100\n", 185, LLEM_ROLE_POWER_AVERAGE, 1 },
        { "board rtx4090\n", 186, LLEM_ROLE_POWER_INSTANT, 0.1 },
        { "board a100\n", 186, LLEM_ROLE_POWER_INSTANT, 0.025 },
        { "board a100\n unsupported 186\n", 1000, LLEM_ROLE_POWER_INSTANT, 0.025 },
        { "board h100\n unsupported 186 185\n", 1000, LLEM_ROLE_POWER_AVERAGE, 1 },
        { "board rtx3090\n unsupported 186 185\n", 1000, LLEM_ROLE_POWER_AVERAGE, 1 },
        { "driver 530.30.02\nboard rtx3090\n unsupported 186 185\n", 1000, LLEM_ROLE_POWER_INSTANT,
          0.1 },
        { "driver 470.1\nboard rtx3090\n unsupported fields\n", 1000, LLEM_ROLE_POWER_AVERAGE, 1 },
        { "board rtx2080ti\n unsupported 186\n", 1000, LLEM_ROLE_POWER_INSTANT, 0.1 },
        { "board v100\n unsupported 186\n", 1000, LLEM_ROLE_POWER_INSTANT, 0.01 },
        { "board k40\n unsupported fields\n", 1000, LLEM_ROLE_POWER_INSTANT, 0 },
    };

    for (size_t i = 0; i < LLEM_COUNT(rows); i++) {
        const struct llem_sensor_field *f;
        struct opened o;

        play(new_driver, rows[i].scenario);
        o = open_it();
        f = field_of(&o, 0, rows[i].id);
        assert_non_null(f);
        assert_int_equal(f->role, rows[i].role);
        assert_true(fabs(f->averaging_s - rows[i].averaging_s) < 1e-12);
        assert_int_equal(read_field(&o, 0, rows[i].id).status, LLEM_READ_OK);
        close_it(&o);
    }
}

static void a_field_that_is_not_supported_is_left_out(void **state)
{
    struct llem_reading r[16];
    struct opened o;

    play(new_driver, "board a100\n");
    o = open_it();
    assert_null(field_of(&o, 0, 185));
    assert_int_equal(nvml->read(o.self, 0, false, r), 2);
    assert_int_equal(r[0].field, 83);
    assert_int_equal(r[1].field, 186);
    close_it(&o);

    play(new_driver, "board h100\n unsupported temperature clocks\n");
    o = open_it();
    assert_int_equal(nvml->read(o.self, 0, true, r), 3);
    close_it(&o);
}

static void a_driver_without_field_values_is_read_by_its_functions(void **state)
{
    struct llem_reading r[16];
    struct llem_arena a = LLEM_ARENA_INIT;
    struct opened o;

    play(new_driver,
         "board v100\n gain 1\n load idle 50\n counter_start 1000\n unsupported fields\n");
    o = open_it();
    now += s(2);
    assert_int_equal(nvml->read(o.self, 0, false, r), 2);
    assert_int_equal(r[0].field, 83);
    assert_int_equal(r[0].status, LLEM_READ_OK);
    assert_in_range(r[0].raw, 1000 + 98000, 1000 + 100000);
    assert_int_equal(r[1].field, 1000);
    assert_int_equal(r[1].raw, 50000);
    assert_string_equal(llem_str_at(nvml->describe(o.self, &a)->items[0], "", ""), "");
    assert_string_equal(llem_str_at(llem_get(nvml->describe(o.self, &a), "domains")->items[0],
                                    "energy_interface", ""),
                        "nvmlDeviceGetTotalEnergyConsumption");
    llem_arena_done(&a);
    close_it(&o);
}

static void a_board_without_counter_is_read_by_power_alone(void **state)
{
    struct opened o;
    struct llem_probe p;

    play(new_driver, "board p100\n");
    p = probe_it();
    assert_true(p.usable);
    assert_non_null(strstr(p.text, "power only"));
    o = open_it();
    assert_null(field_of(&o, 0, 83));
    assert_non_null(field_of(&o, 0, 186));
    close_it(&o);
}

static void an_old_driver_is_read_by_its_old_symbols(void **state)
{
    struct llem_reading r;
    struct llem_arena a = LLEM_ARENA_INIT;
    struct opened o;

    play(old_driver, "driver 470.57.02\nboard a100\n unsupported 186\n fault throttle 1\n");
    o = open_it();
    now += s(2);
    r = read_field(&o, 0, 1006);
    assert_int_equal(r.status, LLEM_READ_OK);
    assert_int_equal(r.raw & 0x20, 0x20);
    r = read_field(&o, 0, 1001);
    assert_int_equal(r.status, LLEM_READ_OK);
    assert_in_range(r.raw, 30, 60);
    assert_int_equal(read_field(&o, 0, 1005).raw, 629145600);
    assert_string_equal(llem_str_at(nvml->describe(o.self, &a), "driver_version", ""), "470.57.02");
    llem_arena_done(&a);
    close_it(&o);
}

static void a_mig_board_is_named_as_such_and_read_as_a_whole(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *d;
    struct opened o;

    play(new_driver, "board h100\n mig 3\n");
    o = open_it();
    assert_int_equal(o.n, 1);
    assert_null(field_of(&o, 0, 1004)); /* no utilization on such boards */
    assert_non_null(field_of(&o, 0, 83));
    d = llem_get(nvml->describe(o.self, &a), "domains")->items[0];
    assert_true(llem_bool_at(d, "mig", false));
    assert_int_equal(llem_get(d, "mig_instances")->count, 3);
    llem_arena_done(&a);
    close_it(&o);
}

/* ---- what goes wrong while measuring ----------------------------------------------------- */

static void a_lost_board_is_gone_in_every_field_and_the_others_go_on(void **state)
{
    struct llem_reading r[16];
    struct opened o;

    play(new_driver, "board h100\n fault lost 3\nboard h100\n");
    o = open_it();
    now += s(2);
    assert_int_equal(read_field(&o, 0, 83).status, LLEM_READ_OK);
    now += s(2);
    for (int slow = 0; slow < 2; slow++) {
        size_t n = nvml->read(o.self, 0, slow, r);

        assert_int_equal(n, slow ? 6 : 3);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(r[i].status, LLEM_READ_GONE);
            assert_int_equal(r[i].raw, 0);
        }
    }
    assert_int_equal(read_field(&o, 1, 83).status, LLEM_READ_OK);
    close_it(&o);
}

static void one_failing_field_keeps_its_code_and_spares_the_others(void **state)
{
    struct opened o;
    struct llem_reading r;

    play(new_driver, "board h100\n fault field 1-2 186 21\n");
    o = open_it();
    now += s(1.5);
    r = read_field(&o, 0, 186);
    assert_int_equal(r.status, 21);
    assert_int_equal(r.raw, 0);
    assert_int_equal(read_field(&o, 0, 83).status, LLEM_READ_OK);
    assert_int_equal(read_field(&o, 0, 185).status, LLEM_READ_OK);
    now += s(1);
    assert_int_equal(read_field(&o, 0, 186).status, LLEM_READ_OK);
    close_it(&o);
}

static void a_failing_call_gives_its_code_to_every_field(void **state)
{
    struct llem_reading r[16];
    struct opened o;

    play(new_driver, "board h100\n fault error 1 999\n");
    o = open_it();
    now += s(2);
    assert_int_equal(nvml->read(o.self, 0, false, r), 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(r[i].status, 999);
        assert_int_equal(r[i].raw, 0);
    }
    close_it(&o);
}

static void a_power_that_cannot_be_is_garbage_and_never_zero(void **state)
{
    static const char *const faults[] = { "zero_power", "max_power" };
    char scenario[128];

    for (size_t i = 0; i < LLEM_COUNT(faults); i++) {
        struct opened o;

        snprintf(scenario, sizeof(scenario), "board h100\n fault %s 1\n", faults[i]);
        play(new_driver, scenario);
        o = open_it();
        now += s(2);
        assert_int_equal(read_field(&o, 0, 186).status, LLEM_READ_GARBAGE);
        assert_int_equal(read_field(&o, 0, 186).raw, 0);
        assert_int_equal(read_field(&o, 0, 83).status, LLEM_READ_OK);
        close_it(&o);
    }
}

static void random_bytes_are_garbage_or_a_possible_value(void **state)
{
    struct llem_reading r[16];
    struct opened o;
    int garbage = 0;

    play(new_driver, "board h100\n fault garbage 1\n");
    o = open_it();
    now += s(2);
    for (int k = 0; k < 2000; k++, now += 12345) {
        size_t n = nvml->read(o.self, 0, false, r);

        assert_int_equal(n, 3);
        for (size_t i = 0; i < n; i++) {
            assert_true(r[i].status == LLEM_READ_OK || r[i].status == LLEM_READ_GARBAGE);
            assert_true(r[i].raw >= 0);
            if (r[i].field != 83)
                assert_true(r[i].raw < 20000000);
            if (r[i].status != LLEM_READ_OK)
                assert_int_equal(r[i].raw, 0);
            garbage += r[i].status == LLEM_READ_GARBAGE;
        }
    }
    assert_true(garbage > 5500); /* of 6000: another type than at first, or beyond any board */
    close_it(&o);
}

static void resets_jumps_and_sticking_leave_as_they_come(void **state)
{
    struct llem_reading a, b;
    struct opened o;

    play(new_driver,
         "board h100\n gain 1\n load idle 100\n counter_start 7000000\n fault reset 2\n");
    o = open_it();
    now += s(1.9);
    assert_true(read_field(&o, 0, 83).raw > 7000000);
    now += s(1);
    assert_in_range(read_field(&o, 0, 83).raw, 60000, 110000);
    close_it(&o);

    play(new_driver,
         "board h100\n gain 1\n load idle 100\n counter_start 0\n fault jump 2 9000000\n");
    o = open_it();
    now += s(3);
    assert_in_range(read_field(&o, 0, 83).raw, 9280000, 9300000);
    close_it(&o);

    play(new_driver, "board h100\n fault stuck 2\n");
    o = open_it();
    now += s(2.5);
    a = read_field(&o, 0, 83);
    now += s(2.5);
    b = read_field(&o, 0, 83);
    assert_int_equal(b.status, LLEM_READ_OK);
    assert_int_equal(a.raw, b.raw);
    close_it(&o);
}

/* ---- why it cannot be used --------------------------------------------------------------- */

static void each_refusal_has_a_reason_a_sentence_and_a_remedy(void **state)
{
    static const struct {
        const char *scenario, *reason, *text, *remedy;
    } rows[] = {
        { "init_error 9\nboard h100\n", "no_sensor", "kernel driver is not loaded",
          "modprobe nvidia" },
        { "init_error 4\nboard h100\n", "no_permission", "may not use", "--gpus all" },
        { "init_error 18\nboard h100\n", "not_supported", "differ in version", "Reboot" },
        { "init_error 999\nboard h100\n", "not_supported", "status 999", "nvidia-smi" },
        { "seed 1\n", "no_sensor", "shows no GPU", "nvidia-smi -L" },
        { "board h100\n fault error 0 4\n", "no_permission", "may not use", "/dev/nvidia" },
        { "board h100\n fault lost 0\n", "device_lost", "lost the GPU", "dmesg" },
        { "board k40\n unsupported fields power\n", "not_supported", "neither energy nor power",
          "passed-through" },
    };

    for (size_t i = 0; i < LLEM_COUNT(rows); i++) {
        llem_ctx *ctx = new_ctx();
        llem_error err = { 0 };
        struct llem_probe p;
        void *self = NULL;

        play(new_driver, rows[i].scenario);
        p = probe_it();
        assert_false(p.usable);
        assert_string_equal(p.reason, rows[i].reason);
        assert_non_null(strstr(p.text, rows[i].text));
        assert_non_null(strstr(p.remedy, rows[i].remedy));
        assert_int_equal(nvml->open(&self, ctx, &err), LLEM_ENOTSUP);
        assert_null(self);
        assert_string_equal(err.msg, p.text);
        assert_string_equal(err.hint, p.remedy);
        llem_ctx_free(ctx);
    }
}

static void a_missing_library_and_one_of_another_kind_are_told_apart(void **state)
{
    struct llem_probe p;

    setenv("LLEM_NVML_LIBRARY", "/nowhere/libnvidia-ml.so.1", 1);
    p = probe_it();
    assert_false(p.usable);
    assert_string_equal(p.reason, "no_sensor");
    assert_non_null(strstr(p.text, "/nowhere/libnvidia-ml.so.1"));
    assert_non_null(strstr(p.remedy, "LLEM_NVML_LIBRARY"));

    setenv("LLEM_NVML_LIBRARY", "libm.so.6", 1);
    p = probe_it();
    assert_false(p.usable);
    assert_string_equal(p.reason, "not_supported");
    assert_non_null(strstr(p.text, "nvmlInit_v2"));
}

static void without_the_library_a_board_on_the_bus_is_noticed(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_probe p;
    void *h = dlopen("libnvidia-ml.so.1", RTLD_NOW);

    unsetenv("LLEM_NVML_LIBRARY");
    setenv("LLEM_SYSFS", help_dir, 1);
    nvml->probe(ctx, &p);
    if (h) {
        /* A machine with the library: all that can be said is that the answer is complete. */
        assert_true(p.usable == (p.n_domains > 0));
        assert_true(p.usable == !p.reason[0]);
        assert_true(p.text[0] && p.detail[0]);
        dlclose(h);
    } else {
        assert_string_equal(p.reason, "no_sensor");
        assert_non_null(strstr(p.text, "There is no NVIDIA GPU"));
        put("bus/pci/devices/0000:01:00.0/vendor", "0x10de\n");
        put("bus/pci/devices/0000:01:00.0/class", "0x040300\n"); /* its sound */
        nvml->probe(ctx, &p);
        assert_non_null(strstr(p.text, "There is no NVIDIA GPU"));
        put("bus/pci/devices/0000:01:00.0/class", "0x030200\n");
        nvml->probe(ctx, &p);
        assert_non_null(strstr(p.text, "There is an NVIDIA GPU"));
        assert_non_null(strstr(p.remedy, "Install the NVIDIA driver"));
    }
    unsetenv("LLEM_SYSFS");
    llem_ctx_free(ctx);
}

static void a_refused_board_does_not_keep_the_others_from_being_read(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct opened o;

    play(new_driver,
         "board h100\n fault lost 0\nboard h100\nboard k40\n unsupported fields power\n");
    o = open_it();
    assert_int_equal(o.n, 1);
    assert_int_equal(o.domains[0].index, 1);
    assert_int_equal(llem_int_at(nvml->describe(o.self, &a), "boards_seen", 0), 3);
    assert_int_equal(llem_int_at(nvml->describe(o.self, &a), "boards_refused", 0), 1);
    assert_int_equal(llem_int_at(nvml->describe(o.self, &a), "boards_without_sensor", 0), 1);
    llem_arena_done(&a);
    close_it(&o);
}

static void probing_leaves_nothing_open(void **state)
{
    struct llem_probe p;
    int before;

    play(new_driver, "board h100 2\n");
    p = probe_it();
    before = open_descriptors();
    p = probe_it();
    assert_int_equal(open_descriptors(), before);
    assert_true(p.usable);
    assert_int_equal(p.n_domains, 2);
    assert_string_equal(p.reason, "");
    assert_string_equal(p.remedy, "");
    assert_non_null(strstr(p.text, "2 GPUs"));
    assert_non_null(strstr(p.text, "H100"));
    assert_non_null(strstr(p.detail, "LLEM_NVML_LIBRARY"));
    assert_non_null(strstr(p.detail, "a fake"));
    assert_non_null(strstr(p.detail, "550.54.15"));
}

/* ---- what is written down ---------------------------------------------------------------- */

static void the_description_names_what_does_not_change_but_no_serial_number(void **state)
{
    static const char *const keys[] = {
        "index",
        "uuid",
        "name",
        "pci",
        "architecture",
        "compute_capability",
        "vram_bytes",
        "power_limit_w",
        "limits_w.min",
        "default_power_limit_w",
        "persistence",
        "mig",
        "max_clocks_mhz.sm",
        "slowdown_c",
    };
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf text = LLEM_BUF_INIT(1 << 20);
    struct llem_value *v, *d;
    struct opened o;

    play(new_driver, "driver 560.1\nnvml 12.560.1\ncuda 12060\nboard h200\n persistence off\n");
    o = open_it();
    v = nvml->describe(o.self, &a);
    assert_string_equal(llem_str_at(v, "driver_version", ""), "560.1");
    assert_string_equal(llem_str_at(v, "nvml_version", ""), "12.560.1");
    assert_string_equal(llem_str_at(v, "cuda_version", ""), "12.6");
    assert_true(llem_bool_at(v, "is_fake", false));
    assert_non_null(strstr(llem_str_at(v, "library", ""), "libnvidia-ml.so.1"));
    d = llem_get(llem_get(v, "domains"), o.domains[0].id);
    assert_non_null(d);
    for (size_t i = 0; i < LLEM_COUNT(keys); i++)
        if (llem_is_null(llem_at(d, keys[i])))
            fail_msg("%s is missing", keys[i]);
    assert_false(llem_bool_at(d, "persistence", true));
    assert_string_equal(llem_str_at(d, "compute_capability", ""), "9.0");
    assert_string_equal(llem_str_at(d, "architecture", ""), "Hopper");
    llem_json_dump(&text, v, LLEM_JSON_COMPACT);
    assert_null(strstr(text.data, "1234567890123"));
    llem_buf_done(&text);
    llem_arena_done(&a);
    close_it(&o);
}

static void a_snapshot_tells_state_limits_violations_and_processes(void **state)
{
    char scenario[4096] = "board h100\n fault throttle 1\n";
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v;
    struct opened o;

    /* More processes than fit at first, so the library has to be asked twice. */
    for (int i = 0; i < 40; i++)
        snprintf(scenario + strlen(scenario), sizeof(scenario) - strlen(scenario),
                 " process %d %d\n", 100 + i, 1000 * i);
    play(new_driver, scenario);
    o = open_it();
    now += s(3);
    v = llem_get(nvml->snapshot(o.self, &a), o.domains[0].id);
    assert_non_null(v);
    assert_in_range(llem_int_at(v, "temperature_c", 0), 30, 90);
    assert_int_equal(llem_int_at(v, "clocks_mhz.sm", 0), 345);
    assert_int_equal(llem_int_at(v, "p_state", -1), 8);
    assert_true(fabs(llem_real_at(v, "limits_w.enforced", 0) - 700) < 1e-9);
    assert_int_equal(llem_int_at(v, "violation_ns.sw_thermal", 0), s(2));
    assert_int_equal(llem_int_at(v, "violation_ns.power", -1), 0);
    assert_int_equal(llem_int_at(v, "event_reasons", 0) & 0x20, 0x20);
    assert_int_equal(llem_get(v, "processes")->count, 40);
    assert_int_equal(llem_int_at(v, "processes.39.pid", 0), 139);
    assert_int_equal(llem_int_at(v, "processes.39.memory_bytes", 0), 39000);
    llem_arena_done(&a);
    close_it(&o);
}

static void what_a_snapshot_cannot_know_is_null_and_not_zero(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v;
    struct opened o;

    play(new_driver,
         "board h100\n unsupported temperature clocks limits pstate processes reasons 74 269\n");
    o = open_it();
    v = llem_get(nvml->snapshot(o.self, &a), o.domains[0].id);
    assert_non_null(llem_get(v, "temperature_c"));
    assert_true(llem_is_null(llem_get(v, "temperature_c")));
    assert_true(llem_is_null(llem_at(v, "clocks_mhz.sm")));
    assert_true(llem_is_null(llem_at(v, "limits_w.enforced")));
    assert_true(llem_is_null(llem_get(v, "p_state")));
    assert_true(llem_is_null(llem_get(v, "processes")));
    assert_true(llem_is_null(llem_get(v, "event_reasons")));
    assert_true(llem_is_null(llem_at(v, "violation_ns.power")));
    assert_true(llem_is_null(llem_at(v, "violation_ns.sw_thermal")));
    assert_int_equal(llem_int_at(v, "violation_ns.hw_thermal", -1), 0);
    llem_arena_done(&a);
    close_it(&o);
}

static void a_lost_board_gives_a_snapshot_of_nulls(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_value *v;
    struct opened o;

    play(new_driver, "board h100\n fault lost 1\n");
    o = open_it();
    now += s(2);
    v = llem_get(nvml->snapshot(o.self, &a), o.domains[0].id);
    assert_true(llem_is_null(llem_get(v, "temperature_c")));
    assert_true(llem_is_null(llem_get(v, "processes")));
    assert_true(llem_is_null(llem_at(v, "violation_ns.power")));
    assert_non_null(nvml->describe(o.self, &a));
    llem_arena_done(&a);
    close_it(&o);
}

static int leave(void **state)
{
    unsetenv("LLEM_NVML_LIBRARY");
    unsetenv("LLEM_FAKE_NVML_SCENARIO");
    return remove_dir(state);
}

#define fake_test(f) cmocka_unit_test_setup_teardown(f, make_dir, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First, as a fake once loaded answers to the library's name from then on. */
        fake_test(without_the_library_a_board_on_the_bus_is_noticed),
        fake_test(a_board_tells_energy_and_both_powers_in_one_call),
        fake_test(the_raw_counter_is_the_truth_at_the_last_tick),
        fake_test(gain_and_window_shape_what_the_powers_show),
        fake_test(slow_fields_are_read_apart),
        fake_test(eight_boards_have_eight_names_and_ticks_of_their_own),
        fake_test(reading_allocates_nothing_and_opens_nothing),
        fake_test(the_role_of_a_power_follows_the_chip_and_the_driver),
        fake_test(a_field_that_is_not_supported_is_left_out),
        fake_test(a_driver_without_field_values_is_read_by_its_functions),
        fake_test(a_board_without_counter_is_read_by_power_alone),
        fake_test(an_old_driver_is_read_by_its_old_symbols),
        fake_test(a_mig_board_is_named_as_such_and_read_as_a_whole),
        fake_test(a_lost_board_is_gone_in_every_field_and_the_others_go_on),
        fake_test(one_failing_field_keeps_its_code_and_spares_the_others),
        fake_test(a_failing_call_gives_its_code_to_every_field),
        fake_test(a_power_that_cannot_be_is_garbage_and_never_zero),
        fake_test(random_bytes_are_garbage_or_a_possible_value),
        fake_test(resets_jumps_and_sticking_leave_as_they_come),
        fake_test(each_refusal_has_a_reason_a_sentence_and_a_remedy),
        fake_test(a_missing_library_and_one_of_another_kind_are_told_apart),
        fake_test(a_refused_board_does_not_keep_the_others_from_being_read),
        fake_test(probing_leaves_nothing_open),
        fake_test(the_description_names_what_does_not_change_but_no_serial_number),
        fake_test(a_snapshot_tells_state_limits_violations_and_processes),
        fake_test(what_a_snapshot_cannot_know_is_null_and_not_zero),
        fake_test(a_lost_board_gives_a_snapshot_of_nulls),
    };

    return cmocka_run_group_tests_name("sampler_nvml", tests, NULL, NULL);
}
