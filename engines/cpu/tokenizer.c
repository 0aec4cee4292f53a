/* SPDX-License-Identifier: MIT
 *
 * tokenizer.json of byte-level BPE: a text is cut at added tokens, each piece normalised, cut into
 * words by the pre-tokenizer's patterns, each word encoded by bpe.c, and framed as the
 * post-processor says. What is not known is refused by name: a tokenizer that is nearly right
 * counts wrong tokens.
 */
#include "engines/cpu/cpu.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"

enum {
    MAX_STEPS = 64,
    MAX_DEPTH = 8,  /* of Sequences within Sequences */
    MAX_FRAME = 64, /* tokens that a post-processor adds */
    MAX_PATTERN_BYTES = 64 * 1024,
    MATCH_LIMIT = 10 * 1000 * 1000,
    JIT_STACK_BYTES = 1024 * 1024,
};

/* What becomes of the matches of a pattern. */
enum behavior { REMOVED, ISOLATED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS };
static const char *const behavior_names[] = { "Removed", "Isolated", "MergedWithPrevious",
                                              "MergedWithNext", "Contiguous" };

/* One step of the pre-tokenizer: cut by a pattern, or put a space before. */
struct step {
    pcre2_code *code; /* NULL = put a space before what has none */
    pcre2_match_data *match;
    enum behavior behavior;
    bool invert;
};

struct added_token {
    const char *text;
    size_t len;
    int32_t id;
    bool single_word, lstrip, rstrip, special;
    const char *content; /* text before it was normalised */
    size_t content_len;
};

/* Added tokens by first byte, the longest first. */
struct added {
    struct added_token *tokens;
    size_t count, first[257];
};

struct cpu_tokenizer {
    struct llem_arena arena;
    const char *name;
    struct cpu_bpe *bpe;
    bool nfc;
    struct step steps[MAX_STEPS];
    size_t n_steps;
    struct added raw, normalized; /* looked for before and after normalisation */
    pcre2_code *word;             /* one word character; NULL unless a token is single_word */
    pcre2_match_data *word_match;
    pcre2_compile_context *compile;
    pcre2_match_context *limits;
    pcre2_jit_stack *jit_stack;
    int32_t prefix[MAX_FRAME], suffix[MAX_FRAME];
    size_t n_prefix, n_suffix;
};

/* ---- patterns -----------------------------------------------------------------------------------
 */

/* GPT-2's, which stands in no file: what ByteLevel cuts by when use_regex is true. */
static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* One word character as Unicode's UTS 18 has it: alphabetic, mark, digit, connector, joiner. */
static const char word_pattern[] =
    "[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}"
    "\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}]";

/*
 * A pattern written for Oniguruma, for PCRE2. They agree on what tokenizers use, but that PCRE2's
 * \s has U+180E, which is no white space since Unicode 6.3. Returns false for what means something
 * else there.
 */
static bool translate(struct llem_buf *out, const char *p)
{
    bool class = false;

    for (; *p; p++) {
        if (*p == '\\' && p[1]) {
            p++;
            if (*p == 's')
                llem_buf_adds(out, class ? "\\t-\\r\\x{85}\\p{Z}" : "[\\t-\\r\\x{85}\\p{Z}]");
            else if (*p == 'S' && !class)
                llem_buf_adds(out, "[^\\t-\\r\\x{85}\\p{Z}]");
            else if (*p == 'S' || strchr("hHGKRXyYgkQE", *p))
                return false;
            else
                llem_buf_addf(out, "\\%c", *p);
            continue;
        }
        if (class && (*p == '[' || (*p == '&' && p[1] == '&')))
            return false;
        if (!class && *p == '[') {
            class = true;
            llem_buf_addc(out, *p);
            if (p[1] == '^')
                llem_buf_addc(out, *++p);
            if (p[1] == ']')
                return false;
            continue;
        }
        if (class && *p == ']')
            class = false;
        llem_buf_addc(out, *p);
    }
    return true;
}

