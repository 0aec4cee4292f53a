/* SPDX-License-Identifier: MIT
 *
 * Files read with a limit and written atomically, directories, paths, SHA-256.
 */
#include "tests/unit/base/help.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "lib/base/batch.h"
#include "lib/base/file.h"

static void expect_content(const char *path, const char *expected)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 24);

    assert_int_equal(llem_file_read(&b, path, NULL), LLEM_OK);
    assert_string_equal(b.data, expected);
    llem_buf_done(&b);
}

/* ---- reading ------------------------------------------------------------------------------ */

static void a_file_is_read_whole_up_to_its_limit(void **state)
{
    struct llem_buf b = LLEM_BUF_INIT(10);
    llem_error err = { 0 };

    put_file(in_dir("ten"), "0123456789");
    put_file(in_dir("eleven"), "0123456789a");
    put_file(in_dir("empty"), "");
    assert_int_equal(llem_file_read(&b, in_dir("ten"), &err), LLEM_OK);
    assert_string_equal(b.data, "0123456789");
    assert_int_equal(llem_file_read(&b, in_dir("empty"), &err), LLEM_OK);
    assert_int_equal(b.len, 10);
    llem_buf_clear(&b);
    llem_buf_addc(&b, 'x');
    assert_int_equal(llem_file_read(&b, in_dir("ten"), &err), LLEM_ECORRUPT);
    assert_string_equal(b.data, "x");
    llem_buf_clear(&b);
    assert_int_equal(llem_file_read(&b, in_dir("eleven"), &err), LLEM_ECORRUPT);
    assert_contains(err.msg, "eleven");
    assert_contains(err.msg, "10");
    assert_int_equal(b.len, 0);
    llem_buf_done(&b);
}

static void reading_says_what_is_wrong(void **state)
{
    struct llem_buf b = LLEM_BUF_INIT(1000);
    llem_error err = { 0 };

    assert_int_equal(llem_file_read(&b, in_dir("absent"), &err), LLEM_ENOTFOUND);
    assert_contains(err.msg, "absent");
    assert_contains(err.msg, "No such file");
    put_file(in_dir("plain"), "x");
    assert_int_equal(llem_file_read(&b, in_dir("plain/below"), &err), LLEM_ENOTFOUND);
    assert_int_equal(llem_file_read(&b, help_dir, &err), LLEM_EIO);
    assert_contains(err.msg, "directory");
    llem_buf_done(&b);
}

static void files_without_a_size_are_read_to_their_end(void **state)
{
    struct llem_buf b = LLEM_BUF_INIT(1 << 20);
    llem_error err = { 0 };

    /* /proc files say 0 bytes. */
    assert_int_equal(llem_file_read(&b, "/proc/self/status", &err), LLEM_OK);
    assert_contains(b.data, "VmRSS");
    llem_buf_done(&b);
}

/* Whoever reads a file that somebody handed in must not wait for a writer that never comes. */
static void what_is_no_file_is_refused_at_once(void **state)
{
    struct llem_buf b = LLEM_BUF_INIT(1000);
    llem_error err = { 0 };

    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    assert_int_equal(llem_file_read(&b, in_dir("fifo"), &err), LLEM_EIO);
    assert_contains(err.msg, "no regular file");
    assert_int_equal(llem_file_read(&b, "/dev/zero", &err), LLEM_EIO);
    assert_contains(err.msg, "/dev/zero");
    assert_int_equal(b.len, 0);
    llem_buf_done(&b);
}

/* ---- writing ------------------------------------------------------------------------------ */

static int make_own_dir(const char *name)
{
    return mkdir(in_dir(name), 0755);
}

