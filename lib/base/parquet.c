/* SPDX-License-Identifier: MIT
 *
 * Parquet is read as it is laid out: the footer (Thrift's compact protocol) is walked anew for
 * every column instead of being kept, pages are unpacked one by one, and values are taken from a
 * page one by one, so that the only tables are the dictionary's and the result.
 */
#include "lib/base/parquet.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* Thrift's compact types. */
enum {
    T_STOP = 0,
    T_TRUE = 1,
    T_FALSE = 2,
    T_BYTE = 3,
    T_I16 = 4,
    T_I32 = 5,
    T_I64 = 6,
    T_DOUBLE = 7,
    T_BINARY = 8,
    T_LIST = 9,
    T_SET = 10,
    T_MAP = 11,
    T_STRUCT = 12
};
/* The format's enumerations. */
enum { PHYSICAL_BYTE_ARRAY = 6, OPTIONAL = 1, REPEATED = 2 };
enum { CODEC_NONE = 0, CODEC_SNAPPY = 1, CODEC_ZSTD = 6 };
enum { PAGE_DATA = 0, PAGE_INDEX = 1, PAGE_DICTIONARY = 2, PAGE_DATA_V2 = 3 };
enum {
    PLAIN = 0,
    PLAIN_DICTIONARY = 2,
    RLE = 3,
    DELTA_LENGTH = 6,
    DELTA_BYTE_ARRAY = 7,
    RLE_DICTIONARY = 8
};
enum { MAX_NESTED = 32, MAX_COLUMNS = 16384 };

static const char *const codecs[] = { "none",   "SNAPPY", "GZIP", "LZO",
                                      "BROTLI", "LZ4",    "ZSTD", "LZ4_RAW" };

/* ---- bytes -------------------------------------------------------------------------------- */

/* What is still to be read. Reading past the end gives zeros and sets `bad`, which is tested where
 * something is made of it. */
struct bytes {
    const uint8_t *p, *end;
    bool bad;
};

static size_t left(const struct bytes *b)
{
    return (size_t)(b->end - b->p);
}

static uint8_t byte(struct bytes *b)
{
    if (b->p == b->end) {
        b->bad = true;
        return 0;
    }
    return *b->p++;
}

/* The next n of them; none if there are fewer. */
static struct bytes take(struct bytes *b, uint64_t n)
{
    struct bytes part = { b->p, b->p, false };

    if (n > left(b)) {
        b->bad = part.bad = true;
        return part;
    }
    b->p += n;
    part.end = b->p;
    return part;
}

static uint64_t little_endian(struct bytes *b, unsigned n)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)byte(b) << 8 * i;
    return v;
}

static uint64_t varint(struct bytes *b)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t c = byte(b);

        v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80)
            return v;
    }
    b->bad = true;
    return 0;
}

static int64_t zigzag(struct bytes *b)
{
    uint64_t v = varint(b);

    return (int64_t)(v >> 1 ^ -(v & 1));
}

/* width bits, at most 64, from bit `at` on, which the caller knows to be there. */
static uint64_t bits(const uint8_t *p, size_t at, unsigned width)
{
    uint64_t v = 0;

    for (unsigned got = 0; got < width;) {
        unsigned skip = at % 8, n = 8 - skip < width - got ? 8 - skip : width - got;

        v |= (uint64_t)(p[at / 8] >> skip & ((1u << n) - 1)) << got;
        got += n;
        at += n;
    }
    return v;
}

/* ---- Thrift ------------------------------------------------------------------------------- */

/* The next field of a struct: its id in *id, which comes in as the id before it (0 at first), and
 * its type; T_STOP at the end. */
static int next_field(struct bytes *b, int64_t *id)
{
    uint8_t c = byte(b);

    if (b->bad || c == T_STOP)
        return T_STOP;
    *id = c >> 4 ? *id + (c >> 4) : zigzag(b);
    if (*id < 0 || *id > INT16_MAX) {
        b->bad = true;
        return T_STOP;
    }
    return c & 15;
}

/* The number of items, each of which takes a byte at least. */
static uint64_t list_head(struct bytes *b, int *type)
{
    uint8_t c = byte(b);
    uint64_t n = c >> 4 == 15 ? varint(b) : c >> 4;

    *type = c & 15;
    if (n > left(b)) {
        b->bad = true;
        return 0;
    }
    return n;
}

