/* SPDX-License-Identifier: MIT
 *
 * The pretended hardware itself: its closed-form energy against numerical integration, its sensors
 * against their definition, and its programs. Everything that is tested on it rests on this.
 */
#include "tests/unit/sampler/help.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/fakes/scenario.h"

static const double second = 1e9;

static struct scenario play(const char *text)
{
    struct scenario s;
    char path[512], why[512] = "";

    put("scenario", "%s", text);
    snprintf(path, sizeof(path), "%s/scenario", help_dir);
    if (scenario_load(&s, path, why, sizeof(why)) != 0)
        fail_msg("%s", why);
    return s;
}

/* Midpoint sums of the power, independent of the closed form. */
static double integrate(struct load *l, double from, double to, double step)
{
    double sum = 0;
    long n = lround((to - from) / step);

    for (long i = 0; i < n; i++)
        sum += load_power(l, llround((from + ((double)i + 0.5) * step) * second)) * step;
    return sum;
}

static void the_closed_form_is_the_integral_of_the_power(void **state)
{
    static const char *const loads[] = {
        "board h100\n load idle 120\n load decode 0.5 4\n",
        "board h100\n load idle 70\n load square 0.3 3 450 90 0.013 0.3\n load steps 3:99\n",
        "board h100\n tau 0.3\n load idle 70\n load steps 1:500 1.2:100\n",
        "board h100\n tau 0\n load idle 70\n load square 1 4 450 90 0.1\n",
    };

    for (size_t i = 0; i < LLEM_COUNT(loads); i++) {
        struct scenario s = play(loads[i]);
        struct load *l = &s.boards[0].load;
        double exact =
            load_joules(l, llround(4.5 * second)) - load_joules(l, llround(0.2 * second));
        double sum = integrate(l, 0.2, 4.5, 2e-6);

        assert_true(fabs(exact - sum) < 2e-4 * exact);
        assert_true(exact > 70);
        scenario_done(&s);
    }
}

static void the_same_seed_gives_the_same_energy_and_another_seed_another(void **state)
{
    double j[3];
    static const char *const seeds[] = { "seed 5\n", "seed 5\n", "seed 6\n" };
    char text[256];

    for (int i = 0; i < 3; i++) {
        struct scenario s;

        snprintf(text, sizeof(text), "%sboard h100\n load decode 0 10\n", seeds[i]);
        s = play(text);
        if (i == 1) /* asked in other steps */
            for (int k = 0; k < 100; k++)
                load_joules(&s.boards[0].load, llround(0.09 * k * second));
        j[i] = load_joules(&s.boards[0].load, llround(9 * second));
        scenario_done(&s);
    }
    assert_true(j[0] == j[1]);
    assert_true(j[0] != j[2]);
}

static void the_decode_load_has_the_mean_power_of_its_parts(void **state)
{
    struct scenario s = play("board h100\n load idle 120\n load decode 0 2000\n");
    double mean = load_mean_power(&s.boards[0].load, 0, llround(2000 * second));

    /* Gaps of 400 ms at (465 + 320) / 2 W and bursts of 105 ms at 650 W in the mean; a burst begins
     * at the end of a wave, which lengthens the gap by about half of 19 ms and a bit. */
    assert_true(fabs(mean - (0.4105 * 392.5 + 0.105 * 650) / 0.5155) < 6);
    scenario_done(&s);
}

static void a_trace_may_grow_while_it_is_followed(void **state)
{
    char text[1024];
    struct scenario s;
    struct load *l;

    put("trace", "%s", "1000000000 100\n");
    snprintf(text, sizeof(text),
             "epoch boot\nboard h100\n tau 0\n load idle 10\n load trace %s/trace\n", help_dir);
    s = play(text);
    l = &s.boards[0].load;
    scenario_set_epoch(&s, 0);
    assert_true(fabs(load_joules(l, llround(2 * second)) - 110) < 1e-6);
    put("trace", "%s", "1000000000 100\n2000000000 300\n25000"); /* the last line is half written */
    assert_true(fabs(load_joules(l, llround(3 * second)) - 410) < 1e-6);
    put("trace", "%s", "1000000000 100\n2000000000 300\n2500000000 50\n");
    assert_true(fabs(load_joules(l, llround(3 * second)) - 285) < 1e-6);
    scenario_done(&s);
}

