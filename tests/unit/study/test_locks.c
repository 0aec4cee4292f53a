/* SPDX-License-Identifier: MIT
 *
 * Boards of a run: which ones the settings mean, that two processes never have the same, that
 * nothing is left of a lock whatever ends it, and that a hostile directory does no harm.
 */
#include "lib/study/locks.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "lib/engine/registry.h"
#include "lib/sampler/sampler.h"
#include "tests/unit/config/help.h"

#define M "task: {model: gpt2}\n"

static const char *const gpu[] = { "GPU-fa4e0000-0000-0000-0000-000000000000",
                                   "GPU-fa4e0000-0000-0000-0000-000000000001",
                                   "GPU-fa4e0000-0000-0000-0000-000000000002",
                                   "GPU-fa4e0000-0000-0000-0000-000000000003" };

static void play(struct fixture *f, const char *scenario)
{
    char path[1024];
    void (*forget)(void);
    void *h;

    snprintf(path, sizeof(path), "%s/tests/fakes/libnvidia-ml.so.1", getenv("LLEM_TEST_BUILD_DIR"));
    setenv("LLEM_NVML_LIBRARY", path, 1);
    setenv("LLEM_FAKE_NVML_SCENARIO", put(f, "scenario", scenario), 1);
    h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(h);
    *(void **)(void *)&forget = dlsym(h, "llem_fake_reset");
    forget();
    dlclose(h);
}

static int four_boards(void **state)
{
    struct fixture *f;

    if (setup(state) < 0)
        return -1;
    f = *state;
    unsetenv("CUDA_VISIBLE_DEVICES");
    setenv("LLEM_LOCK_DIR", in_dir(f, "locks"), 1);
    play(f, "board h100 4\n");
    return 0;
}

static int end_boards(void **state)
{
    unsetenv("CUDA_VISIBLE_DEVICES");
    unsetenv("LLEM_FAKE_NVML_SCENARIO");
    return teardown(state);
}

/* Numbers of the boards, "0 2", of UUIDs. */
static const char *numbers_of(const char *const *uuids, size_t n)
{
    static char text[64];
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%c", len ? " " : "",
                                uuids[i][strlen(uuids[i]) - 1]);
    return text;
}

static void assert_boards(struct fixture *f, const char *engine, const char *setting,
                          const char *want)
{
    char name[64];
    const char *const *uuids;
    size_t n;

    snprintf(name, sizeof(name), "engine=%s", engine);
    must_load(f, load(f, NULL, "task.model=gpt2", name, setting, NULL));
    assert_int_equal(
        llem_locks_boards_of(&f->a, f->ctx, engine, f->config->tree, &uuids, &n, &f->err), LLEM_OK);
    if (strcmp(numbers_of(uuids, n), want) != 0)
        fail_msg("%s %s takes '%s', not '%s'", engine, setting ? setting : "", numbers_of(uuids, n),
                 want);
}

/* ---- which boards --------------------------------------------------------------------------- */

static void settings_say_which_boards_are_taken(void **state)
{
    struct fixture *f = *state;

    assert_boards(f, "cpu", NULL, "");
    assert_boards(f, "test", NULL, "");
    assert_boards(f, "test", "test.gpus=[GPU-fa4e0000-0000-0000-0000-000000000002]", "2");
    assert_boards(f, "vllm", NULL, "0");
    assert_boards(f, "vllm", "vllm.engine.tensor_parallel_size=2", "0 1");
    assert_boards(f, "vllm", "vllm.engine={tensor_parallel_size: 2, pipeline_parallel_size: 2}",
                  "0 1 2 3");
    assert_boards(f, "vllm", "vllm.engine.tensor_parallel_size=16", "0 1 2 3");
    assert_boards(f, "tensorrt", "tensorrt.tensor_parallel_size=3", "0 1 2");
    assert_boards(f, "transformers", NULL, "0");
    assert_boards(f, "transformers", "transformers.device_map=auto", "0 1 2 3");
    assert_boards(f, "transformers", "transformers.device_map=balanced", "0 1 2 3");
    assert_boards(f, "transformers", "transformers.device_map=cuda:2", "2");
    assert_boards(f, "transformers", "transformers.device_map=cuda", "0");
    assert_boards(f, "transformers", "transformers.device_map=cpu", "");
    assert_boards(f, "transformers", "transformers.tp_plan=auto", "0 1 2 3");
    assert_boards(f, "transformers", "transformers={tp_plan: auto, tp_size: 2}", "0 1");
    assert_boards(f, "transformers", "transformers.tp_size=2", "0");
    assert_boards(f, "python:mine:Engine", NULL, "0");
    setenv("LLEM_TRANSFORMERS_DEFAULT_DEVICE_MAP", "auto", 1);
    assert_boards(f, "transformers", NULL, "0 1 2 3");
    assert_boards(f, "transformers", "transformers.device_map=cuda:1", "1");
}

