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

#include <cmocka.h>

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
        cmocka_unit_test(texts_are_cut_at_whole_characters),
        cmocka_unit_test(elapsed_times_read_well),
    };

    return cmocka_run_group_tests_name("program/progress", tests, NULL, NULL);
}