static void skip(struct bytes *b, int type, bool item, int depth)
{
    int64_t id = 0;
    int t, key;
    uint64_t n;

    if (depth == MAX_NESTED) {
        b->bad = true;
        return;
    }
    switch (type) {
    case T_TRUE:
    case T_FALSE:
        if (item) /* as a field it is all in the type */
            byte(b);
        break;
    case T_BYTE:
        byte(b);
        break;
    case T_I16:
    case T_I32:
    case T_I64:
        varint(b);
        break;
    case T_DOUBLE:
        take(b, 8);
        break;
    case T_BINARY:
        take(b, varint(b));
        break;
    case T_LIST:
    case T_SET:
        n = list_head(b, &t);
        for (uint64_t i = 0; i < n && !b->bad; i++)
            skip(b, t, true, depth + 1);
        break;
    case T_MAP:
        n = varint(b);
        t = n ? byte(b) : 0;
        key = t >> 4;
        for (uint64_t i = 0; i < n && !b->bad; i++) {
            skip(b, key, true, depth + 1);
            skip(b, t & 15, true, depth + 1);
        }
        break;
    case T_STRUCT:
        while ((t = next_field(b, &id)) != T_STOP)
            skip(b, t, false, depth + 1);
        break;
    default:
        b->bad = true;
    }
}

/* What a struct of integers and inner structs holds, by id: the fields of interest are few, and the
 * format's ids are small. Inner structs are kept as bytes. */
enum { MAX_ID = 12 };
struct fields {
    int64_t i[MAX_ID + 1];
    struct bytes sub[MAX_ID + 1]; /* a struct or text, or a list with its head */
    bool has[MAX_ID + 1];
};

static void read_struct(struct bytes *b, struct fields *f)
{
    int64_t id = 0;
    int type;

    memset(f, 0, sizeof(*f));
    while ((type = next_field(b, &id)) != T_STOP) {
        const uint8_t *begin = b->p;
        int64_t v = 0;

        if (type == T_I32 || type == T_I64 || type == T_I16) {
            v = zigzag(b);
        } else if (type == T_BINARY) {
            struct bytes text = take(b, varint(b));

            if (id <= MAX_ID)
                f->sub[id] = text;
        } else {
            v = type == T_TRUE;
            skip(b, type, false, 0);
            if (id <= MAX_ID)
                f->sub[id] = (struct bytes){ begin, b->p, false };
        }
        if (id <= MAX_ID && !b->bad) {
            f->i[id] = v;
            f->has[id] = true;
        }
    }
}

/* ---- errors ------------------------------------------------------------------------------- */

static llem_errcode damaged(const struct llem_parquet *p, llem_error *err, const char *what)
{
    return llem_fail(err, LLEM_ECORRUPT, "'%s' is no whole Parquet file: %s", p->name, what);
}

static llem_errcode out_of_memory(const struct llem_parquet *p, llem_error *err)
{
    return llem_fail(err, LLEM_ENOMEM, "out of memory while reading '%s'", p->name);
}

static llem_errcode unreadable(const struct llem_parquet *p, llem_error *err)
{
    return llem_hint(err, LLEM_ECORRUPT,
                     "write it anew: python3 -c \"import pyarrow.parquet as p; "
                     "p.write_table(p.read_table('%s'), 'new.parquet', compression='zstd')\"",
                     p->name);
}

/* ---- the footer --------------------------------------------------------------------------- */