static llem_errcode compile(struct cpu_tokenizer *t, pcre2_code **code, pcre2_match_data **match,
                            const char *pattern, size_t len, bool literal, llem_error *err)
{
    struct llem_buf text;
    PCRE2_UCHAR why[128];
    PCRE2_SIZE at;
    uint32_t options = literal ? PCRE2_LITERAL | PCRE2_UTF
                               : PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    int number;
    llem_errcode rc = LLEM_OK;

    llem_buf_init(&text, MAX_PATTERN_BYTES);
    if (literal)
        llem_buf_add(&text, pattern, len);
    else if (strlen(pattern) != len || !translate(&text, pattern)) {
        rc = llem_fail(
            err, LLEM_ENOTSUP,
            "%s: the pattern '%s' uses what engine cpu does not know of Oniguruma's syntax",
            t->name, pattern);
        goto done;
    }
    if (text.failed) {
        rc = llem_fail(err, LLEM_ECORRUPT, "%s: a pattern is longer than %d bytes", t->name,
                       MAX_PATTERN_BYTES);
        goto done;
    }
    *code = pcre2_compile((PCRE2_SPTR)text.data, text.len, options, &number, &at, t->compile);
    if (!*code) {
        pcre2_get_error_message(number, why, sizeof(why));
        rc = llem_fail(err, LLEM_ECORRUPT, "%s: the pattern '%s' is no regular expression: %s",
                       t->name, pattern, (const char *)why);
        goto done;
    }
    /* Without a compiler for this processor the interpreter does the same, slower. */
    pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE);
    *match = pcre2_match_data_create_from_pattern(*code, NULL);
    if (!*match)
        rc = llem_fail(err, LLEM_ENOMEM, "%s: no memory for a pattern", t->name);

done:
    llem_buf_done(&text);
    return rc;
}

/* ---- reading tokenizer.json
 * ----------------------------------------------------------------------- */

static llem_errcode add_step(struct cpu_tokenizer *t, const char *pattern, size_t len, bool literal,
                             enum behavior behavior, bool invert, llem_error *err)
{
    struct step *s = &t->steps[t->n_steps];

    if (t->n_steps == MAX_STEPS)
        return llem_fail(err, LLEM_ENOTSUP, "%s: the pre_tokenizer has more than %d steps", t->name,
                         MAX_STEPS);
    t->n_steps++;
    s->behavior = behavior;
    s->invert = invert;
    return pattern ? compile(t, &s->code, &s->match, pattern, len, literal, err) : LLEM_OK;
}

static llem_errcode read_split(struct cpu_tokenizer *t, const struct llem_value *v, llem_error *err)
{
    const struct llem_value *regex = llem_at(v, "pattern.Regex");
    const struct llem_value *literal = llem_at(v, "pattern.String");
    const struct llem_value *pattern = regex ? regex : literal;
    const char *name = llem_str_at(v, "behavior", "");
    size_t i;

    if (!pattern || pattern->kind != LLEM_STRING)
        return llem_fail(err, LLEM_ECORRUPT, "%s: a Split has no pattern", t->name);
    for (i = 0; i < LLEM_COUNT(behavior_names) && strcmp(behavior_names[i], name) != 0; i++)
        ;
    if (i == LLEM_COUNT(behavior_names))
        return llem_fail(err, LLEM_ECORRUPT, "%s: a Split has the unknown behavior '%s'", t->name,
                         name);
    return add_step(t, pattern->s, pattern->len, pattern == literal, (enum behavior)i,
                    llem_bool_at(v, "invert", false), err);
}

