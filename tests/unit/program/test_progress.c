/* SPDX-License-Identifier: MIT
 *
 * The display, drawn into memory with a clock of its own; and the texts that it is made of.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "src/left.h"
#include "src/progress.h"

static int64_t now;
static char *text;
static size_t len;
static FILE *f;
static struct progress p;

static int64_t clock_ns(void)
{
    return now;
}

/* A display of `mode`; live as on a terminal, without colours. */
static void begin(const char *mode, bool live, const char *locale)
{
    struct term t;

    setenv("LC_ALL", locale, 1);
    setenv("COLUMNS", "80", 1);
    f = open_memstream(&text, &len);
    assert_non_null(f);
    term_init(&t, -1);
    t.tty = live;
    progress_init(&p, mode, f, &t);
    p.now_ns = clock_ns;
    now = 1000000000;
}

static const char *drawn(void)
{
    fflush(f);
    return text;
}

static int end(void **state)
{
    if (f)
        fclose(f);
    free(text);
    f = NULL;
    text = NULL;
    return 0;
}

static void pass(double s)
{
    for (double t = 0; t < s - 1e-9; t += 0.0625) {
        now += 62500000;
        progress_tick(&p);
    }
}

static void event(llem_event_type type, const char *step, const char *what, double elapsed_s)
{
    llem_event e = { .type = type,
                     .step = step,
                     .text = what,
                     .reason = "",
                     .elapsed_s = elapsed_s,
                     .fraction = -1,
                     .power_w = NAN,
                     .tokens_per_s = NAN,
                     .temperature_c = NAN };

    progress_event(&p, &e);
}

static void live(double power_w, double tokens_per_s)
{
    llem_event e = { .type = LLEM_EVENT_LIVE,
                     .step = "measure",
                     .text = "",
                     .reason = "",
                     .power_w = power_w,
                     .tokens_per_s = tokens_per_s,
                     .temperature_c = NAN };

    progress_event(&p, &e);
}

static void plain_says_what_is_done_and_announces_only_what_takes_long(void **state)
{
    begin("plain", true, "C.UTF-8");
    event(LLEM_EVENT_STEP_START, "model", "Loading model", 0);
    pass(0.5);
    event(LLEM_EVENT_STEP_DONE, "model", "gpt2", 0.5);
    event(LLEM_EVENT_STEP_START, "warmup", "Warming up", 0);
    pass(3);
    event(LLEM_EVENT_STEP_DONE, "warmup", "", 3);
    event(LLEM_EVENT_STEP_SKIP, "baseline", "There is no sensor.", 0);
    assert_string_equal(drawn(), "  Model         gpt2 (0.5s)\n"
                                 "  Warm-up       Warming up ...\n"
                                 "  Warm-up       done (3.0s)\n"
                                 "  Idle power    skipped: There is no sensor.\n");
}

static void plain_has_a_heartbeat_with_the_last_reading(void **state)
{
    begin("plain", true, "C.UTF-8");
    event(LLEM_EVENT_STEP_START, "measure", "Measuring", 0);
    pass(6);
    live(45.25, 210.4);
    pass(5);
    live(NAN, 99);
    pass(5);
    assert_string_equal(drawn(), "  Measuring     ...\n"
                                 "  Measuring     ... (5.0s)\n"
                                 "  Measuring     45.2 W, 210 tok/s (10.0s)\n"
                                 "  Measuring     99.0 tok/s (15.0s)\n");
}

static void auto_is_plain_where_nothing_can_move(void **state)
{
    begin("auto", false, "C.UTF-8");
    assert_false(p.live);
    event(LLEM_EVENT_STEP_START, "model", "Loading", 0);
    pass(2);
    assert_null(strpbrk(drawn(), "\r\033"));
}

static void the_moving_line_is_redrawn_at_most_eight_times_a_second(void **state)
{
    size_t redraws = 0;

    begin(NULL, true, "C.UTF-8");
    event(LLEM_EVENT_STEP_START, "measure", "Measuring", 0);
    pass(4);
    for (const char *c = drawn(); (c = strstr(c, "\033[K")); c++)
        redraws++;
    assert_in_range(redraws, 30, 34);
    assert_null(strchr(drawn(), '\n'));
}