static void what_cannot_be_understood_is_named_with_its_line(void **state)
{
    static const char *const bad[] = {
        "board h100\n gian 1\n",
        "gain 1\n",
        "board nothing\n",
        "board h100\n fault lost\n",
        "board h100\n fault lost x\n",
        "board h100\n load square 3 2 1 1 1\n",
        "board h100\n load steps 2:1 1:2\n",
        "board h100 17\n",
        "board h100\n gain nan\n",
        "board h100\n fault vanish 1\n",
    };
    char path[512], why[512], place[64];

    for (size_t i = 0; i < LLEM_COUNT(bad); i++) {
        struct scenario s;

        put("bad", "%s", bad[i]);
        snprintf(path, sizeof(path), "%s/bad", help_dir);
        why[0] = '\0';
        assert_int_equal(scenario_load(&s, path, why, sizeof(why)), -1);
        snprintf(place, sizeof(place), "bad:%d:", strncmp(bad[i], "board h100\n", 11) ? 1 : 2);
        assert_non_null(strstr(why, place));
        scenario_done(&s);
    }
}

/* ---- programs ---------------------------------------------------------------------------- */

static const char *built(const char *name)
{
    static char path[1024];

    snprintf(path, sizeof(path), "%s/tests/fakes/%s", getenv("LLEM_TEST_BUILD_DIR"), name);
    return path;
}

/* Start a program whose standard output is a pipe. */
static pid_t start(FILE **out, const char *const *argv)
{
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        dup2(ends[1], 1);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(ends[1]);
    *out = fdopen(ends[0], "r");
    return pid;
}

static void stop(pid_t pid)
{
    int status;

    kill(pid, SIGTERM);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void pause_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

    nanosleep(&t, NULL);
}

static void fake_truth_prints_the_energy_of_a_board(void **state)
{
    char path[512], program[1024], line[64] = "";
    const char *argv[] = { program, path, "1", "500000000", "3000000000", NULL };
    FILE *out;
    pid_t pid;

    put("scenario", "%s",
        "epoch boot\nboard h100\nboard h100\n tau 0\n load idle 100\n load steps 1:300\n");
    snprintf(path, sizeof(path), "%s/scenario", help_dir);
    snprintf(program, sizeof(program), "%s", built("fake-truth"));
    pid = start(&out, argv);
    assert_non_null(fgets(line, sizeof(line), out));
    fclose(out);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(fabs(strtod(line, NULL) - 650) < 1e-6);
}

static void fake_load_follows_a_file_that_comes_and_goes(void **state)
{
    char trace[512], flag[512], program[1024], argument[600], text[1024];
    const char *argv[] = { program, trace, "50", argument, NULL };
    int64_t on, off, t0 = now_ns();
    struct scenario s;
    double joules, expected;
    FILE *out;
    pid_t pid;

    snprintf(trace, sizeof(trace), "%s/trace", help_dir);
    snprintf(flag, sizeof(flag), "%s/busy", help_dir);
    snprintf(argument, sizeof(argument), "%s=400", flag);
    snprintf(program, sizeof(program), "%s", built("fake-load"));
    pid = start(&out, argv);
    pause_ms(200);
    on = now_ns();
    put("busy", "%s", "");
    pause_ms(300);
    off = now_ns();
    unlink(flag);
    pause_ms(200);
    stop(pid);
    fclose(out);

    snprintf(text, sizeof(text), "epoch boot\nboard h100\n tau 0\n load idle 50\n load trace %s\n",
             trace);
    s = play(text);
    scenario_set_epoch(&s, 0);
    joules = load_joules(&s.boards[0].load, now_ns()) - load_joules(&s.boards[0].load, t0);
    expected = 1e-9 * ((double)(now_ns() - t0) * 50 + (double)(off - on) * 350);
    /* It looks each 2 ms; a busy machine may delay it further. */
    assert_true(fabs(joules - expected) < 0.05 * 350);
    scenario_done(&s);
}