/* Sets *bytes once ByteLevel was met; nothing may follow it, for it would see another alphabet. */
static llem_errcode read_pre_tokenizer(struct cpu_tokenizer *t, const struct llem_value *v,
                                       int depth, bool *bytes, llem_error *err)
{
    const char *type = llem_str_at(v, "type", "");
    llem_errcode rc = LLEM_OK;
    size_t i;

    if (!strcmp(type, "Sequence") && depth < MAX_DEPTH) {
        const struct llem_value *list = llem_get(v, "pretokenizers");

        if (!list || list->kind != LLEM_LIST)
            return llem_fail(err, LLEM_ECORRUPT, "%s: a Sequence has no list of pretokenizers",
                             t->name);
        for (i = 0; i < list->count && rc == LLEM_OK; i++)
            rc = read_pre_tokenizer(t, list->items[i], depth + 1, bytes, err);
        return rc;
    }
    if (*bytes)
        return llem_fail(err, LLEM_ENOTSUP, "%s: engine cpu knows no pre_tokenizer after ByteLevel",
                         t->name);
    if (!strcmp(type, "Split"))
        return read_split(t, v, err);
    if (!strcmp(type, "Digits"))
        return add_step(t, "\\p{N}", 5, false,
                        llem_bool_at(v, "individual_digits", false) ? ISOLATED : CONTIGUOUS, false,
                        err);
    if (!strcmp(type, "ByteLevel")) {
        *bytes = true;
        if (llem_bool_at(v, "add_prefix_space", true))
            rc = add_step(t, NULL, 0, false, ISOLATED, false, err);
        if (rc == LLEM_OK && llem_bool_at(v, "use_regex", true))
            rc = add_step(t, gpt2_pattern, strlen(gpt2_pattern), false, ISOLATED, false, err);
        return rc;
    }
    return llem_fail(
        err, LLEM_ENOTSUP,
        "%s: engine cpu does not know the pre_tokenizer '%s'; it knows ByteLevel, Split, "
        "Digits and Sequence",
        t->name, type);
}

static llem_errcode read_normalizer(struct cpu_tokenizer *t, const struct llem_value *v, int depth,
                                    llem_error *err)
{
    const char *type = llem_str_at(v, "type", "");
    const struct llem_value *list;
    llem_errcode rc = LLEM_OK;
    size_t i;

    if (llem_is_null(v))
        return LLEM_OK;
    if (!strcmp(type, "NFC")) {
        t->nfc = true;
        return LLEM_OK;
    }
    list = llem_get(v, "normalizers");
    if (strcmp(type, "Sequence") != 0 || depth >= MAX_DEPTH || !list || list->kind != LLEM_LIST)
        return llem_fail(
            err, LLEM_ENOTSUP,
            "%s: engine cpu does not know the normalizer '%s'; it knows NFC and Sequence", t->name,
            type);
    for (i = 0; i < list->count && rc == LLEM_OK; i++)
        rc = read_normalizer(t, list->items[i], depth + 1, err);
    return rc;
}

/* A template, as tokens before and after the text's. */
static llem_errcode read_template(struct cpu_tokenizer *t, const struct llem_value *v,
                                  llem_error *err)
{
    const struct llem_value *single = llem_get(v, "single"), *table = llem_get(v, "special_tokens");
    int32_t before[MAX_FRAME];
    size_t i, j, n_before = 0;
    bool seen = false;

    if (!single || single->kind != LLEM_LIST)
        return llem_fail(err, LLEM_ECORRUPT, "%s: a TemplateProcessing has no list 'single'",
                         t->name);
    for (i = 0; i < single->count; i++) {
        const struct llem_value *special = llem_get(single->items[i], "SpecialToken");
        const char *sequence = llem_str_at(single->items[i], "Sequence.id", "");
        const struct llem_value *ids;

        if (!special) {
            if (strcmp(sequence, "A") != 0 || seen)
                return llem_fail(err, LLEM_ENOTSUP,
                                 "%s: a TemplateProcessing does not name the text once", t->name);
            seen = true;
            continue;
        }
        ids = llem_get(llem_get(table, llem_str_at(special, "id", "")), "ids");
        if (!ids || ids->kind != LLEM_LIST)
            return llem_fail(err, LLEM_ECORRUPT,
                             "%s: the TemplateProcessing has no ids for its token '%s'", t->name,
                             llem_str_at(special, "id", "?"));
        for (j = 0; j < ids->count; j++) {
            const struct llem_value *id = ids->items[j];

            if (id->kind != LLEM_INT || id->i < 0 || id->i > INT32_MAX || n_before == MAX_FRAME ||
                t->n_suffix == MAX_FRAME)
                return llem_fail(
                    err, LLEM_ECORRUPT,
                    "%s: the ids of the TemplateProcessing's token '%s' are wrong or too "
                    "many",
                    t->name, llem_str_at(special, "id", "?"));
            if (seen)
                t->suffix[t->n_suffix++] = (int32_t)id->i;
            else
                before[n_before++] = (int32_t)id->i;
        }
    }
    if (!seen || n_before + t->n_prefix > MAX_FRAME)
        return llem_fail(err, LLEM_ENOTSUP, "%s: a TemplateProcessing does not name the text once",
                         t->name);
    memmove(t->prefix + n_before, t->prefix, t->n_prefix * sizeof(*t->prefix));
    memcpy(t->prefix, before, n_before * sizeof(*t->prefix));
    t->n_prefix += n_before;
    return LLEM_OK;
}

