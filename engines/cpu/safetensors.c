/* SPDX-License-Identifier: MIT
 *
 * Weight files: safetensors, one or sharded. A file is 8 bytes of little-endian header length, the
 * header (JSON: name to dtype, shape, data_offsets) and the data. Everything in a header is checked
 * before anything is read by it. Knows no model.
 */
#include "engines/cpu/cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"

static const struct {
    const char *name;
    enum cpu_dtype dtype;
    unsigned size;
} dtypes[] = {
    { "F32", CPU_F32, 4 },       { "BF16", CPU_BF16, 2 },     { "F16", CPU_F16, 2 },
    { "F64", CPU_OTHER, 8 },     { "I64", CPU_OTHER, 8 },     { "U64", CPU_OTHER, 8 },
    { "C64", CPU_OTHER, 8 },     { "I32", CPU_OTHER, 4 },     { "U32", CPU_OTHER, 4 },
    { "I16", CPU_OTHER, 2 },     { "U16", CPU_OTHER, 2 },     { "I8", CPU_OTHER, 1 },
    { "U8", CPU_OTHER, 1 },      { "BOOL", CPU_OTHER, 1 },    { "F8_E4M3", CPU_OTHER, 1 },
    { "F8_E5M2", CPU_OTHER, 1 }, { "F8_E8M0", CPU_OTHER, 1 },
};

static llem_errcode parse_tensor(struct llem_arena *a, struct cpu_tensor *t, const char *key,
                                 const struct llem_value *v, uint64_t data_bytes, const char *name,
                                 llem_error *err)
{
    const struct llem_value *shape = llem_get(v, "shape");
    const struct llem_value *range = llem_get(v, "data_offsets");
    const char *dtype = llem_str_at(v, "dtype", NULL);
    uint64_t bytes, begin, end;
    size_t i;

    if (!dtype)
        return llem_fail(err, LLEM_ECORRUPT, "%s: tensor '%s' has no dtype", name, key);
    for (i = 0; i < LLEM_COUNT(dtypes) && strcmp(dtypes[i].name, dtype) != 0; i++)
        ;
    if (i == LLEM_COUNT(dtypes))
        return llem_fail(err, LLEM_ECORRUPT, "%s: tensor '%s' has the unknown dtype '%s'", name,
                         key, dtype);
    t->dtype = dtypes[i].dtype;
    t->dtype_name = dtypes[i].name;
    bytes = dtypes[i].size;

    if (!shape || shape->kind != LLEM_LIST)
        return llem_fail(err, LLEM_ECORRUPT, "%s: tensor '%s' has no shape", name, key);
    if (shape->count > CPU_MAX_RANK)
        return llem_fail(err, LLEM_ECORRUPT,
                         "%s: tensor '%s' has %zu dimensions; at most %d are read", name, key,
                         shape->count, CPU_MAX_RANK);
    t->rank = (int)shape->count;
    for (i = 0; i < shape->count; i++) {
        const struct llem_value *d = shape->items[i];

        if (d->kind != LLEM_INT || d->i < 0)
            return llem_fail(err, LLEM_ECORRUPT,
                             "%s: dimension %zu of tensor '%s' is no whole number from 0", name, i,
                             key);
        t->shape[i] = d->i;
        if (__builtin_mul_overflow(bytes, (uint64_t)d->i, &bytes))
            return llem_fail(err, LLEM_ECORRUPT, "%s: the shape of tensor '%s' is too large", name,
                             key);
    }

    if (!range || range->kind != LLEM_LIST || range->count != 2 ||
        range->items[0]->kind != LLEM_INT || range->items[1]->kind != LLEM_INT ||
        range->items[0]->i < 0 || range->items[1]->i < range->items[0]->i)
        return llem_fail(err, LLEM_ECORRUPT,
                         "%s: data_offsets of tensor '%s' are not two ascending numbers", name,
                         key);
    begin = (uint64_t)range->items[0]->i;
    end = (uint64_t)range->items[1]->i;
    if (end > data_bytes)
        return llem_fail(err, LLEM_ECORRUPT,
                         "%s: tensor '%s' ends at byte %llu of %llu; the file may be cut short",
                         name, key, (unsigned long long)end, (unsigned long long)data_bytes);
    if (end - begin != bytes)
        return llem_fail(err, LLEM_ECORRUPT,
                         "%s: tensor '%s' has %llu bytes, but its shape of %s needs %llu", name,
                         key, (unsigned long long)(end - begin), dtype, (unsigned long long)bytes);
    t->name = llem_arena_strdup(a, key);
    t->offset = begin;
    t->bytes = bytes;
    return LLEM_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct cpu_tensor *x = a, *y = b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct cpu_tensor *)a)->name, ((const struct cpu_tensor *)b)->name);
}

