/* See addrlist.h. */
#include "addrlist.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "os/os.h"

struct entry {
	struct str key;
	unsigned value;
};

/* Sorted, not hashed: workers that are forked choose a new key for hashes. */
struct addrlist {
	struct arena *a;
	struct entry *keys;
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

/* As long as it is: an address longer than any key may be of a listed domain. */
static bool fold(struct str in, struct buf *out)
{
	buf_init(out, in.n + 1);
	for (size_t i = 0; i < in.n; i++)
		buf_ch(out, ch_lower(in.p[i]));
	return !buf_failed(out);
}

int addrlist_add(struct addrlist *l, struct str key, unsigned value, struct err *e)
{
	struct buf b;
	if (key.n == 0 || key.n > ADDRLIST_KEY_MAX || !fold(key, &b))
		return err_set(e, ERR_CONF, 0, "an address has 1 to %d bytes", ADDRLIST_KEY_MAX);
	if (l->n == l->cap) {
		l->cap = l->cap == 0 ? 16 : l->cap * 2;
		l->keys = xrealloc(l->keys, l->cap * sizeof(*l->keys));
	}
	l->keys[l->n++] = (struct entry){ arena_str(l->a, buf_view(&b)), value };
	l->ready = false;
	buf_fini(&b);
	return 0;
}

static int by_key(const void *x, const void *y)
{
	return str_cmp(((const struct entry *)x)->key, ((const struct entry *)y)->key);
}

void addrlist_ready(struct addrlist *l)
{
	if (!l->ready)
		qsort(l->keys, l->n, sizeof(*l->keys), by_key);
	l->ready = true;
}

struct str addrlist_twice(const struct addrlist *l)
{
	assert(l->ready);
	for (size_t i = 1; i < l->n; i++)
		if (by_key(&l->keys[i - 1], &l->keys[i]) == 0 && l->keys[i - 1].value != l->keys[i].value)
			return l->keys[i].key;
	return STR("");
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
		r = addrlist_add(l, key, 0, e);
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

static const struct entry *at_key(const struct addrlist *l, struct str key)
{
	const struct entry wanted = { .key = key };
	assert(l->ready);
	return key.n > 0 && l->n > 0 ? bsearch(&wanted, l->keys, l->n, sizeof(wanted), by_key) : NULL;
}

/* local@domain; domain empty: local@ */
static const struct entry *at_local(const struct addrlist *l, struct str local, struct str domain)
{
	struct buf b;
	buf_init(&b, local.n + domain.n + 2);
	buf_str(&b, local);
	buf_ch(&b, '@');
	buf_str(&b, domain);
	const struct entry *found = at_key(l, buf_view(&b));
	buf_fini(&b);
	return found;
}

static const struct entry *at_domain(const struct addrlist *l, struct str domain)
{
	struct buf b;
	const struct entry *found = at_key(l, domain);
	if (found != NULL)
		return found;
	buf_init(&b, domain.n + 2);
	buf_ch(&b, '.');
	buf_str(&b, domain);
	for (struct str d = buf_view(&b); found == NULL && d.n > 1;) {
		found = at_key(l, d);
		ptrdiff_t dot = str_chr(str_from(d, 1), '.');
		d = dot < 0 ? STR("") : str_from(d, (size_t)dot + 1);
	}
	buf_fini(&b);
	return found;
}

/* The order of addrlist.h. */
static const struct entry *at_address(const struct addrlist *l, struct str a, const char *delimiters)
{
	const ptrdiff_t at = str_rchr(a, '@');
	const struct str whole = at < 0 ? a : str_sub(a, 0, (size_t)at), domain = at < 0 ? STR("") : str_from(a, (size_t)at + 1);
	size_t n = 1;
	while (n < whole.n && (whole.p[n] == '\0' || strchr(delimiters, whole.p[n]) == NULL))
		n++;
	const struct str user = n < whole.n ? str_sub(whole, 0, n) : whole;
	const struct { struct str local, domain; } keys[] = { { whole, domain }, { user, domain }, { whole, STR("") }, { user, STR("") } };
	const struct entry *found = NULL;
	for (size_t i = 0; i < ARRAY_LEN(keys) && found == NULL; i++)
		found = at_local(l, keys[i].local, keys[i].domain);
	return found != NULL ? found : at_domain(l, domain);
}

bool addrlist_find(const struct addrlist *l, struct str address, const char *delimiters, unsigned *value_out)
{
	const struct entry *found = NULL;
	struct buf b;
	if (l == NULL || l->n == 0)
		return false;
	const bool folded = fold(address, &b);
	if (address.n == 0) {
		found = at_key(l, STR("<>"));
		found = found != NULL ? found : at_key(l, STR("@"));
	} else if (folded) {
		found = at_address(l, buf_view(&b), delimiters);
	}
	buf_fini(&b);
	if (found == NULL)
		found = at_key(l, STR("."));
	if (found != NULL)
		*value_out = found->value;
	return found != NULL;
}

bool addrlist_has(const struct addrlist *l, struct str address, const char *delimiters)
{
	unsigned value;
	return addrlist_find(l, address, delimiters, &value);
}