static llem_errcode read_post_processor(struct cpu_tokenizer *t, const struct llem_value *v,
                                        int depth, llem_error *err)
{
    const char *type = llem_str_at(v, "type", "");
    const struct llem_value *list;
    llem_errcode rc = LLEM_OK;
    size_t i;

    if (llem_is_null(v) || !strcmp(type, "ByteLevel")) /* it moves offsets, not ids */
        return LLEM_OK;
    if (!strcmp(type, "TemplateProcessing"))
        return read_template(t, v, err);
    list = llem_get(v, "processors");
    if (strcmp(type, "Sequence") != 0 || depth >= MAX_DEPTH || !list || list->kind != LLEM_LIST)
        return llem_fail(
            err, LLEM_ENOTSUP,
            "%s: engine cpu does not know the post_processor '%s'; it knows ByteLevel, "
            "TemplateProcessing and Sequence",
            t->name, type);
    for (i = 0; i < list->count && rc == LLEM_OK; i++)
        rc = read_post_processor(t, list->items[i], depth + 1, err);
    return rc;
}

static int by_first_byte_then_length(const void *a, const void *b)
{
    const struct added_token *x = a, *y = b;
    unsigned char p = (unsigned char)x->text[0], q = (unsigned char)y->text[0];

    if (p != q)
        return p < q ? -1 : 1;
    if (x->len != y->len)
        return x->len > y->len ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void index_added(struct added *a)
{
    size_t i, byte = 0;

    if (a->count)
        qsort(a->tokens, a->count, sizeof(*a->tokens), by_first_byte_then_length);
    for (i = 0; i < a->count; i++)
        while (byte <= (unsigned char)a->tokens[i].text[0])
            a->first[byte++] = i;
    while (byte <= 256)
        a->first[byte++] = a->count;
}

static llem_errcode read_added(struct cpu_tokenizer *t, const struct llem_value *list,
                               llem_error *err)
{
    struct llem_buf text;
    bool single_word = false;
    size_t i, n = list && list->kind == LLEM_LIST ? list->count : 0;
    llem_errcode rc = LLEM_OK;

    llem_buf_init(&text, SIZE_MAX / 2);
    t->raw.tokens = llem_arena_calloc(&t->arena, n + 1, sizeof(struct added_token));
    t->normalized.tokens = llem_arena_calloc(&t->arena, n + 1, sizeof(struct added_token));
    for (i = 0; i < n && !t->arena.oom; i++) {
        const struct llem_value *v = list->items[i], *content = llem_get(v, "content");
        int64_t id = llem_int_at(v, "id", -1);
        struct added *to = llem_bool_at(v, "normalized", false) ? &t->normalized : &t->raw;
        struct added_token *token;

        if (!content || content->kind != LLEM_STRING || id < 0 || id > INT32_MAX) {
            rc = llem_fail(err, LLEM_ECORRUPT, "%s: added token %zu has no content or no id",
                           t->name, i);
            goto done;
        }
        llem_buf_clear(&text);
        if (to == &t->normalized && t->nfc)
            cpu_nfc(&text, content->s, content->len);
        else
            llem_buf_add(&text, content->s, content->len);
        if (text.len == 0)
            continue;
        token = &to->tokens[to->count++];
        token->text = llem_arena_strndup(&t->arena, text.data, text.len);
        token->len = text.len;
        token->id = (int32_t)id;
        token->single_word = llem_bool_at(v, "single_word", false);
        token->lstrip = llem_bool_at(v, "lstrip", false);
        token->rstrip = llem_bool_at(v, "rstrip", false);
        token->special = llem_bool_at(v, "special", false);
        token->content = llem_arena_strndup(&t->arena, content->s, content->len);
        token->content_len = content->len;
        single_word |= token->single_word;
    }
    if (t->arena.oom || text.failed) {
        rc = llem_fail(err, LLEM_ENOMEM, "%s: no memory for %zu added tokens", t->name, n);
        goto done;
    }
    index_added(&t->raw);
    index_added(&t->normalized);
    if (single_word)
        rc = compile(t, &t->word, &t->word_match, word_pattern, strlen(word_pattern), false, err);

done:
    llem_buf_done(&text);
    return rc;
}

llem_errcode cpu_tokenizer_parse(struct cpu_tokenizer **out, const char *text, size_t len,
                                 const char *name, llem_error *err)
{
    struct llem_arena scratch = LLEM_ARENA_INIT;
    struct cpu_tokenizer *t = NULL;
    struct llem_value *root;
    bool bytes = false;
    llem_errcode rc;

    rc = llem_json_parse(&scratch, &root, text, len, name, err);
    if (rc < 0)
        goto done;
    if (root->kind != LLEM_MAP || llem_is_null(llem_get(root, "model"))) {
        rc = llem_fail(err, LLEM_ECORRUPT, "%s: there is no 'model' in it", name);
        goto done;
    }
    t = calloc(1, sizeof(*t));
    if (t) {
        t->name = llem_arena_strdup(&t->arena, name);
        t->compile = pcre2_compile_context_create(NULL);
        t->limits = pcre2_match_context_create(NULL);
        t->jit_stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK_BYTES, NULL);
    }
    if (!t || !t->name || !t->compile || !t->limits) {
        rc = llem_fail(err, LLEM_ENOMEM, "%s: no memory for a tokenizer", name);
        goto done;
    }
    /* `.` stops at a line feed alone, as in Oniguruma, whatever this PCRE2 was built for. */
    pcre2_set_newline(t->compile, PCRE2_NEWLINE_LF);
    pcre2_set_match_limit(t->limits, MATCH_LIMIT);
    if (t->jit_stack)
        pcre2_jit_stack_assign(t->limits, NULL, t->jit_stack);

    rc = cpu_bpe_new(&t->bpe, llem_get(root, "model"), name, err);
    if (rc == LLEM_OK)
        rc = read_normalizer(t, llem_get(root, "normalizer"), 0, err);
    if (rc == LLEM_OK)
        rc = read_pre_tokenizer(t, llem_get(root, "pre_tokenizer"), 0, &bytes, err);
    if (rc == LLEM_OK && !bytes)
        rc = llem_fail(
            err, LLEM_ENOTSUP,
            "%s: the pre_tokenizer has no ByteLevel; engine cpu knows byte-level BPE alone", name);
    if (rc == LLEM_OK)
        rc = read_post_processor(t, llem_get(root, "post_processor"), 0, err);
    if (rc == LLEM_OK)
        rc = read_added(t, llem_get(root, "added_tokens"), err);
    if (rc < 0)
        goto done;
    *out = t;
    t = NULL;

done:
    cpu_tokenizer_free(t);
    llem_arena_done(&scratch);
    return rc;
}

