// A processor in C, written by hand for the canonical ABI. It answers its model configuration followed by the request's
// body. `README.md` describes the build.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    uint8_t *start;
    uint32_t length;
};

// result<response, failure>. A failure uses only the first two fields; its text is in the place of a response's content
// type.
struct answer {
    uint32_t is_failure;
    uint32_t status;
    uint32_t content_type_or_message;
    struct bytes content_type;
    struct bytes headers;
    struct bytes body;
};

struct initialized {
    uint8_t is_error;
    struct bytes error;
};

static struct bytes word;
static struct answer answer;
static struct initialized initialized;

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)old_size, (void)align;
    void *memory = realloc(old, size ? size : 1);
    if (!memory) __builtin_trap();
    return memory;
}

__attribute__((export_name("initialize"))) struct initialized *initialize(
    uint32_t has_dir, uint8_t *dir, uint32_t dir_length, uint32_t has_entry, uint8_t *entry, uint32_t entry_length,
    uint8_t *config, uint32_t config_length) {
    (void)has_dir, (void)dir, (void)dir_length, (void)has_entry, (void)entry, (void)entry_length;
    word.start = config;
    word.length = config_length;
    return &initialized;
}

// Recurses without end, with variables in the guest's memory instead of the engine's stack.
__attribute__((noinline)) static uint32_t descend(uint32_t depth) {
    volatile uint8_t room[1024];
    room[depth % sizeof room] = (uint8_t)depth;
    return descend(depth + 1) + room[depth % sizeof room];
}

__attribute__((export_name("process"))) struct answer *process(
    uint8_t *method, uint32_t method_length, uint8_t *path, uint32_t path_length, uint32_t has_query, uint8_t *query,
    uint32_t query_length, uint32_t has_content_type, uint8_t *content_type, uint32_t content_type_length,
    uint8_t *body, uint32_t length) {
    (void)method, (void)method_length, (void)has_query, (void)query, (void)query_length;
    memset(&answer, 0, sizeof answer);
    if (path_length == 8 && !memcmp(path, "/recurse", 8)) answer.status = descend(0);
    answer.content_type_or_message = has_content_type;
    answer.content_type.start = content_type;
    answer.content_type.length = content_type_length;
    uint8_t *together = malloc(word.length + length + 1);
    if (!together) __builtin_trap();
    memcpy(together, word.start, word.length);
    memcpy(together + word.length, body, length);
    answer.body.start = together;
    answer.body.length = word.length + length;
    return &answer;
}

__attribute__((export_name("cabi_post_process"))) void post_process(struct answer *sent) { free(sent->body.start); }