static void the_moving_line_never_wraps(void **state)
{
    static const int columns[] = { 20, 40, 79, 80, 120 };
    char wide[2000], size[8];

    memset(wide, 'w', sizeof(wide));
    memcpy(wide + 3, "\xe6\xb8\xac\xe5\xae\x9a", 6); /* two characters of two columns */
    wide[sizeof(wide) - 1] = 0;
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        begin(NULL, true, "C.UTF-8");
        snprintf(size, sizeof(size), "%d", columns[i]);
        setenv("COLUMNS", size, 1);
        event(LLEM_EVENT_STEP_START, "measure", wide, 0);
        live(300, 5000);
        for (int k = 0; k < 30; k++)
            live(300 + 10 * k, 5000);
        pass(1);
        event(LLEM_EVENT_STEP_DONE, "measure", wide, 1);
        for (char *line = strtok((char *)(uintptr_t)drawn(), "\r\n"); line;
             line = strtok(NULL, "\r\n")) {
            char *escape = strstr(line, "\033[K");

            if (escape)
                memmove(escape, escape + 3, strlen(escape + 3) + 1);
            assert_in_range(text_columns(line), 0, columns[i] > 40 ? columns[i] - 1 : 40);
        }
        end(NULL);
    }
}

static void powers_become_a_curve(void **state)
{
    begin(NULL, true, "C.UTF-8");
    event(LLEM_EVENT_STEP_START, "measure", "Measuring", 0);
    for (int i = 0; i < 8; i++)
        live(100 + 100 * i, NAN);
    pass(0.2);
    assert_non_null(strstr(drawn(), "800 W  ▁▂▃▄▅▆▇█"));
    end(NULL);
    begin(NULL, true, "C");
    event(LLEM_EVENT_STEP_START, "measure", "Measuring", 0);
    for (int i = 0; i < 8; i++)
        live(100 + 100 * i, NAN);
    event(LLEM_EVENT_STEP_DONE, "measure", "10 s", 10);
    for (const char *c = drawn(); *c; c++)
        assert_in_range((unsigned char)*c, 1, 126);
}

static void json_escapes_and_ends_with_the_outcome(void **state)
{
    begin("json", true, "C.UTF-8");
    event(LLEM_EVENT_STARTED, "", "a\"b", 0);
    event(LLEM_EVENT_STEP_START, "model", "x\ny\t\\", 0);
    live(12.5, NAN);
    live(NAN, 0);
    event(LLEM_EVENT_STEP_DONE, "model", "", 1.25);
    event(LLEM_EVENT_NONE, "", "", 0);
    pass(20);
    progress_outcome(&p, "d", NULL, NULL);
    progress_outcome(&p, "d", "io", "no \x01");
    assert_string_equal(drawn(),
                        "{\"event\": \"started\", \"directory\": \"a\\\"b\"}\n"
                        "{\"event\": \"step_start\", \"step\": \"model\", \"description\": "
                        "\"Model\", \"detail\": \"x\\u000ay\\u0009\\\\\"}\n"
                        "{\"event\": \"live\", \"step\": \"measure\", \"elapsed_sec\": 0, "
                        "\"power_w\": 12.5}\n"
                        "{\"event\": \"live\", \"step\": \"measure\", \"elapsed_sec\": 0, "
                        "\"tokens_per_s\": 0}\n"
                        "{\"event\": \"step_done\", \"step\": \"model\", \"elapsed_sec\": 1.25}\n"
                        "{\"event\": \"completed\", \"directory\": \"d\"}\n"
                        "{\"event\": \"failed\", \"directory\": \"d\", \"error\": \"io\", "
                        "\"message\": \"no \\u0001\"}\n");
}

static void none_says_nothing(void **state)
{
    begin("none", true, "C.UTF-8");
    event(LLEM_EVENT_STEP_START, "model", "Loading", 0);
    event(LLEM_EVENT_WARNING, "", "hot", 0);
    pass(20);
    progress_close(&p);
    progress_outcome(&p, "d", "io", "no");
    assert_string_equal(drawn(), "");
}

static int n_writes;

static ssize_t count_write(void *cookie, const char *data, size_t size)
{
    n_writes++;
    return (ssize_t)size;
}