static llem_errcode read_schema(struct llem_parquet *p, struct bytes b, llem_error *err)
{
    uint64_t inner = 0, n;
    int type;

    n = list_head(&b, &type);
    if (b.bad || type != T_STRUCT || n > MAX_COLUMNS)
        return damaged(p, err, "its footer has no schema, or too many columns");
    p->columns = llem_arena_calloc(p->a, n + 1, sizeof(*p->columns));
    if (!p->columns)
        return out_of_memory(p, err);
    for (uint64_t i = 0; i < n; i++) {
        struct llem_parquet_column *c = &p->columns[p->n_columns];
        bool outermost = inner == 0;
        struct fields f;

        read_struct(&b, &f);
        if (b.bad || !f.has[4] || f.i[5] < 0 || f.i[5] > MAX_COLUMNS)
            return damaged(p, err, "its footer's schema is damaged");
        if (i == 0)
            continue; /* the root */
        inner -= !outermost;
        inner += (uint64_t)f.i[5];
        if (!f.has[1])
            continue; /* a group: no column of its own */
        if (outermost && f.i[3] != REPEATED) {
            c->name = llem_arena_strndup(p->a, (const char *)f.sub[4].p, left(&f.sub[4]));
            c->leaf = p->n_leaves;
            c->text = f.i[1] == PHYSICAL_BYTE_ARRAY;
            c->optional = f.i[3] == OPTIONAL;
            p->n_columns++;
        }
        p->n_leaves++;
    }
    return p->a->oom ? out_of_memory(p, err) : LLEM_OK;
}

llem_errcode llem_parquet_open(struct llem_parquet *p, const void *data, size_t len,
                               const char *name, size_t max_rows, size_t max_bytes,
                               struct llem_arena *a, llem_error *err)
{
    struct bytes end = { data, (const uint8_t *)data + len, false }, footer;
    struct fields f;
    uint64_t n;

    memset(p, 0, sizeof(*p));
    p->name = name;
    p->data = data;
    p->a = a;
    p->budget = max_bytes;
    if (len < 12 || memcmp(data, "PAR1", 4) != 0) {
        if (len >= 4 && memcmp(data, "PARE", 4) == 0)
            return llem_fail(err, LLEM_ECORRUPT, "'%s' is encrypted, which llem does not read",
                             name);
        return damaged(p, err, "it does not begin with PAR1");
    }
    end.p = end.end - 8;
    n = little_endian(&end, 4);
    if (memcmp(end.p, "PAR1", 4) != 0)
        return damaged(p, err, "it does not end with PAR1; the download may have been cut short");
    if (n > len - 12)
        return damaged(p, err, "its footer is longer than the file");
    p->len = len - 8 - (size_t)n;
    p->footer = p->data + p->len;
    p->footer_len = (size_t)n;

    footer = (struct bytes){ p->footer, p->footer + p->footer_len, false };
    read_struct(&footer, &f);
    if (footer.bad || !f.has[2] || !f.has[4] || f.i[3] < 0)
        return damaged(p, err, "its footer is damaged");
    if ((uint64_t)f.i[3] > max_rows)
        return llem_fail(err, LLEM_ECORRUPT, "'%s' has more than %zu records", name, max_rows);
    p->n_rows = (size_t)f.i[3];
    return read_schema(p, f.sub[2], err);
}

/* ---- unpacking ---------------------------------------------------------------------------- */

/* Snappy: the length, then literals and copies of what was written before. */
static bool unsnap(struct bytes in, uint8_t *out, size_t len)
{
    size_t at = 0;

    if (varint(&in) != len)
        return false;
    while (in.p < in.end && !in.bad) {
        uint8_t tag = byte(&in);
        size_t n = tag >> 2, offset;

        if ((tag & 3) == 0) {
            struct bytes literal;

            if (n >= 60)
                n = (size_t)little_endian(&in, (unsigned)n - 59);
            literal = take(&in, (uint64_t)n + 1);
            if (literal.bad || left(&literal) > len - at)
                return false;
            memcpy(out + at, literal.p, left(&literal));
            at += left(&literal);
            continue;
        }
        if ((tag & 3) == 1) {
            n = (n & 7) + 4;
            offset = (size_t)(tag >> 5) << 8 | byte(&in);
        } else {
            n++;
            offset = (size_t)little_endian(&in, (tag & 3) == 2 ? 2 : 4);
        }
        if (in.bad || offset == 0 || offset > at || n > len - at)
            return false;
        for (; n; n--, at++) /* a copy may overlap itself, and then repeats */
            out[at] = out[at - offset];
    }
    return !in.bad && at == len;
}

