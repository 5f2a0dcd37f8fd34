/* Policies that were fetched: in memory, and a file for each domain in the working directory (id and time in the first line, the policy behind it), so that an
 * attacker who hides the DNS record or the HTTPS server from us, or waits for a restart, gains nothing while a policy lasts (RFC 8461 10.2). Names of files are
 * names of domains that were checked. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/num.h"
#include "deliver/sts/sts.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/addr.h"

#define FILE_MARK "postern-mta-sts"

struct sts_cache {
	struct map *entries;	/* domain -> struct sts_entry */
	int dir;
};

bool sts_entry_usable(const struct sts_entry *x)
{
	return x != NULL && x->text != NULL && clock_wall() < x->fetched + (int64_t)x->policy.max_age_s;
}

/* "postern-mta-sts ID TIME\n" and the policy. */
static int entry_parse(struct str file, struct sts_entry *x, struct err *e)
{
	struct str rest = file, line = str_split(&rest, '\n');
	const struct str mark = str_split(&line, ' '), id = str_split(&line, ' ');
	uint64_t fetched;

	if (!str_eq(mark, STR(FILE_MARK)) || id.n == 0 || id.n > STS_ID_MAX || num_parse(line, 0, INT64_MAX / 2, &fetched) < 0)
		return err_set(e, ERR_INPUT, 0, "not a policy");
	x->text = xstrndup(rest.p, rest.n);
	x->fetched = (int64_t)fetched;
	(void)snprintf(x->id, sizeof(x->id), "%.*s", STR_ARG(id));
	return sts_policy_parse(str_c(x->text), &x->policy, e);
}

static void entry_free(struct sts_entry *x)
{
	free(x->text);
	free(x);
}

static void load_one(struct sts_cache *c, const char *name)
{
	struct sts_entry *x = xzalloc(sizeof(*x));
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, STS_KEEP_MAX + 200);
	if (!smtp_domain_valid(str_c(name)) || map_count(c->entries) >= STS_ENTRIES_MAX || file_read_at(c->dir, name, STS_KEEP_MAX + 100, &b, &e) < 0 ||
	    entry_parse(buf_view(&b), x, &e) < 0 || !sts_entry_usable(x)) {
		if (e.code != 0)
			log_warning("policy of %s: %s: removed", name, e.text);
		(void)unlink(name);
		entry_free(x);
	} else {
		(void)map_set(c->entries, str_c(name), x);
	}
	buf_fini(&b);
}

struct sts_cache *sts_cache_open(void)
{
	struct sts_cache *c = xzalloc(sizeof(*c));
	DIR *d = opendir(".");

	c->dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	c->entries = map_new();
	if (d == NULL || c->dir < 0) {
		log_warning("policies that were kept cannot be read");
		return c;
	}
	for (const struct dirent *de; (de = readdir(d));)
		if (de->d_name[0] != '.')
			load_one(c, de->d_name);
	(void)closedir(d);
	return c;
}

struct sts_entry *sts_cache_get(struct sts_cache *c, struct str domain)
{
	return map_get(c->entries, domain);
}

/* Make room: what can no longer be used goes. */
static void sweep(struct sts_cache *c)
{
	char gone[64][256];
	struct str domain;
	size_t n = 0, it = 0;
	void *v;

	while (n < ARRAY_LEN(gone) && map_next(c->entries, &it, &domain, &v)) {
		const struct sts_entry *x = v;
		if (!sts_entry_usable(x) && x->not_before_ms < clock_mono_ms())
			(void)snprintf(gone[n++], sizeof(gone[0]), "%.*s", STR_ARG(domain));
	}
	for (size_t i = 0; i < n; i++) {
		struct sts_entry *x = map_del(c->entries, str_c(gone[i]));
		if (x->text)
			(void)unlink(gone[i]);
		entry_free(x);
	}
}

static struct sts_entry *entry_of(struct sts_cache *c, struct str domain)
{
	struct sts_entry *x = map_get(c->entries, domain);

	if (x != NULL)
		return x;
	if (map_count(c->entries) >= STS_ENTRIES_MAX)
		sweep(c);
	if (map_count(c->entries) >= STS_ENTRIES_MAX)
		return NULL;
	x = xzalloc(sizeof(*x));
	(void)map_set(c->entries, domain, x);
	return x;
}

static int write_entry(const struct sts_cache *c, struct str domain, struct str text, struct err *e)
{
	char name[256];

	(void)snprintf(name, sizeof(name), "%.*s", STR_ARG(domain));
	return file_replace_at(c->dir, name, text, 0600, e);
}

int sts_cache_put(struct sts_cache *c, struct str domain, struct str id, const struct sts_policy *p, struct err *e)
{
	struct sts_entry *x = entry_of(c, domain), fresh = { 0 };
	struct buf b;
	int r;

	if (x == NULL)
		return err_set(e, ERR_LIMIT, 0, "too many policies are kept");
	buf_init(&b, STS_KEEP_MAX);
	buf_printf(&b, FILE_MARK " %.*s %lld\n", STR_ARG(id), (long long)clock_wall());
	sts_policy_format(p, &b);
	r = buf_check(&b, "policy", e) < 0 ? -1 : entry_parse(buf_view(&b), &fresh, e);
	if (r == 0) {
		free(x->text);
		*x = fresh;
		if (write_entry(c, domain, buf_view(&b), e) < 0)
			log_error("policy of %.*s: %s", STR_ARG(domain), e->text);	/* it holds until the next start */
	} else {
		free(fresh.text);
	}
	buf_fini(&b);
	return r;
}

void sts_cache_back_off(struct sts_cache *c, struct str domain, uint64_t until_ms)
{
	struct sts_entry *x = entry_of(c, domain);

	if (x != NULL)
		x->not_before_ms = until_ms;
}
