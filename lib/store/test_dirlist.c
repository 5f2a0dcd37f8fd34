/* Listings: what a directory's files are and their order, against a plain implementation. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/os.h"
#include "store/listing.h"
#include "store/store_priv.h"
#include "test/tap.h"

static struct entry *make(struct arena *a, const char *name, uint32_t uid)
{
	struct entry *const en = ARENA_NEW(a, struct entry);

	en->name = arena_strdup(a, name);
	en->uid = uid;
	entry_parse(en);
	return en;
}

/* Known UIDs, then seconds, microseconds, name: as the header has it. */
static bool is_before(const struct entry *a, const struct entry *b)
{
	if (a->uid || b->uid)
		return a->uid && (!b->uid || a->uid < b->uid);
	if (a->secs != b->secs)
		return a->secs < b->secs;
	if (a->usecs != b->usecs)
		return a->usecs < b->usecs;
	return str_cmp(entry_base(a), entry_base(b)) < 0;
}

static void random_name(char *out, size_t max)
{
	static const char *const secs[] = { "1600000000", "1600000001", "8796093022206", "8796093022207", "8796093022208", "9223372036854775807", "0", "x" };
	const unsigned k = (unsigned)(random_u64() % 40);

	if (k < ARRAY_LEN(secs))
		snprintf(out, max, "%s.M%uP1.%llu", secs[k], (unsigned)(random_u64() % 3), (unsigned long long)(random_u64() % 100000));
	else
		snprintf(out, max, "%u.M%06uP%u.host,S=1:2,S", 1600000000 + (unsigned)(random_u64() % 50), (unsigned)(random_u64() % 1000000), k);
}

static void test_order(void)
{
	static const size_t counts[] = { 0, 1, 5, 32, 33, 3000 };
	char name[200];

	for (size_t c = 0; c < 2 * ARRAY_LEN(counts); c++) {
		const size_t n = counts[c / 2];
		struct arena *a = arena_new(0);
		struct listing l = { .v = xmalloc((n + 1) * sizeof(*l.v)), .n = n, .cap = n + 1 };
		bool right = true;
		for (size_t i = 0; i < n; i++) {
			random_name(name, sizeof(name));
			l.v[i] = make(a, name, c % 2 && random_u64() % 2 ? (uint32_t)(n - i) : 0);
		}
		listing_sort(&l);
		for (size_t i = 1; i < n; i++)
			right &= !is_before(l.v[i], l.v[i - 1]);
		tap_ok(right && l.n == n, "%zu files in order%s", n, c % 2 ? ", UIDs known" : "");
		free(l.v);
		arena_free(&a);
	}
}

static void put(int dirfd, const char *name, const char *text)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	tap_ok(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "file %s", name);
	close_fd(&fd);
}

