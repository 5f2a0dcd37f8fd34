/* See psl.h. The list is in a map from suffix (lower case) to the kind of rule. */
#include "authres/psl.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/map.h"

enum { FILE_MAX = 8 << 20, LABELS_MAX = 128 };

struct psl {
	struct map *rules;
};
static char plain, wildcard, exception;	/* kinds: only their addresses count */

static bool usable(struct str s)
{
	return s.n > 0 && s.n <= 253 && !str_starts(s, STR("//")) && str_printable(s);
}

struct psl *psl_new(struct str list)
{
	struct psl *p = xzalloc(sizeof(*p));
	p->rules = map_new();
	while (list.p != NULL) {
		struct str line = str_split(&list, '\n'), rule;
		if (!str_token(&line, " \t\r", &rule) || !usable(rule))
			continue;
		if (str_starts(rule, STR("*.")))
			map_set(p->rules, str_from(rule, 2), &wildcard);
		else if (rule.p[0] == '!')
			map_set(p->rules, str_from(rule, 1), &exception);
		else if (map_get(p->rules, rule) == NULL)
			map_set(p->rules, rule, &plain);
	}
	return p;
}

int psl_load(const char *path, struct psl **out, struct err *e)
{
	struct stat st;
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		const int sys = errno;
		if (fd >= 0)
			close(fd);
		return err_set(e, ERR_CONF, fd < 0 ? sys : 0, "public suffix list %s", path);
	}
	struct buf b;
	ssize_t n = 1;
	buf_init(&b, FILE_MAX);
	for (char *room; n > 0 && (room = buf_room(&b, 65536)) != NULL;)
		if ((n = read(fd, room, 65536)) > 0)
			buf_added(&b, (size_t)n);
	close(fd);
	if (n != 0) {
		buf_fini(&b);
		return err_set(e, ERR_CONF, 0, "public suffix list %s cannot be read, or is larger than 8 MB", path);
	}
	*out = psl_new(buf_view(&b));
	buf_fini(&b);
	if (map_count((*out)->rules) == 0) {
		psl_free(out);
		return err_set(e, ERR_CONF, 0, "public suffix list %s has no rules", path);
	}
	return 0;
}

void psl_free(struct psl **p)
{
	if (*p == NULL)
		return;
	map_free(&(*p)->rules);
	xfree_p(p);
	*p = NULL;
}

size_t psl_count(const struct psl *p)
{
	return map_count(p->rules);
}

/* Number of labels of the public suffix that ends at the last label; at[i]: where the i-th label from the right begins. */
static size_t suffix_labels(const struct psl *p, struct str low, const size_t *at, size_t n)
{
	size_t best = 1;	/* no rule: "*" */
	for (size_t i = 0; i < n; i++) {
		const void *kind = map_get(p->rules, str_from(low, at[i]));
		if (kind == &exception)
			return i;	/* the rule without its first label */
		if (kind == &plain && i + 1 > best)
			best = i + 1;
		if (kind == &wildcard && i + 2 > best)
			best = i + 2;
	}
	return best;
}

struct str psl_organisation(const struct psl *p, struct arena *a, struct str domain)
{
	size_t at[LABELS_MAX], n = 0;
	char *copy = arena_cstr(a, domain);
	for (size_t i = 0; i < domain.n; i++)
		copy[i] = ch_lower(copy[i]);
	for (size_t i = domain.n; i > 0 && n < LABELS_MAX; i--)
		if (i == 1 || domain.p[i - 2] == '.')
			at[n++] = i - 1;
	const size_t keep = (p == NULL ? 1 : suffix_labels(p, str_n(copy, domain.n), at, n)) + 1;
	return keep > n ? domain : str_from(domain, at[keep - 1]);
}