llem_errcode cpu_tokenizer_load(struct cpu_tokenizer **out, const char *path, llem_error *err)
{
    struct llem_buf text;
    llem_errcode rc;

    llem_buf_init(&text, CPU_MAX_TOKENIZER_BYTES);
    rc = llem_file_read(&text, path, err);
    if (rc == LLEM_OK)
        rc = cpu_tokenizer_parse(out, text.data, text.len, path, err);
    llem_buf_done(&text);
    return rc;
}

void cpu_tokenizer_free(struct cpu_tokenizer *t)
{
    size_t i;

    if (!t)
        return;
    for (i = 0; i < t->n_steps; i++) {
        pcre2_match_data_free(t->steps[i].match);
        pcre2_code_free(t->steps[i].code);
    }
    pcre2_match_data_free(t->word_match);
    pcre2_code_free(t->word);
    pcre2_compile_context_free(t->compile);
    pcre2_match_context_free(t->limits);
    pcre2_jit_stack_free(t->jit_stack);
    cpu_bpe_free(t->bpe);
    llem_arena_done(&t->arena);
    free(t);
}

/* ---- encoding
 * ------------------------------------------------------------------------------------- */

struct encoding {
    struct cpu_tokenizer *t;
    struct cpu_ids *out;
    llem_error *err;
};