/* As main() sets up standard error. */
static void a_frame_is_one_write(void **state)
{
    static char lines[4096];
    int frames;

    begin(NULL, true, "C.UTF-8");
    fclose(f);
    f = p.f = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = count_write });
    assert_non_null(f);
    setvbuf(f, lines, _IOLBF, sizeof(lines));
    event(LLEM_EVENT_STEP_START, "model", "reading 3 files", NAN);
    assert_int_equal(n_writes, 1);
    n_writes = 0;
    for (frames = 1; frames <= 20; frames++) {
        now += (int64_t)PROGRESS_TICK_MS * 1000000;
        progress_tick(&p);
        assert_int_equal(n_writes, frames);
    }
    n_writes = 0;
    event(LLEM_EVENT_STEP_DONE, "model", "0.1 B parameters", 2.5);
    assert_int_equal(n_writes, 1);
}

static void text_from_files_cannot_steer_the_terminal(void **state)
{
    begin("plain", true, "C.UTF-8");
    event(LLEM_EVENT_STEP_START, "model", "", 0);
    event(LLEM_EVENT_STEP_DONE, "model",
          "a\033[2Jb\rc\x7f\xc2\x9b"
          "d\xff\xe2\x80\xae",
          1);
    event(LLEM_EVENT_WARNING, "", "\033]0;x\a", 0);
    for (const char *c = drawn(); *c; c++)
        assert_true((unsigned char)*c >= 0x20 || *c == '\n');
    assert_null(strstr(drawn(), "\xe2\x80\xae"));
}

static void texts_are_cut_at_whole_characters(void **state)
{
    struct term t;
    char out[32];

    setenv("LC_ALL", "C.UTF-8", 1);
    term_init(&t, -1);
    text_clip(t.glyphs, out, sizeof(out), "abcdef", 6);
    assert_string_equal(out, "abcdef");
    text_clip(t.glyphs, out, sizeof(out), "abcdef", 5);
    assert_string_equal(out, "abcd…");
    text_clip(t.glyphs, out, sizeof(out), "測定測定", 6);
    assert_string_equal(out, "測定…");
    text_clip(t.glyphs, out, sizeof(out),
              "e\xcc\x81"
              "e\xcc\x81",
              2);
    assert_string_equal(out, "e\xcc\x81"
                             "e\xcc\x81");
    text_clip(t.glyphs, out, 8, "測定測定測定", 100);
    assert_string_equal(out, "測");
}

static void elapsed_times_read_well(void **state)
{
    static const struct {
        double s;
        const char *text;
    } cases[] = {
        { 0, "0.0s" },         { 4.25, "4.2s" },    { 59.94, "59.9s" }, { 59.96, "1m 00s" },
        { 272, "4m 32s" },     { 3599, "59m 59s" }, { 3600, "1h 00m" }, { 3900, "1h 05m" },
        { 1e8, "27777h 46m" }, { NAN, "-" },        { -1, "-" },        { INFINITY, "-" },
    };
    char out[24];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text_elapsed(out, cases[i].s);
        assert_string_equal(out, cases[i].text);
    }
}

/* ---- a study ------------------------------------------------------------------------------ */

enum { SCREEN_ROWS = 4000, SCREEN_BYTES = 800 };

/* What a terminal shows after what was written to it, lines that scrolled by too; "^" ends a line
 * with what is wider than it. */
static const char *screen(void)
{
    static char rows[SCREEN_ROWS][SCREEN_BYTES], all[SCREEN_ROWS * 4];
    size_t row = 0, last = 0, col = 0, n = 0;

    memset(rows, 0, sizeof(rows));
    for (const char *c = drawn(); *c; c++) {
        int by = 0, end = 0;

        if (sscanf(c, "\033[%dA%n", &by, &end) == 1 && end) {
            assert_true((size_t)by <= row);
            row -= (size_t)by;
            c += end - 1;
        } else if (strncmp(c, "\033[K", 3) == 0 || strncmp(c, "\033[J", 3) == 0) {
            rows[row][col] = 0;
            for (size_t r = row + 1; c[2] == 'J' && r <= last; r++)
                rows[r][0] = 0;
            c += 2;
        } else if (*c == '\n') {
            row++;
            col = 0;
        } else if (*c == '\r') {
            col = 0;
        } else {
            assert_int_not_equal(*c, '\033');
            rows[row][col++] = *c;
        }
        last = row > last ? row : last;
        assert_true(last < SCREEN_ROWS && col < SCREEN_BYTES);
    }
    for (size_t r = 0; r <= last; r++)
        n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s", rows[r], r < last ? "\n" : "");
    return all;
}