static void only_visible_boards_are_taken(void **state)
{
    static const struct {
        const char *visible, *one, *all;
    } cases[] = {
        { "2,3", "2", "2 3" },
        { " 3 , 1 ", "3", "1 3" },
        { "3", "3", "3" },
        { "", "", "" },
        { "-1", "", "" },
        { "1,7,2", "1", "1" },
        { "GPU-fa4e0000-0000-0000-0000-000000000003,0", "3", "0 3" },
        { "gpu-fa4e0000-0000-0000-0000-000000000001", "1", "1" },
        { "GPU-fa4e", "", "" }, /* any of four */
        { "MIG-nothing", "", "" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < LLEM_COUNT(cases); i++) {
        setenv("CUDA_VISIBLE_DEVICES", cases[i].visible, 1);
        assert_boards(f, "vllm", NULL, cases[i].one);
        assert_boards(f, "transformers", "transformers.device_map=auto", cases[i].all);
    }
    setenv("CUDA_VISIBLE_DEVICES", "3,2", 1);
    assert_boards(f, "transformers", "transformers.device_map=cuda:1", "2");
}

/* What is charged is the board, and another instance on it disturbs the measurement. */
static void an_instance_of_mig_takes_its_board(void **state)
{
    struct fixture *f = *state;
    const struct llem_value *instances;
    struct llem_value *describe;
    char id[128];
    void *self;

    play(f, "board h100\nboard h100\n  mig 2\n");
    assert_int_equal(llem_sampler_nvml.open(&self, f->ctx, &f->err), LLEM_OK);
    describe = llem_sampler_nvml.describe(self, &f->a);
    snprintf(id, sizeof(id), "gpu:%s", gpu[1]);
    instances = llem_get(llem_get(llem_get(describe, "domains"), id), "mig_instances");
    llem_sampler_nvml.close(self);
    assert_int_equal(instances->count, 2);
    setenv("CUDA_VISIBLE_DEVICES", instances->items[1]->s, 1);
    assert_boards(f, "vllm", NULL, "1");
}

static void without_gpus_nothing_is_taken(void **state)
{
    struct fixture *f = *state;

    setenv("LLEM_NVML_LIBRARY", "/nowhere/libnvidia-ml.so.1", 1);
    assert_boards(f, "vllm", "vllm.engine.tensor_parallel_size=2", "");
    play(f, "board h100\n");
    assert_boards(f, "vllm", "vllm.engine.tensor_parallel_size=2", "0");
    unsetenv("LLEM_LOCK_DIR"); /* pretended boards are locked in a directory of their own alone */
    assert_boards(f, "vllm", NULL, "");
}

static const char *boards_of_plan(struct fixture *f, const char *yaml)
{
    const struct llem_schema *schema;
    struct llem_sweep *sweep;
    struct llem_plan *p = NULL;
    const char *const *uuids;
    size_t n;

    assert_int_equal(llem_ctx_schema(f->ctx, &schema, &f->err), LLEM_OK);
    if (llem_sweep_load(&sweep, f->ctx, schema,
                        &(struct llem_config_source){ .path = put(f, "study.yaml", yaml) }, NULL, 0,
                        &f->err) < 0 ||
        llem_plan_make(&p, sweep, &f->err) < 0)
        fail_msg("refused: %s", f->err.msg);
    assert_int_equal(llem_locks_boards(&f->a, f->ctx, p, &uuids, &n, &f->err), LLEM_OK);
    llem_plan_free(p);
    return numbers_of(uuids, n);
}

static void a_study_takes_the_boards_of_all_that_runs(void **state)
{
    struct fixture *f = *state;

    assert_string_equal(boards_of_plan(f,
                                       M "engine: vllm\nsweep: {vllm.engine.tensor_parallel_size: "
                                         "[1, 3]}\n"),
                        "0 1 2");
    assert_string_equal(boards_of_plan(f,
                                       M "sweep: {transformers.device_map: ['cuda:1', 'cuda:3']}\n"
                                         "study_execution: {n_cycles: 3}\n"),
                        "1 3");
    assert_string_equal(boards_of_plan(f, M "engine: [cpu, test]\n"), "");
    assert_string_equal(boards_of_plan(f, M "engine: [cpu, vllm]\n"), "0");
    /* One that is invalid runs nowhere. */
    assert_string_equal(boards_of_plan(f, M "engine: vllm\nsweep: "
                                            "{vllm.engine.tensor_parallel_size: [2, nonsense]}\n"),
                        "0 1");
}

/* ---- two processes -------------------------------------------------------------------------- */

/* A process that holds boards until it is told to end, or dies; -1 if it could not take them. */
static pid_t hold(struct fixture *f, const char *const *uuids, size_t n, int *tell)
{
    int ready[2], stop[2];
    char c = 0;
    pid_t pid;

    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        struct llem_locks l = { .study = "study_of_another" };
        llem_error err;

        close(stop[1]);
        c = llem_locks_take(&l, f->ctx, uuids, n, &err) == LLEM_OK ? 'y' : 'n';
        (void)!write(ready[1], &c, 1);
        (void)!read(stop[0], &c, 1);
        llem_locks_release(&l);
        _exit(0);
    }
    close(ready[1]);
    close(stop[0]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    *tell = stop[1];
    if (c == 'y')
        return pid;
    close(stop[1]);
    waitpid(pid, NULL, 0);
    return -1;
}

static void end(pid_t pid, int tell)
{
    close(tell);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static bool is_free(struct fixture *f, const char *uuid)
{
    struct llem_locks l = { 0 };
    bool yes = llem_locks_take(&l, f->ctx, &uuid, 1, NULL) == LLEM_OK;

    llem_locks_release(&l);
    return yes;
}

static void a_board_is_had_by_one_process_alone(void **state)
{
    struct fixture *f = *state;
    struct llem_locks l = { 0 };
    char owner[64];
    int tell;
    pid_t pid = hold(f, gpu, 2, &tell);

    assert_true(pid > 0);
    assert_int_equal(llem_locks_take(&l, f->ctx, &gpu[1], 1, &f->err), LLEM_ESTUDY);
    snprintf(owner, sizeof(owner), "process %d of user %d, since 20", pid, (int)getuid());
    assert_contains(f->err.msg, gpu[1]);
    assert_contains(f->err.msg, owner);
    assert_contains(f->err.msg, "for 'study_of_another'");
    assert_contains(f->err.hint, "--no-lock");
    assert_int_equal(l.n, 0);
    assert_true(is_free(f, gpu[2]));
    end(pid, tell);
    assert_true(is_free(f, gpu[0]) && is_free(f, gpu[1]));
}

static void one_process_has_a_board_once(void **state)
{
    struct fixture *f = *state;
    struct llem_locks l = { .study = "mine" }, other = { 0 };
    const char *const twice[] = { gpu[0], gpu[0] };

    assert_int_equal(llem_locks_take(&l, f->ctx, twice, 2, &f->err), LLEM_OK);
    assert_int_equal(l.n, 1);
    assert_int_equal(llem_locks_take(&other, f->ctx, gpu, 1, &f->err), LLEM_ESTUDY);
    assert_contains(f->err.msg, "'mine'");
    llem_locks_release(&l);
    llem_locks_release(&l);
    assert_true(is_free(f, gpu[0]));
}

static void kill_9_of_the_holder_frees_its_boards(void **state)
{
    struct fixture *f = *state;
    int tell;

    for (int i = 0; i < 20; i++) {
        pid_t pid = hold(f, gpu, 4, &tell);

        assert_true(pid > 0);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        close(tell);
        for (size_t k = 0; k < 4; k++)
            assert_true(is_free(f, gpu[k]));
    }
}

static void all_boards_are_had_or_none(void **state)
{
    struct fixture *f = *state;
    struct llem_locks l = { 0 };
    int tell;
    pid_t pid = hold(f, &gpu[2], 1, &tell);

    assert_true(pid > 0);
    assert_int_equal(llem_locks_take(&l, f->ctx, gpu, 4, &f->err), LLEM_ESTUDY);
    assert_contains(f->err.msg, gpu[2]);
    assert_int_equal(l.n, 0);
    assert_true(is_free(f, gpu[0]) && is_free(f, gpu[1]) && is_free(f, gpu[3]));
    end(pid, tell);
}

/* Whatever the order in which they are named: two that want the same boards cannot each get some.
 */
static void boards_are_taken_in_ascending_order(void **state)
{
    struct fixture *f = *state;
    struct llem_locks l = { 0 };
    const char *const down[] = { gpu[3], gpu[1], gpu[0] };
    int tell;
    pid_t pid = hold(f, &gpu[1], 1, &tell);

    assert_true(pid > 0);
    assert_int_equal(llem_locks_take(&l, f->ctx, down, 3, &f->err), LLEM_ESTUDY);
    assert_contains(f->err.msg, gpu[1]);
    assert_true(llem_path_exists(in_dir(f, "locks/GPU-fa4e0000-0000-0000-0000-000000000000.lock")));
    assert_false(
        llem_path_exists(in_dir(f, "locks/GPU-fa4e0000-0000-0000-0000-000000000003.lock")));
    end(pid, tell);
}

/* Which is what --no-lock does, and a study on CPUs. */
static void without_boards_nothing_is_touched(void **state)
{
    struct fixture *f = *state;
    struct llem_locks l = { 0 };

    assert_int_equal(llem_locks_take(&l, f->ctx, NULL, 0, &f->err), LLEM_OK);
    assert_false(llem_path_exists(in_dir(f, "locks")));
    llem_locks_release(&l);
}

/* A fork of the host program (Python's os.fork) must not keep the boards. */
static void a_fork_of_the_holder_keeps_nothing(void **state)
{
    struct fixture *f = *state;
    struct llem_locks l = { 0 };
    int stop[2];
    pid_t pid;

    assert_int_equal(llem_locks_take(&l, f->ctx, gpu, 1, &f->err), LLEM_OK);
    assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        char c;

        close(stop[1]);
        (void)!read(stop[0], &c, 1);
        _exit(0);
    }
    close(stop[0]);
    llem_locks_release(&l);
    assert_true(is_free(f, gpu[0]));
    end(pid, stop[1]);
}

/* ---- a directory that others write to ------------------------------------------------------- */

static const char *lock_path(struct fixture *f)
{
    return in_dir(f, "locks/GPU-fa4e0000-0000-0000-0000-000000000000.lock");
}

static void the_directory_is_for_everybody(void **state)
{
    struct fixture *f = *state;
    struct llem_locks l = { .study = "s" };
    mode_t mask = umask(0077);
    struct llem_value *v;
    struct stat st;
    pid_t pid;
    int status;

    assert_int_equal(llem_locks_take(&l, f->ctx, gpu, 1, &f->err), LLEM_OK);
    umask(mask);
    assert_int_equal(stat(in_dir(f, "locks"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 01777);
    assert_int_equal(stat(lock_path(f), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0666);
    assert_int_equal(llem_json_load(&f->a, &v, lock_path(f), 4096, &f->err), LLEM_OK);
    assert_int_equal(llem_int_at(v, "pid", 0), getpid());
    assert_true(llem_int_at(v, "start_ticks", 0) > 0);
    assert_string_equal(llem_str_at(v, "study", ""), "s");
    llem_locks_release(&l);
    assert_int_equal(stat(lock_path(f), &st), 0);
    assert_int_equal(st.st_size, 0); /* nobody has it, and it says so */
    if (getuid() != 0)
        skip();
    assert_int_equal(chmod(f->dir, 0755), 0);
    pid = fork();
    if (pid == 0) {
        if (setuid(65534) < 0)
            _exit(2);
        _exit(llem_locks_take(&l, f->ctx, gpu, 2, NULL) == LLEM_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(is_free(f, gpu[0]) && is_free(f, gpu[1])); /* and back again */
}

static void assert_refused(struct fixture *f, const char *part)
{
    struct llem_locks l = { 0 };

    assert_int_equal(llem_locks_take(&l, f->ctx, gpu, 1, &f->err), LLEM_EIO);
    assert_contains(f->err.msg, part);
    assert_contains(f->err.hint, "--no-lock");
    assert_int_equal(l.n, 0);
}

static void hostile_files_are_refused_and_untouched(void **state)
{
    struct fixture *f = *state;
    const char *victim = put(f, "victim", "precious\n");
    struct stat st;

    assert_int_equal(mkdir(in_dir(f, "locks"), 0777), 0);
    assert_int_equal(symlink(victim, lock_path(f)), 0);
    assert_refused(f, "it is a symbolic link");
    unlink(lock_path(f));
    assert_int_equal(symlink(in_dir(f, "new"), lock_path(f)), 0);
    assert_refused(f, "it is a symbolic link");
    assert_false(llem_path_exists(in_dir(f, "new")));
    unlink(lock_path(f));
    assert_int_equal(link(in_dir(f, "victim"), lock_path(f)), 0);
    assert_refused(f, "it is no plain file with one name");
    unlink(lock_path(f));
    assert_int_equal(mkfifo(lock_path(f), 0666), 0);
    assert_refused(f, "it is no plain file with one name");
    unlink(lock_path(f));
    assert_int_equal(mkdir(lock_path(f), 0777), 0);
    assert_refused(f, "Is a directory");
    assert_int_equal(stat(in_dir(f, "victim"), &st), 0);
    assert_int_equal(st.st_size, strlen("precious\n"));
    assert_int_equal(st.st_mode & 07777 & ~0644u, 0);
}

static void a_directory_that_is_none_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mkdir(in_dir(f, "elsewhere"), 0777), 0);
    assert_int_equal(symlink(in_dir(f, "elsewhere"), in_dir(f, "locks")), 0);
    assert_refused(f, "it is no directory");
    unlink(in_dir(f, "locks"));
    put(f, "locks", "");
    assert_refused(f, "it is no directory");
    setenv("LLEM_LOCK_DIR", in_dir(f, "no/such/place"), 1);
    assert_refused(f, "No such file or directory");
}

static void an_owner_that_writes_nonsense_still_counts(void **state)
{
    static const char *const texts[] = { "", "{", "[]", "{\"pid\": \"x\"}", "\x1b[31m\xff\xff" };
    struct fixture *f = *state;
    struct llem_locks l = { 0 };
    int fd;

    assert_int_equal(mkdir(in_dir(f, "locks"), 0777), 0);
    for (size_t i = 0; i < LLEM_COUNT(texts); i++) {
        put(f, "locks/GPU-fa4e0000-0000-0000-0000-000000000000.lock", texts[i]);
        fd = open(lock_path(f), O_RDWR);
        assert_int_equal(flock(fd, LOCK_EX), 0);
        assert_int_equal(llem_locks_take(&l, f->ctx, gpu, 1, &f->err), LLEM_ESTUDY);
        assert_contains(f->err.msg, "a process that did not say who it is");
        close(fd);
    }
}

static void a_name_leads_nowhere_else(void **state)
{
    struct fixture *f = *state;
    struct llem_locks l = { 0 };
    const char *const bad = "../../GPU/0";

    assert_int_equal(llem_locks_take(&l, f->ctx, &bad, 1, &f->err), LLEM_OK);
    assert_true(llem_path_exists(in_dir(f, "locks/_._.._GPU_0.lock")));
    llem_locks_release(&l);
}

#define WITH_BOARDS(test) cmocka_unit_test_setup_teardown(test, four_boards, end_boards)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BOARDS(settings_say_which_boards_are_taken),
        WITH_BOARDS(only_visible_boards_are_taken),
        WITH_BOARDS(an_instance_of_mig_takes_its_board),
        WITH_BOARDS(without_gpus_nothing_is_taken),
        WITH_BOARDS(a_study_takes_the_boards_of_all_that_runs),
        WITH_BOARDS(a_board_is_had_by_one_process_alone),
        WITH_BOARDS(one_process_has_a_board_once),
        WITH_BOARDS(kill_9_of_the_holder_frees_its_boards),
        WITH_BOARDS(all_boards_are_had_or_none),
        WITH_BOARDS(boards_are_taken_in_ascending_order),
        WITH_BOARDS(without_boards_nothing_is_touched),
        WITH_BOARDS(a_fork_of_the_holder_keeps_nothing),
        WITH_BOARDS(the_directory_is_for_everybody),
        WITH_BOARDS(hostile_files_are_refused_and_untouched),
        WITH_BOARDS(a_directory_that_is_none_is_refused),
        WITH_BOARDS(an_owner_that_writes_nonsense_still_counts),
        WITH_BOARDS(a_name_leads_nowhere_else),
    };

    return cmocka_run_group_tests_name("locks", tests, NULL, NULL);
}