llem_errcode cpu_safetensors_header(struct llem_arena *a, struct cpu_tensor **tensors,
                                    size_t *count, const char *text, size_t len,
                                    uint64_t data_bytes, const char *name, llem_error *err)
{
    struct llem_arena scratch = LLEM_ARENA_INIT;
    struct llem_value *header;
    struct cpu_tensor *t;
    size_t i, n = 0;
    uint64_t at = 0;
    llem_errcode rc;

    rc = llem_json_parse(&scratch, &header, text, len, name, err);
    if (rc < 0)
        goto done;
    if (header->kind != LLEM_MAP) {
        rc = llem_fail(err, LLEM_ECORRUPT, "%s: the header is no JSON object", name);
        goto done;
    }
    t = llem_arena_calloc(a, header->count ? header->count : 1, sizeof(*t));
    if (!t) {
        rc = llem_fail(err, LLEM_ENOMEM, "%s: no memory for %zu tensors", name, header->count);
        goto done;
    }
    for (i = 0; i < header->count; i++) {
        if (!strcmp(header->keys[i], "__metadata__"))
            continue;
        rc = parse_tensor(a, &t[n++], header->keys[i], header->items[i], data_bytes, name, err);
        if (rc < 0)
            goto done;
    }
    if (a->oom) {
        rc = llem_fail(err, LLEM_ENOMEM, "%s: no memory for the names of tensors", name);
        goto done;
    }

    qsort(t, n, sizeof(*t), by_offset);
    for (i = 0; i < n; i++) {
        if (t[i].offset < at)
            rc = llem_fail(err, LLEM_ECORRUPT, "%s: tensor '%s' overlaps tensor '%s'", name,
                           t[i].name, t[i - 1].name);
        else if (t[i].offset > at)
            rc = llem_fail(err, LLEM_ECORRUPT,
                           "%s: %llu bytes before tensor '%s' belong to no tensor", name,
                           (unsigned long long)(t[i].offset - at), t[i].name);
        if (rc < 0)
            goto done;
        at = t[i].offset + t[i].bytes;
        t[i].offset += 8 + len;
    }
    if (at != data_bytes) {
        rc = llem_fail(err, LLEM_ECORRUPT, "%s: the last %llu bytes belong to no tensor", name,
                       (unsigned long long)(data_bytes - at));
        goto done;
    }
    qsort(t, n, sizeof(*t), by_name);
    *tensors = t;
    *count = n;

done:
    llem_arena_done(&scratch);
    return rc;
}

