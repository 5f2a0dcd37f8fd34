/* Who waits, how long, and who does not. */
#include "grey.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "os/os.h"
#include "test/tap.h"

static const uint8_t one[16] = { [10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = 1 };
static const uint8_t neighbour[16] = { [10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = 77 };
static const uint8_t other[16] = { [10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 3, [15] = 1 };
static const uint8_t six[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 5 }, six_near[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 9 }, six_far[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 2, 5 };

static const struct {
	const char *name;
	const uint8_t *client;
	const char *sender, *recipient;
	int64_t now;
	uint64_t wait;
} steps[] = {
	{ "the first time", one, "a@x", "b@y", 1000, 300 },
	{ "too soon", one, "a@x", "b@y", 1100, 200 },
	{ "too soon, from a neighbour, in other letters", neighbour, "A@X", "B@y", 1200, 100 },
	{ "from elsewhere", other, "a@x", "b@y", 1300, 300 },
	{ "late enough", neighbour, "a@x", "b@y", 1300, 0 },
	{ "known from then on", one, "a@x", "b@y", 1301, 0 },
	{ "to another", one, "a@x", "c@y", 1301, 300 },
	{ "from another", one, "d@x", "b@y", 1301, 300 },
	{ "IPv6", six, "a@x", "b@y", 1301, 300 },
	{ "IPv6, the same /64", six_near, "a@x", "b@y", 1701, 0 },
	{ "IPv6, another /64", six_far, "a@x", "b@y", 1701, 300 },
	{ "the null sender", one, "", "b@y", 1701, 300 },
	{ "who comes back too late begins anew", one, "d@x", "b@y", 1301 + GREY_RETRY_S + 1, 300 },
	{ "still known", one, "a@x", "b@y", 1301 + 86400 * 30, 0 },
	{ "known no longer", one, "a@x", "b@y", 1301 + 86400 * 30 + 86400 * 36, 300 },
	{ "a clock that went back", one, "e@x", "b@y", 99999999, 300 },
	{ "and is asked then", one, "e@x", "b@y", 50000000, 300 },
	{ "does not keep him waiting", one, "e@x", "b@y", 50000300, 0 },
};

/* --- the file --- */

enum { NOW = 400000000, LIFE = 86400 * 35 };

static struct grey *started(const char *path, int64_t now, size_t *bad)
{
	struct grey *g = grey_new(300, LIFE);
	tap_ok(grey_keep(g, path, now, bad) == 0 && grey_trouble(g) == NULL, "started");
	return g;
}

static uint64_t friend_waits(struct grey *g, int64_t now)
{
	const struct str name = STR("friend@far");
	return grey_ask(g, other, name, &name, 1, STR("bob@ours"), now);
}

static long long bytes_of(const char *path)
{
	struct stat st;
	return stat(path, &st) < 0 ? -1 : (long long)st.st_size;
}

/* A machine without a clock of its own starts long ago, and learns the time later. */
static void test_clock_not_set(const char *dir)
{
	char path[200];
	size_t bad;
	snprintf(path, sizeof(path), "%s/senders", dir);
	struct grey *g = started(path, NOW, &bad);
	grey_wrote(g, STR("bob@ours"), STR("friend@far"), NOW);
	(void)grey_ask(g, one, STR("a@x"), NULL, 0, STR("b@y"), NOW);
	(void)grey_ask(g, one, STR("a@x"), NULL, 0, STR("b@y"), NOW + 300);
	grey_free(&g);
	g = started(path, 100, &bad);
	tap_ok(friend_waits(g, 100) == 0, "who is known is, whatever the clock says");
	tap_ok(grey_ask(g, one, STR("a@x"), NULL, 0, STR("b@y"), 100) == 0, "who came back, too");
	grey_wrote(g, STR("bob@ours"), STR("friend@far"), 100);
	tap_ok(friend_waits(g, NOW + 1000) == 0 && grey_ask(g, one, STR("a@x"), NULL, 0, STR("b@y"), NOW + 1000) == 0, "and when it is set");
	grey_free(&g);
	g = started(path, 100, &bad);
	grey_free(&g);
	g = started(path, NOW + LIFE - 10, &bad);
	tap_ok(bad == 0 && grey_count(g) == 2 && friend_waits(g, NOW + LIFE - 10) == 0, "the file has them still");
	grey_free(&g);
	g = started(path, NOW + LIFE + 2000, &bad);
	tap_ok(grey_count(g) == 0, "for as long as before");
	grey_free(&g);
	(void)unlink(path);
}

static void limit_files(rlim_t bytes)
{
	struct rlimit r;
	(void)getrlimit(RLIMIT_FSIZE, &r);
	r.rlim_cur = bytes;
	tap_ok(setrlimit(RLIMIT_FSIZE, &r) == 0, "files of %llu bytes at most", (unsigned long long)bytes);
}

static void test_full_disk(const char *dir)
{
	char path[200];
	size_t bad;
	struct rlimit before;
	snprintf(path, sizeof(path), "%s/senders", dir);
	(void)getrlimit(RLIMIT_FSIZE, &before);
	(void)signal(SIGXFSZ, SIG_IGN);
	struct grey *g = started(path, NOW, &bad);
	grey_wrote(g, STR("bob@ours"), STR("first@far"), NOW);
	const long long size = bytes_of(path);
	limit_files((rlim_t)size + 20);
	grey_wrote(g, STR("bob@ours"), STR("friend@far"), NOW + 1);
	tap_ok(grey_trouble(g) != NULL, "told: %s", grey_trouble(g));
	tap_ok(bytes_of(path) == size, "half a line does not stay");
	limit_files((rlim_t)size - 20);
	grey_wrote(g, STR("bob@ours"), STR("second@far"), NOW + 1 + GREY_AGAIN_S);
	tap_ok(grey_trouble(g) != NULL && bytes_of(path) == size, "nor is the file lost for a new one that has no room");
	limit_files(before.rlim_cur);
	grey_wrote(g, STR("bob@ours"), STR("third@far"), NOW + 2 * GREY_AGAIN_S);
	tap_ok(grey_trouble(g) != NULL && bytes_of(path) == size, "not tried each time");
	(void)grey_ask(g, one, STR("waits@x"), NULL, 0, STR("b@y"), NOW + 1 + 2 * GREY_AGAIN_S);
	tap_ok(grey_trouble(g) == NULL && bytes_of(path) == 4 * size, "after a while all are written, whoever is seen");
	grey_wrote(g, STR("bob@ours"), STR("fifth@far"), NOW + 2 + 2 * GREY_AGAIN_S);
	tap_ok(bytes_of(path) == 5 * size, "and the next one");
	limit_files((rlim_t)size);
	grey_wrote(g, STR("bob@ours"), STR("sixth@far"), NOW + 3 + 2 * GREY_AGAIN_S);
	limit_files(before.rlim_cur);
	tap_ok(grey_trouble(g) != NULL && grey_keep(g, path, NOW + 4 + 2 * GREY_AGAIN_S, &bad) == 0 && grey_trouble(g) == NULL, "at once when asked to");
	grey_free(&g);
	g = started(path, NOW + 1000, &bad);
	tap_ok(bad == 0 && grey_count(g) == 6 && friend_waits(g, NOW + 1000) == 0, "nobody is forgotten");
	grey_free(&g);
	(void)unlink(path);
}

static void test_restart(const char *dir)
{
	char path[200];
	size_t bad;
	struct err e = { 0 };
	snprintf(path, sizeof(path), "%s/senders", dir);
	struct grey *g = started(path, NOW, &bad);
	grey_wrote(g, STR("Bob@ours"), STR("Friend@far"), NOW);
	(void)grey_ask(g, one, STR("a@x"), NULL, 0, STR("b@y"), NOW);
	(void)grey_ask(g, one, STR("a@x"), NULL, 0, STR("b@y"), NOW + 400);
	(void)grey_ask(g, one, STR("waits@x"), NULL, 0, STR("b@y"), NOW + 400);
	grey_free(&g);
	g = started(path, NOW + 500, &bad);
	tap_ok(bad == 0 && grey_count(g) == 2, "who is known is read, who waits is not");
	tap_ok(friend_waits(g, NOW + 500) == 0 && grey_ask(g, one, STR("A@x"), NULL, 0, STR("b@y"), NOW + 500) == 0, "and passes");
	tap_ok(grey_ask(g, one, STR("waits@x"), NULL, 0, STR("b@y"), NOW + 800) == 300, "who waited begins anew");
	grey_wrote(g, STR("bob@ours"), STR("friend@far"), NOW + LIFE - 100);
	grey_free(&g);
	g = started(path, NOW + LIFE + 100, &bad);
	tap_ok(friend_waits(g, NOW + LIFE + 100) == 0, "the later time counts");
	tap_ok(grey_ask(g, one, STR("a@x"), NULL, 0, STR("b@y"), NOW + LIFE + 1000) == 300, "who was not seen again is forgotten");
	grey_free(&g);

	struct buf text;
	buf_init(&text, 10000);
	tap_ok(file_read(path, 9000, &text, &e) == 0 && str_find(buf_view(&text), STR("friend")) < 0, "no name is in it");
	buf_c(&text, "nonsense\n12\n-1 00112233445566778899aabbccddeeff\n400000000 0011\n"
		     "400000000 zz112233445566778899aabbccddeeff\n9999999999 00112233445566778899aabbccddeeff\n4000");
	tap_ok(file_replace(path, buf_view(&text), 0600, (uid_t)-1, (gid_t)-1, &e) == 0, "damage");
	buf_fini(&text);
	g = started(path, NOW + LIFE + 200, &bad);
	tap_ok(bad == 6, "%zu lines make no sense, one is of the future", bad);
	tap_ok(friend_waits(g, NOW + LIFE + 200) == 0, "the others count");
	grey_free(&g);
	g = started(path, NOW + LIFE + 300, &bad);
	tap_ok(bad == 0, "and the file is whole again");
	grey_free(&g);
	tap_ok(unlink(path) == 0 && mkdir(path, 0700) == 0, "a directory in its place");
	g = grey_new(300, LIFE);
	tap_ok(grey_keep(g, path, NOW, &bad) < 0 && grey_trouble(g) != NULL, "is told: %s", grey_trouble(g));
	grey_wrote(g, STR("bob@ours"), STR("friend@far"), NOW);
	tap_ok(friend_waits(g, NOW) == 0, "and memory serves");
	(void)rmdir(path);
	buf_init(&text, 100);
	buf_c(&text, "400000000 00112233445566778899aabbccddeeff\n");
	tap_ok(file_replace(path, buf_view(&text), 0600, (uid_t)-1, (gid_t)-1, &e) == 0, "a file that can be read");
	buf_fini(&text);
	grey_wrote(g, STR("bob@ours"), STR("other@far"), NOW + GREY_AGAIN_S);
	tap_ok(grey_trouble(g) != NULL && bytes_of(path) == 43, "is not replaced by what memory has");
	tap_ok(grey_keep(g, path, NOW, &bad) == 0 && grey_trouble(g) == NULL && grey_count(g) == 3 && bytes_of(path) == 3 * 43, "but joined with it when asked anew");
	grey_free(&g);
	(void)unlink(path);
}

int main(void)
{
	char dir[] = "/tmp/test_grey.XXXXXX";
	if (tap_ok(mkdtemp(dir) != NULL, "a directory")) {
		test_restart(dir);
		test_clock_not_set(dir);
		test_full_disk(dir);
	}
	(void)rmdir(dir);
	struct grey *g = grey_new(300, 86400 * 35);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		const uint64_t wait = grey_ask(g, steps[i].client, str_c(steps[i].sender), NULL, 0, str_c(steps[i].recipient), steps[i].now);
		tap_ok(wait == steps[i].wait, "%s: %llu", steps[i].name, (unsigned long long)wait);
	}
	grey_wrote(g, STR("bob@ours"), STR("Friend@far"), 200000000);
	tap_ok(grey_ask(g, other, STR("friend@FAR"), (struct str[]){ STR("friend@FAR") }, 1, STR("Bob@ours"), 200000001) == 0, "whom ours wrote to is known");
	tap_ok(grey_ask(g, other, STR("bounces@list"), (struct str[]){ STR("bounces@list"), STR("friend@far") }, 2, STR("bob@ours"), 200000001) == 0,
	       "by his signature, whatever the envelope says");
	tap_ok(grey_ask(g, other, STR("friend@far"), NULL, 0, STR("bob@ours"), 200000001) == 300, "not who only says that he is it");
	tap_ok(grey_ask(g, other, STR("friend@far"), (struct str[]){ STR("friend@far") }, 1, STR("alice@ours"), 200000001) == 300, "to another of ours he is not");
	tap_ok(grey_ask(g, other, STR("friend@far"), (struct str[]){ STR("friend@far") }, 1, STR("bob@ours"), 200000000 + 86400 * 36) == 300, "nor for ever");
	grey_times(g, 100, 86400 * 40);
	tap_ok(grey_ask(g, other, STR("new@far"), (struct str[]){ STR("new@far") }, 1, STR("bob@ours"), 200000000 + 86400 * 36) == 100, "another delay, from now on");
	grey_times(g, 300, 86400 * 35);
	for (unsigned i = 0; i < GREY_ENTRIES_MAX + 10; i++) {
		char sender[40];
		snprintf(sender, sizeof(sender), "s%u@x", i);
		(void)grey_ask(g, one, str_c(sender), NULL, 0, STR("b@y"), 300000000 + i);
	}
	tap_ok(grey_count(g) <= GREY_ENTRIES_MAX && grey_count(g) > GREY_ENTRIES_MAX / 2, "%zu entries at most", grey_count(g));
	grey_free(&g);
	return tap_done();
}