static int n_earlier; /* runs that an earlier job ended, from 1 on */
static double pauses_s;

/* Of four experiments, each in as many cycles as there are runs. */
static llem_errcode fake_run(const llem_job *job, int run, llem_run_info *info)
{
    static const char *const labels[] = { "gpt2 / cpu / batch_size=1", "gpt2 / cpu / batch_size=2",
                                          "gpt2 / cpu / batch_size=4",
                                          "gpt2 / cpu / batch_size=8" };

    assert_int_equal(info->size, sizeof(*info));
    info->label = labels[(run - 1) % 4];
    info->experiment = (run - 1) % 4 + 1;
    info->cycle = (run - 1) / 4 + 1;
    info->pause_s = run > 1 ? pauses_s : 0;
    info->state = run <= n_earlier ? "completed" : "";
    info->elapsed_s = info->energy_j = info->tokens_per_s = run <= n_earlier ? 10 : NAN;
    info->energy_estimated_j = NAN;
    return LLEM_OK;
}

static void begin_study(const char *mode, bool moves, int n_runs, const char *columns)
{
    begin(mode, moves, "C.UTF-8");
    p.term.color = (struct palette){ "", "", "", "", "", "", "" };
    setenv("COLUMNS", columns, 1);
    setenv("LINES", "24", 1);
    n_earlier = 0;
    pauses_s = 0;
    progress_study(&p, NULL, n_runs, fake_run);
}

static int end_study(void **state)
{
    if (f)
        progress_close(&p);
    unsetenv("LLEM_TABLE_ROWS");
    return end(state);
}

static void of_run(llem_event_type type, int run, const char *step, const char *what)
{
    progress_event(&p, &(llem_event){ .type = type,
                                      .run = run,
                                      .n_runs = 12,
                                      .step = step,
                                      .text = what,
                                      .reason = "",
                                      .fraction = -1,
                                      .power_w = NAN,
                                      .tokens_per_s = NAN });
}

/* A run that is over after some seconds. */
static void ended(int run, const char *how, const char *what, double elapsed_s, double energy_j,
                  double estimated_j)
{
    progress_event(&p, &(llem_event){ .type = LLEM_EVENT_ENDED,
                                      .run = run,
                                      .n_runs = 12,
                                      .step = "",
                                      .text = what,
                                      .reason = how,
                                      .elapsed_s = elapsed_s,
                                      .energy_j = energy_j,
                                      .energy_estimated_j = estimated_j,
                                      .tokens_per_s = how[0] == 'c' ? 100 : NAN });
}

static void run_through(int run, double s, double energy_j)
{
    of_run(LLEM_EVENT_STARTED, run, "", "d");
    pass(s);
    ended(run, "completed", "", s, energy_j, NAN);
}

static void a_study_shows_what_is_over_what_runs_and_what_comes(void **state)
{
    begin_study(NULL, true, 12, "80");
    of_run(LLEM_EVENT_STARTED, 1, "", "d");
    of_run(LLEM_EVENT_STEP_START, 1, "model", "");
    pass(1);
    /* Nothing tells yet how long it takes. */
    assert_string_equal(
        screen(),
        "  ⠧ [ 1/12] batch_size=1 c1                                                0.9s\n"
        "      Model                                                                0.9s\n"
        "\n"
        "    [ 2/12] batch_size=2 c1\n"
        "    [ 3/12] batch_size=4 c1\n"
        "    [ 4/12] batch_size=8 c1\n"
        "    … 8 more after these\n"
        "  0/12 done · 0.9s\n");
    of_run(LLEM_EVENT_STEP_DONE, 1, "model", "gpt2");
    ended(1, "completed", "", 10, 45.25, NAN);
    run_through(2, 10, 1200);
    of_run(LLEM_EVENT_STARTED, 3, "", "d");
    of_run(LLEM_EVENT_STEP_DONE, 3, "model", "gpt2");
    of_run(LLEM_EVENT_STEP_START, 3, "measure", "");
    live(300, 5000);
    pass(1);
    assert_string_equal(
        screen(),
        "  ✓ [ 1/12] batch_size=1 c1                       45.2 J    100 tok/s     10.0s\n"
        "  ✓ [ 2/12] batch_size=2 c1                      1.20 kJ    100 tok/s     10.0s\n"
        "  ⠴ [ 3/12] batch_size=4 c1                                                0.9s\n"
        "      Model 0.0s\n"
        "      Measuring     300 W  5000 tok/s                                      0.9s\n"
        "    [ 4/12] batch_size=8 c1\n"
        "    [ 5/12] batch_size=1 c2\n"
        "    [ 6/12] batch_size=2 c2\n"
        "    … 6 more after these\n"
        "  2/12 done · 11.9s · 1m 39s ± 1s left · 1.25 kJ so far\n");
}

