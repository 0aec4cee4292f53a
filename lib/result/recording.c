/* SPDX-License-Identifier: MIT
 *
 * Column files and recording.json: written by the harness, read by everything that computes. The
 * reader trusts nothing: every length, hash, index and time is checked before anyone uses it.
 */
#include "lib/result/recording.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "column files are little-endian");

/* clang-format off */
const struct llem_column_def llem_column_defs[] = {
    { "samples", "begin_ns", LLEM_COL_I64, "ns", "just before the read" },
    { "samples", "end_ns", LLEM_COL_I64, "ns", "just after the read" },
    { "samples", "device", LLEM_COL_U16, "", "index into domains" },
    { "samples", "field", LLEM_COL_U16, "", "id of the domain's field" },
    { "samples", "raw", LLEM_COL_I64, "raw", "the value in the field's raw unit" },
    { "samples", "status", LLEM_COL_I32, "", "0 = good, else why not" },
    { "samples", "vendor_ns", LLEM_COL_I64, "ns", "the vendor's wall-clock timestamp, 0 = none" },
    { "samples", "latency_us", LLEM_COL_I32, "us", "the vendor's own call latency, 0 = none" },
    { "requests", "pass", LLEM_COL_I32, "", "0 = measured, 1 = warm-up batch, 2 = latency pass" },
    { "requests", "repeat", LLEM_COL_I32, "", "repetition within the pass" },
    { "requests", "index", LLEM_COL_I32, "", "index of the prompt" },
    { "requests", "t_submit_ns", LLEM_COL_I64, "ns", "handed to the engine" },
    { "requests", "t_scheduled_ns", LLEM_COL_I64, "ns", "work on it began" },
    { "requests", "t_first_ns", LLEM_COL_I64, "ns", "first output token" },
    { "requests", "t_last_ns", LLEM_COL_I64, "ns", "last output token" },
    { "requests", "input_tokens", LLEM_COL_I32, "tokens", "padding left out" },
    { "requests", "cached_tokens", LLEM_COL_I32, "tokens", "input tokens served by a prefix cache" },
    { "requests", "output_tokens", LLEM_COL_I32, "tokens", "up to and with the first end of sequence" },
    { "requests", "finish", LLEM_COL_UTF8, "", "stop, length, ..." },
    { "requests", "output_sha256", LLEM_COL_UTF8, "", "of the output ids as little-endian int32" },
    { "steps", "begin_ns", LLEM_COL_I64, "ns", "begin of an engine step" },
    { "steps", "end_ns", LLEM_COL_I64, "ns", "end of an engine step" },
    { "steps", "prefill_tokens", LLEM_COL_I32, "tokens", "prompt tokens computed in the step" },
    { "steps", "decode_tokens", LLEM_COL_I32, "tokens", "tokens generated in the step" },
    { "steps", "batch", LLEM_COL_I32, "sequences", "sequences in the step" },
    { "tokens", "request", LLEM_COL_I32, "", "row of requests" },
    { "tokens", "t_ns", LLEM_COL_I64, "ns", "when the token came out" },
    { "events", "t_ns", LLEM_COL_I64, "ns", "when it happened" },
    { "events", "kind", LLEM_COL_UTF8, "", "what happened" },
    { "events", "text", LLEM_COL_UTF8, "", "a sentence or a name" },
    { NULL, NULL, LLEM_COL_I64, NULL, NULL },
};
/* clang-format on */

static const struct {
    const char *name;
    size_t size; /* bytes a row; 0 = varies */
} types[] = {
    [LLEM_COL_I64] = { "i64", 8 }, [LLEM_COL_I32] = { "i32", 4 },   [LLEM_COL_U16] = { "u16", 2 },
    [LLEM_COL_F64] = { "f64", 8 }, [LLEM_COL_UTF8] = { "utf8", 0 },
};

const struct llem_column_def *llem_column_find(const char *table, const char *name)
{
    for (const struct llem_column_def *d = llem_column_defs; d->table; d++)
        if (strcmp(d->table, table) == 0 && strcmp(d->name, name) == 0)
            return d;
    return NULL;
}

void llem_column_add_utf8(struct llem_buf *b, const char *s)
{
    uint32_t len = s ? (uint32_t)strlen(s) : 0;

    llem_buf_add(b, &len, sizeof(len));
    llem_buf_add(b, s ? s : "", len);
}