static void writing_replaces_the_whole_file(void **state)
{
    llem_error err = { 0 };
    struct stat st;
    mode_t before = umask(027);

    assert_int_equal(make_own_dir("w"), 0);
    assert_int_equal(llem_file_write(in_dir("w/a"), "a long first text", 17, &err), LLEM_OK);
    expect_content(in_dir("w/a"), "a long first text");
    assert_int_equal(llem_file_write(in_dir("w/a"), "short", 5, &err), LLEM_OK);
    expect_content(in_dir("w/a"), "short");
    assert_int_equal(llem_file_write(in_dir("w/a"), "", 0, &err), LLEM_OK);
    expect_content(in_dir("w/a"), "");
    assert_int_equal(stat(in_dir("w/a"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(count_entries(in_dir("w")), 1);
    umask(before);
}

static void a_batch_is_seen_when_it_is_committed_and_leaves_nothing_else(void **state)
{
    char dir[512];
    struct llem_batch b = { .dir = dir };
    struct llem_arena a = LLEM_ARENA_INIT;
    llem_error err = { 0 };

    assert_int_equal(make_own_dir("batch"), 0);
    snprintf(dir, sizeof(dir), "%s", in_dir("batch"));
    put_file(in_dir("batch/a"), "old");
    for (int commit = 0; commit < 2; commit++) {
        assert_int_equal(llem_batch_add(&b, "a", "new", 3, &err), LLEM_OK);
        assert_int_equal(llem_batch_add_json(&b, "b.json", llem_int(&a, 7), &err), LLEM_OK);
        expect_content(in_dir("batch/a"), "old");
        assert_false(llem_path_exists(in_dir("batch/b.json")));
        if (commit)
            assert_int_equal(llem_batch_commit(&b, &err), LLEM_OK);
        llem_batch_done(&b);
        assert_int_equal(count_entries(dir), commit ? 2 : 1);
    }
    expect_content(in_dir("batch/a"), "new");
    expect_content(in_dir("batch/b.json"), "7\n");

    b.in_place = true;
    assert_int_equal(llem_batch_add(&b, "c", "here", 4, &err), LLEM_OK);
    expect_content(in_dir("batch/c"), "here");
    llem_batch_done(&b);
    assert_int_equal(count_entries(dir), 3);
    llem_arena_done(&a);
}

static void a_batch_that_cannot_be_renamed_says_so_and_removes_what_is_hidden(void **state)
{
    char dir[512];
    struct llem_batch b = { .dir = dir };
    llem_error err = { 0 };

    assert_int_equal(make_own_dir("busy"), 0);
    snprintf(dir, sizeof(dir), "%s", in_dir("busy"));
    assert_int_equal(make_own_dir("busy/b"), 0);
    assert_int_equal(llem_batch_add(&b, "a", "x", 1, &err), LLEM_OK);
    assert_int_equal(llem_batch_add(&b, "b", "x", 1, &err), LLEM_OK);
    assert_int_equal(llem_batch_add(&b, "c", "x", 1, &err), LLEM_OK);
    assert_int_equal(llem_batch_commit(&b, &err), LLEM_EIO);
    assert_contains(err.msg, "busy/b");
    llem_batch_done(&b);
    expect_content(in_dir("busy/a"), "x");
    assert_int_equal(count_entries(dir), 2);
}

static void names_without_a_directory_are_in_the_working_directory(void **state)
{
    char *cwd = getcwd(NULL, 0);

    assert_non_null(cwd);
    assert_int_equal(chdir(help_dir), 0);
    assert_int_equal(llem_file_write("bare", "x", 1, NULL), LLEM_OK);
    expect_content("bare", "x");
    assert_int_equal(chdir(cwd), 0);
    free(cwd);
}

static void what_is_no_regular_file_is_not_replaced(void **state)
{
    llem_error err = { 0 };
    struct stat st;

    assert_int_equal(make_own_dir("d"), 0);
    assert_int_equal(make_own_dir("d/sub"), 0);
    assert_int_equal(llem_file_write(in_dir("d/sub"), "x", 1, &err), LLEM_EIO);
    assert_contains(err.msg, "no regular file");
    assert_int_equal(mkfifo(in_dir("d/fifo"), 0600), 0);
    assert_int_equal(llem_file_write(in_dir("d/fifo"), "x", 1, &err), LLEM_EIO);
    assert_int_equal(lstat(in_dir("d/fifo"), &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(llem_file_write(in_dir("d/"), "x", 1, &err), LLEM_EIO);
    assert_int_equal(llem_file_write("", "x", 1, &err), LLEM_EIO);
    assert_int_equal(llem_file_write(in_dir("nowhere/x"), "x", 1, &err), LLEM_ENOTFOUND);
    assert_contains(err.msg, "nowhere/x");
    assert_int_equal(count_entries(in_dir("d")), 2);
}

static void a_full_disk_leaves_the_old_file_and_nothing_else(void **state)
{
    struct rlimit limit, before;
    llem_error err = { 0 };
    static char big[1 << 20];
    int fds = open_descriptors();

    memset(big, 'b', sizeof(big));
    assert_int_equal(make_own_dir("full"), 0);
    put_file(in_dir("full/a"), "old");

    /* A limit on the size of files fails a write() as a full disk does: part of it, then an error.
     */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 100 * 1000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(llem_file_write(in_dir("full/a"), big, sizeof(big), &err), LLEM_EIO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);

    assert_contains(err.msg, "full/a");
    assert_contains(err.msg, "File too large");
    expect_content(in_dir("full/a"), "old");
    assert_int_equal(count_entries(in_dir("full")), 1);
    assert_int_equal(open_descriptors(), fds);
}

static void a_really_full_disk_does_too(void **state)
{
    llem_error err = { 0 };
    static char big[1 << 20];
    char command[700];

    if (geteuid() != 0)
        SKIP("only root may mount");
    assert_int_equal(make_own_dir("tmpfs"), 0);
    snprintf(command, sizeof(command), "mount -t tmpfs -o size=128k llem-test '%s' 2>/dev/null",
             in_dir("tmpfs"));
    if (system(command) != 0)
        SKIP("no tmpfs may be mounted");
    put_file(in_dir("tmpfs/a"), "old");
    llem_file_write(in_dir("tmpfs/a"), big, sizeof(big), &err);
    assert_int_equal(err.code, LLEM_EIO);
    assert_contains(err.msg, "No space left");
    expect_content(in_dir("tmpfs/a"), "old");
    assert_int_equal(count_entries(in_dir("tmpfs")), 1);
    snprintf(command, sizeof(command), "umount '%s'", in_dir("tmpfs"));
    assert_int_equal(system(command), 0);
}

/* As somebody who is not root, for whom rights do not count; 0 or the number of the failed check.
 */
static int try_locked_directory(void)
{
    llem_error err = { 0 };

    if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
        return 1;
    if (llem_file_write(in_dir("locked/a"), "x", 1, &err) != LLEM_EIO)
        return 2;
    if (!strstr(err.msg, "locked/a") || !strstr(err.msg, "Permission denied"))
        return 3;
    if (llem_mkdirs(in_dir("locked/a/b"), &err) != LLEM_EIO)
        return 4;
    if (!strstr(err.msg, "locked/a'") || !strstr(err.msg, "Permission denied"))
        return 5;
    if (llem_remove_tree(in_dir("locked"), &err) != LLEM_EIO ||
        !strstr(err.msg, "Permission denied"))
        return 6;
    return 0;
}

static void a_directory_that_may_not_be_written_is_said_so(void **state)
{
    int status;
    pid_t pid;

    assert_int_equal(make_own_dir("locked"), 0);
    put_file(in_dir("locked/inside"), "x");
    assert_int_equal(chmod(in_dir("locked"), 0555), 0);
    pid = fork();
    if (pid == 0)
        _exit(try_locked_directory());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(chmod(in_dir("locked"), 0755), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void *write_often(void *path)
{
    static const char text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    int i;

    for (i = 0; i < 50; i++)
        llem_file_write(path, text, (size_t)(i % 2 ? 64 : 32), NULL);
    return NULL;
}

static void readers_see_the_old_or_the_new_file_never_a_part(void **state)
{
    char path[512];
    pthread_t threads[2];
    int i;

    assert_int_equal(make_own_dir("race"), 0);
    snprintf(path, sizeof(path), "%s", in_dir("race/a"));
    put_file(path, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    for (i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_often, path), 0);
    for (i = 0; i < 200; i++) {
        struct llem_buf b = LLEM_BUF_INIT(1000);

        assert_int_equal(llem_file_read(&b, path, NULL), LLEM_OK);
        assert_true(b.len == 32 || b.len == 64);
        llem_buf_done(&b);
    }
    for (i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(count_entries(in_dir("race")), 1);
}

/* ---- directories -------------------------------------------------------------------------- */

static void directories_are_made_on_the_way(void **state)
{
    llem_error err = { 0 };
    char *path;

    assert_int_equal(llem_mkdirs(in_dir("m/a//b/c/"), &err), LLEM_OK);
    assert_true(llem_path_is_dir(in_dir("m/a/b/c")));
    assert_int_equal(llem_mkdirs(in_dir("m/a/b/c"), &err), LLEM_OK);
    assert_int_equal(llem_mkdirs("/", &err), LLEM_OK);
    assert_int_equal(llem_mkdirs(".", &err), LLEM_OK);
    put_file(in_dir("m/file"), "x");
    assert_int_equal(llem_mkdirs(in_dir("m/file/x"), &err), LLEM_EIO);
    assert_contains(err.msg, "no directory");
    assert_int_equal(symlink("a", in_dir("m/link")), 0);
    assert_int_equal(llem_mkdirs(in_dir("m/link/z"), &err), LLEM_OK);
    assert_true(llem_path_is_dir(in_dir("m/a/z")));
    assert_int_equal(symlink("nowhere", in_dir("m/dangling")), 0);
    assert_int_equal(llem_mkdirs(in_dir("m/dangling/z"), &err), LLEM_EIO);
    assert_int_equal(llem_mkdirs("", &err), LLEM_EIO);
    path = malloc(PATH_MAX + 10);
    assert_non_null(path);
    memset(path, 'a', PATH_MAX + 9);
    path[PATH_MAX + 9] = '\0';
    assert_int_equal(llem_mkdirs(path, &err), LLEM_EIO);
    free(path);
}

static void trees_are_removed_and_links_are_not_followed(void **state)
{
    llem_error err = { 0 };
    int fds = open_descriptors();
    int i;

    assert_int_equal(llem_mkdirs(in_dir("keep"), &err), LLEM_OK);
    put_file(in_dir("keep/precious"), "x");
    assert_int_equal(llem_mkdirs(in_dir("r/a/b/c"), &err), LLEM_OK);
    for (i = 0; i < 50; i++) {
        char name[64];

        snprintf(name, sizeof(name), "r/a/b/%d", i);
        put_file(in_dir(name), "x");
    }
    assert_int_equal(symlink("../keep", in_dir("r/link")), 0);
    assert_int_equal(symlink("nowhere", in_dir("r/a/dangling")), 0);
    assert_int_equal(mkfifo(in_dir("r/fifo"), 0600), 0);
    assert_int_equal(llem_remove_tree(in_dir("r"), &err), LLEM_OK);
    assert_false(llem_path_exists(in_dir("r")));
    assert_true(llem_path_exists(in_dir("keep/precious")));

    assert_int_equal(symlink("keep", in_dir("top")), 0);
    assert_int_equal(llem_remove_tree(in_dir("top"), &err), LLEM_OK);
    assert_true(llem_path_exists(in_dir("keep/precious")));
    /* An empty directory that its owner may not even read. */
    assert_int_equal(mkdir(in_dir("shut"), 0), 0);
    assert_int_equal(llem_remove_tree(in_dir("shut"), &err), LLEM_OK);
    assert_false(llem_path_exists(in_dir("shut")));
    assert_int_equal(llem_remove_tree(in_dir("absent"), &err), LLEM_OK);
    assert_int_equal(llem_remove_tree(in_dir("keep/precious"), &err), LLEM_OK);
    assert_int_equal(llem_remove_tree("/proc/self/fd", &err), LLEM_EIO);
    assert_int_equal(open_descriptors(), fds);
}

/* ---- paths -------------------------------------------------------------------------------- */

static void paths_are_joined_and_taken_apart(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    static const struct {
        const char *path, *dir, *base;
    } all[] = {
        { "/a/b", "/a", "b" }, { "/a", "/", "a" },   { "a", ".", "a" }, { "a/b/c", "a/b", "c" },
        { "/", "/", "" },      { "a//b", "a", "b" }, { "", ".", "" },   { "./x", ".", "x" },
    };
    size_t i;

    for (i = 0; i < LLEM_COUNT(all); i++) {
        assert_string_equal(llem_path_dirname(&a, all[i].path), all[i].dir);
        assert_string_equal(llem_path_basename(all[i].path), all[i].base);
    }
    assert_string_equal(llem_path_dirname(&a, "a/b/"), "a");

    assert_string_equal(llem_path_join(&a, "a", "b"), "a/b");
    assert_string_equal(llem_path_join(&a, "a/", "b"), "a/b");
    assert_string_equal(llem_path_join(&a, "a", "/b"), "/b");
    assert_string_equal(llem_path_join(&a, NULL, "b"), "b");
    assert_string_equal(llem_path_join(&a, "", "b"), "b");
    assert_string_equal(llem_path_join(&a, "a", ""), "a");
    assert_string_equal(llem_path_join(&a, "a", "~b"), "a/~b");
    setenv("HOME", "/home/somebody", 1);
    assert_string_equal(llem_path_join(&a, "a", "~/b"), "/home/somebody/b");
    assert_string_equal(llem_path_join(&a, "a", "~"), "/home/somebody");
    unsetenv("HOME");
    assert_int_equal(llem_path_join(&a, "a", "~/b")[0], '/'); /* from the user database */
    llem_arena_done(&a);
}

static void the_running_program_is_found(void **state)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    char *exe = llem_exe_path(&a);

    assert_non_null(exe);
    assert_string_equal(llem_path_basename(exe), "test_base_file");
    assert_string_equal(llem_program_path(&a), llem_path_dirname(&a, exe));
    llem_arena_done(&a);
}

/* ---- SHA-256 ------------------------------------------------------------------------------ */

static void sha1_is_the_standards(void **state)
{
    static const struct {
        const char *text, *hex;
    } all[] = {
        { "", "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
        { "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "84983e441c3bd26ebaae4aa1f95129e5e54670f1" },
    };
    struct llem_sha1 s;
    char hex[41];

    for (size_t i = 0; i < LLEM_COUNT(all); i++) {
        llem_sha1_init(&s);
        llem_sha1_add(&s, all[i].text, strlen(all[i].text));
        llem_sha1_hex(&s, hex);
        assert_string_equal(hex, all[i].hex);
    }
    llem_sha1_init(&s);
    for (int i = 0; i < 1000000; i++)
        llem_sha1_add(&s, "a", 1);
    llem_sha1_hex(&s, hex);
    assert_string_equal(hex, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

static void hashes_are_those_of_the_standard(void **state)
{
    static const struct {
        const char *text, *hex;
    } all[] = {
        { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
        { "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqr"
          "lmno"
          "pqrsmnopqrstnopqrstu",
          "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
    };
    struct llem_sha256 s;
    char hex[65];
    size_t i;

    for (i = 0; i < LLEM_COUNT(all); i++) {
        llem_sha256_of(all[i].text, strlen(all[i].text), hex);
        assert_string_equal(hex, all[i].hex);
    }
    llem_sha256_init(&s);
    for (i = 0; i < 1000000; i++)
        llem_sha256_add(&s, "a", 1);
    llem_sha256_hex(&s, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void hashes_do_not_depend_on_the_pieces(void **state)
{
    uint64_t random = random_seed();
    char whole[65], pieces[65];
    unsigned char data[1000];
    size_t len, at, n, i;
    struct llem_sha256 s;

    for (i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)next_random(&random);
    for (len = 0; len < sizeof(data); len++) {
        llem_sha256_of(data, len, whole);
        llem_sha256_init(&s);
        for (at = 0; at < len; at += n) {
            n = next_random(&random) % 150;
            if (n > len - at)
                n = len - at;
            llem_sha256_add(&s, data + at, n);
        }
        llem_sha256_hex(&s, pieces);
        assert_string_equal(pieces, whole);
    }
}

static void sha256sum_agrees_on_three_mebibytes(void **state)
{
    size_t size = 3 << 20;
    char *data = malloc(size + 1);
    uint64_t random = random_seed();
    char command[700], theirs[65] = "", ours[65];
    size_t i;
    FILE *f;

    assert_non_null(data);
    for (i = 0; i < size; i++)
        data[i] = (char)next_random(&random);
    assert_int_equal(llem_file_write(in_dir("big"), data, size - 5, NULL), LLEM_OK);
    llem_sha256_of(data, size - 5, ours);
    free(data);
    snprintf(command, sizeof(command), "sha256sum '%s'", in_dir("big"));
    f = popen(command, "re");
    assert_non_null(f);
    assert_non_null(fgets(theirs, sizeof(theirs), f));
    pclose(f);
    assert_string_equal(ours, theirs);
}

/* Whatever this processor has, the answer is that of the plain arithmetic. */
static void digests_are_those_of_the_portable_arithmetic(void **state)
{
    uint8_t data[4096];
    uint32_t seed = 12345;

    for (size_t i = 0; i < sizeof(data); i++) {
        seed = seed * 1664525 + 1013904223;
        data[i] = (uint8_t)(seed >> 24);
    }
    for (size_t i = 0; i + 64 <= sizeof(data); i++) {
        struct llem_sha256 s;
        uint32_t h[8];

        llem_sha256_init(&s);
        memcpy(h, s.h, sizeof(h));
        llem__sha256_portable(h, data + i);
        llem_sha256_add(&s, data + i, 64);
        assert_memory_equal(h, s.h, sizeof(h));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_whole_up_to_its_limit),
        cmocka_unit_test(reading_says_what_is_wrong),
        cmocka_unit_test(files_without_a_size_are_read_to_their_end),
        cmocka_unit_test(what_is_no_file_is_refused_at_once),
        cmocka_unit_test(writing_replaces_the_whole_file),
        cmocka_unit_test(a_batch_is_seen_when_it_is_committed_and_leaves_nothing_else),
        cmocka_unit_test(a_batch_that_cannot_be_renamed_says_so_and_removes_what_is_hidden),
        cmocka_unit_test(names_without_a_directory_are_in_the_working_directory),
        cmocka_unit_test(what_is_no_regular_file_is_not_replaced),
        cmocka_unit_test(a_full_disk_leaves_the_old_file_and_nothing_else),
        cmocka_unit_test(a_really_full_disk_does_too),
        cmocka_unit_test(a_directory_that_may_not_be_written_is_said_so),
        cmocka_unit_test(readers_see_the_old_or_the_new_file_never_a_part),
        cmocka_unit_test(directories_are_made_on_the_way),
        cmocka_unit_test(trees_are_removed_and_links_are_not_followed),
        cmocka_unit_test(paths_are_joined_and_taken_apart),
        cmocka_unit_test(the_running_program_is_found),
        cmocka_unit_test(hashes_are_those_of_the_standard),
        cmocka_unit_test(hashes_do_not_depend_on_the_pieces),
        cmocka_unit_test(sha256sum_agrees_on_three_mebibytes),
        cmocka_unit_test(sha1_is_the_standards),
        cmocka_unit_test(digests_are_those_of_the_portable_arithmetic),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
