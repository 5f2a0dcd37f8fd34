/* Policies that were fetched: in memory, and a file for each domain in the working directory (id and time in the first line, the policy behind it), so that an
 * attacker who hides the DNS record or the HTTPS server from us, or waits for a restart, gains nothing while a policy lasts (RFC 8461 10.2). Names of files are
 * names of domains that were checked. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "authres/psl.h"
#include "base/arena.h"
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
	size_t max, of_one;
	const struct psl *suffixes;
	int dir;
};

bool sts_entry_usable(const struct sts_entry *x)
{
	return x != NULL && x->text != NULL && clock_wall() < x->fetched + (int64_t)x->policy.max_age_s;
}

/* "postern-mta-sts ID TIME FIRST\n" and the policy. Without FIRST: an older file. */
static int entry_parse(struct str file, struct sts_entry *x, struct err *e)
{
	struct str rest = file, line = str_split(&rest, '\n');
	const struct str mark = str_split(&line, ' '), id = str_split(&line, ' '), time = str_split(&line, ' ');
	uint64_t fetched, first;

	if (!str_eq(mark, STR(FILE_MARK)) || id.n == 0 || id.n > STS_ID_MAX || num_parse(time, 0, INT64_MAX / 2, &fetched) < 0 ||
	    num_parse(line.n > 0 ? line : time, 0, fetched, &first) < 0)
		return err_set(e, ERR_INPUT, 0, "not a policy");
	x->text = xstrndup(rest.p, rest.n);
	x->fetched = x->used = (int64_t)fetched;
	x->first = (int64_t)first;
	(void)snprintf(x->id, sizeof(x->id), "%.*s", STR_ARG(id));
	return sts_policy_parse(str_c(x->text), &x->policy, e);
}

static void entry_free(struct sts_entry *x)
{
	free(x->text);
	free(x->organisation);
	free(x);
}

static char *organisation_of(const struct sts_cache *c, struct str domain)
{
	struct arena *a = arena_new(0);
	const struct str o = psl_organisation(c->suffixes, a, domain);
	char *r = o.n > 0 ? xstrndup(o.p, o.n) : xstrndup(domain.p, domain.n);

	arena_free(&a);
	return r;
}

static void load_one(struct sts_cache *c, const char *name)
{
	struct sts_entry *x = xzalloc(sizeof(*x));
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, STS_KEEP_MAX + 200);
	if (!smtp_domain_valid(str_c(name)) || map_count(c->entries) >= c->max || file_read_at(c->dir, name, STS_KEEP_MAX + 100, &b, &e) < 0 ||
	    entry_parse(buf_view(&b), x, &e) < 0 || !sts_entry_usable(x)) {
		if (e.code != 0)
			log_warning("policy of %s: %s: removed", name, e.text);
		(void)unlink(name);
		entry_free(x);
	} else {
		x->organisation = organisation_of(c, str_c(name));
		(void)map_set(c->entries, str_c(name), x);
	}
	buf_fini(&b);
}

struct sts_cache *sts_cache_open(size_t max, size_t of_one, const struct psl *suffixes)
{
	struct sts_cache *c = xzalloc(sizeof(*c));
	DIR *d = opendir(".");

	*c = (struct sts_cache){ .max = max, .of_one = of_one, .suffixes = suffixes };
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

void sts_cache_close(struct sts_cache **cp)
{
	struct sts_cache *c = *cp;
	struct str domain;
	size_t it = 0;
	void *v;

	if (c == NULL)
		return;
	*cp = NULL;
	while (map_next(c->entries, &it, &domain, &v))
		entry_free(v);
	map_free(&c->entries);
	close_fd(&c->dir);
	free(c);
}

/* --- making room --- */

enum worth { WORTH_NOTHING, WORTH_A_FAILURE, WORTH_UNPROVEN, WORTH_IN_USE };

static enum worth worth(const struct sts_entry *x)
{
	if (sts_entry_usable(x))
		return x->fetched - x->first >= STS_PROVEN_S && clock_wall() - x->used < STS_UNUSED_S ? WORTH_IN_USE : WORTH_UNPROVEN;
	return x->not_before_ms > clock_mono_ms() ? WORTH_A_FAILURE : WORTH_NOTHING;
}

static bool worse(const struct sts_entry *a, const struct sts_entry *b)
{
	const enum worth wa = worth(a), wb = worth(b);

	return wa != wb ? wa < wb : a->used < b->used;
}

/* The domain that goes first, of this organisation (NULL: of all). *n_out: how many there are. */
static struct str worst(const struct sts_cache *c, const char *organisation, size_t *n_out)
{
	const struct sts_entry *found = NULL;
	struct str domain, r = { 0 };
	size_t it = 0;
	void *v;

	*n_out = 0;
	while (map_next(c->entries, &it, &domain, &v)) {
		const struct sts_entry *x = v;
		if (organisation != NULL && strcmp(x->organisation, organisation) != 0)
			continue;
		++*n_out;
		if (found == NULL || worse(x, found)) {
			found = x;
			r = domain;
		}
	}
	return r;
}

static void drop(struct sts_cache *c, struct str domain)
{
	char name[256];

	(void)snprintf(name, sizeof(name), "%.*s", STR_ARG(domain));
	struct sts_entry *x = map_del(c->entries, str_c(name));
	if (x->text)
		(void)unlinkat(c->dir, name, 0);
	entry_free(x);
}

/* false: what is there is worth more than a newcomer. */
static bool make_room(struct sts_cache *c, const char *organisation)
{
	size_t n;
	struct str domain = worst(c, organisation, &n);

	if (n < c->of_one) {
		if (map_count(c->entries) < c->max)
			return true;
		domain = worst(c, NULL, &n);
	}
	if (domain.n == 0 || worth(map_get(c->entries, domain)) == WORTH_IN_USE)
		return false;
	drop(c, domain);
	return true;
}

static struct sts_entry *entry_of(struct sts_cache *c, struct str domain)
{
	struct sts_entry *x = map_get(c->entries, domain);

	if (x != NULL)
		return x;
	char *organisation = organisation_of(c, domain);
	if (!make_room(c, organisation)) {
		free(organisation);
		return NULL;
	}
	x = xzalloc(sizeof(*x));
	x->organisation = organisation;
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
	const int64_t now = clock_wall();
	buf_printf(&b, FILE_MARK " %.*s %lld %lld\n", STR_ARG(id), (long long)now, (long long)(x->text != NULL && x->first <= now ? x->first : now));
	sts_policy_format(p, &b);
	r = buf_check(&b, "policy", e) < 0 ? -1 : entry_parse(buf_view(&b), &fresh, e);
	if (r == 0) {
		free(x->text);
		fresh.organisation = x->organisation;
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