/* ---- writing ------------------------------------------------------------------------------ */

llem_errcode llem_column_write(struct llem_batch *batch, const struct llem_column_def *def,
                               const void *data, size_t count, size_t bytes, struct llem_arena *a,
                               struct llem_value *columns, llem_error *err)
{
    char hex[65];
    const char *file =
        llem_arena_printf(a, "%s.%s.%s.zst", def->table, def->name, types[def->type].name);
    struct llem_value *entry;
    void *packed = NULL;
    size_t bound = ZSTD_compressBound(bytes), n;
    llem_errcode rc;

    if (types[def->type].size && bytes != count * types[def->type].size)
        return llem_fail(err, LLEM_EINVAL, "column %s.%s: %zu bytes do not hold %zu rows",
                         def->table, def->name, bytes, count);
    packed = file ? malloc(bound) : NULL;
    if (!packed) {
        rc = llem_fail(err, LLEM_ENOMEM, "cannot allocate %zu bytes for column %s.%s", bound,
                       def->table, def->name);
        goto done;
    }
    n = ZSTD_compress(packed, bound, bytes ? data : "", bytes, 3);
    if (ZSTD_isError(n)) {
        rc = llem_fail(err, LLEM_ENOMEM, "cannot compress '%s': %s", file, ZSTD_getErrorName(n));
        goto done;
    }
    rc = llem_batch_add(batch, file, packed, n, err);
    if (rc != LLEM_OK)
        goto done;

