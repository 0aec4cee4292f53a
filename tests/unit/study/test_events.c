/* SPDX-License-Identifier: MIT
 *
 * Events as lines, between threads, and into pipes that nobody empties.
 */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/study/study.h"

static const llem_event sample = { .type = LLEM_EVENT_STEP_DONE,
                                   .step = "warmup",
                                   .text = "a \"b\"\n\xc3\xa9",
                                   .reason = "quick",
                                   .elapsed_s = 1.5,
                                   .fraction = -1,
                                   .power_w = NAN,
                                   .tokens_per_s = NAN,
                                   .temperature_c = NAN };

static void an_event_survives_its_line(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf b = LLEM_BUF_INIT(4096);
    llem_event e;

    for (int type = LLEM_EVENT_STARTED; type < LLEM_EVENT_FINISHED; type++) {
        llem_event out = sample;

        out.type = (llem_event_type)type;
        llem_buf_clear(&b);
        llem_event_encode(&b, &out);
        assert_int_equal(b.data[b.len - 1], '\n');
        assert_null(memchr(b.data, '\n', b.len - 1));
        assert_int_equal(llem_event_decode(&a, b.data, b.len - 1, &e, NULL), LLEM_LINE_EVENT);
        assert_int_equal(e.type, type);
        assert_string_equal(e.step, sample.step);
        assert_string_equal(e.text, sample.text);
        assert_string_equal(e.reason, sample.reason);
        assert_true(e.elapsed_s == 1.5);
        assert_true(isnan(e.power_w) && isnan(e.tokens_per_s));
    }
    llem_buf_done(&b);
    llem_arena_done(&a);
}

static void a_failure_survives_its_line(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_buf b = LLEM_BUF_INIT(1 << 16);
    llem_error err, back = { 0 };
    llem_event e;

    llem_fail_at(&err, LLEM_ECORRUPT, "f.json", 3, 4, "it is \"bad\"");
    llem_hint(&err, LLEM_ECORRUPT, "try another");
    llem_event_encode_error(&b, &err);
    assert_int_equal(llem_event_decode(&a, b.data, b.len - 1, &e, &back), LLEM_LINE_ERROR);
    assert_int_equal(back.code, LLEM_ECORRUPT);
    assert_int_equal(back.line, 3);
    assert_int_equal(back.column, 4);
    assert_string_equal(back.file, "f.json");
    assert_string_equal(back.msg, "it is \"bad\"");
    assert_string_equal(back.hint, "try another");
    llem_buf_done(&b);
    llem_arena_done(&a);
}

static void lines_of_others_are_no_events(void **state)
{
    static const char *const lines[] = {
        "",
        "{",
        "{}",
        "[]",
        "null",
        "hello",
        "{\"event\":1}",
        "{\"event\":\"nope\"}",
        "{\"event\":\"finished\"}",
        "{\"event\":\"step_done\"",
        "{\"event\":\"step_done\"}}",
        "\xff\xfe",
        "{\"event\":\"step_done\",\"event\":\"live\"}",
    };
    struct llem_arena a = LLEM_ARENA_INIT;
    llem_error failure = { 0 };
    llem_event e;

    for (size_t i = 0; i < LLEM_COUNT(lines); i++)
        assert_int_equal(llem_event_decode(&a, lines[i], strlen(lines[i]), &e, &failure),
                         LLEM_LINE_OTHER);
    assert_int_equal(failure.code, 0);
    llem_arena_done(&a);
}

static void an_unknown_code_becomes_a_crash(void **state)
{
    static const char line[] = "{\"event\":\"error\",\"code\":-999,\"message\":\"m\"}";
    struct llem_arena a = LLEM_ARENA_INIT;
    llem_error failure = { 0 };
    llem_event e;

    assert_int_equal(llem_event_decode(&a, line, sizeof(line) - 1, &e, &failure), LLEM_LINE_ERROR);
    assert_int_equal(failure.code, LLEM_ECRASHED);
    llem_arena_done(&a);
}

