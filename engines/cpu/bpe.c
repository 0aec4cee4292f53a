/* SPDX-License-Identifier: MIT
 *
 * Byte-level byte-pair encoding: a word of bytes becomes the ids of its bytes, of which the
 * adjacent pair with the lowest rank is merged until no pair has a rank. A heap of candidate merges
 * over a linked list keeps long words at n log n. Knows nothing of how text becomes words.
 */
#include "engines/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/value.h"

struct token {
    const char *text; /* NULL = free slot */
    size_t len;
    int32_t id;
};

struct merge {
    uint64_t pair; /* left id << 32 | right id */
    int32_t rank, id;
    bool used;
};

/* A symbol of the word under way. */
struct symbol {
    int32_t id;
    int32_t prev, next; /* -1 = none */
    bool gone;          /* merged into the one before */
};

/* A merge that was possible when it was put on the heap. */
struct candidate {
    int32_t rank, at, id;
};

enum { ALPHABET_END = 0x100 + 68 };

struct cpu_bpe {
    struct llem_arena arena;
    struct token *tokens; /* open addressing, a power of two of slots, at most half full */
    struct merge *merges;
    size_t token_mask, merge_mask;
    int32_t byte_ids[256]; /* -1 = not in the vocabulary */
    int32_t unknown;       /* -1 = unknown bytes are dropped */
    bool fuse_unknown, ignore_merges;
    char byte_text[256][3]; /* a byte in the vocabulary's alphabet, UTF-8 */
    uint8_t byte_len[256];
    int16_t byte_of[ALPHABET_END]; /* a character of that alphabet as its byte; -1 = not of it */
    const struct token **by_id;    /* in the order of the ids; NULL until a text is wanted */
    size_t n_by_id;
    /* the word under way */
    struct symbol *symbols;
    struct candidate *heap;
    size_t n_symbols, symbol_cap, n_heap, heap_cap;
    struct llem_buf text;
};

bool cpu_ids_add(struct cpu_ids *to, int32_t id)
{
    if (to->count == to->cap) {
        size_t cap = to->cap ? to->cap * 2 : 64;
        int32_t *grown = reallocarray(to->ids, cap, sizeof(*grown));

        if (!grown)
            return false;
        to->ids = grown;
        to->cap = cap;
    }
    to->ids[to->count++] = id;
    return true;
}

/* ---- tables --------------------------------------------------------------------------------- */

/*
 * GPT-2's alphabet: printable characters of Latin-1 stand for themselves, the other 68 bytes, in
 * order, for the characters from U+0100 on. So every byte is one visible character in
 * tokenizer.json.
 */
static void make_alphabet(struct cpu_bpe *b)
{
    unsigned next = 0x100;
    int i;

    for (i = 0; i < ALPHABET_END; i++)
        b->byte_of[i] = -1;
    for (i = 0; i < 256; i++) {
        bool itself = (i >= '!' && i <= '~') || (i >= 0xa1 && i <= 0xac) || (i >= 0xae);
        unsigned cp = itself ? (unsigned)i : next++;

        b->byte_of[cp] = (int16_t)i;
        b->byte_len[i] = cp < 0x80 ? 1 : 2;
        b->byte_text[i][0] = (char)(cp < 0x80 ? cp : 0xc0 | cp >> 6);
        b->byte_text[i][1] = (char)(cp < 0x80 ? 0 : 0x80 | (cp & 0x3f));
    }
}

static size_t hash_text(const char *s, size_t len)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    size_t i;

    for (i = 0; i < len; i++)
        h = (h ^ (unsigned char)s[i]) * UINT64_C(0x100000001b3);
    return (size_t)(h ^ h >> 32);
}

static struct token *token_slot(const struct cpu_bpe *b, const char *s, size_t len)
{
    size_t i = hash_text(s, len) & b->token_mask;

    while (b->tokens[i].text && (b->tokens[i].len != len || memcmp(b->tokens[i].text, s, len) != 0))
        i = (i + 1) & b->token_mask;
    return &b->tokens[i];
}

static int32_t token_id(const struct cpu_bpe *b, const char *s, size_t len)
{
    const struct token *t = token_slot(b, s, len);

    return t->text ? t->id : -1;
}