static void a_failure_is_told_whole_and_stays(void **state)
{
    static const char sentence[] = "the device has no memory left for the weights of the model, "
                                   "which take 26.1 GiB of its 24 GiB";
    const char *shown;

    begin_study(NULL, true, 12, "60");
    run_through(1, 10, 1);
    of_run(LLEM_EVENT_STARTED, 2, "", "d");
    ended(2, "failed", sentence, 3, NAN, NAN);
    run_through(3, 10, 1);
    pass(1);
    shown = screen();
    assert_non_null(strstr(shown, "  ✗ [ 2/12] batch_size=2 c1: failed: the device has no\n"
                                  "    memory left for the weights of the model, which take\n"
                                  "    26.1 GiB of its 24 GiB\n"
                                  "  ✓ [ 1/12] batch_size=1 c1                 1.00 J    10.0s\n"
                                  "  ✗ [ 2/12] batch_size=2 c1                 failed     3.0s\n"));
    assert_non_null(strstr(shown, "  3/12 done, 1 failed · "));
    progress_close(&p);
    shown = screen();
    assert_non_null(strstr(shown, "26.1 GiB"));
    assert_null(strstr(shown, "batch_size=1 c1"));
    assert_non_null(strstr(shown, "3/12 done, 1 failed · 21.0s · 2.00 J so far\n"));
}

static void estimates_are_called_so(void **state)
{
    begin_study(NULL, true, 12, "80");
    of_run(LLEM_EVENT_STARTED, 1, "", "d");
    ended(1, "completed", "", 10, NAN, 45);
    pass(0.25);
    assert_non_null(strstr(screen(), "~45.0 J    100 tok/s"));
    assert_non_null(strstr(screen(), " · ~45.0 J estimated so far\n"));
    run_through(2, 1, 2);
    pass(0.25);
    assert_non_null(strstr(screen(), " · 2.00 J and ~45.0 J estimated so far\n"));
}

static void a_pause_is_counted_down(void **state)
{
    llem_event e = { .type = LLEM_EVENT_PAUSE, .run = 2, .step = "gap", .text = "", .reason = "" };

    begin_study(NULL, true, 12, "80");
    pauses_s = 60;
    run_through(1, 1, 1);
    progress_event(&p, &e);
    pass(18);
    e.elapsed_s = 18;
    e.fraction = 0.3;
    progress_event(&p, &e);
    pass(0.25);
    assert_non_null(strstr(screen(), "[ 2/12] batch_size=2 c1\n      Pause         42s left\n"));
    /* It stands there once. */
    assert_null(strstr(strstr(screen(), "[ 2/12]") + 1, "[ 2/12]"));
    of_run(LLEM_EVENT_STARTED, 2, "", "d");
    pass(0.25);
    assert_null(strstr(screen(), "Pause"));
    ended(2, "failed", "no", 1, NAN, NAN);
    /* How long a cooldown lasts is in its events. */
    e = (llem_event){
        .type = LLEM_EVENT_PAUSE, .run = 2, .step = "cooldown", .text = "", .reason = ""
    };
    progress_event(&p, &e);
    pass(5);
    e.elapsed_s = 5;
    e.fraction = 0.25;
    progress_event(&p, &e);
    pass(0.25);
    assert_non_null(strstr(screen(), "      Cooling down  15s left\n"));
}

