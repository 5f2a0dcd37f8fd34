/* Arenas: a chain of blocks, newest first; a mark is a block and a fill level. Under ASan the unused rest is poisoned, and
 * every allocation is followed by a poisoned gap so that overruns show. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/format.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
enum { GAP = 16 };
#else
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
enum { GAP = 0 };
#endif

enum { ALIGN = 16, FIRST_BLOCK = 2048, BLOCK_MAX = 256 * 1024, EXIT_NO_MEMORY = 71 };
enum { LARGE_FROM = 384 * 1024, LARGE_PAGE = 2 << 20 };

struct block {
	struct block *older;
	size_t size, used;
	_Alignas(ALIGN) unsigned char data[];
};

struct arena {
	struct block *newest;
	size_t max, total;	/* total: bytes handed out, gaps included */
	bool large;
};

static void no_memory(void)
{
	static const char text[] = "out of memory\n";
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(EXIT_NO_MEMORY);
	_exit(EXIT_NO_MEMORY);
}

void *xmalloc(size_t n)
{
	void *p = malloc(n == 0 ? 1 : n);
	if (p == NULL)
		no_memory();
	return p;
}

void *xzalloc(size_t n)
{
	void *p = calloc(1, n == 0 ? 1 : n);
	if (p == NULL)
		no_memory();
	return p;
}

void *xrealloc(void *p, size_t n)
{
	p = realloc(p, n == 0 ? 1 : n);
	if (p == NULL)
		no_memory();
	return p;
}

void memory_large(void *p, size_t n)
{
	const uintptr_t from = ((uintptr_t)p + LARGE_PAGE - 1) & ~(uintptr_t)(LARGE_PAGE - 1), to = ((uintptr_t)p + n) & ~(uintptr_t)(LARGE_PAGE - 1);

	if (from < to)
		(void)madvise((void *)from, to - from, MADV_HUGEPAGE);
}

char *xstrndup(const char *s, size_t n)
{
	char *p = xmalloc(n + 1);
	memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

struct arena *arena_new(size_t max)
{
	struct arena *a = xzalloc(sizeof(*a));
	a->max = max;
	return a;
}

struct arena *arena_new_large(void)
{
	struct arena *a = arena_new(0);
	a->large = true;
	return a;
}

/* In pages of 2 MB, where the machine has them, one page fault stands for 512, and several arrays share a page. Sets *size. */
static struct block *block_large(size_t *size)
{
	size_t bytes;

	if (__builtin_add_overflow(sizeof(struct block) + LARGE_PAGE - 1, *size, &bytes))
		no_memory();
	bytes &= ~(size_t)(LARGE_PAGE - 1);
	struct block *const b = aligned_alloc(LARGE_PAGE, bytes);
	if (b == NULL)
		no_memory();
	(void)madvise(b, bytes, MADV_HUGEPAGE);
	*size = bytes - sizeof(*b);
	return b;
}

static struct block *block_new(const struct arena *a, size_t at_least)
{
	struct block *const older = a->newest;
	size_t size = older == NULL ? FIRST_BLOCK : older->size * 2;
	if (size > BLOCK_MAX)
		size = BLOCK_MAX;
	if (size < at_least)
		size = at_least;
	struct block *b = a->large && size >= LARGE_FROM ? block_large(&size) : xmalloc(sizeof(*b) + size);
	b->older = older;
	b->size = size;
	b->used = 0;
	POISON(b->data, size);
	return b;
}

static void block_free(struct block *b)
{
	UNPOISON(b->data, b->size);
	free(b);
}

void arena_free(struct arena **ap)
{
	struct arena *a = *ap;
	if (a == NULL)
		return;
	*ap = NULL;	/* first: the pointer may lie in the arena itself */
	for (struct block *b = a->newest; b != NULL;) {
		struct block *older = b->older;
		block_free(b);
		b = older;
	}
	free(a);
}

void arena_reset(struct arena *a)
{
	while (a->newest != NULL && (a->newest->older != NULL || a->newest->size > BLOCK_MAX)) {
		struct block *b = a->newest;
		a->newest = b->older;
		block_free(b);
	}
	if (a->newest != NULL) {
		a->newest->used = 0;
		POISON(a->newest->data, a->newest->size);
	}
	a->total = 0;
}

void arena_wipe(struct arena *a)
{
	for (struct block *b = a->newest; b != NULL; b = b->older) {
		UNPOISON(b->data, b->used);
		mem_wipe(b->data, b->used);
	}
	arena_reset(a);
}

size_t arena_used(const struct arena *a)
{
	return a->total;
}

/* Not zeroed: the caller writes all of it. */
static void *take(struct arena *a, size_t n)
{
	size_t need;
	if (__builtin_add_overflow(n, (size_t)(GAP + ALIGN - 1), &need)) {
		if (a->max != 0)
			return NULL;
		no_memory();
	}
	need &= ~(size_t)(ALIGN - 1);
	if (need == 0)
		need = ALIGN;
	if (a->max != 0 && (need > a->max || a->total > a->max - need))
		return NULL;
	struct block *b = a->newest;
	if (b == NULL || b->size - b->used < need)
		b = a->newest = block_new(a, need);
	void *p = b->data + b->used;
	b->used += need;
	a->total += need;
	UNPOISON(p, n);
	return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
	void *p = take(a, n);
	if (p != NULL)
		memset(p, 0, n);
	return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
	size_t n;
	if (__builtin_mul_overflow(count, size, &n)) {
		if (a->max != 0)
			return NULL;
		no_memory();
	}
	return arena_alloc(a, n);
}

char *arena_cstr(struct arena *a, struct str s)
{
	char *p = take(a, s.n + 1);
	if (p == NULL)
		return NULL;
	if (s.n > 0)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_cstr(a, str_c(s));
}

struct str arena_str(struct arena *a, struct str s)
{
	char *p = arena_cstr(a, s);
	return (struct str){ p, p == NULL ? 0 : s.n };
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	char text[256];		/* long enough for most */
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = text_vformat(text, sizeof(text), fmt, ap);
	va_end(ap);
	char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
	if (p != NULL && (size_t)n < sizeof(text))
		memcpy(p, text, (size_t)n + 1);
	else if (p != NULL)
		text_vformat(p, (size_t)n + 1, fmt, again);
	va_end(again);
	return p;
}

struct arena_mark arena_mark(struct arena *a)
{
	return (struct arena_mark){ a->newest, a->newest == NULL ? 0 : a->newest->used, a->total };
}

void arena_release(struct arena *a, struct arena_mark m)
{
	while (a->newest != NULL && a->newest != m.block) {
		struct block *b = a->newest;
		a->newest = b->older;
		block_free(b);
	}
	if (a->newest != NULL) {
		POISON(a->newest->data + m.used, a->newest->size - m.used);
		a->newest->used = m.used;
	}
	a->total = m.total;
}

void xfree_p(void *pointer_to_pointer)
{
	void *p;
	memcpy(&p, pointer_to_pointer, sizeof(p));
	free(p);
}