static void fake_powercap_grows_wraps_and_ends_when_told(void **state)
{
    char dir[512], path[512], program[1024], line[64] = "";
    const char *argv[] = { program, dir, path, NULL };
    llem_ctx *ctx = new_ctx();
    const struct llem_domain *d;
    struct llem_reading r;
    void *self = NULL;
    size_t i = 0;
    int64_t last = -1, first = 0, sum = 0, t0 = 0, t1 = 0;
    int wraps = 0, ticks = 0;
    double watts;
    FILE *out;
    pid_t pid;

    put("scenario", "%s",
        "zone intel-rapl:0\n name package-0\n max_uj 1999999\n start_uj 1990000\n load idle 20\n"
        "zone intel-rapl:0:0\n name dram\n load idle 5\n"
        "zone intel-rapl:1\n name psys\n load idle 90\n"
        "zone intel-rapl-mmio:0\n name package-0\n load idle 20\n");
    snprintf(path, sizeof(path), "%s/scenario", help_dir);
    snprintf(dir, sizeof(dir), "%s/sys", help_dir);
    assert_int_equal(llem_mkdirs(dir, NULL), LLEM_OK);
    snprintf(program, sizeof(program), "%s", built("fake-powercap"));
    pid = start(&out, argv);
    assert_non_null(fgets(line, sizeof(line), out));
    assert_true(llem_starts_with(line, "ready "));

    setenv("LLEM_SYSFS", dir, 1);
    assert_int_equal(llem_sampler_rapl.open(&self, ctx, NULL), LLEM_OK);
    d = domain_named(&llem_sampler_rapl, self, "package:0", &i);
    assert_non_null(d);
    assert_int_equal(d->fields[0].modulus, 1999999); /* far too small for a unit to show */
    for (int ms = 0; ms < 400; ms++) {
        assert_int_equal(llem_sampler_rapl.read(self, i, false, &r), 1);
        assert_int_equal(r.status, LLEM_READ_OK);
        if (last < 0) {
            first = r.raw;
            t0 = now_ns();
        } else if (r.raw != last) {
            sum += r.raw - last + (r.raw < last ? 2000000 : 0);
            wraps += r.raw < last;
            ticks++;
        }
        t1 = now_ns();
        last = r.raw;
        pause_ms(1);
    }
    (void)first;
    watts = 1e-6 * (double)sum / (1e-9 * (double)(t1 - t0));
    assert_true(fabs(watts - 20) < 1);
    assert_true(wraps >= 3);
    assert_true(ticks > 100);
    llem_sampler_rapl.close(self);
    unsetenv("LLEM_SYSFS");
    llem_ctx_free(ctx);
    stop(pid);
    fclose(out);
}

#define dir_test(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        dir_test(the_closed_form_is_the_integral_of_the_power),
        dir_test(the_same_seed_gives_the_same_energy_and_another_seed_another),
        dir_test(the_decode_load_has_the_mean_power_of_its_parts),
        dir_test(a_trace_may_grow_while_it_is_followed),
        dir_test(what_cannot_be_understood_is_named_with_its_line),
        dir_test(fake_truth_prints_the_energy_of_a_board),
        dir_test(fake_load_follows_a_file_that_comes_and_goes),
        dir_test(fake_powercap_grows_wraps_and_ends_when_told),
    };

    return cmocka_run_group_tests_name("sampler_fakes", tests, NULL, NULL);
}
