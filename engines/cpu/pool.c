/* SPDX-License-Identifier: MIT
 *
 * Threads that share out the items of a loop. Between the loops of one token they spin for some
 * microseconds, because waking a thread costs as much as a small loop; after that they sleep, so
 * that an idle engine is idle to the power meter too.
 */
#include "engines/cpu/cpu.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPIN_NS = 50 * 1000, SPINS_PER_LOOK = 64, MAX_THREADS = 4096 };

struct cpu_pool {
    int n_threads;
    pthread_t *threads; /* n_threads - 1 of them */
    int n_started;
    /* Each on a line of its own: all threads write `next`, all read `round`. */
    _Alignas(64) atomic_uint round; /* counts the loops; a futex */
    _Alignas(64) atomic_int next;   /* the item to be taken next */
    _Alignas(64) atomic_uint busy;  /* threads that have not finished the loop; a futex */
    atomic_int sleepers;            /* workers in the futex of `round` */
    atomic_bool waiting;            /* the caller is in the futex of `busy` */
    atomic_bool stop;
    atomic_int ids; /* for numbering threads as they start */
    cpu_task fn;
    void *arg;
    int count;
};

static void futex_wait(atomic_uint *word, unsigned value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * LLEM_NS_PER_S + t.tv_nsec;
}

/* Spin until *word differs from value; false if SPIN_NS pass before. */
static bool spin(atomic_uint *word, unsigned value)
{
    int64_t end = 0;
    int i;

    for (;;) {
        for (i = 0; i < SPINS_PER_LOOK; i++) {
            if (atomic_load_explicit(word, memory_order_acquire) != value)
                return true;
            relax();
        }
        if (!end)
            end = now_ns() + SPIN_NS;
        else if (now_ns() > end)
            return false;
    }
}

static void take_items(struct cpu_pool *p, int thread)
{
    int item;

    while ((item = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed)) < p->count)
        p->fn(p->arg, item, thread);
}

static void *work(void *arg)
{
    struct cpu_pool *p = arg;
    int thread = atomic_fetch_add(&p->ids, 1) + 1;
    unsigned seen = 0;

    for (;;) {
        while (atomic_load_explicit(&p->round, memory_order_acquire) == seen) {
            if (spin(&p->round, seen))
                break;
            atomic_fetch_add(&p->sleepers, 1);
            futex_wait(&p->round, seen);
            atomic_fetch_sub(&p->sleepers, 1);
        }
        seen++;
        if (atomic_load(&p->stop))
            return NULL;
        take_items(p, thread);
        if (atomic_fetch_sub(&p->busy, 1) == 1 && atomic_load(&p->waiting))
            futex_wake(&p->busy);
    }
}

void cpu_pool_run(struct cpu_pool *p, cpu_task fn, void *arg, int count)
{
    unsigned left;
    int i;

    if (p->n_threads == 1 || count <= 1) {
        for (i = 0; i < count; i++)
            fn(arg, i, 0);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    p->count = count;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    atomic_store_explicit(&p->busy, (unsigned)(p->n_threads - 1), memory_order_relaxed);
    atomic_fetch_add(&p->round, 1);
    if (atomic_load(&p->sleepers) > 0)
        futex_wake(&p->round);
    take_items(p, 0);
    while ((left = atomic_load_explicit(&p->busy, memory_order_acquire)) != 0) {
        if (spin(&p->busy, left))
            continue;
        atomic_store(&p->waiting, true);
        left = atomic_load(&p->busy);
        if (left != 0)
            futex_wait(&p->busy, left);
        atomic_store(&p->waiting, false);
    }
}

llem_errcode cpu_pool_new(struct cpu_pool **out, int n_threads, llem_error *err)
{
    struct cpu_pool *p;
    sigset_t all, before;
    int failed = 0;

    if (n_threads < 1 || n_threads > MAX_THREADS)
        return llem_fail(err, LLEM_EINVAL, "cpu.threads is %d; it can be 1 to %d", n_threads,
                         MAX_THREADS);
    if (posix_memalign((void **)&p, 64, sizeof(*p)) != 0)
        return llem_fail(err, LLEM_ENOMEM, "no memory for %d threads", n_threads);
    memset(p, 0, sizeof(*p));
    p->n_threads = n_threads;
    p->threads = calloc((size_t)n_threads, sizeof(*p->threads));
    if (!p->threads) {
        free(p);
        return llem_fail(err, LLEM_ENOMEM, "no memory for %d threads", n_threads);
    }
    /* Signals are the caller's to handle. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    while (p->n_started < n_threads - 1 && !failed) {
        failed = pthread_create(&p->threads[p->n_started], NULL, work, p);
        if (!failed)
            p->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        cpu_pool_free(p);
        errno = failed;
        return llem_fail(err, LLEM_ENOMEM, "cannot start %d threads: %m", n_threads);
    }
    *out = p;
    return LLEM_OK;
}

void cpu_pool_free(struct cpu_pool *p)
{
    int i;

    if (!p)
        return;
    atomic_store(&p->stop, true);
    atomic_fetch_add(&p->round, 1);
    futex_wake(&p->round);
    for (i = 0; i < p->n_started; i++)
        pthread_join(p->threads[i], NULL);
    free(p->threads);
    free(p);
}

int cpu_pool_threads(const struct cpu_pool *p)
{
    return p->n_threads;
}

/* The first CPU of those that share a core with `cpu`, as the kernel lists them ("0,64" or "0-1").
 */
static int first_sibling(int cpu)
{
    char path[96];
    int first = cpu;
    FILE *f;

    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
             cpu);
    f = fopen(path, "re");
    if (!f)
        return cpu;
    if (fscanf(f, "%d", &first) != 1)
        first = cpu;
    fclose(f);
    return first;
}

int cpu_count(bool cores)
{
    enum { MAX_CPUS = 4096 };
    cpu_set_t *allowed = CPU_ALLOC(MAX_CPUS);
    size_t size = CPU_ALLOC_SIZE(MAX_CPUS);
    int i, n = 0;

    if (!allowed)
        return 1;
    if (sched_getaffinity(0, size, allowed) == 0) {
        for (i = 0; i < MAX_CPUS; i++) {
            int first;

            if (!CPU_ISSET_S(i, size, allowed))
                continue;
            first = cores ? first_sibling(i) : i;
            if (first == i || first < 0 || first >= MAX_CPUS || !CPU_ISSET_S(first, size, allowed))
                n++;
        }
    }
    CPU_FREE(allowed);
    return n > 0 ? n : 1;
}