static llem_errcode no_memory(const struct encoding *e)
{
    return llem_fail(e->err, LLEM_ENOMEM, "%s: no memory to tokenise a text", e->t->name);
}

static llem_errcode cut(struct encoding *e, size_t step, const char *text, size_t len);

/* A piece of the text that a step made, not yet handed on because the next may join it. */
struct piece {
    size_t begin, end;
    bool match, last_match; /* what it is, and what its last part was */
};

static llem_errcode hand_on(struct encoding *e, size_t step, const char *text,
                            const struct piece *p)
{
    if (p->begin == p->end || (e->t->steps[step].behavior == REMOVED && p->match))
        return LLEM_OK;
    return cut(e, step + 1, text + p->begin, p->end - p->begin);
}

static llem_errcode add_piece(struct encoding *e, size_t step, const char *text,
                              struct piece *pending, size_t begin, size_t end, bool match)
{
    struct piece p = { begin, end, match, match };
    bool join = false;
    llem_errcode rc;

    if (begin == end)
        return LLEM_OK;
    if (pending->begin != pending->end) {
        switch (e->t->steps[step].behavior) {
        case CONTIGUOUS:
            join = match == pending->match;
            break;
        case MERGED_WITH_PREVIOUS:
            join = match && !pending->last_match;
            break;
        case MERGED_WITH_NEXT:
            join = !match && pending->last_match;
            break;
        default:
            break;
        }
    }
    if (join) {
        pending->end = end;
        pending->last_match = match;
        return LLEM_OK;
    }
    rc = hand_on(e, step, text, pending);
    *pending = p;
    return rc;
}

static llem_errcode cut_by_pattern(struct encoding *e, size_t step, const char *text, size_t len)
{
    const struct step *s = &e->t->steps[step];
    struct piece pending = { 0 };
    PCRE2_SIZE *range;
    size_t at = 0, from = 0;
    llem_errcode rc = LLEM_OK;

    while (rc == LLEM_OK && from < len) {
        int n = pcre2_match(s->code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK, s->match,
                            e->t->limits);

        if (n == PCRE2_ERROR_NOMATCH)
            break;
        if (n < 0)
            return llem_fail(
                e->err, LLEM_ECORRUPT,
                "%s: a pattern of the pre_tokenizer gave up on a text of %zu bytes (PCRE2 "
                "error %d)",
                e->t->name, len, n);
        range = pcre2_get_ovector_pointer(s->match);
        if (range[1] <= range[0] || range[0] < at) {
            /* Nothing matched, or \K played a trick: go on with the next character. */
            for (from++; from < len && ((unsigned char)text[from] & 0xc0) == 0x80; from++)
                ;
            continue;
        }
        rc = add_piece(e, step, text, &pending, at, range[0], s->invert);
        /* The inner steps use match data of their own, but the offsets are read before them. */
        from = range[1];
        if (rc == LLEM_OK)
            rc = add_piece(e, step, text, &pending, range[0], range[1], !s->invert);
        at = from;
    }
    if (rc == LLEM_OK)
        rc = add_piece(e, step, text, &pending, at, len, s->invert);
    return rc == LLEM_OK ? hand_on(e, step, text, &pending) : rc;
}