static struct merge *merge_slot(const struct cpu_bpe *b, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = (size_t)((pair * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & b->merge_mask;

    while (b->merges[i].used && b->merges[i].pair != pair)
        i = (i + 1) & b->merge_mask;
    return &b->merges[i];
}

static size_t slots_for(size_t count)
{
    size_t slots = 16;

    while (slots < count * 2)
        slots *= 2;
    return slots;
}

static llem_errcode load_vocab(struct cpu_bpe *b, const struct llem_value *vocab, const char *name,
                               llem_error *err)
{
    size_t i;

    if (!vocab || vocab->kind != LLEM_MAP || vocab->count == 0)
        return llem_fail(err, LLEM_ECORRUPT, "%s: the model has no vocabulary (model.vocab)", name);
    b->token_mask = slots_for(vocab->count) - 1;
    b->tokens = llem_arena_calloc(&b->arena, b->token_mask + 1, sizeof(*b->tokens));
    if (!b->tokens)
        return llem_fail(err, LLEM_ENOMEM, "%s: no memory for %zu tokens", name, vocab->count);
    for (i = 0; i < vocab->count; i++) {
        const struct llem_value *v = vocab->items[i];
        size_t len = strlen(vocab->keys[i]);
        struct token *t;

        if (v->kind != LLEM_INT || v->i < 0 || v->i > INT32_MAX)
            return llem_fail(err, LLEM_ECORRUPT, "%s: the id of token '%s' is no number from 0",
                             name, vocab->keys[i]);
        t = token_slot(b, vocab->keys[i], len);
        t->text = llem_arena_strndup(&b->arena, vocab->keys[i], len);
        t->len = len;
        t->id = (int32_t)v->i;
        if (!t->text)
            return llem_fail(err, LLEM_ENOMEM, "%s: no memory for %zu tokens", name, vocab->count);
    }
    return LLEM_OK;
}

static llem_errcode load_merge(struct cpu_bpe *b, const struct llem_value *v, size_t rank,
                               const char *name, llem_error *err)
{
    const char *left, *right;
    size_t left_len, right_len;
    int32_t left_id, right_id, id;
    struct merge *m;

    if (v->kind == LLEM_STRING) { /* "a b" */
        const char *space = memchr(v->s, ' ', v->len);

        if (!space)
            return llem_fail(err, LLEM_ECORRUPT, "%s: merge %zu, '%s', has no space", name, rank,
                             v->s);
        left = v->s;
        left_len = (size_t)(space - v->s);
        right = space + 1;
        right_len = v->len - left_len - 1;
    } else if (v->kind == LLEM_LIST && v->count == 2 && v->items[0]->kind == LLEM_STRING &&
               v->items[1]->kind == LLEM_STRING) {
        left = v->items[0]->s;
        left_len = v->items[0]->len;
        right = v->items[1]->s;
        right_len = v->items[1]->len;
    } else {
        return llem_fail(err, LLEM_ECORRUPT, "%s: merge %zu is neither \"a b\" nor [\"a\", \"b\"]",
                         name, rank);
    }
    left_id = token_id(b, left, left_len);
    right_id = token_id(b, right, right_len);
    if (left_id < 0 || right_id < 0)
        return llem_fail(
            err, LLEM_ECORRUPT, "%s: merge %zu refers to '%.*s', which is not in the vocabulary",
            name, rank, (int)(left_id < 0 ? left_len : right_len), left_id < 0 ? left : right);
    llem_buf_clear(&b->text);
    llem_buf_add(&b->text, left, left_len);
    llem_buf_add(&b->text, right, right_len);
    if (b->text.failed)
        return llem_fail(err, LLEM_ENOMEM, "%s: merge %zu is too long", name, rank);
    id = token_id(b, b->text.data, b->text.len);
    if (id < 0)
        return llem_fail(err, LLEM_ECORRUPT,
                         "%s: merge %zu makes '%s', which is not in the vocabulary", name, rank,
                         b->text.data);
    m = merge_slot(b, left_id, right_id);
    /* Of a pair that is there twice the later rank counts, as in the original. */
    *m = (struct merge){ .pair = (uint64_t)(uint32_t)left_id << 32 | (uint32_t)right_id,
                         .rank = (int32_t)rank,
                         .id = id,
                         .used = true };
    return LLEM_OK;
}

static llem_errcode load_merges(struct cpu_bpe *b, const struct llem_value *merges,
                                const char *name, llem_error *err)
{
    size_t i;
    llem_errcode rc = LLEM_OK;

    if (!merges || merges->kind != LLEM_LIST || merges->count > INT32_MAX)
        return llem_fail(err, LLEM_ECORRUPT, "%s: the model has no list of merges (model.merges)",
                         name);
    b->merge_mask = slots_for(merges->count) - 1;
    b->merges = llem_arena_calloc(&b->arena, b->merge_mask + 1, sizeof(*b->merges));
    if (!b->merges)
        return llem_fail(err, LLEM_ENOMEM, "%s: no memory for %zu merges", name, merges->count);
    for (i = 0; i < merges->count && rc == LLEM_OK; i++)
        rc = load_merge(b, merges->items[i], i, name, err);
    return rc;
}

llem_errcode cpu_bpe_new(struct cpu_bpe **out, const struct llem_value *model, const char *name,
                         llem_error *err)
{
    static const char *const affixes[] = { "continuing_subword_prefix", "end_of_word_suffix" };
    const char *unknown = llem_str_at(model, "unk_token", NULL);
    struct cpu_bpe *b;
    llem_errcode rc;
    size_t i;

    if (strcmp(llem_str_at(model, "type", "BPE"), "BPE") != 0)
        return llem_fail(err, LLEM_ENOTSUP,
                         "%s: the tokenizer is of type '%s'; engine cpu knows byte-level BPE alone",
                         name, llem_str_at(model, "type", ""));
    for (i = 0; i < LLEM_COUNT(affixes); i++)
        if (llem_str_at(model, affixes[i], "")[0])
            return llem_fail(err, LLEM_ENOTSUP, "%s: engine cpu does not know model.%s", name,
                             affixes[i]);
    if (llem_real_at(model, "dropout", 0) != 0)
        return llem_fail(err, LLEM_ENOTSUP, "%s: engine cpu does not know model.dropout", name);

    b = calloc(1, sizeof(*b));
    if (!b)
        return llem_fail(err, LLEM_ENOMEM, "%s: no memory for a tokenizer", name);
    llem_buf_init(&b->text, SIZE_MAX / 2);
    b->ignore_merges = llem_bool_at(model, "ignore_merges", false);
    b->fuse_unknown = llem_bool_at(model, "fuse_unk", false);
    make_alphabet(b);
    rc = load_vocab(b, llem_get(model, "vocab"), name, err);
    if (rc == LLEM_OK)
        rc = load_merges(b, llem_get(model, "merges"), name, err);
    if (rc == LLEM_OK) {
        for (i = 0; i < 256; i++)
            b->byte_ids[i] = token_id(b, b->byte_text[i], b->byte_len[i]);
        b->unknown = unknown ? token_id(b, unknown, strlen(unknown)) : -1;
        if (unknown && b->unknown < 0)
            rc = llem_fail(err, LLEM_ECORRUPT, "%s: unk_token '%s' is not in the vocabulary", name,
                           unknown);
    }
    if (rc < 0) {
        cpu_bpe_free(b);
        return rc;
    }
    *out = b;
    return LLEM_OK;
}

void cpu_bpe_free(struct cpu_bpe *b)
{
    if (!b)
        return;
    llem_arena_done(&b->arena);
    llem_buf_done(&b->text);
    free(b->symbols);
    free(b->heap);
    free(b);
}

/* ---- encoding ------------------------------------------------------------------------------- */

static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static bool push(struct cpu_bpe *b, struct candidate c)
{
    size_t i = b->n_heap;

    if (b->n_heap == b->heap_cap) {
        size_t cap = b->heap_cap ? b->heap_cap * 2 : 64;
        struct candidate *grown = reallocarray(b->heap, cap, sizeof(*grown));

        if (!grown)
            return false;
        b->heap = grown;
        b->heap_cap = cap;
    }
    for (b->n_heap++; i > 0 && before(&c, &b->heap[(i - 1) / 2]); i = (i - 1) / 2)
        b->heap[i] = b->heap[(i - 1) / 2];
    b->heap[i] = c;
    return true;
}

static struct candidate pop(struct cpu_bpe *b)
{
    struct candidate top = b->heap[0], last = b->heap[--b->n_heap];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < b->n_heap) {
        if (child + 1 < b->n_heap && before(&b->heap[child + 1], &b->heap[child]))
            child++;
        if (!before(&b->heap[child], &last))
            break;
        b->heap[i] = b->heap[child];
        i = child;
    }
    b->heap[i] = last;
    return top;
}

/* Put the merge of symbol `at` with the next one on the heap, if there is one. */
static bool consider(struct cpu_bpe *b, int32_t at)
{
    const struct merge *m;

    if (at < 0 || b->symbols[at].next < 0)
        return true;
    m = merge_slot(b, b->symbols[at].id, b->symbols[b->symbols[at].next].id);
    return !m->used || push(b, (struct candidate){ m->rank, at, m->id });
}

static bool split_bytes(struct cpu_bpe *b, const char *word, size_t len)
{
    size_t i, n = 0;

    if (len > b->symbol_cap) {
        struct symbol *grown = reallocarray(b->symbols, len, sizeof(*grown));

        if (!grown)
            return false;
        b->symbols = grown;
        b->symbol_cap = len;
    }
    for (i = 0; i < len; i++) {
        int32_t id = b->byte_ids[(unsigned char)word[i]];

        if (id < 0)
            id = b->unknown;
        if (id < 0 || (id == b->unknown && b->fuse_unknown && n > 0 && b->symbols[n - 1].id == id))
            continue;
        b->symbols[n] = (struct symbol){ .id = id, .prev = (int32_t)n - 1, .next = (int32_t)n + 1 };
        n++;
    }
    if (n > 0)
        b->symbols[n - 1].next = -1;
    b->n_symbols = n;
    return true;
}

bool cpu_bpe_encode(struct cpu_bpe *b, const char *word, size_t len, struct cpu_ids *out)
{
    struct symbol *s;
    size_t i;
    int32_t at;

    if (b->ignore_merges) {
        int32_t id;

        llem_buf_clear(&b->text);
        for (i = 0; i < len; i++)
            llem_buf_add(&b->text, b->byte_text[(unsigned char)word[i]],
                         b->byte_len[(unsigned char)word[i]]);
        if (b->text.failed)
            return false;
        id = token_id(b, b->text.data, b->text.len);
        if (id >= 0)
            return cpu_ids_add(out, id);
    }
    if (!split_bytes(b, word, len))
        return false;
    s = b->symbols;
    b->n_heap = 0;
    for (i = 0; i + 1 < b->n_symbols; i++)
        if (!consider(b, (int32_t)i))
            return false;
    while (b->n_heap > 0) {
        struct candidate c = pop(b);
        int32_t right = s[c.at].next;
        const struct merge *m;

        if (s[c.at].gone || right < 0)
            continue;
        m = merge_slot(b, s[c.at].id, s[right].id);
        if (!m->used || m->id != c.id || m->rank != c.rank)
            continue; /* one of the two has changed since */
        s[c.at].id = c.id;
        s[c.at].next = s[right].next;
        s[right].gone = true;
        if (s[c.at].next >= 0)
            s[s[c.at].next].prev = c.at;
        if (!consider(b, s[c.at].prev) || !consider(b, c.at))
            return false;
    }
    for (at = b->n_symbols ? 0 : -1; at >= 0; at = s[at].next)
        if (!cpu_ids_add(out, s[at].id))
            return false;
    return true;
}

/* ---- back to text --------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    int32_t x = (*(const struct token *const *)a)->id, y = (*(const struct token *const *)b)->id;

    return x < y ? -1 : x > y;
}

bool cpu_bpe_find(struct cpu_bpe *b, int32_t id, const char **text, size_t *len)
{
    struct token want = { .id = id };
    const struct token *key = &want, **found;

    *text = NULL;
    *len = 0;
    if (!b->by_id) {
        const struct token **list = llem_arena_calloc(&b->arena, b->token_mask + 1, sizeof(*list));

        if (!list)
            return false;
        for (size_t i = 0; i <= b->token_mask; i++)
            if (b->tokens[i].text)
                list[b->n_by_id++] = &b->tokens[i];
        qsort(list, b->n_by_id, sizeof(*list), by_id);
        b->by_id = list;
    }
    found = bsearch(&key, b->by_id, b->n_by_id, sizeof(*b->by_id), by_id);
    if (found) {
        *text = (*found)->text;
        *len = (*found)->len;
    }
    return true;
}

void cpu_bpe_decode(const struct cpu_bpe *b, const char *text, size_t len, struct llem_buf *out)
{
    size_t before = out->len, at, n;
    uint32_t c;

    for (at = 0; at < len; at += n) {
        n = llem_utf8_next(text + at, len - at, &c);
        if (n == 0 || c >= ALPHABET_END || b->byte_of[c] < 0) {
            out->len = before;
            llem_buf_add(out, text, len);
            return;
        }
        llem_buf_addc(out, (char)b->byte_of[c]);
    }
}