/* Memory for what is unpacked, which has a limit. */
static llem_errcode room(struct llem_parquet *p, uint64_t len, void *out, llem_error *err)
{
    void **mem = out;

    if (len > p->budget)
        return llem_fail(err, LLEM_ECORRUPT,
                         "'%s' unpacks to more than a data set may hold; it is damaged, or made to "
                         "fill the memory",
                         p->name);
    p->budget -= (size_t)len;
    *mem = llem_arena_alloc(p->a, (size_t)len + 1);
    return *mem ? LLEM_OK : out_of_memory(p, err);
}

/* *page becomes what it unpacks to. */
static llem_errcode unpack(struct llem_parquet *p, int64_t codec, struct bytes *page, uint64_t len,
                           llem_error *err)
{
    uint8_t *out;
    bool whole;
    llem_errcode rc;

    if (codec == CODEC_NONE)
        return LLEM_OK;
    /* The largest gain of Snappy is a copy of 64 bytes from three. */
    if (codec == CODEC_SNAPPY && len / 22 > left(page))
        return damaged(p, err, "a page says that it is longer than it can be");
    rc = room(p, len, &out, err);
    if (rc != LLEM_OK)
        return rc;
    whole = codec == CODEC_SNAPPY ? unsnap(*page, out, (size_t)len)
                                  : ZSTD_decompress(out, (size_t)len, page->p, left(page)) == len;
    if (!whole)
        return damaged(p, err, "a page cannot be unpacked");
    *page = (struct bytes){ out, out + len, false };
    return LLEM_OK;
}

/* ---- values ------------------------------------------------------------------------------- */

/* Runs of one value, and groups of eight packed into bits: levels, and places in a dictionary. */
struct hybrid {
    struct bytes in;
    unsigned width;        /* bits, at most 32 */
    uint64_t run;          /* values left of this run */
    const uint8_t *packed; /* NULL: all are `value` */
    size_t bit;
    uint32_t value;
};

static uint32_t hybrid_next(struct hybrid *h)
{
    while (h->run == 0 && !h->in.bad) {
        uint64_t head = varint(&h->in);

        h->run = head >> 1;
        h->packed = NULL;
        if (head & 1) {
            struct bytes group;

            if (h->run > UINT32_MAX) {
                h->in.bad = true;
                break;
            }
            group = take(&h->in, h->run * h->width);
            h->packed = group.p;
            h->bit = 0;
            h->run *= 8;
        } else {
            h->value = (uint32_t)little_endian(&h->in, (h->width + 7) / 8);
        }
    }
    if (h->in.bad)
        return 0;
    h->run--;
    if (h->packed) {
        h->value = (uint32_t)bits(h->packed, h->bit, h->width);
        h->bit += h->width;
    }
    return h->value;
}

/* DELTA_BINARY_PACKED: a first value and blocks of differences. */
struct delta {
    struct bytes in;
    uint64_t block, minis; /* values in a block, and parts of it, each with a width of its own */
    uint64_t left;         /* values in all that are still to come */
    uint64_t value, least; /* signed in the format; here they wrap around */
    struct bytes widths;
    const uint8_t *packed;
    size_t bit;
    unsigned width;
    uint64_t in_mini;
    bool begun;
};

static void delta_begin(struct delta *d, struct bytes in)
{
    memset(d, 0, sizeof(*d));
    d->in = in;
    d->block = varint(&d->in);
    d->minis = varint(&d->in);
    d->left = varint(&d->in);
    d->value = (uint64_t)zigzag(&d->in);
    if (d->minis == 0 || d->block > 1 << 16 || d->block % d->minis || d->block / d->minis % 8 ||
        d->block == 0)
        d->in.bad = true;
}

static uint64_t delta_next(struct delta *d)
{
    if (d->left == 0 || d->in.bad) {
        d->in.bad = true;
        return 0;
    }
    d->left--;
    if (!d->begun) {
        d->begun = true;
        return d->value;
    }
    if (d->in_mini == 0) {
        d->in_mini = d->block / d->minis;
        if (left(&d->widths) == 0) {
            d->least = (uint64_t)zigzag(&d->in);
            d->widths = take(&d->in, d->minis);
        }
        d->width = byte(&d->widths);
        if (d->width > 64)
            d->in.bad = true;
        d->packed = take(&d->in, d->in_mini / 8 * d->width).p;
        d->bit = 0;
        if (d->in.bad)
            return 0;
    }
    d->in_mini--;
    d->value += d->least + bits(d->packed, d->bit, d->width);
    d->bit += d->width;
    return d->value;
}