static void the_queue_keeps_order_and_only_the_last_reading(void **state)
{
    struct llem_event_queue q;
    struct llem_event_node *n;
    llem_event live = { .type = LLEM_EVENT_LIVE, .step = "measure", .text = "", .reason = "" };
    bool over;

    assert_int_equal(llem_event_queue_init(&q, NULL), LLEM_OK);
    assert_null(llem_event_queue_pop(&q, 0, &over));
    assert_false(over);
    llem_event_queue_push(&q, &sample);
    for (int i = 0; i < 100000; i++) {
        live.power_w = i;
        llem_event_queue_push(&q, &live);
    }
    n = llem_event_queue_pop(&q, 0, &over);
    assert_string_equal(llem_event_of(n)->text, sample.text);
    assert_ptr_not_equal(llem_event_of(n)->text, sample.text);
    llem_event_free(n);
    n = llem_event_queue_pop(&q, -1, &over);
    assert_int_equal(llem_event_of(n)->type, LLEM_EVENT_LIVE);
    assert_true(llem_event_of(n)->power_w == 99999);
    llem_event_free(n);
    assert_null(llem_event_queue_pop(&q, 0.01, &over));
    llem_event_queue_push(&q, &sample);
    llem_event_queue_close(&q);
    n = llem_event_queue_pop(&q, -1, &over);
    assert_non_null(n);
    assert_false(over);
    llem_event_free(n);
    assert_null(llem_event_queue_pop(&q, -1, &over));
    assert_true(over);
    llem_event_queue_done(&q);
}

enum { MANY = 5000 };

static void *push_many(void *user)
{
    for (int i = 0; i < MANY; i++)
        llem_event_queue_push(user, &sample);
    return NULL;
}

static void the_queue_loses_nothing_between_threads(void **state)
{
    struct llem_event_queue q;
    pthread_t threads[2];
    int got = 0;

    assert_int_equal(llem_event_queue_init(&q, NULL), LLEM_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, push_many, &q), 0);
    while (got < 2 * MANY) {
        struct llem_event_node *n = llem_event_queue_pop(&q, 5, NULL);

        assert_non_null(n);
        llem_event_free(n);
        got++;
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    llem_event_queue_done(&q);
}

static void a_full_pipe_delays_steps_and_drops_readings(void **state)
{
    struct llem_event_writer w;
    llem_event live = { .type = LLEM_EVENT_LIVE,
                        .step = "measure",
                        .text = "",
                        .reason = "",
                        .power_w = 7,
                        .tokens_per_s = NAN,
                        .temperature_c = NAN };
    static char data[1 << 20];
    size_t total = 0, steps = 0;
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    llem_event_writer_init(&w, fds[1]);
    for (int i = 0; i < 1000; i++)
        llem_event_writer_add(&w, &sample);
    for (int i = 0; i < 100; i++)
        llem_event_writer_add(&w, &live); /* must not block */
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    for (int round = 0; round < 50; round++) {
        ssize_t n = read(fds[0], data + total, sizeof(data) - total);

        if (n > 0)
            total += (size_t)n;
        llem_event_writer_add(&w, &sample);
    }
    llem_event_writer_done(&w, 1000);
    close(fds[1]);
    for (ssize_t n; (n = read(fds[0], data + total, sizeof(data) - total)) > 0;)
        total += (size_t)n;
    close(fds[0]);
    for (size_t i = 0; i < total; i++)
        steps += data[i] == '\n';
    assert_int_equal(steps, 1050);
    assert_null(memmem(data, total, "live", 4));
}

static void a_reader_that_left_is_no_failure(void **state)
{
    struct llem_event_writer w;
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    llem_event_writer_init(&w, fds[1]);
    llem_event_writer_add(&w, &sample);
    llem_event_writer_add(&w, &sample);
    llem_event_writer_done(&w, 1000);
    close(fds[1]);
    llem_event_writer_init(&w, -1);
    llem_event_writer_add(&w, &sample);
    llem_event_writer_done(&w, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_survives_its_line),
        cmocka_unit_test(a_failure_survives_its_line),
        cmocka_unit_test(lines_of_others_are_no_events),
        cmocka_unit_test(an_unknown_code_becomes_a_crash),
        cmocka_unit_test(the_queue_keeps_order_and_only_the_last_reading),
        cmocka_unit_test(the_queue_loses_nothing_between_threads),
        cmocka_unit_test(a_full_pipe_delays_steps_and_drops_readings),
        cmocka_unit_test(a_reader_that_left_is_no_failure),
    };

    signal(SIGPIPE, SIG_IGN); /* as in the program */
    return cmocka_run_group_tests_name("study/events", tests, NULL, NULL);
}
