/* SPDX-License-Identifier: MIT
 *
 * What a hub says, which may be any server: its answer about a revision, the heads of its answers,
 * and ids as users and files give them. The first byte says which.
 */
#include <stdint.h>
#include <string.h>

#include "lib/base/http.h"
#include "lib/engine/download.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is fetched lies below the snapshot and is checked against a digest. */
static void listing(const char *text, size_t len, bool dataset)
{
    struct llem_arena a = { .max = (size_t)64 << 20 };
    struct llem_hub_listing l;
    llem_error err;

    if (llem_hub_read_listing(&l, &a, dataset, text, len, "http://hub", "org/name", &err) ==
        LLEM_OK) {
        if (!llem_hub_is_commit(l.commit))
            __builtin_trap();
        for (size_t i = 0; i < l.n_files; i++) {
            const struct llem_hub_file *f = &l.files[i];
            size_t digits = strlen(f->digest);

            if (!llem_hub_is_plain_name(f->name) || f->name[0] == '/' || strstr(f->name, "/../") ||
                llem_starts_with(f->name, "../") || llem_ends_with(f->name, "/..") || f->size < 0 ||
                (digits != 40 && digits != 64) || strchr(f->digest, '/'))
                __builtin_trap();
        }
    }
    llem_arena_done(&a);
}

static void heads(const char *text, size_t len)
{
    struct llem_http_reply r = { 0 };
    const char *end = text + len;

    while (text < end) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        const char *next = nl ? nl + 1 : end;

        llem_http_read_header(&r, text, (size_t)(next - text));
        if (r.begin < -1 || strlen(r.error_code) >= sizeof(r.error_code) ||
            strlen(r.error_message) >= sizeof(r.error_message))
            __builtin_trap();
        text = next;
    }
}

static void id(const char *text, size_t len)
{
    struct llem_arena a = LLEM_ARENA_INIT;
    char *s = llem_arena_strndup(&a, text, len);
    struct llem_hub_id parsed;

    if (s && llem_hub_parse(&parsed, &a, s, false)) {
        const char *folder = llem_hub_folder(&a, "/cache", &parsed);

        if (!folder || strchr(folder + strlen("/cache/"), '/') || strstr(folder, "..") ||
            !llem_hub_is_plain_name(parsed.revision))
            __builtin_trap();
    }
    llem_arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 1;

    if (size < 1)
        return 0;
    switch (data[0] % 4) {
    case 0:
    case 1:
        listing(text, size - 1, data[0] % 4 == 1);
        break;
    case 2:
        heads(text, size - 1);
        break;
    default:
        id(text, size - 1);
    }
    return 0;
}
