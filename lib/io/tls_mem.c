/* OpenSSL's memory in a process that forks one child per connection. What the template allocates is grouped: the many
 * small objects whose locks and reference counts every handshake writes to (a lock is 56 bytes) lie together by size, the
 * few larger ones beside each other, so that few pages are copied for each child. A child allocates from malloc, beside
 * what it inherited; what it inherited it neither frees nor reuses, for that would only copy pages.
 *
 * Before the fork: classes of 16 bytes, with free lists, carved from the pages of a reserved range. A page holds objects
 * of one class, or (MIXED, WRITTEN) objects that carry their class before them. Which objects a handshake writes to OpenSSL
 * does not say; but it says which of its source files allocates, and that is enough to put most of them together. With
 * another release of it some may lie elsewhere: then a child copies more pages. Not used under the address sanitizer,
 * which shall see each object.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <openssl/crypto.h>

#include "io/tls_priv.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__clang__) /* clang: the fuzzers' compiler */
enum { SHARE = 0 };
#else
enum { SHARE = 1 };
#endif

enum {
	ALIGN = 16,
	CLASS_MAX = 1024,
	CLASSES = CLASS_MAX / ALIGN + 1,
	PAGE = 4096,
	PAGES = 4096, /* 16 MB of addresses; memory comes with use */
	SAME_MAX = 8, /* classes up to it have pages of their own */
	MIXED = 0,
	WRITTEN = SAME_MAX + 1,
	KINDS,
};

/* Who allocates what each handshake writes to: algorithms and keys (their counters), random numbers, errors. */
static const struct {
	const char *file;
	size_t max; /* its larger objects are others */
} writers[] = {
	{ "digest.c", CLASS_MAX },   { "signature.c", CLASS_MAX }, { "keymgmt_meth.c", CLASS_MAX },
	{ "exchange.c", CLASS_MAX }, { "kdf_meth.c", CLASS_MAX },  { "mac_meth.c", CLASS_MAX },
	{ "p_lib.c", CLASS_MAX },    { "drbg.c", CLASS_MAX },	   { "drbg_ctr.c", CLASS_MAX },
	{ "evp_enc.c", 200 },	     { "cipher_aes.c", CLASS_MAX }, { "err.c", CLASS_MAX },
	{ "err_blocks.c", CLASS_MAX },
};

static struct {
	char *base;		    /* NULL: not in use */
	size_t pages;		    /* taken of the range */
	unsigned char kind[PAGES]; /* of each page's objects: a class, MIXED or WRITTEN */
	void *free[CLASSES], *free_written[CLASSES];
	char *next[KINDS], *end[KINDS];
	bool child;
} mem;

static bool is_ours(const void *p)
{
	return mem.base && (const char *)p >= mem.base &&
	       (const char *)p < mem.base + (size_t)PAGES * PAGE;
}

static size_t page_of(const void *p)
{
	return (size_t)((const char *)p - mem.base) / PAGE;
}

/* Bytes from the page that is being filled with this kind, or from a new one. */
static char *carve(size_t kind, size_t size)
{
	if ((size_t)(mem.end[kind] - mem.next[kind]) < size) {
		if (mem.pages == PAGES)
			return NULL;
		mem.kind[mem.pages] = (unsigned char)kind;
		mem.next[kind] = mem.base + mem.pages++ * PAGE;
		mem.end[kind] = mem.next[kind] + PAGE;
	}
	char *p = mem.next[kind];
	mem.next[kind] += size;
	return p;
}

static bool has_header(size_t kind)
{
	return kind == MIXED || kind == WRITTEN;
}

static bool is_written(size_t n, const char *file)
{
	const char *slash = file ? strrchr(file, '/') : NULL;

	for (size_t i = 0; slash && i < ARRAY_LEN(writers); i++) {
		if (n <= writers[i].max && strcmp(slash + 1, writers[i].file) == 0)
			return true;
	}
	return false;
}

static void *new_object(size_t c, size_t kind)
{
	char *p = carve(kind, (has_header(kind) ? c + 1 : c) * ALIGN);

	if (!p || !has_header(kind))
		return p;
	*p = (char)c;
	return p + ALIGN;
}

static void **free_list(size_t c, size_t kind)
{
	return kind == WRITTEN ? &mem.free_written[c] : &mem.free[c];
}

static void *take(size_t n, const char *file, int line)
{
	const size_t c = (n + ALIGN - 1) / ALIGN;
	void *p = NULL;

	if (n == 0)
		return NULL;
	if (mem.child || n > CLASS_MAX)
		return malloc(n);
	const size_t kind = is_written(n, file) ? WRITTEN : c <= SAME_MAX ? c : MIXED;
	void **list = free_list(c, kind);
	if (*list) {
		p = *list;
		memcpy(list, p, sizeof(p));
		return p;
	}
	p = new_object(c, kind);
	return p ? p : malloc(n);
}

static size_t kind_of(const void *p)
{
	return mem.kind[page_of(p)];
}

static size_t size_of(const void *p)
{
	const size_t kind = kind_of(p);

	return (has_header(kind) ? ((const unsigned char *)p)[-ALIGN] : kind) * (size_t)ALIGN;
}

static void give(void *p, const char *file, int line)
{
	if (!is_ours(p)) {
		free(p);
	} else if (!mem.child) {
		void **list = free_list(size_of(p) / ALIGN, kind_of(p));

		memcpy(p, list, sizeof(p));
		*list = p;
	}
}

static void *resize(void *p, size_t n, const char *file, int line)
{
	if (!p)
		return take(n, file, line);
	if (n == 0) {
		give(p, file, line);
		return NULL;
	}
	if (!is_ours(p))
		return realloc(p, n);
	if (n <= size_of(p))
		return p;
	void *new = take(n, file, line);
	if (new) {
		memcpy(new, p, size_of(p));
		give(p, file, line);
	}
	return new;
}

static void in_child(void)
{
	mem.child = true;
}

void tls_share_memory(void)
{
	if (!SHARE || mem.base)
		return;
	char *base = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	/* Refused once OpenSSL has allocated: then all stays with malloc. */
	if (base == MAP_FAILED || !CRYPTO_set_mem_functions(take, resize, give) ||
	    pthread_atfork(NULL, NULL, in_child) != 0)
		return;
	mem.base = base;
}