/* What stands behind n values of *d, which stays where it is. */
static struct bytes behind(const struct delta *d, uint64_t n)
{
    struct delta copy = *d;

    for (uint64_t i = 0; i < n && !copy.in.bad; i++)
        delta_next(&copy);
    copy.in.bad |= copy.left != 0;
    return copy.in;
}

/* The values of a page, one after the other. */
struct values {
    int64_t encoding;
    struct bytes data;
    struct hybrid index;
    struct delta prefixes, lengths;
    struct llem_parquet_text last;
};

struct dictionary {
    struct llem_parquet_text *items;
    uint64_t n;
};

/* n: how many there are. False if this encoding is none of text. */
static bool values_begin(struct values *v, int64_t encoding, struct bytes data, uint64_t n)
{
    memset(v, 0, sizeof(*v));
    v->encoding = encoding == RLE_DICTIONARY ? PLAIN_DICTIONARY : encoding;
    v->data = data;
    switch (v->encoding) {
    case PLAIN:
        return true;
    case PLAIN_DICTIONARY:
        if (n) {
            v->index.width = byte(&v->data);
            v->index.in = v->data;
            if (v->index.width > 32)
                v->index.in.bad = true; /* before anything is taken from it */
        }
        return true;
    case DELTA_BYTE_ARRAY:
        if (n) {
            delta_begin(&v->prefixes, data);
            data = behind(&v->prefixes, n);
        }
        /* fall through */
    case DELTA_LENGTH:
        if (n) {
            delta_begin(&v->lengths, data);
            v->data = behind(&v->lengths, n);
        }
        return true;
    default:
        return false;
    }
}

static llem_errcode next_value(struct llem_parquet *p, struct values *v, const struct dictionary *d,
                               struct llem_parquet_text *out, llem_error *err)
{
    uint64_t prefix = 0, len;
    struct bytes text;
    uint32_t at;
    char *mem;
    llem_errcode rc;

    if (v->encoding == PLAIN_DICTIONARY) {
        at = hybrid_next(&v->index);
        if (v->data.bad || v->index.in.bad || at >= d->n)
            return damaged(p, err, "a page asks for what is not in the dictionary");
        *out = d->items[at];
        return LLEM_OK;
    }
    len = v->encoding == PLAIN ? little_endian(&v->data, 4) : delta_next(&v->lengths);
    if (v->encoding == DELTA_BYTE_ARRAY)
        prefix = delta_next(&v->prefixes);
    text = take(&v->data, len);
    if (v->data.bad || v->lengths.in.bad || v->prefixes.in.bad || prefix > v->last.len)
        return damaged(p, err, "a page ends before its values do");
    *out = (struct llem_parquet_text){ (const char *)text.p, (size_t)len };
    if (prefix) {
        rc = room(p, prefix + len, &mem, err);
        if (rc != LLEM_OK)
            return rc;
        memcpy(mem, v->last.s, (size_t)prefix);
        memcpy(mem + prefix, text.p, (size_t)len);
        *out = (struct llem_parquet_text){ mem, (size_t)(prefix + len) };
    }
    v->last = *out;
    return LLEM_OK;
}

/* ---- pages -------------------------------------------------------------------------------- */

struct chunk {
    struct llem_parquet *p;
    const struct llem_parquet_column *column;
    int64_t codec;
    struct bytes in; /* pages still to come */
    struct dictionary dictionary;
    struct llem_parquet_text *out; /* where the next value goes */
    uint64_t rows;                 /* how many are still to come */
    size_t seen;                   /* bytes of the groups until now */
};

static llem_errcode read_dictionary(struct chunk *c, struct bytes head, struct bytes page,
                                    llem_error *err)
{
    struct values v;
    struct fields f;
    llem_errcode rc;

    read_struct(&head, &f);
    if (head.bad || f.i[1] < 0 || (uint64_t)f.i[1] > left(&page) / 4 ||
        (f.i[2] != PLAIN && f.i[2] != PLAIN_DICTIONARY))
        return damaged(c->p, err, "a dictionary is damaged");
    values_begin(&v, PLAIN, page, 0);
    c->dictionary.n = (uint64_t)f.i[1];
    rc = room(c->p, c->dictionary.n * sizeof(*c->dictionary.items), &c->dictionary.items, err);
    for (uint64_t i = 0; i < c->dictionary.n && rc == LLEM_OK; i++)
        rc = next_value(c->p, &v, NULL, &c->dictionary.items[i], err);
    return rc;
}