    llem_sha256_of(bytes ? data : "", bytes, hex);
    entry = llem_map(a);
    llem_set(a, entry, "table", llem_string(a, def->table));
    llem_set(a, entry, "name", llem_string(a, def->name));
    llem_set(a, entry, "file", llem_string(a, file));
    llem_set(a, entry, "type", llem_string(a, types[def->type].name));
    llem_set(a, entry, "unit", llem_string(a, def->unit));
    llem_set(a, entry, "count", llem_int(a, (int64_t)count));
    llem_set(a, entry, "bytes", llem_int(a, (int64_t)bytes));
    llem_set(a, entry, "sha256", llem_string(a, hex));
    llem_append(a, columns, entry);
    rc = a->oom ? llem_fail(err, LLEM_ENOMEM, "out of memory while writing '%s'", file) : LLEM_OK;
done:
    free(packed);
    return rc;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* Unpack one zstd frame that must hold exactly `bytes` bytes. Memory grows with what really comes
 * out, never with what a header claims. */
static llem_errcode unpack(struct llem_buf *out, const struct llem_buf *packed, size_t bytes,
                           const char *path, llem_error *err)
{
    ZSTD_inBuffer in = { packed->data, packed->len, 0 };
    ZSTD_DStream *stream = ZSTD_createDStream();
    size_t left = 1; /* 0 = the frame is complete */
    llem_errcode rc;

    if (!stream)
        return llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", path);
    while (left != 0) {
        size_t before = out->len, room = bytes - out->len;
        size_t chunk = room < 65536 ? room : 65536;
        ZSTD_outBuffer o = { NULL, chunk, 0 };
        char none;

        o.dst = chunk ? llem_buf_grow(out, chunk) : &none;
        if (!o.dst) {
            rc = llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", path);
            goto done;
        }
        size_t in_before = in.pos;
        left = ZSTD_decompressStream(stream, &o, &in);
        if (ZSTD_isError(left)) {
            rc =
                llem_fail(err, LLEM_ECORRUPT, "'%s' is damaged: %s", path, ZSTD_getErrorName(left));
            goto done;
        }
        if (chunk) {
            out->len = before + o.pos;
            out->data[out->len] = '\0';
        }
        if (left != 0 && o.pos == 0 && in.pos == in_before) {
            rc = llem_fail(err, LLEM_ECORRUPT, "'%s' is damaged: %s", path,
                           in.pos == in.size ? "it ends too early"
                                             : "it holds more than recording.json says");
            goto done;
        }
    }
    if (out->len != bytes || in.pos != in.size) {
        rc = llem_fail(err, LLEM_ECORRUPT,
                       "'%s' is damaged: it does not hold the %zu bytes that "
                       "recording.json says",
                       path, bytes);
        goto done;
    }
    rc = LLEM_OK;
done:
    ZSTD_freeDStream(stream);
    return rc;
}

static llem_errcode view_utf8(struct llem_column *c, struct llem_arena *a, const char *path,
                              llem_error *err)
{
    const char *p = c->data;
    size_t left = c->bytes;
    const char **rows;

    if (c->count > c->bytes / 4)
        return llem_fail(err, LLEM_ECORRUPT, "'%s' is damaged: it is too short for %zu rows", path,
                         c->count);
    rows = llem_arena_calloc(a, c->count + 1, sizeof(*rows));
    for (size_t i = 0; rows && i < c->count; i++) {
        uint32_t len;

        if (left < 4)
            return llem_fail(err, LLEM_ECORRUPT, "'%s' is damaged: row %zu is cut off", path, i);
        memcpy(&len, p, 4);
        p += 4;
        left -= 4;
        if (len > left || memchr(p, 0, len) || !llem_utf8_valid(p, len))
            return llem_fail(err, LLEM_ECORRUPT, "'%s' is damaged: row %zu is no text", path, i);
        rows[i] = llem_arena_strndup(a, p, len);
        p += len;
        left -= len;
    }
    if (a->oom)
        return llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", path);
    if (left)
        return llem_fail(err, LLEM_ECORRUPT, "'%s' is damaged: bytes follow the last row", path);
    c->utf8 = rows;
    return LLEM_OK;
}

/* Read one column as recording.json describes it. *data is the caller's, also on failure. */
static llem_errcode read_column(struct llem_recording *r, struct llem_column *c, void **data,
                                const struct llem_value *entry, size_t *budget, llem_error *err)
{
    const char *table = llem_str_at(entry, "table", ""), *name = llem_str_at(entry, "name", "");
    const struct llem_column_def *def = llem_column_find(table, name);
    int64_t count = llem_int_at(entry, "count", -1), bytes = llem_int_at(entry, "bytes", -1);
    struct llem_buf packed = LLEM_BUF_INIT(LLEM_RECORDING_MAX_BYTES), plain;
    char file[128], path[4300], hex[65];
    size_t row;
    llem_errcode rc;

    llem_buf_init(&plain, LLEM_RECORDING_MAX_BYTES);
    if (!def)
        return LLEM_OK; /* of a later program: nothing here reads it */
    snprintf(file, sizeof(file), "%s.%s.%s.zst", table, name, types[def->type].name);
    snprintf(path, sizeof(path), "%s/%s", r->dir, file);
    row = types[def->type].size;
    if (strcmp(llem_str_at(entry, "file", ""), file) != 0 ||
        strcmp(llem_str_at(entry, "type", ""), types[def->type].name) != 0)
        return llem_fail(err, LLEM_ECORRUPT,
                         "'%s/recording.json': column %s.%s should be in the file '%s'", r->dir,
                         table, name, file);
    if (count < 0 || bytes < 0 || (uint64_t)bytes > *budget ||
        (row ? bytes % (int64_t)row != 0 || bytes / (int64_t)row != count : count > bytes / 4))
        return llem_fail(err, LLEM_ECORRUPT,
                         "'%s/recording.json': column %s.%s cannot have %" PRId64
                         " rows in %" PRId64 " bytes",
                         r->dir, table, name, count, bytes);
    if (llem_recording_column(r, table, name))
        return llem_fail(err, LLEM_ECORRUPT, "'%s/recording.json': column %s.%s is listed twice",
                         r->dir, table, name);
    *budget -= (size_t)bytes;

    rc = llem_file_read(&packed, path, err);
    if (rc != LLEM_OK) {
        /* A column that recording.json promises is not there: the recording is damaged. */
        if (rc == LLEM_ENOTFOUND || (rc == LLEM_EIO && !llem_path_exists(path)))
            rc =
                llem_fail(err, LLEM_ECORRUPT, "'%s' is missing, but recording.json lists it", path);
        goto done;
    }
    rc = unpack(&plain, &packed, (size_t)bytes, path, err);
    if (rc != LLEM_OK)
        goto done;
    llem_sha256_of(plain.data, plain.len, hex);
    if (strcmp(llem_str_at(entry, "sha256", ""), hex) != 0) {
        rc = llem_fail(err, LLEM_ECORRUPT,
                       "'%s' is damaged: its content has another SHA-256 than "
                       "recording.json says",
                       path);
        goto done;
    }

    c->def = def;
    c->count = (size_t)count;
    c->bytes = plain.len;
    *data = llem_buf_take(&plain);
    if (!*data) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", path);
        goto done;
    }
    c->data = *data;
    switch (def->type) {
    case LLEM_COL_I64:
        c->i64 = c->data;
        break;
    case LLEM_COL_I32:
        c->i32 = c->data;
        break;
    case LLEM_COL_U16:
        c->u16 = c->data;
        break;
    case LLEM_COL_F64:
        c->f64 = c->data;
        break;
    case LLEM_COL_UTF8:
        rc = view_utf8(c, &r->arena, path, err);
        break;
    }
done:
    llem_buf_done(&packed);
    llem_buf_done(&plain);
    return rc;
}

