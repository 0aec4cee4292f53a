/* SPDX-License-Identifier: MIT
 *
 * The cache of the Hugging Face tools: CACHE/models--ORG--NAME/refs/REVISION holds a commit, and
 * snapshots/COMMIT the files, as links into blobs/.
 */
#include "lib/engine/hub.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/config/config.h"

enum { MAX_INDEX_BYTES = 64 << 20, MAX_NAME = 1024, MAX_PART = 255 };

/* ---- names -------------------------------------------------------------------------------- */

static const char id_characters[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

static bool is_repo_part(const char *s, size_t len)
{
    return len > 0 && len <= 96 && strspn(s, id_characters) >= len && s[0] != '.' && s[0] != '-' &&
           s[len - 1] != '.' && s[len - 1] != '-';
}

static bool is_repo(const char *s)
{
    size_t first = strcspn(s, "/");

    if (strstr(s, "--") || strstr(s, ".."))
        return false;
    return is_repo_part(s, first) &&
           (!s[first] || is_repo_part(s + first + 1, strlen(s + first + 1)));
}

bool llem_hub_is_plain_name(const char *name)
{
    if (!*name || strlen(name) > MAX_NAME)
        return false;
    for (const char *part = name;;) {
        size_t len = strcspn(part, "/");

        if (len == 0 || len > MAX_PART || (len == 1 && part[0] == '.') ||
            (len == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        for (size_t i = 0; i < len; i++)
            if ((unsigned char)part[i] < ' ' || part[i] == 0x7f || part[i] == '\\')
                return false;
        if (!part[len])
            return true;
        part += len + 1;
    }
}

bool llem_hub_is_commit(const char *revision)
{
    return strlen(revision) == 40 && strspn(revision, "0123456789abcdef") == 40;
}

bool llem_hub_parse(struct llem_hub_id *out, struct llem_arena *a, const char *text, bool dataset)
{
    size_t len = strcspn(text, "@");
    const char *repo = llem_arena_strndup(a, text, len);
    const char *revision = text[len] ? llem_arena_strdup(a, text + len + 1) : "main";

    if (!repo || !revision || !is_repo(repo) || !llem_hub_is_plain_name(revision) ||
        strpbrk(revision, " @~^:?*["))
        return false;
    *out = (struct llem_hub_id){ .dataset = dataset, .repo = repo, .revision = revision };
    return true;
}

/* ---- variables ---------------------------------------------------------------------------- */

/* A path of a variable, as os.path.expanduser and expandvars read it: ~ at its begin, $NAME and
 * ${NAME} where they are set. */
static const char *expand(const llem_ctx *ctx, struct llem_arena *a, const char *path)
{
    struct llem_buf b = LLEM_BUF_INIT(4096);
    const char *whole = NULL;

    for (const char *s = path; *s; s++) {
        bool braces = s[0] == '$' && s[1] == '{';
        const char *begin = s + 1 + braces, *name, *value;
        size_t len =
            strspn(begin, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

        if (*s != '$' || len == 0 || (braces && begin[len] != '}')) {
            llem_buf_addc(&b, *s);
            continue;
        }
        name = llem_arena_strndup(a, begin, len);
        value = name ? llem_ctx_variable(ctx, name) : NULL;
        if (value)
            llem_buf_adds(&b, value);
        else
            llem_buf_add(&b, s, len + 1 + 2 * (size_t)braces);
        s = begin + len - 1 + braces;
    }
    if (!b.failed)
        whole = llem_path_join(a, NULL, b.data);
    llem_buf_done(&b);
    return whole;
}

/* A variable that is a path, or `otherwise` below the directory. */
static const char *place(const llem_ctx *ctx, struct llem_arena *a, const char *variable,
                         const char *dir, const char *otherwise)
{
    const char *path = llem_ctx_variable(ctx, variable);

    return path ? expand(ctx, a, path) : llem_path_join(a, dir, otherwise);
}

static const char *home(const llem_ctx *ctx, struct llem_arena *a)
{
    return place(ctx, a, "HF_HOME", place(ctx, a, "XDG_CACHE_HOME", NULL, "~/.cache"),
                 "huggingface");
}

const char *llem_hub_cache_configured(llem_ctx *ctx, struct llem_arena *a)
{
    static const char *const variables[] = { "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME" };
    const struct llem_value *user, *dir;
    const char *path;

    for (size_t i = 0; i < LLEM_COUNT(variables); i++)
        if (llem_ctx_variable(ctx, variables[i]))
            return NULL;
    /* A file with errors ends every command with them before anything is looked up. */
    if (llem_user_config(ctx, &user, NULL) != LLEM_OK)
        return NULL;
    dir = llem_at(user, "output.model_cache_dir");
    if (!dir || dir->kind != LLEM_STRING || dir->source == LLEM_FROM_DEFAULT)
        return NULL;
    path = llem_path_join(a, llem_path_dirname(a, ctx->user_config_path), dir->s);
    return path ? llem_path_join(a, path, "hub") : NULL;
}

const char *llem_hub_cache(llem_ctx *ctx, struct llem_arena *a)
{
    const char *configured = llem_hub_cache_configured(ctx, a);

    if (configured)
        return configured;
    if (llem_ctx_variable(ctx, "HF_HUB_CACHE"))
        return place(ctx, a, "HF_HUB_CACHE", NULL, NULL);
    return place(ctx, a, "HUGGINGFACE_HUB_CACHE", home(ctx, a), "hub");
}

const char *llem_hub_endpoint(const llem_ctx *ctx, struct llem_arena *a)
{
    const char *endpoint = llem_ctx_variable(ctx, "HF_ENDPOINT");
    size_t len;

    if (!endpoint)
        endpoint = "https://huggingface.co";
    len = strlen(endpoint);
    while (len && endpoint[len - 1] == '/')
        len--;
    return llem_arena_strndup(a, endpoint, len);
}

static bool is_on(const llem_ctx *ctx, const char *variable)
{
    static const char *const words[] = { "1", "ON", "YES", "TRUE" };
    const char *value = llem_ctx_variable(ctx, variable);

    for (size_t i = 0; value && i < LLEM_COUNT(words); i++)
        if (strcasecmp(value, words[i]) == 0)
            return true;
    return false;
}

bool llem_hub_offline(const llem_ctx *ctx)
{
    return llem_ctx_variable(ctx, "HF_HUB_OFFLINE") ? is_on(ctx, "HF_HUB_OFFLINE")
                                                    : is_on(ctx, "TRANSFORMERS_OFFLINE");
}

/* Without the blanks and line ends around and in it; NULL if nothing is left. */
static const char *clean_token(struct llem_arena *a, const char *text)
{
    char *token = text ? llem_arena_strdup(a, text) : NULL;
    size_t n = 0;

    for (size_t i = 0; token && token[i]; i++)
        if ((unsigned char)token[i] > ' ')
            token[n++] = token[i];
    if (token)
        token[n] = '\0';
    return n ? token : NULL;
}

const char *llem_hub_token(llem_ctx *ctx, struct llem_arena *a)
{
    const char *token = llem_ctx_variable(ctx, "HF_TOKEN"), *path;
    struct llem_buf text;

    if (is_on(ctx, "HF_HUB_DISABLE_IMPLICIT_TOKEN"))
        return NULL;
    if (!token)
        token = llem_ctx_variable(ctx, "HUGGING_FACE_HUB_TOKEN");
    token = clean_token(a, token);
    if (token)
        return token;
    path = place(ctx, a, "HF_TOKEN_PATH", home(ctx, a), "token");
    llem_buf_init(&text, 4096);
    if (path && llem_file_read(&text, path, NULL) == LLEM_OK)
        token = clean_token(a, text.data);
    llem_buf_done(&text);
    return token;
}

/* ---- the cache ---------------------------------------------------------------------------- */

const char *llem_hub_folder(struct llem_arena *a, const char *cache, const struct llem_hub_id *id)
{
    const char *kind = id->dataset ? "datasets" : "models", *slash = strchr(id->repo, '/');

    if (!cache)
        return NULL;
    return slash ? llem_arena_printf(a, "%s/%s--%.*s--%s", cache, kind, (int)(slash - id->repo),
                                     id->repo, slash + 1)
                 : llem_arena_printf(a, "%s/%s--%s", cache, kind, id->repo);
}

const char *llem_hub_snapshot(llem_ctx *ctx, struct llem_arena *a, const struct llem_hub_id *id,
                              const char **commit)
{
    const char *folder = llem_hub_folder(a, llem_hub_cache(ctx, a), id), *ref, *dir, *found = NULL;
    struct llem_buf text;

    llem_buf_init(&text, 256);
    if (folder && llem_hub_is_commit(id->revision)) {
        found = id->revision;
    } else if (folder) {
        ref = llem_arena_printf(a, "%s/refs/%s", folder, id->revision);
        if (ref && llem_file_read(&text, ref, NULL) == LLEM_OK) {
            text.data[strcspn(text.data, " \r\n")] = '\0';
            if (llem_hub_is_plain_name(text.data) && !strchr(text.data, '/'))
                found = llem_arena_strdup(a, text.data);
        }
    }
    llem_buf_done(&text);
    dir = found ? llem_arena_printf(a, "%s/snapshots/%s", folder, found) : NULL;
    if (!dir || !llem_path_is_dir(dir))
        return NULL;
    *commit = found;
    return dir;
}

llem_errcode llem_hub_find_model(struct llem_arena *a, llem_ctx *ctx, const char *model,
                                 const char **dir, const char **commit, llem_error *err)
{
    const char *found = NULL, *revision = NULL;
    struct llem_hub_id id = { .repo = NULL };
    llem_error own; /* a hint has no code to return without one */
    bool is_id;

    err = err ? err : &own;
    *commit = NULL;
    if (llem_path_is_dir(model)) {
        *dir = llem_arena_strdup(a, model);
        return *dir ? LLEM_OK : llem_fail(err, LLEM_ENOMEM, "no memory to open '%s'", model);
    }
    is_id = llem_hub_parse(&id, a, model, false);
    if (is_id)
        found = llem_hub_snapshot(ctx, a, &id, &revision);
    if (a->oom)
        return llem_fail(err, LLEM_ENOMEM, "no memory to open '%s'", model);
    if (found) {
        *dir = found;
        *commit = revision;
        return LLEM_OK;
    }
    if (llem_path_exists(model)) {
        llem_fail(err, LLEM_ENOTFOUND, "the model '%s' is a file, not a directory", model);
        return llem_hint(err, LLEM_ENOTFOUND,
                         "give the directory that holds config.json, the weights and "
                         "tokenizer.json");
    }
    if (!is_id) {
        llem_fail(err, LLEM_ENOTFOUND, "there is no model '%s': no such directory", model);
        return llem_hint(err, LLEM_ENOTFOUND,
                         "give a directory with config.json, or the id of a model on the "
                         "Hugging Face hub: ORG/NAME, or ORG/NAME@REVISION");
    }
    llem_fail(err, LLEM_ENOTFOUND,
              "there is no model '%s': no such directory, and not in the Hugging Face cache '%s'",
              model, llem_hub_cache(ctx, a));
    return llem_hint(err, LLEM_ENOTFOUND,
                     "give a directory with config.json, or fetch it first: llem fetch -m %s",
                     model);
}

/* ---- weights ------------------------------------------------------------------------------ */

static int by_string(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Add the file to the list if it is there. */
static void add_file(struct llem_arena *a, struct llem_value *files, const char *dir,
                     const char *name)
{
    const char *path = llem_path_join(a, dir, name);
    struct llem_value *f;
    struct stat st;
    char link[4096];
    ssize_t len;

    if (!path || stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    f = llem_map(a);
    llem_set(a, f, "name", llem_string(a, name));
    llem_set(a, f, "bytes", llem_int(a, (int64_t)st.st_size));
    /* In the cache a large file is a link to what is named by its content. */
    len = readlink(path, link, sizeof(link) - 1);
    link[len > 0 ? len : 0] = '\0';
    if (len > 64 && link[len - 65] == '/' && strspn(link + len - 64, "0123456789abcdef") >= 64)
        llem_set(a, f, "sha256", llem_stringn(a, link + len - 64, 64));
    llem_append(a, files, f);
}

/* Each of the names once, in their order. */
static void add_sorted(struct llem_arena *a, struct llem_value *files, const char *dir,
                       const char **names, size_t count)
{
    qsort(names, count, sizeof(*names), by_string);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(names[i - 1], names[i]) != 0)
            add_file(a, files, dir, names[i]);
}

/* The files that the index of a sharded model names. */
static void add_shards(struct llem_arena *a, struct llem_value *files, const char *dir,
                       const char *index)
{
    const char *path = llem_path_join(a, dir, index), **names;
    struct llem_arena scratch = LLEM_ARENA_INIT;
    struct llem_value *json;
    const struct llem_value *map;
    size_t n = 0;

    if (path && llem_json_load(&scratch, &json, path, MAX_INDEX_BYTES, NULL) == LLEM_OK) {
        map = llem_get(json, "weight_map");
        names = map && map->kind == LLEM_MAP
                    ? llem_arena_calloc(&scratch, map->count, sizeof(*names))
                    : NULL;
        for (size_t i = 0; names && i < map->count; i++)
            if (map->items[i]->kind == LLEM_STRING && llem_hub_is_plain_name(map->items[i]->s))
                names[n++] = map->items[i]->s;
        if (n)
            add_sorted(a, files, dir, names, n);
    }
    llem_arena_done(&scratch);
}

/* Whatever has the suffix. */
static void add_all(struct llem_arena *a, struct llem_value *files, const char *dir,
                    const char *suffix)
{
    const char *names[256];
    struct dirent *e;
    DIR *d = opendir(dir);
    size_t n = 0;

    while (d && n < LLEM_COUNT(names) && (e = readdir(d)) != NULL)
        if (llem_ends_with(e->d_name, suffix)) {
            names[n] = llem_arena_strdup(a, e->d_name);
            n += names[n] != NULL;
        }
    if (d)
        closedir(d);
    add_sorted(a, files, dir, names, n);
}

struct llem_value *llem_hub_weights(struct llem_arena *a, const char *dir, char sha256[65])
{
    static const struct {
        void (*add)(struct llem_arena *a, struct llem_value *files, const char *dir,
                    const char *what);
        const char *what;
    } places[] = {
        { add_file, "model.safetensors" }, { add_shards, "model.safetensors.index.json" },
        { add_file, "pytorch_model.bin" }, { add_shards, "pytorch_model.bin.index.json" },
        { add_all, ".safetensors" },       { add_all, ".gguf" },
    };
    struct llem_value *files = llem_list(a);

    for (size_t i = 0; i < LLEM_COUNT(places) && !a->oom && files->count == 0; i++)
        places[i].add(a, files, dir, places[i].what);
    if (a->oom || files->count == 0)
        return NULL;
    llem_hub_weights_digest(files, sha256);
    return files;
}

void llem_hub_weights_digest(const struct llem_value *files, char sha256[65])
{
    struct llem_sha256 sha;

    llem_sha256_init(&sha);
    for (size_t i = 0; i < files->count; i++) {
        const char *name = llem_str_at(files->items[i], "name", "");
        char size[32];

        snprintf(size, sizeof(size), " %lld\n",
                 (long long)llem_int_at(files->items[i], "bytes", 0));
        llem_sha256_add(&sha, name, strlen(name));
        llem_sha256_add(&sha, size, strlen(size));
    }
    llem_sha256_hex(&sha, sha256);
}