/* n values, of which the levels, if there are any, tell which are null. */
static llem_errcode read_values(struct chunk *c, int64_t encoding, uint64_t n,
                                const struct bytes *levels, struct bytes data, llem_error *err)
{
    struct hybrid level = { .width = 1 }, ahead;
    struct values v;
    uint64_t present = n;
    llem_errcode rc = LLEM_OK;

    if (levels) {
        level.in = *levels;
        ahead = level;
        present = 0;
        for (uint64_t i = 0; i < n; i++)
            present += hybrid_next(&ahead) != 0;
        if (ahead.in.bad)
            return damaged(c->p, err, "a page does not tell which of its values are null");
    }
    if (!values_begin(&v, encoding, data, present)) {
        llem_fail(err, LLEM_ECORRUPT,
                  "the column '%s' of '%s' has the encoding %lld, which llem does not read",
                  c->column->name, c->p->name, (long long)encoding);
        return unreadable(c->p, err);
    }
    for (uint64_t i = 0; i < n && rc == LLEM_OK; i++, c->out++)
        if (!levels || hybrid_next(&level))
            rc = next_value(c->p, &v, &c->dictionary, c->out, err);
    c->rows -= n;
    return rc;
}

static llem_errcode read_page(struct chunk *c, llem_error *err)
{
    struct fields f, data;
    struct bytes page, levels = { 0 };
    struct bytes head;
    uint64_t before = 0, n;
    int64_t encoding;
    bool packed = true;
    llem_errcode rc;

    read_struct(&c->in, &f);
    page = take(&c->in, f.i[3] < 0 ? UINT64_MAX : (uint64_t)f.i[3]);
    if (c->in.bad || f.i[2] < 0 || f.i[2] > INT32_MAX)
        return damaged(c->p, err, "a page is damaged or reaches beyond its column");
    if (f.i[1] == PAGE_INDEX)
        return LLEM_OK;
    head = f.i[1] == PAGE_DATA ? f.sub[5] : f.i[1] == PAGE_DICTIONARY ? f.sub[7] : f.sub[8];
    if (f.i[1] < 0 || f.i[1] > PAGE_DATA_V2 || head.p == head.end)
        return damaged(c->p, err, "a page is of a kind that there is not");
    if (f.i[1] == PAGE_DICTIONARY) {
        rc = unpack(c->p, c->codec, &page, (uint64_t)f.i[2], err);
        return rc == LLEM_OK ? read_dictionary(c, head, page, err) : rc;
    }

    read_struct(&head, &data);
    n = (uint64_t)data.i[1];
    if (head.bad || data.i[1] < 0 || n > c->rows)
        return damaged(c->p, err, "a page has more values than its column");
    if (f.i[1] == PAGE_DATA_V2) { /* levels first, which are never packed */
        if (data.i[5] < 0 || data.i[6] < 0)
            return damaged(c->p, err, "a page is damaged");
        encoding = data.i[4];
        packed = !data.has[7] || data.i[7];
        before = (uint64_t)data.i[5] + (uint64_t)data.i[6];
        take(&page, (uint64_t)data.i[6]);
        levels = take(&page, (uint64_t)data.i[5]);
        if (page.bad || before > (uint64_t)f.i[2])
            return damaged(c->p, err, "a page is shorter than its levels");
    } else {
        encoding = data.i[2];
        if (c->column->optional && data.i[3] != RLE) {
            llem_fail(
                err, LLEM_ECORRUPT,
                "the column '%s' of '%s' keeps its nulls in the encoding %lld, which llem does "
                "not read",
                c->column->name, c->p->name, (long long)data.i[3]);
            return unreadable(c->p, err);
        }
    }
    if (packed && left(&page)) {
        rc = unpack(c->p, c->codec, &page, (uint64_t)f.i[2] - before, err);
        if (rc != LLEM_OK)
            return rc;
    }
    if (f.i[1] == PAGE_DATA && c->column->optional)
        levels = take(&page, little_endian(&page, 4));
    if (page.bad)
        return damaged(c->p, err, "a page is shorter than its levels");
    return read_values(c, encoding, n, c->column->optional ? &levels : NULL, page, err);
}