const struct llem_column *llem_recording_column(const struct llem_recording *r, const char *table,
                                                const char *name)
{
    for (size_t i = 0; i < r->n_columns; i++)
        if (strcmp(r->columns[i].def->table, table) == 0 &&
            strcmp(r->columns[i].def->name, name) == 0)
            return &r->columns[i];
    return NULL;
}

static llem_errcode bad(const struct llem_recording *r, const struct llem_column *c, size_t row,
                        const char *why, llem_error *err)
{
    return llem_fail(err, LLEM_ECORRUPT, "'%s': row %zu of %s.%s %s", r->dir, row, c->def->table,
                     c->def->name, why);
}

/* Columns of one table are all there, as long as each other. */
static llem_errcode check_tables(const struct llem_recording *r, llem_error *err)
{
    const struct llem_column *first = NULL;

    for (const struct llem_column_def *d = llem_column_defs; d->table; d++) {
        const struct llem_column *c = llem_recording_column(r, d->table, d->name);
        bool begins = d == llem_column_defs || strcmp(d->table, d[-1].table) != 0;

        if (begins)
            first = c;
        if (!c != !first)
            return llem_fail(err, LLEM_ECORRUPT,
                             "'%s/recording.json': table %s is not complete: column %s "
                             "is %s",
                             r->dir, d->table, d->name, c ? "there alone" : "missing");
        if (c && c->count != first->count)
            return llem_fail(err, LLEM_ECORRUPT,
                             "'%s/recording.json': columns of table %s have different lengths",
                             r->dir, d->table);
    }
    return LLEM_OK;
}

/* Times are within what can be subtracted without overflow, indices point at something. */
static llem_errcode check_rows(const struct llem_recording *r, llem_error *err)
{
    enum { MAX_DOMAINS = 65536 };
    const struct llem_value *domains = llem_get(r->json, "domains");
    size_t n_domains = domains && domains->kind == LLEM_LIST ? domains->count : 0;
    const struct llem_column *requests = llem_recording_column(r, "requests", "pass");
    const struct llem_column *begin, *end, *device, *request;
    int64_t *last = NULL;
    llem_errcode rc = LLEM_OK;

    if (n_domains > MAX_DOMAINS)
        return llem_fail(err, LLEM_ECORRUPT, "'%s/recording.json' lists too many domains", r->dir);
    for (size_t i = 0; i < r->n_columns; i++) {
        const struct llem_column *c = &r->columns[i];
        bool may_be_unknown = strcmp(c->def->table, "requests") == 0;

        if (c->def->type != LLEM_COL_I64 || strcmp(c->def->name, "raw") == 0 ||
            strcmp(c->def->name, "vendor_ns") == 0)
            continue;
        for (size_t k = 0; k < c->count; k++)
            if (c->i64[k] < (may_be_unknown ? -1 : 0) || c->i64[k] > LLEM_RECORDING_MAX_NS)
                return bad(r, c, k, "is no time", err);
    }

    begin = llem_recording_column(r, "samples", "begin_ns");
    end = llem_recording_column(r, "samples", "end_ns");
    device = llem_recording_column(r, "samples", "device");
    if (begin) {
        last = calloc(n_domains + 1, sizeof(*last));
        if (!last)
            return llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", r->dir);
        for (size_t k = 0; k < begin->count && rc == LLEM_OK; k++) {
            if (device->u16[k] >= n_domains)
                rc = bad(r, device, k, "names a domain that does not exist", err);
            else if (begin->i64[k] < last[device->u16[k]])
                rc = bad(r, begin, k, "goes back in time", err);
            else if (end->i64[k] < begin->i64[k])
                rc = bad(r, end, k, "is before the begin of the read", err);
            else
                last[device->u16[k]] = begin->i64[k];
        }
        free(last);
        if (rc != LLEM_OK)
            return rc;
    }

    for (size_t i = 0; i < r->n_columns; i++) {
        const struct llem_column *c = &r->columns[i];

        if (c->def->type != LLEM_COL_I32 || strcmp(c->def->table, "requests") != 0)
            continue;
        for (size_t k = 0; k < c->count; k++)
            if (c->i32[k] < -1)
                return bad(r, c, k, "is negative", err);
    }
    request = llem_recording_column(r, "tokens", "request");
    for (size_t k = 0; request && k < request->count; k++)
        if (!requests || request->i32[k] < 0 || (size_t)request->i32[k] >= requests->count)
            return bad(r, request, k, "names a request that does not exist", err);
    return LLEM_OK;
}