static void test_files(void)
{
	char dir[] = "/tmp/test-listing-XXXXXX";
	struct listing l = { 0 };
	struct err e = { 0 };

	tap_ok(mkdtemp(dir) != NULL, "directory");
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put(fd, "2.b,S=7:2,S", "12345");
	put(fd, "1.a:2,", "123");
	put(fd, ".hidden", "");
	tap_ok(mkdirat(fd, "3.dir", 0700) == 0 && symlinkat("1.a:2,", fd, "4.link") == 0 && mkfifoat(fd, "5.fifo", 0600) == 0, "what is no file");
	tap_is_int(listing_read(&l, fd, 10, NULL, &e), 0, "list: %s", e.text);
	listing_sort(&l);
	tap_ok(l.n == 2 && !l.more && strcmp(l.v[0]->name, "1.a:2,") == 0 && strcmp(l.v[1]->name, "2.b,S=7:2,S") == 0, "plain files, in order");
	tap_ok(l.n == 2 && entry_believe(l.v[0], fd) && l.v[0]->size == 3 && l.v[0]->mtime > 0, "a name that tells no size: the file is asked");
	tap_ok(l.n == 2 && entry_believe(l.v[1], fd) && l.v[1]->size == 7 && l.v[1]->mtime == DATE_UNKNOWN, "one that does is believed");
	tap_ok(l.n == 2 && entry_look(l.v[1], fd) && l.v[1]->size == 5, "until the file is asked");
	listing_fini(&l);
	l = (struct listing){ 0 };
	tap_ok(listing_read(&l, fd, 1, NULL, &e) == 0 && l.n == 1 && l.more, "at most so many");
	listing_fini(&l);
	static const char *const names[] = { "2.b,S=7:2,S", "1.a:2,", ".hidden", "4.link", "5.fifo" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		(void)unlinkat(fd, names[i], 0);
	(void)unlinkat(fd, "3.dir", AT_REMOVEDIR);
	(void)rmdir(dir);
	close_fd(&fd);
}

static bool same_entries(const struct listing *a, const struct listing *b)
{
	for (size_t i = 0; i < a->n && i < b->n; i++) {
		const struct entry *const x = a->v[i], *const y = b->v[i];
		if (strcmp(x->name, y->name) != 0 || !str_eq(entry_base(x), entry_base(y)) || !str_eq(entry_info(y), STR("S")) || x->told != y->told || x->secs != y->secs ||
		    y->told_crlf != y->told + 1 || y->disk != DISK_S || y->odd)
			return false;
	}
	return a->n == b->n;
}

/* In pieces, with a crew of that size, to the end or given up after so many steps. */
static int in_steps(struct listing *l, int dirfd, struct crew *crew, unsigned steps, unsigned *done_out, struct err *e)
{
	int r = listing_begin(l, dirfd, SIZE_MAX, crew, e);

	*done_out = 0;
	if (r < 0)
		return r;
	while (*done_out < steps && (r = listing_step(l, e)) > 0)
		++*done_out;
	return r;
}

static void make_files(int fd, size_t from, size_t to)
{
	char name[256];

	for (size_t i = from; i < to; i++) {
		snprintf(name, sizeof(name), "%zu.M%zuP1.%0*zu.host,S=%zu,W=%zu:2,S", 1600000000 + i * 7919 % to, i, 150, i, i, i + 1);
		int file = openat(fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		close_fd(&file);
	}
}

/* What a crew finds is what one finds, in the same order; also in pieces, and where it is given up in the midst. */
static void compare(int fd, size_t files, bool shared)
{
	struct listing alone = { 0 }, helped = { 0 };
	struct err e = { 0 };
	unsigned steps = 0, n;

	tap_is_int(listing_read(&alone, fd, SIZE_MAX, NULL, &e), 0, "%zu files listed by one: %s", files, e.text);
	tap_ok(alone.n == files && !alone.more, "all of them");
	for (unsigned size = 1; size <= CREW_MAX; size++) {
		struct crew *crew = crew_new(size, CREW_IDLE_MS);
		tap_ok(listing_read(&helped, fd, SIZE_MAX, crew, &e) == 0 && same_entries(&alone, &helped), "the same by a crew of %u", size);
		tap_is_int(helped.shared, shared && size > 1, "which read it %s", helped.shared ? "in parts" : "in a row");
		listing_fini(&helped);
		const int r = in_steps(&helped, fd, crew, UINT32_MAX, &steps, &e);
		tap_ok(r == 0 && same_entries(&alone, &helped), "the same in %u steps", steps);
		listing_fini(&helped);
		bool given_up = true;
		for (unsigned k = 0; k < steps; k++) {
			given_up &= in_steps(&helped, fd, crew, k, &n, &e) >= 0;
			listing_fini(&helped);
		}
		tap_ok(given_up, "given up after each step");
		crew_free(&crew);
	}
	listing_fini(&alone);
}

/* So that few are left in a directory that stays as large: parts of it are empty. */
static void remove_but_each(int fd, size_t each)
{
	struct listing l = { 0 };
	struct err e = { 0 };

	tap_is_int(listing_read(&l, fd, SIZE_MAX, NULL, &e), 0, "list: %s", e.text);
	for (size_t i = 0; i < l.n; i++)
		if (each == 0 || i % each != 0)
			(void)unlinkat(fd, l.v[i]->name, 0);
	listing_fini(&l);
}

/* Directories of several pieces, and one that is large enough to be shared out where the file system allows it. */
static void test_large(void)
{
	enum { SOME = 3000, FILES = 9000 };
	char dir[] = "/tmp/test-listing-XXXXXX";

	tap_ok(mkdtemp(dir) != NULL, "directory");
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	make_files(fd, 0, SOME);
	compare(fd, SOME, false);
	make_files(fd, SOME, FILES);
	compare(fd, FILES, dir_positions(fd) > 0);
	for (size_t left = FILES; left > 1; left = (left + 8) / 9) {
		remove_but_each(fd, 9);
		compare(fd, (left + 8) / 9, dir_positions(fd) > 0);
	}
	remove_but_each(fd, 0);
	close_fd(&fd);
	tap_is_int(rmdir(dir), 0, "nothing else was there");
}

int main(void)
{
	test_order();
	test_large();
	test_files();
	return tap_done();
}
