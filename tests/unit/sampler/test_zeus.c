/* SPDX-License-Identifier: MIT
 *
 * The client of zeusd against a server in a thread of this program, which answers whatever a test
 * hands it, and against sockets at which nobody answers.
 */
#include "tests/unit/sampler/help.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

static const struct llem_sampler_class *const zeus = &llem_sampler_zeus;

static struct {
    char path[300];
    int listener;
    pthread_t thread;
    atomic_int stop, connections, requests;
    const char *_Atomic reply; /* to every reading; NULL = nothing at all */
    atomic_size_t length;      /* of it */
    atomic_int hang_up;        /* after every reply */
} server;

static const char discovery[] =
    "{\"gpus\": [{\"id\": 0, \"name\": \"Board\", \"pci_address\": \"0000:01:00.0\","
    " \"cumulative_energy_available\": false}],"
    " \"cpus\": [{\"id\": 0, \"dram_available\": false}, {\"id\": 7, \"dram_available\": false}],"
    " \"enabled_api_groups\": [\"gpu-read\", \"cpu-read\"], \"auth_required\": false}";
static const char sound[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 56\r\n\r\n"
    "{\"0\":{\"cpu_energy_uj\": 123456789,\"dram_energy_uj\":null}}";

static void answer(int fd)
{
    char request[4096], reply[2048];
    struct pollfd p = { .fd = fd, .events = POLLIN };
    ssize_t n;

    while (!server.stop) {
        if (poll(&p, 1, 20) <= 0)
            continue;
        n = recv(fd, request, sizeof(request) - 1, 0);
        if (n <= 0)
            break;
        request[n] = '\0';
        server.requests++;
        if (strstr(request, "/discover")) {
            snprintf(reply, sizeof(reply), "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n%s",
                     strlen(discovery), discovery);
            send(fd, reply, strlen(reply), MSG_NOSIGNAL);
        } else if (server.reply) {
            send(fd, server.reply, server.length, MSG_NOSIGNAL);
        }
        if (server.hang_up)
            break;
    }
    close(fd);
}

static void *serve(void *arg)
{
    struct pollfd p = { .fd = server.listener, .events = POLLIN };

    while (!server.stop) {
        if (poll(&p, 1, 20) <= 0)
            continue;
        server.connections++;
        answer(accept4(server.listener, NULL, NULL, SOCK_CLOEXEC));
    }
    return NULL;
}

static void say(const char *reply, size_t length)
{
    server.length = length;
    server.reply = reply;
}

static int begin(void **state)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    if (make_dir(state) < 0)
        return -1;
    put("devices/system/cpu/cpu0/topology/physical_package_id", "0\n");
    setenv("LLEM_SYSFS", help_dir, 1);
    unsetenv("ZEUSD_TOKEN");
    /* No package of this machine. */
    setenv("LLEM_PYTHON_ZEUS", "/nonexistent/python", 1);
    memset(&server, 0, sizeof(server));
    snprintf(server.path, sizeof(server.path), "%s/socket", help_dir);
    setenv("ZEUSD_SOCK_PATH", server.path, 1);
    say(sound, strlen(sound));
    server.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof(at.sun_path), "%.100s", server.path);
    if (bind(server.listener, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(server.listener, 8) < 0)
        return -1;
    return pthread_create(&server.thread, NULL, serve, NULL);
}

static int end(void **state)
{
    server.stop = 1;
    pthread_join(server.thread, NULL);
    close(server.listener);
    unsetenv("LLEM_SYSFS");
    unsetenv("ZEUSD_SOCK_PATH");
    unsetenv("LLEM_PYTHON_ZEUS");
    return remove_dir(state);
}

static void a_package_is_read_and_what_is_none_is_left_out(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_arena a = LLEM_ARENA_INIT;
    struct llem_reading r;
    struct llem_probe probe;
    void *self = NULL;
    size_t n;
    int before = open_descriptors();

    zeus->probe(ctx, &probe);
    assert_true(probe.usable);
    assert_false(probe.in_worker);
    assert_int_equal(zeus->open(&self, ctx, NULL), LLEM_OK);
    zeus->domains(self, &n);
    assert_int_equal(n, 1);
    assert_non_null(domain_named(zeus, self, "package:0", NULL));
    assert_int_equal(zeus->read(self, 0, true, &r), 0);
    assert_int_equal(zeus->read(self, 0, false, &r), 1);
    assert_int_equal(r.status, LLEM_READ_OK);
    assert_int_equal(r.raw, 123456789);
    /* intel-rapl:7 of a machine with one package, and the board without a counter. */
    assert_int_equal(llem_get(zeus->describe(self, &a), "skipped")->count, 2);
    zeus->close(self);
    llem_arena_done(&a);
    assert_int_equal(open_descriptors(), before);
    llem_ctx_free(ctx);
}

static void one_connection_is_kept_and_made_anew_when_the_daemon_closes_it(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_reading r;
    void *self = NULL;
    int first;

    assert_int_equal(zeus->open(&self, ctx, NULL), LLEM_OK);
    for (int i = 0; i < 5; i++)
        zeus->read(self, 0, false, &r);
    assert_int_equal(server.connections, 1);
    server.hang_up = 1;
    first = server.connections;
    for (int i = 0; i < 5; i++) {
        zeus->read(self, 0, false, &r);
        assert_int_equal(r.status, LLEM_READ_OK);
    }
    assert_true(server.connections >= first + 3);
    zeus->close(self);
    llem_ctx_free(ctx);
}