llem_errcode llem_recording_open(struct llem_recording *r, const char *dir, llem_error *err)
{
    struct llem_buf text = LLEM_BUF_INIT(LLEM_RECORDING_MAX_JSON);
    const struct llem_value *columns, *version;
    size_t budget = LLEM_RECORDING_MAX_BYTES;
    char path[4300];
    llem_errcode rc;

    memset(r, 0, sizeof(*r));
    if ((size_t)snprintf(r->dir, sizeof(r->dir), "%s", dir) >= sizeof(r->dir))
        return llem_fail(err, LLEM_EINVAL, "the path '%s' is too long", dir);
    snprintf(path, sizeof(path), "%s/recording.json", dir);
    rc = llem_file_read(&text, path, err);
    if (rc != LLEM_OK) {
        if (!llem_path_exists(path))
            rc = llem_fail(err, LLEM_ENOTFOUND,
                           "there is no complete recording in '%s': it has no recording.json", dir);
        goto done;
    }
    llem_sha256_of(text.data, text.len, r->sha256);
    rc = llem_json_parse(&r->arena, &r->json, text.data, text.len, path, err);
    if (rc != LLEM_OK) {
        if (rc != LLEM_ENOMEM && err)
            err->code = LLEM_ECORRUPT;
        if (rc != LLEM_ENOMEM)
            rc = LLEM_ECORRUPT;
        goto done;
    }
    version = llem_get(r->json, "version");
    if (!version || version->kind != LLEM_INT || version->i < 1) {
        rc = llem_fail(err, LLEM_ECORRUPT, "'%s' is no recording: it has no version", path);
        goto done;
    }
    if (version->i > LLEM_RECORDING_VERSION) {
        rc = llem_fail(err, LLEM_ENOTSUP,
                       "'%s' is a recording of version %" PRId64 "; this program reads up to %d",
                       path, version->i, LLEM_RECORDING_VERSION);
        llem_hint(err, rc, "use the llem that wrote it, or a newer one");
        goto done;
    }
    columns = llem_get(r->json, "columns");
    if (!columns || columns->kind != LLEM_LIST || columns->count > LLEM_RECORDING_MAX_COLUMNS) {
        rc = llem_fail(err, LLEM_ECORRUPT, "'%s' has no proper list of columns", path);
        goto done;
    }

    r->columns = llem_arena_calloc(&r->arena, columns->count + 1, sizeof(*r->columns));
    r->owned = llem_arena_calloc(&r->arena, columns->count + 1, sizeof(*r->owned));
    if (!r->columns || !r->owned) {
        rc = llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", dir);
        goto done;
    }
    for (size_t i = 0; i < columns->count; i++) {
        struct llem_column c = { 0 };

        rc = read_column(r, &c, &r->owned[i], columns->items[i], &budget, err);
        if (rc != LLEM_OK)
            goto done;
        if (c.def)
            r->columns[r->n_columns++] = c;
    }
    rc = check_tables(r, err);
    if (rc == LLEM_OK)
        rc = check_rows(r, err);
done:
    llem_buf_done(&text);
    if (rc != LLEM_OK)
        llem_recording_close(r);
    return rc;
}

void llem_recording_close(struct llem_recording *r)
{
    const struct llem_value *columns = llem_get(r->json, "columns");

    /* `owned` has a slot for each entry of `columns`, filled from the front. */
    for (size_t i = 0; r->owned && columns && i < columns->count; i++)
        free(r->owned[i]);
    llem_arena_done(&r->arena);
    memset(r, 0, sizeof(*r));
}
