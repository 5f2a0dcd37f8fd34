/* See addrlist.h. */
#include "addrlist.h"

#include <assert.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "os/os.h"

/* Sorted, not hashed: workers that are forked choose a new key for hashes. */
struct addrlist {
	struct arena *a;
	struct str *keys;
	size_t n, cap;
	bool ready;
};

struct addrlist *addrlist_new(void)
{
	struct addrlist *l = xzalloc(sizeof(*l));
	l->a = arena_new(0);
	l->ready = true;
	return l;
}

void addrlist_free(struct addrlist **l)
{
	if (*l == NULL)
		return;
	arena_free(&(*l)->a);
	free((*l)->keys);
	free(*l);
	*l = NULL;
}

static bool fold(struct str in, struct buf *out)
{
	buf_init(out, ADDRLIST_KEY_MAX);
	for (size_t i = 0; i < in.n; i++)
		buf_ch(out, ch_lower(in.p[i]));
	return !buf_failed(out);
}

int addrlist_add(struct addrlist *l, struct str key, struct err *e)
{
	struct buf b;
	if (key.n == 0 || !fold(key, &b))
		return err_set(e, ERR_CONF, 0, "an address has 1 to %d bytes", ADDRLIST_KEY_MAX);
	if (l->n == l->cap) {
		l->cap = l->cap == 0 ? 16 : l->cap * 2;
		l->keys = xrealloc(l->keys, l->cap * sizeof(*l->keys));
	}
	l->keys[l->n++] = arena_str(l->a, buf_view(&b));
	l->ready = false;
	buf_fini(&b);
	return 0;
}

static int by_key(const void *x, const void *y)
{
	return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

void addrlist_ready(struct addrlist *l)
{
	if (!l->ready)
		qsort(l->keys, l->n, sizeof(*l->keys), by_key);
	l->ready = true;
}

int addrlist_load(const char *file, struct addrlist **out, struct err *e)
{
	struct buf text;
	buf_init(&text, ADDRLIST_FILE_MAX);
	if (file_read(file, ADDRLIST_FILE_MAX, &text, e) < 0) {
		buf_fini(&text);
		return -1;
	}
	struct addrlist *l = addrlist_new();
	struct str rest = buf_view(&text);
	int r = 0;
	for (unsigned number = 1; rest.p != NULL && r == 0; number++) {
		struct str key, line = str_trim(str_split(&rest, '\n'));
		if (line.n == 0 || line.p[0] == '#' || !str_token(&line, " \t", &key))
			continue;
		r = addrlist_add(l, key, e);
		if (r < 0)
			err_wrap(e, "%s:%u", file, number);
	}
	buf_fini(&text);
	if (r < 0)
		addrlist_free(&l);
	else
		addrlist_ready(*out = l);
	return r;
}

static bool has(const struct addrlist *l, struct str key)
{
	assert(l->ready);
	return key.n > 0 && l->n > 0 && bsearch(&key, l->keys, l->n, sizeof(key), by_key) != NULL;
}

/* local@domain, then local@ */
static bool has_local(const struct addrlist *l, struct str local, struct str domain)
{
	struct buf b;
	buf_init(&b, ADDRLIST_KEY_MAX * 2);
	buf_str(&b, local);
	buf_ch(&b, '@');
	const size_t bare = b.n;
	buf_str(&b, domain);
	const bool found = has(l, buf_view(&b)) || has(l, str_sub(buf_view(&b), 0, bare));
	buf_fini(&b);
	return found;
}

static bool has_domain(const struct addrlist *l, struct str domain)
{
	struct buf b;
	if (has(l, domain))
		return true;
	buf_init(&b, ADDRLIST_KEY_MAX + 2);
	buf_ch(&b, '.');
	buf_str(&b, domain);
	bool found = false;
	for (struct str d = buf_view(&b); !found && d.n > 1;) {
		found = has(l, d);
		ptrdiff_t dot = str_chr(str_from(d, 1), '.');
		d = dot < 0 ? STR("") : str_from(d, (size_t)dot + 1);
	}
	buf_fini(&b);
	return found;
}

bool addrlist_has(const struct addrlist *l, struct str address, char delimiter)
{
	struct buf b;
	if (l == NULL || l->n == 0)
		return false;
	if (has(l, STR(".")))
		return true;
	if (address.n == 0)
		return has(l, STR("<>")) || has(l, STR("@"));
	if (!fold(address, &b)) {
		buf_fini(&b);
		return false;
	}
	const struct str a = buf_view(&b);
	const ptrdiff_t at = str_rchr(a, '@');
	const struct str local = at < 0 ? a : str_sub(a, 0, (size_t)at), domain = at < 0 ? STR("") : str_from(a, (size_t)at + 1);
	bool found = has_local(l, local, domain);
	const ptrdiff_t plus = delimiter == 0 ? -1 : str_chr(local, delimiter);
	if (!found && plus > 0)
		found = has_local(l, str_sub(local, 0, (size_t)plus), domain);
	found = found || has_domain(l, domain);
	buf_fini(&b);
	return found;
}
