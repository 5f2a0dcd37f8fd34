/* What workers want to be learned, from the monitor to postern-learn: kept in order, taken once, found again after a crash, bounded. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "learndata.h"
#include "spam/taught.h"
#include "test/tap.h"

static char dir[] = "/tmp/test-learndata-XXXXXX", path[100];
static struct arena *a;

static struct str record(enum bayes_class as, bool told, size_t n_tokens)
{
	static uint64_t tokens[BAYES_TOKENS_MAX];
	const struct taught t = { .as = as, .told = told, .tokens = tokens, .n_tokens = n_tokens };
	return taught_format(a, &t);
}

static size_t take(void)
{
	struct err e = { 0 };
	struct buf b;
	size_t n = 0;
	buf_init(&b, TAUGHT_FILE_MAX);
	if (learn_data_take(dir, &b, &e) < 0)
		tap_diag("%s", e.text);
	struct str rest = buf_view(&b), r;
	while (taught_file_next(&rest, &r) == 0)
		n++;
	buf_fini(&b);
	return n;
}

static void test_who_speaks(void)
{
	struct err e = { 0 };
	tap_ok(learn_data_keep(dir, STR("nonsense"), false, &e) < 0, "what is no record is not kept");
	tap_ok(learn_data_keep(dir, record(BAYES_SPAM, true, 1), false, &e) < 0, "no worker speaks for a person");
	tap_ok(learn_data_keep(dir, record(BAYES_SPAM, false, 1), true, &e) < 0, "nor is it one that spoke");
	tap_ok(learn_data_keep(dir, record(BAYES_NONE, false, 1), false, &e) < 0, "nothing is forgotten of itself");
	tap_ok(!learn_data_there(dir), "so there is nothing");
}

static void test_order(void)
{
	struct err e = { 0 };
	tap_ok(learn_data_keep(dir, record(BAYES_SPAM, false, 3), false, &e) == 0 && learn_data_keep(dir, record(BAYES_HAM, true, 3), true, &e) == 0 &&
	       learn_data_there(dir), "records are kept");
	tap_is_int((long)take(), 2, "and taken");
	tap_ok(learn_data_keep(dir, record(BAYES_HAM, false, 3), false, &e) == 0, "another may come meanwhile");
	tap_is_int((long)take(), 2, "a run that ended before it had learned finds the same");
	tap_ok(learn_data_taken(dir, &e) == 0 && learn_data_there(dir), "what was learned goes");
	tap_is_int((long)take(), 1, "the other is taken next");
	tap_ok(learn_data_taken(dir, &e) == 0 && !learn_data_there(dir) && take() == 0, "then there is nothing");
}

static struct str again(enum bayes_class as, bool told, bool known)
{
	const struct taught t = { .as = as, .told = told, .known = known, .digest = "one" };
	return taught_format(a, &t);
}

/* What a person says again is no news, but where what waits here says otherwise: it would be learned behind that. */
static void test_said_again(void)
{
	struct err e = { 0 };
	tap_ok(learn_data_keep(dir, again(BAYES_SPAM, true, true), true, &e) == 1 && !learn_data_there(dir), "what was learned is not kept");
	tap_ok(learn_data_keep(dir, again(BAYES_SPAM, true, false), true, &e) == 0, "said for the first time");
	tap_ok(learn_data_keep(dir, again(BAYES_NONE, true, true), true, &e) == 0, "to forget it before it was learned is news");
	tap_ok(learn_data_keep(dir, again(BAYES_NONE, true, true), true, &e) == 1, "once");
	tap_ok(learn_data_keep(dir, record(BAYES_NONE, true, 0), true, &e) == 0, "of another message");
	tap_is_int((long)take(), 3, "in order");
	tap_ok(learn_data_keep(dir, again(BAYES_NONE, true, true), true, &e) == 1, "while it is being learned");
	tap_ok(learn_data_keep(dir, again(BAYES_HAM, true, true), true, &e) == 0, "and otherwise again");
	tap_ok(learn_data_keep(dir, again(BAYES_SPAM, false, false), false, &e) == 0 && learn_data_keep(dir, again(BAYES_SPAM, true, true), true, &e) == 0,
	       "what was found of itself is no person's word");
	tap_ok(learn_data_taken(dir, &e) == 0 && take() == 3 && learn_data_taken(dir, &e) == 0, "taken");
}

static void test_taken_meanwhile(void)
{
	struct err e = { 0 };
	tap_ok(learn_data_keep(dir, record(BAYES_SPAM, false, 3), false, &e) == 0, "one is kept");
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	tap_ok(flock(fd, LOCK_EX) == 0 && learn_data_keep(dir, record(BAYES_SPAM, false, 3), false, &e) < 0, "while the file is being read nobody waits for it (%s)", e.text);
	close(fd);
	tap_is_int((long)take(), 1, "whole");
	tap_ok(learn_data_taken(dir, &e) == 0, "and gone");
}

static void test_full(void)
{
	struct err e = { 0 };
	struct stat st;
	size_t n = 0;
	while (n < 10000 && learn_data_keep(dir, record(BAYES_SPAM, false, BAYES_TOKENS_MAX), false, &e) == 0)
		n++;
	tap_ok(n > 100 && stat(path, &st) == 0 && st.st_size <= LEARN_QUEUE_MAX, "there is an end to it after %zu (%s)", n, e.text);
	tap_is_int((long)take(), (long)n, "all of it is whole");
	tap_ok(learn_data_taken(dir, &e) == 0, "and gone");
}

int main(void)
{
	char sub[80];
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(sub, sizeof(sub), "%s/filter", dir);
	snprintf(path, sizeof(path), "%s/" LEARN_QUEUE_DIR, dir);
	if (mkdir(sub, 0700) < 0 || mkdir(path, 0700) < 0)
		return 1;
	snprintf(path, sizeof(path), "%s/" LEARN_QUEUE_DIR "/taught", dir);
	a = arena_new(0);
	test_who_speaks();
	test_order();
	test_said_again();
	test_taken_meanwhile();
	test_full();
	arena_free(&a);
	(void)unlink(path);
	snprintf(path, sizeof(path), "%s/" LEARN_QUEUE_DIR, dir);
	rmdir(path);
	rmdir(sub);
	rmdir(dir);
	return tap_done();
}