/* Read exactly len bytes. */
static llem_errcode read_at(const struct cpu_weights_file *f, void *out, size_t len,
                            uint64_t offset, llem_error *err)
{
    char *to = out;

    while (len > 0) {
        ssize_t n = pread(f->fd, to, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return llem_fail(err, LLEM_EIO, "cannot read '%s': %m", f->name);
        if (n == 0)
            return llem_fail(err, LLEM_ECORRUPT,
                             "%s: the file ends at byte %llu, sooner than it did", f->name,
                             (unsigned long long)offset);
        to += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return LLEM_OK;
}

static llem_errcode open_file(struct cpu_weights *w, size_t index, const char *name,
                              struct cpu_tensor **tensors, size_t *count, llem_error *err)
{
    struct cpu_weights_file *f = &w->files[index];
    struct llem_buf header;
    uint8_t prefix[8];
    struct stat st;
    uint64_t len = 0;
    char *path;
    size_t i;
    llem_errcode rc;

    llem_buf_init(&header, CPU_MAX_HEADER_BYTES);
    path = llem_path_join(&w->arena, w->dir, name);
    f->name = llem_arena_strdup(&w->arena, name);
    if (!path || !f->name) {
        rc = llem_fail(err, LLEM_ENOMEM, "no memory to open '%s'", name);
        goto done;
    }
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0 || fstat(f->fd, &st) < 0) {
        rc = llem_fail(err, errno == ENOENT ? LLEM_ENOTFOUND : LLEM_EIO, "cannot open '%s': %m",
                       path);
        goto done;
    }
    if (!S_ISREG(st.st_mode)) {
        rc = llem_fail(err, LLEM_EIO, "'%s' is no regular file", path);
        goto done;
    }
    f->bytes = (uint64_t)st.st_size;
    if (f->bytes < 8) {
        rc = llem_fail(err, LLEM_ECORRUPT,
                       "%s: %llu bytes are no safetensors file; it may be cut short", name,
                       (unsigned long long)f->bytes);
        goto done;
    }
    rc = read_at(f, prefix, sizeof(prefix), 0, err);
    if (rc < 0)
        goto done;
    for (i = 0; i < 8; i++)
        len |= (uint64_t)prefix[i] << (8 * i);
    if (len > CPU_MAX_HEADER_BYTES || len > f->bytes - 8) {
        rc = llem_fail(
            err, LLEM_ECORRUPT,
            "%s: the header claims %llu bytes, but the file has %llu and a header at most "
            "%llu; it is no safetensors file, or cut short",
            name, (unsigned long long)len, (unsigned long long)f->bytes,
            (unsigned long long)CPU_MAX_HEADER_BYTES);
        goto done;
    }
    if (!llem_buf_grow(&header, len)) {
        rc = llem_fail(err, LLEM_ENOMEM, "%s: no memory for a header of %llu bytes", name,
                       (unsigned long long)len);
        goto done;
    }
    rc = read_at(f, header.data, len, 8, err);
    if (rc < 0)
        goto done;
    rc = cpu_safetensors_header(&w->arena, tensors, count, header.data, len, f->bytes - 8 - len,
                                name, err);
    for (i = 0; rc == LLEM_OK && i < *count; i++)
        (*tensors)[i].file = (int)index;

done:
    llem_buf_done(&header);
    return rc;
}

static const struct cpu_tensor *find(const struct cpu_tensor *tensors, size_t count,
                                     const char *name)
{
    struct cpu_tensor key = { .name = name };

    return count ? bsearch(&key, tensors, count, sizeof(key), by_name) : NULL;
}

static int by_string(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The files that an index names, and of each the tensors that the index places there. */
static llem_errcode open_shards(struct cpu_weights *w, const char *index_path, llem_error *err)
{
    static const char index_name[] = "model.safetensors.index.json";
    struct llem_arena scratch = LLEM_ARENA_INIT;
    struct llem_value *index, *map;
    const char **names;
    size_t i, n = 0, total = 0, *counts;
    struct cpu_tensor **tensors;
    llem_errcode rc;

    rc = llem_json_load(&scratch, &index, index_path, CPU_MAX_INDEX_BYTES, err);
    if (rc < 0)
        goto done;
    map = llem_get(index, "weight_map");
    if (!map || map->kind != LLEM_MAP || map->count == 0) {
        rc = llem_fail(err, LLEM_ECORRUPT, "%s: there is no weight_map", index_name);
        goto done;
    }
    names = llem_arena_calloc(&scratch, map->count, sizeof(*names));
    if (!names) {
        rc = llem_fail(err, LLEM_ENOMEM, "%s: no memory for its names", index_name);
        goto done;
    }
    for (i = 0; i < map->count; i++) {
        const struct llem_value *v = map->items[i];

        if (v->kind != LLEM_STRING || v->len == 0 || v->s[0] == '.' || strchr(v->s, '/')) {
            rc = llem_fail(
                err, LLEM_ECORRUPT,
                "%s: tensor '%s' is in the file '%s', which is no plain name in the model's "
                "directory",
                index_name, map->keys[i], v->kind == LLEM_STRING ? v->s : "?");
            goto done;
        }
        names[i] = v->s;
    }
    qsort(names, map->count, sizeof(*names), by_string);
    for (i = 0; i < map->count; i++)
        if (n == 0 || strcmp(names[n - 1], names[i]) != 0)
            names[n++] = names[i];

    w->files = llem_arena_calloc(&w->arena, n, sizeof(*w->files));
    w->tensors = llem_arena_calloc(&w->arena, map->count, sizeof(*w->tensors));
    tensors = llem_arena_calloc(&scratch, n, sizeof(struct cpu_tensor *));
    counts = llem_arena_calloc(&scratch, n, sizeof(*counts));
    if (!w->files || !w->tensors || !tensors || !counts) {
        rc = llem_fail(err, LLEM_ENOMEM, "%s: no memory for %zu files", index_name, n);
        goto done;
    }
    for (i = 0; i < n; i++)
        w->files[i].fd = -1;
    w->n_files = n;
    for (i = 0; i < n; i++) {
        rc = open_file(w, i, names[i], &tensors[i], &counts[i], err);
        if (rc < 0)
            goto done;
    }
    for (i = 0; i < map->count; i++) {
        const char **file = bsearch(&map->items[i]->s, names, n, sizeof(*names), by_string);
        const struct cpu_tensor *t =
            find(tensors[file - names], counts[file - names], map->keys[i]);

        if (!t) {
            rc = llem_fail(err, LLEM_ECORRUPT,
                           "%s: the index places tensor '%s' there, but it is not", *file,
                           map->keys[i]);
            goto done;
        }
        w->tensors[total++] = *t;
    }
    w->n_tensors = total;
    qsort(w->tensors, total, sizeof(*w->tensors), by_name);

done:
    llem_arena_done(&scratch);
    return rc;
}

llem_errcode cpu_weights_open(struct cpu_weights **out, const char *dir, llem_error *err)
{
    struct cpu_weights *w;
    char *single, *index;
    llem_errcode rc;

    w = calloc(1, sizeof(*w));
    if (!w)
        return llem_fail(err, LLEM_ENOMEM, "no memory to open the weights of '%s'", dir);
    w->dir = llem_arena_strdup(&w->arena, dir);
    single = llem_path_join(&w->arena, dir, "model.safetensors");
    index = llem_path_join(&w->arena, dir, "model.safetensors.index.json");
    if (w->arena.oom) {
        rc = llem_fail(err, LLEM_ENOMEM, "no memory to open the weights of '%s'", dir);
    } else if (llem_path_exists(single)) {
        w->files = llem_arena_calloc(&w->arena, 1, sizeof(*w->files));
        if (w->files) {
            w->files[0].fd = -1;
            w->n_files = 1;
            rc = open_file(w, 0, "model.safetensors", &w->tensors, &w->n_tensors, err);
        } else {
            rc = llem_fail(err, LLEM_ENOMEM, "no memory to open the weights of '%s'", dir);
        }
    } else if (llem_path_exists(index)) {
        rc = open_shards(w, index, err);
    } else {
        rc = llem_fail(err, LLEM_ENOTFOUND,
                       "'%s' has neither model.safetensors nor model.safetensors.index.json", dir);
        llem_hint(err, rc,
                  "save the model as safetensors (transformers: save_pretrained), or set "
                  "cpu.load_format: dummy to run its shapes with random weights");
    }
    if (rc < 0) {
        cpu_weights_close(w);
        return rc;
    }
    *out = w;
    return LLEM_OK;
}

void cpu_weights_close(struct cpu_weights *w)
{
    size_t i;

    if (!w)
        return;
    for (i = 0; i < w->n_files; i++)
        if (w->files[i].fd >= 0)
            close(w->files[i].fd);
    llem_arena_done(&w->arena);
    free(w);
}

const struct cpu_tensor *cpu_weights_find(const struct cpu_weights *w, const char *name)
{
    return find(w->tensors, w->n_tensors, name);
}

llem_errcode cpu_weights_read(const struct cpu_weights *w, const struct cpu_tensor *t,
                              uint64_t offset, void *out, size_t len, llem_error *err)
{
    if (offset > t->bytes || len > t->bytes - offset)
        return llem_fail(err, LLEM_EINVAL, "tensor '%s' has no byte %llu", t->name,
                         (unsigned long long)(offset + len));
    return read_at(&w->files[t->file], out, len, t->offset + offset, err);
}