/* The column's part of one group of rows. */
static llem_errcode read_chunk(struct chunk *c, struct bytes *group, llem_error *err)
{
    struct llem_parquet *p = c->p;
    struct fields f, meta;
    uint64_t begin, size;
    llem_errcode rc = LLEM_OK;

    read_struct(group, &f);
    if (!group->bad && !f.has[3])
        return llem_fail(err, LLEM_ECORRUPT,
                         "the column '%s' of '%s' is encrypted, which llem does not read",
                         c->column->name, p->name);
    read_struct(&f.sub[3], &meta);
    c->codec = meta.i[4];
    if (group->bad || f.sub[3].bad || left(&f.sub[1]) || meta.i[1] != PHYSICAL_BYTE_ARRAY ||
        meta.i[5] < 0 || (uint64_t)meta.i[5] != c->rows || meta.i[7] < 0 || meta.i[9] < 0)
        return damaged(p, err, "what its footer says of a column cannot be");
    if (c->codec != CODEC_NONE && c->codec != CODEC_SNAPPY && c->codec != CODEC_ZSTD) {
        llem_fail(err, LLEM_ECORRUPT,
                  "the column '%s' of '%s' is packed with %s, and llem reads ZSTD, SNAPPY and what "
                  "is not packed",
                  c->column->name, p->name,
                  c->codec > 0 && c->codec < (int64_t)LLEM_COUNT(codecs) ? codecs[c->codec]
                                                                         : "what nobody knows");
        return unreadable(c->p, err);
    }
    begin = (uint64_t)meta.i[9];
    if (meta.has[11] && meta.i[11] > 0 && meta.i[11] < meta.i[9])
        begin = (uint64_t)meta.i[11];
    size = (uint64_t)meta.i[7];
    if (begin > p->len || size > p->len - begin)
        return damaged(p, err, "a column reaches beyond the file");
    /* So that one part that is named a million times is not read so often. */
    if (size > p->len - c->seen)
        return damaged(p, err, "parts of a column lie in the same place");
    c->seen += (size_t)size;
    c->in = (struct bytes){ p->data + begin, p->data + begin + size, false };
    c->dictionary = (struct dictionary){ 0 };
    while (c->rows && rc == LLEM_OK)
        rc = read_page(c, err);
    return rc;
}

llem_errcode llem_parquet_read(struct llem_parquet *p, const struct llem_parquet_column *column,
                               struct llem_parquet_text **out, llem_error *err)
{
    struct chunk c = { .p = p, .column = column };
    struct bytes footer = { p->footer, p->footer + p->footer_len, false };
    struct llem_parquet_text *texts;
    size_t rows = 0;
    struct fields f;
    uint64_t groups, n;
    int type;
    llem_errcode rc;

    texts = llem_arena_calloc(p->a, p->n_rows + 1, sizeof(*texts));
    if (!texts)
        return out_of_memory(p, err);
    read_struct(&footer, &f);
    groups = list_head(&f.sub[4], &type);
    for (uint64_t g = 0; g < groups; g++) {
        struct fields group;

        read_struct(&f.sub[4], &group);
        n = list_head(&group.sub[1], &type);
        if (f.sub[4].bad || n != p->n_leaves || group.i[3] < 0 ||
            (uint64_t)group.i[3] > p->n_rows - rows)
            return damaged(p, err, "its groups of rows do not agree with its schema");
        for (size_t leaf = 0; leaf < column->leaf; leaf++)
            skip(&group.sub[1], T_STRUCT, true, 0);
        c.out = texts + rows;
        c.rows = (uint64_t)group.i[3];
        rows += (size_t)group.i[3];
        rc = read_chunk(&c, &group.sub[1], err);
        if (rc != LLEM_OK)
            return rc;
    }
    if (rows != p->n_rows)
        return damaged(p, err, "its groups of rows are fewer than its footer says");
    *out = texts;
    return LLEM_OK;
}
