/* Which policies stay when there are too many: files in a directory of this test, with times of our choice. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "authres/psl.h"
#include "base/clock.h"
#include "deliver/sts/sts.h"
#include "log/log.h"
#include "test/tap.h"

enum { DAY = 86400, MAX = 20, OF_ONE = 5 };

static const struct sts_policy policy = { .mode = STS_ENFORCE, .max_age_s = 40 * DAY, .mx = { { "mx.example", 10 } }, .n_mx = 1 };

/* A file as an earlier run left it. */
static void keep(const char *domain, long first_days, long fetched_days)
{
	FILE *f = fopen(domain, "w");

	if (f == NULL)
		abort();
	fprintf(f, "postern-mta-sts id1 %lld", (long long)clock_wall() - fetched_days * DAY);
	if (first_days >= 0)
		fprintf(f, " %lld", (long long)clock_wall() - first_days * DAY);
	fprintf(f, "\nversion: STSv1\nmode: enforce\nmx: mx.example\nmax_age: %d\n", 40 * DAY);
	fclose(f);
}

static size_t files(void)
{
	DIR *d = opendir(".");
	size_t n = 0;

	for (const struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static void empty(void)
{
	DIR *d = opendir(".");

	for (const struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.')
			(void)unlink(e->d_name);
	if (d)
		closedir(d);
}

static bool has(struct sts_cache *c, const char *domain)
{
	return sts_entry_usable(sts_cache_get(c, str_c(domain)));
}

static bool put(struct sts_cache *c, const char *domain)
{
	struct err e = { 0 };

	return sts_cache_put(c, str_c(domain), STR("id2"), &policy, &e) == 0;
}

/* deep: each below a name of its own. */
static void flood(struct sts_cache *c, const char *below, bool deep, int n)
{
	char domain[100];

	for (int i = 0; i < n; i++) {
		if (deep)
			snprintf(domain, sizeof(domain), "a%d.b%d.%s", i, i, below);
		else
			snprintf(domain, sizeof(domain), "a%d.%s", i, below);
		(void)put(c, domain);
	}
}

static void test_floods(const struct psl *suffixes)
{
	empty();
	for (int i = 0; i < 10; i++) {
		char name[40];
		snprintf(name, sizeof(name), "used%d.example", i);
		keep(name, 10, 1);		/* for nine days it was fetched anew */
	}
	keep("new.example", 0, 0);
	keep("old-form.example", -1, 2);
	keep("expired.example", 90, 50);
	keep("hour.example", 0, 0);
	struct sts_cache *c = sts_cache_open(MAX, OF_ONE, suffixes);
	tap_ok(!has(c, "expired.example") && has(c, "old-form.example"), "what is too old is not read; a file without the first time is");
	flood(c, "attacker.example.net", false, 60);
	tap_ok(has(c, "used0.example") && has(c, "used9.example") && has(c, "new.example"), "a flood of one organisation pushes nobody out");
	tap_is_int((long)files(), 13 + OF_ONE, "and keeps its share: on disk too");
	flood(c, "attacker.example.net", true, 60);
	tap_is_int((long)files(), 13 + OF_ONE, "names at other depths are the same organisation's");
	flood(c, "co.uk", false, 60);
	bool all = true;
	for (int i = 0; i < 10; i++) {
		char name[40];
		snprintf(name, sizeof(name), "used%d.example", i);
		all = all && has(c, name);
	}
	tap_ok(all, "a flood of many organisations leaves what is in use");
	tap_is_int((long)files(), MAX, "no more than the limit, on disk too");
	tap_ok(has(c, "a59.co.uk"), "the newest of the others is kept");
	sts_cache_close(&c);
	c = sts_cache_open(MAX, OF_ONE, suffixes);
	tap_ok(has(c, "used0.example") && has(c, "a59.co.uk"), "so it is after a restart");
	sts_cache_close(&c);
}

static void test_full_of_use(const struct psl *suffixes)
{
	empty();
	for (int i = 0; i < MAX; i++) {
		char name[40];
		snprintf(name, sizeof(name), "used%d.example", i);
		keep(name, 39, i == 7 ? 35 : 1);
	}
	struct sts_cache *c = sts_cache_open(MAX, OF_ONE, suffixes);
	tap_ok(put(c, "first.example") && !has(c, "used7.example"), "what nobody has asked for in a month gives room");
	tap_ok(put(c, "second.example") && !has(c, "first.example"), "a newcomer gives room to the next one");
	tap_ok(put(c, "used3.example"), "a policy that is there is renewed");
	sts_cache_close(&c);
	keep("used7.example", 39, 1);
	(void)unlink("second.example");
	c = sts_cache_open(MAX, OF_ONE, suffixes);
	tap_ok(!put(c, "third.example") && has(c, "used7.example"), "where all are in use a newcomer is not kept");
	sts_cache_close(&c);
}

static void test_failures(const struct psl *suffixes)
{
	char domain[40];

	empty();
	keep("new.example", 0, 0);
	struct sts_cache *c = sts_cache_open(MAX, OF_ONE, suffixes);
	for (int i = 0; i < 100; i++) {
		snprintf(domain, sizeof(domain), "f%d.example", i);
		sts_cache_back_off(c, str_c(domain), clock_mono_ms() + 1000000);
	}
	tap_ok(has(c, "new.example"), "domains that only failed push no policy out");
	tap_ok(put(c, "another.example") && has(c, "new.example"), "and give room to one");
	const struct sts_entry *x = sts_cache_get(c, STR("another.example"));
	tap_ok(x && x->first == x->fetched, "a first policy is new");
	sts_cache_close(&c);
}

int main(void)
{
	char dir[] = "/tmp/test-sts-XXXXXX";
	struct psl *suffixes = psl_new(STR("example\nnet\ncom\nuk\nco.uk\n"));

	if (mkdtemp(dir) == NULL || chdir(dir) < 0)
		return 1;
	test_floods(suffixes);
	test_full_of_use(suffixes);
	test_failures(suffixes);
	test_failures(NULL);
	psl_free(&suffixes);
	empty();
	(void)rmdir(dir);
	return tap_done();
}