/* Cut a text by the steps from `step` on, and encode the words that remain. */
static llem_errcode cut(struct encoding *e, size_t step, const char *text, size_t len)
{
    struct llem_buf spaced;
    llem_errcode rc;

    if (step == e->t->n_steps)
        return cpu_bpe_encode(e->t->bpe, text, len, e->out) ? LLEM_OK : no_memory(e);
    if (e->t->steps[step].code)
        return cut_by_pattern(e, step, text, len);
    if (text[0] == ' ')
        return cut(e, step + 1, text, len);
    llem_buf_init(&spaced, SIZE_MAX / 2);
    llem_buf_addc(&spaced, ' ');
    llem_buf_add(&spaced, text, len);
    rc = spaced.failed ? no_memory(e) : cut(e, step + 1, spaced.data, spaced.len);
    llem_buf_done(&spaced);
    return rc;
}

/* The white space at s (at most to end), 0 if there is none: Unicode's property White_Space. */
static size_t space_at(const char *s, const char *end)
{
    static const char *const wide[] = { "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80",
                                        "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf",
                                        "\xe2\x81\x9f", "\xe3\x80\x80" };
    size_t i, room = (size_t)(end - s);

    if (room == 0)
        return 0;
    if (*s == ' ' || (*s >= '\t' && *s <= '\r'))
        return 1;
    for (i = 0; i < LLEM_COUNT(wide); i++)
        if (room >= strlen(wide[i]) && !memcmp(s, wide[i], strlen(wide[i])))
            return strlen(wide[i]);
    if (room >= 3 && !memcmp(s, "\xe2\x80", 2) && (unsigned char)s[2] >= 0x80 &&
        (unsigned char)s[2] <= 0x8a)
        return 3;
    return 0;
}

static const char *char_before(const char *begin, const char *s)
{
    for (s--; s > begin && ((unsigned char)*s & 0xc0) == 0x80; s--)
        ;
    return s;
}

/* Whether a word character stands at s; or (before) ends there. */
static bool word_at(const struct cpu_tokenizer *t, const char *begin, const char *s,
                    const char *end, bool before)
{
    if (before ? s == begin : s == end)
        return false;
    if (before)
        s = char_before(begin, s);
    return pcre2_match(t->word, (PCRE2_SPTR)s, (size_t)(end - s), 0,
                       PCRE2_NO_UTF_CHECK | PCRE2_ANCHORED, t->word_match, t->limits) >= 0;
}

static const struct added_token *added_at(const struct added *a, const char *s, const char *end)
{
    unsigned char byte = (unsigned char)*s;
    size_t i;

    for (i = a->first[byte]; i < a->first[byte + 1]; i++)
        if (a->tokens[i].len <= (size_t)(end - s) &&
            !memcmp(a->tokens[i].text, s, a->tokens[i].len))
            return &a->tokens[i];
    return NULL;
}

/* Cut a text at added tokens; `between` gets the rest. */
static llem_errcode cut_at_added(struct encoding *e, const struct added *a, const char *text,
                                 size_t len,
                                 llem_errcode (*between)(struct encoding *, const char *, size_t))
{
    const char *end = text + len, *done = text, *s = text;
    llem_errcode rc = LLEM_OK;

    while (s < end && a->count && rc == LLEM_OK) {
        const struct added_token *token = added_at(a, s, end);
        const char *begin = s, *stop;
        size_t n;

        if (!token) {
            s++;
            continue;
        }
        s = stop = s + token->len;
        if (token->single_word &&
            (word_at(e->t, text, begin, end, true) || word_at(e->t, text, stop, end, false)))
            continue;
        if (token->lstrip) {
            while (begin > done) {
                const char *previous = char_before(done, begin);

                if (!space_at(previous, begin))
                    break;
                begin = previous;
            }
        }
        if (token->rstrip)
            while ((n = space_at(stop, end)) > 0)
                stop += n;
        if (done < begin)
            rc = between(e, done, (size_t)(begin - done));
        if (rc == LLEM_OK && !cpu_ids_add(e->out, token->id))
            rc = no_memory(e);
        done = stop;
    }
    if (rc == LLEM_OK && done < end)
        rc = between(e, done, (size_t)(end - done));
    return rc;
}

static llem_errcode encode_normalized(struct encoding *e, const char *text, size_t len)
{
    return cut(e, 0, text, len);
}