static void rows_that_do_not_fit_are_counted(void **state)
{
    begin_study(NULL, true, 40, "80");
    for (int run = 1; run <= 30; run++)
        run_through(run, 0.25, 1);
    of_run(LLEM_EVENT_STARTED, 31, "", "d");
    pass(0.25);
    /* 24 rows: 12 for runs that are over. */
    assert_non_null(strstr(screen(), "    … 18 more before these\n  ✓ [19/40] "));
    setenv("LINES", "12", 1);
    pass(0.25);
    assert_non_null(strstr(screen(), "    … 27 more before these\n  ✓ [28/40] "));
    assert_null(strstr(screen(), "[32/40]"));
    setenv("LINES", "5", 1);
    pass(0.25);
    assert_null(strstr(screen(), "✓"));
    assert_non_null(strstr(screen(), "[31/40]"));
    end_study(NULL);
    setenv("LLEM_TABLE_ROWS", "5", 1);
    begin_study(NULL, true, 40, "80");
    for (int run = 1; run <= 30; run++)
        run_through(run, 0.25, 1);
    pass(0.25);
    assert_non_null(strstr(screen(), "    … 25 more before these\n  ✓ [26/40] "));
}

static void no_line_of_a_study_is_wider_than_the_terminal(void **state)
{
    static const char *const columns[] = { "20", "40", "59", "80", "200" };

    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        begin_study(NULL, true, 12, columns[i]);
        run_through(1, 1, 123456);
        run_through(2, 2, 1);
        of_run(LLEM_EVENT_STARTED, 3, "", "d");
        of_run(LLEM_EVENT_STEP_DONE, 3, "model", "a text that is longer than what there is");
        of_run(LLEM_EVENT_STEP_DONE, 3, "warmup", "a text that is longer than what there is");
        of_run(LLEM_EVENT_STEP_START, 3, "measure", "a text that is longer than what there is");
        pass(1);
        for (int k = 0; k < 30; k++)
            live(300 + 10 * k, 5000);
        pass(1);
        for (char *at = strtok((char *)(uintptr_t)screen(), "\n"); at; at = strtok(NULL, "\n"))
            assert_in_range(text_columns(at), 0, strtoul(columns[i], NULL, 10) - 1);
        end_study(NULL);
    }
}

/* Lines that break are counted, so that nothing of them is left and nothing above is lost. */
static void a_terminal_that_gets_narrower_is_redrawn_from_the_top(void **state)
{
    size_t before;
    int by = 0;

    begin_study(NULL, true, 12, "80");
    run_through(1, 1, 1);
    of_run(LLEM_EVENT_STARTED, 2, "", "d");
    pass(0.25);
    before = strlen(drawn());
    setenv("COLUMNS", "40", 1);
    pass(0.25);
    /* The run that is over and the one that runs were 79 wide: 9 lines took 11 rows. */
    assert_int_equal(sscanf(drawn() + before, "\r\033[%dA", &by), 1);
    assert_int_equal(by, 11);
}

static void a_warning_of_every_run_is_told_once(void **state)
{
    const char *first;

    begin_study("plain", false, 12, "80");
    for (int run = 1; run <= 3; run++) {
        of_run(LLEM_EVENT_STARTED, run, "", "d");
        of_run(LLEM_EVENT_WARNING, run, "", "There is no sensor.");
    }
    of_run(LLEM_EVENT_WARNING, 3, "", "It is hot.");
    assert_string_equal(drawn(), "  ! There is no sensor.\n  ! It is hot.\n");
    progress_stopping(&p);
    first = strstr(drawn(), "Stopping");
    assert_non_null(first);
    assert_null(strstr(first + 1, "Stopping"));
}

static void a_study_in_plain_has_a_line_a_run_and_a_heartbeat(void **state)
{
    llem_event e = { .type = LLEM_EVENT_PAUSE, .run = 4, .step = "gap", .text = "", .reason = "" };

    begin_study("plain", false, 12, "80");
    pauses_s = 60;
    run_through(1, 4, 45.25);
    of_run(LLEM_EVENT_STARTED, 2, "", "d");
    pass(2);
    ended(2, "failed", "no memory", 2, NAN, NAN);
    of_run(LLEM_EVENT_STARTED, 3, "", "d");
    of_run(LLEM_EVENT_STEP_START, 3, "measure", "");
    live(300, 5000);
    pass(36);
    ended(3, "completed", "", 36, NAN, 12);
    progress_event(&p, &e);
    pass(1);
    progress_close(&p);
    assert_string_equal(
        drawn(), "  [ 1/12] batch_size=1 c1: 45.2 J, 100 tok/s (4.0s)\n"
                 "  [ 2/12] batch_size=2 c1: failed (2.0s): no memory\n"
                 "  [ 3/12] batch_size=4 c1: Measuring 300 W, 5000 tok/s (5.0s); 2/12 done, 1 "
                 "failed, 11.0s, 27s ± 19s left, 45.2 J so far\n"
                 "  [ 3/12] batch_size=4 c1: Measuring 300 W, 5000 tok/s (35.0s); 2/12 done, 1 "
                 "failed, 41.0s, 27s ± 19s left, 45.2 J so far\n"
                 "  [ 3/12] batch_size=4 c1: ~12.0 J, 100 tok/s (36.0s)\n"
                 "  Pause         1m 00s before run 4\n"
                 "  3/12 done, 1 failed, 43.0s, 45.2 J and ~12.0 J estimated so far\n");
}