static void whatever_the_daemon_answers_is_a_status_and_no_number(void **state)
{
#define REPLY(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
    static const struct {
        const char *text;
        size_t length;
    } replies[] = {
        REPLY("What?\r\n\r\n"),
        REPLY("HTTP/1.1 200 OK\r\n\r\n{}"),
        REPLY("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"),
        REPLY("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n{}"),
        REPLY("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}"),
        REPLY("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}"),
        REPLY("HTTP/1.1 99999 OK\r\ncontent-length: 2\r\n\r\n{}"),
        REPLY("HTTP/1.1 200 OK\r\ncontent-length: 23\r\n\r\n{\"cpu_energy_uj\": null}\n"),
        REPLY("HTTP/1.1 200 OK\r\ncontent-length: 21\r\n\r\n{\"cpu_energy_uj\": -5}\n"),
        REPLY("HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{\"cpu_energy_uj\": }\n"),
        REPLY("HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{\"cpu_energy_uj\""),
        REPLY("HTTP/1.1 200 OK\r\ncontent-length: 43\r\n\r\n"
              "{\"cpu_energy_uj\": 9999999999999999999999999}"),
        REPLY("HTTP/1.1 200 OK\r\n\0content-length: 2\r\n\r\n{}"),
        REPLY("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"),
        REPLY("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"),
    };
    static char endless[9000];
    llem_ctx *ctx = new_ctx();
    struct llem_reading r;

    memset(endless, 'a', sizeof(endless));
    memcpy(endless, "HTTP/1.1 200 OK\r\nx: ", 20);
    for (size_t i = 0; i <= LLEM_COUNT(replies); i++) {
        void *self = NULL;

        say(sound, strlen(sound));
        assert_int_equal(zeus->open(&self, ctx, NULL), LLEM_OK);
        if (i < LLEM_COUNT(replies))
            say(replies[i].text, replies[i].length);
        else
            say(endless, sizeof(endless));
        assert_int_equal(zeus->read(self, 0, false, &r), 1);
        assert_int_not_equal(r.status, LLEM_READ_OK);
        assert_int_equal(r.raw, 0);
        zeus->close(self);
    }
    llem_ctx_free(ctx);
}

static void a_daemon_that_does_not_answer_is_left_alone_for_a_while(void **state)
{
    llem_ctx *ctx = new_ctx();
    struct llem_reading r;
    void *self = NULL;
    int asked;

    assert_int_equal(zeus->open(&self, ctx, NULL), LLEM_OK);
    say(NULL, 0);
    zeus->read(self, 0, false, &r);
    assert_int_equal(r.status, LLEM_READ_IO);
    asked = server.requests;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(zeus->read(self, 0, false, &r), 1);
        assert_int_equal(r.status, LLEM_READ_IO);
    }
    /* Fewer than one in a hundred goes to the daemon. */
    assert_true(server.requests - asked < 10);
    zeus->close(self);
    llem_ctx_free(ctx);
}

static void assert_unusable(const char *text, const char *reason)
{
    llem_ctx *ctx = new_ctx();
    struct llem_probe probe;
    llem_error err = { 0 };
    void *self = NULL;

    zeus->probe(ctx, &probe);
    assert_false(probe.usable);
    assert_non_null(strstr(probe.text, text));
    assert_string_equal(probe.reason, reason);
    assert_true(probe.remedy[0]);
    assert_int_not_equal(zeus->open(&self, ctx, &err), LLEM_OK);
    assert_null(self);
    assert_true(err.msg[0]);
    llem_ctx_free(ctx);
}

static void a_socket_that_may_not_be_used_is_told_with_its_remedy(void **state)
{
    assert_int_equal(chmod(server.path, 0), 0);
    /* Root may use every socket: be nobody for a moment. */
    if (geteuid() == 0)
        assert_int_equal(seteuid(65534), 0);
    assert_unusable("This user may not use zeusd", "no_permission");
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
}

static void sockets_at_which_nobody_answers_are_told_apart(void **state)
{
    char path[300];
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setenv("ZEUSD_SOCK_PATH", "/nonexistent/zeusd.sock", 1);
    assert_unusable("No zeusd at /nonexistent/zeusd.sock", "no_sensor");
    snprintf(path, sizeof(path), "%s/dead", help_dir);
    snprintf(at.sun_path, sizeof(at.sun_path), "%.100s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    close(fd);
    setenv("ZEUSD_SOCK_PATH", path, 1);
    assert_unusable("zeusd has ended", "no_sensor");
    memset(path, 'x', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    setenv("ZEUSD_SOCK_PATH", path, 1);
    assert_unusable("No zeusd at /xxx", "no_sensor");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_package_is_read_and_what_is_none_is_left_out, begin, end),
        cmocka_unit_test_setup_teardown(
            one_connection_is_kept_and_made_anew_when_the_daemon_closes_it, begin, end),
        cmocka_unit_test_setup_teardown(whatever_the_daemon_answers_is_a_status_and_no_number,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_daemon_that_does_not_answer_is_left_alone_for_a_while,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_socket_that_may_not_be_used_is_told_with_its_remedy,
                                        begin, end),
        cmocka_unit_test_setup_teardown(sockets_at_which_nobody_answers_are_told_apart, begin, end),
    };

    return cmocka_run_group_tests_name("sampler_zeus", tests, NULL, NULL);
}