static llem_errcode encode_raw(struct encoding *e, const char *text, size_t len)
{
    struct llem_buf nfc;
    llem_errcode rc;

    if (!e->t->nfc)
        return cut_at_added(e, &e->t->normalized, text, len, encode_normalized);
    llem_buf_init(&nfc, SIZE_MAX / 2);
    cpu_nfc(&nfc, text, len);
    rc = nfc.failed ? no_memory(e)
                    : cut_at_added(e, &e->t->normalized, nfc.data, nfc.len, encode_normalized);
    llem_buf_done(&nfc);
    return rc;
}

llem_errcode cpu_tokenizer_encode(struct cpu_tokenizer *t, const char *text, size_t len,
                                  bool special, struct cpu_ids *out, llem_error *err)
{
    struct encoding e = { .t = t, .out = out, .err = err };
    llem_errcode rc;
    size_t i;

    if (!llem_utf8_valid(text, len))
        return llem_fail(err, LLEM_EINVAL, "a text of %zu bytes is not valid UTF-8", len);
    if (len > INT32_MAX / 4)
        return llem_fail(err, LLEM_EINVAL, "a text of %zu bytes is too long to be tokenised", len);
    for (i = 0; special && i < t->n_prefix; i++)
        if (!cpu_ids_add(out, t->prefix[i]))
            return no_memory(&e);
    rc = cut_at_added(&e, &t->raw, text, len, encode_raw);
    for (i = 0; special && rc == LLEM_OK && i < t->n_suffix; i++)
        if (!cpu_ids_add(out, t->suffix[i]))
            rc = no_memory(&e);
    return rc;
}

/* ---- decoding
 * ------------------------------------------------------------------------------------- */

static const struct added_token *added_with(const struct cpu_tokenizer *t, int32_t id)
{
    const struct added *const lists[] = { &t->raw, &t->normalized };

    for (size_t k = 0; k < LLEM_COUNT(lists); k++)
        for (size_t i = 0; i < lists[k]->count; i++)
            if (lists[k]->tokens[i].id == id)
                return &lists[k]->tokens[i];
    return NULL;
}

/* How many bytes at s, where no character is, one U+FFFD stands for: as many as could begin a
 * character, at least one. So Unicode recommends it (ch. 3.9), and so the tokenizers package. */
static size_t ill_formed(const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;
    unsigned char low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    size_t n, most = p[0] < 0xc2 || p[0] > 0xf4 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    for (n = 1; n < most && n < len && p[n] >= low && p[n] <= high; n++) {
        low = 0x80;
        high = 0xbf;
    }
    return n;
}

static void add_valid(struct llem_buf *out, const char *s, size_t len)
{
    uint32_t c;
    size_t n;

    for (; len; s += n, len -= n) {
        n = llem_utf8_next(s, len, &c);
        if (n > 0 && c > 0) {
            llem_buf_add(out, s, n);
            continue;
        }
        if (n == 0)
            n = ill_formed(s, len);
        llem_buf_adds(out, "\xef\xbf\xbd");
    }
}

llem_errcode cpu_tokenizer_decode(struct cpu_tokenizer *t, const int32_t *ids, size_t count,
                                  struct llem_buf *out, llem_error *err)
{
    struct llem_buf bytes;
    bool memory = true;

    llem_buf_init(&bytes, SIZE_MAX / 2);
    for (size_t i = 0; i < count && memory; i++) {
        const struct added_token *added = added_with(t, ids[i]);
        const char *text = added ? added->content : NULL;
        size_t len = added ? added->content_len : 0;

        if (added && added->special)
            continue;
        if (!added)
            memory = cpu_bpe_find(t->bpe, ids[i], &text, &len);
        if (text)
            cpu_bpe_decode(t->bpe, text, len, &bytes);
    }
    if (bytes.len)
        add_valid(out, bytes.data, bytes.len);
    memory = memory && !bytes.failed && !out->failed;
    llem_buf_done(&bytes);
    return memory ? LLEM_OK
                  : llem_fail(err, LLEM_ENOMEM, "%s: no memory for the text of %zu tokens", t->name,
                              count);
}