static void what_an_earlier_job_ended_counts(void **state)
{
    begin(NULL, true, "C.UTF-8");
    p.term.color = (struct palette){ "", "", "", "", "", "", "" };
    setenv("LINES", "24", 1);
    pauses_s = 0;
    n_earlier = 4;
    progress_study(&p, NULL, 12, fake_run);
    of_run(LLEM_EVENT_STARTED, 5, "", "d");
    pass(0.25);
    assert_non_null(strstr(screen(), "✓ [ 4/12] batch_size=8 c1"));
    assert_non_null(strstr(screen(), "  4/12 done · 0.2s · 1m 20s ± 1s left · 40.0 J so far\n"));
}

static void one_run_is_no_study(void **state)
{
    begin(NULL, true, "C.UTF-8");
    progress_study(&p, NULL, 1, fake_run);
    assert_null(p.study);
}

static void a_frame_of_a_study_is_one_write(void **state)
{
    static char lines[PROGRESS_FRAME];
    int frames;

    begin_study(NULL, true, 200, "200");
    setenv("LINES", "200", 1);
    fclose(f);
    f = p.f = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = count_write });
    assert_non_null(f);
    setvbuf(f, lines, _IOLBF, sizeof(lines));
    for (int run = 1; run <= 120; run++)
        ended(run, "completed", "", 1, 1, NAN);
    of_run(LLEM_EVENT_STARTED, 121, "", "d");
    pass(1); /* a stream begins with a write of a byte, as the title of a study is */
    n_writes = 0;
    for (frames = 1; frames <= 20; frames++) {
        now += (int64_t)PROGRESS_TICK_MS * 1000000;
        progress_tick(&p);
        assert_int_equal(n_writes, frames);
    }
    ended(121, "failed", "a reason", 1, NAN, NAN);
    assert_int_equal(n_writes, frames);
}

/* ---- the time left ------------------------------------------------------------------------ */

static void the_time_left_needs_two_runs_to_tell_it_by(void **state)
{
    struct left l = { 0 };
    double s, spread_s;

    for (int i = 1; i <= 4; i++)
        assert_true(left_add(&l, i, i > 1 ? 5 : 0));
    assert_false(left_estimate(&l, 0, 0, &s, &spread_s));
    left_took(&l, 1, 10);
    assert_false(left_estimate(&l, 0, 0, &s, &spread_s));
    left_paused(&l, 5);
    left_took(&l, 2, 20);
    assert_true(left_estimate(&l, 0, 0, &s, &spread_s));
    /* Two of 15 +- 7.07 s, of whose mean two runs tell, and two pauses of 5 s. */
    assert_true(fabs(s - (2 * 15 + 10)) < 1e-6);
    assert_true(fabs(spread_s - (2 * sqrt(50.0 * (2 + 2)))) < 1e-4);
    left_paused(&l, 5);
    assert_true(left_estimate(&l, 3, 6, &s, &spread_s));
    assert_true(fabs(s - (2 * 15 + 5 - 6)) < 1e-6);
    left_done(&l);
}

static void repeated_runs_take_what_they_took(void **state)
{
    struct left l = { 0 };
    double s, spread_s;

    for (int cycle = 0; cycle < 6; cycle++)
        for (int i = 1; i <= 2; i++)
            assert_true(left_add(&l, i, 0));
    left_took(&l, 1, 100);
    left_took(&l, 2, 1);
    /* Four more of each. */
    left_took(&l, 1, 110);
    left_took(&l, 2, 1);
    assert_true(left_estimate(&l, 0, 0, &s, &spread_s));
    assert_true(fabs(s - (4 * 105 + 4)) < 1e-3);
    /* They missed what was expected by 10 % and by nothing. */
    assert_true(fabs(spread_s - (2 * 0.0866 * sqrt(420.0 * 420 + 16))) < 0.05);
    /* One that hung changes little: three of them, their median. */
    left_took(&l, 1, 5000);
    assert_true(left_estimate(&l, 0, 0, &s, &spread_s));
    assert_true(fabs(s - (3 * 110 + 4)) < 1e-3);
    left_done(&l);
}

static void a_far_outlier_is_drawn_in(void **state)
{
    struct left l = { 0 };
    double s, spread_s;

    for (int i = 1; i <= 40; i++)
        assert_true(left_add(&l, i, 0));
    for (int i = 1; i <= 20; i++)
        left_took(&l, i, i == 7 ? 36000 : 10 + 0.1 * (i % 5));
    assert_true(left_estimate(&l, 0, 0, &s, &spread_s));
    assert_in_range(s, 20 * 10, 20 * 11);
    assert_in_range(spread_s, 0, 5);
    left_done(&l);
}

/* Of 10,000 runs each costs as little as of ten. */
static void a_study_of_many_runs_is_followed_in_constant_time(void **state)
{
    clock_t few, many;
    int n_few = 0, n_many = 0;

    begin_study(NULL, true, 10, "80");
    few = clock();
    for (int k = 0; k < 1000; k++, n_few++)
        run_through(k % 10 + 1, 0.125, 1);
    few = clock() - few;
    end_study(NULL);
    begin_study(NULL, true, 10000, "80");
    for (int run = 1; run < 9000; run++)
        ended(run, "completed", "", 1, 1, NAN);
    many = clock();
    for (int run = 9000; run < 10000; run++, n_many++)
        run_through(run, 0.125, 1);
    many = clock() - many;
    assert_int_equal(n_few, n_many);
    /* Also the region is higher. */
    assert_true(many < 10 * few);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(plain_says_what_is_done_and_announces_only_what_takes_long, end),
        cmocka_unit_test_teardown(plain_has_a_heartbeat_with_the_last_reading, end),
        cmocka_unit_test_teardown(auto_is_plain_where_nothing_can_move, end),
        cmocka_unit_test_teardown(the_moving_line_is_redrawn_at_most_eight_times_a_second, end),
        cmocka_unit_test_teardown(the_moving_line_never_wraps, end),
        cmocka_unit_test_teardown(powers_become_a_curve, end),
        cmocka_unit_test_teardown(json_escapes_and_ends_with_the_outcome, end),
        cmocka_unit_test_teardown(none_says_nothing, end),
        cmocka_unit_test_teardown(a_frame_is_one_write, end),
        cmocka_unit_test_teardown(text_from_files_cannot_steer_the_terminal, end),
        cmocka_unit_test_teardown(a_study_shows_what_is_over_what_runs_and_what_comes, end_study),
        cmocka_unit_test_teardown(a_failure_is_told_whole_and_stays, end_study),
        cmocka_unit_test_teardown(estimates_are_called_so, end_study),
        cmocka_unit_test_teardown(a_pause_is_counted_down, end_study),
        cmocka_unit_test_teardown(rows_that_do_not_fit_are_counted, end_study),
        cmocka_unit_test_teardown(no_line_of_a_study_is_wider_than_the_terminal, end_study),
        cmocka_unit_test_teardown(a_terminal_that_gets_narrower_is_redrawn_from_the_top, end_study),
        cmocka_unit_test_teardown(a_warning_of_every_run_is_told_once, end_study),
        cmocka_unit_test_teardown(a_study_in_plain_has_a_line_a_run_and_a_heartbeat, end_study),
        cmocka_unit_test_teardown(what_an_earlier_job_ended_counts, end_study),
        cmocka_unit_test_teardown(one_run_is_no_study, end_study),
        cmocka_unit_test_teardown(a_frame_of_a_study_is_one_write, end_study),
        cmocka_unit_test(the_time_left_needs_two_runs_to_tell_it_by),
        cmocka_unit_test(repeated_runs_take_what_they_took),
        cmocka_unit_test(a_far_outlier_is_drawn_in),
        cmocka_unit_test_teardown(a_study_of_many_runs_is_followed_in_constant_time, end_study),
        cmocka_unit_test(texts_are_cut_at_whole_characters),
        cmocka_unit_test(elapsed_times_read_well),
    };

    return cmocka_run_group_tests_name("program/progress", tests, NULL, NULL);
}
