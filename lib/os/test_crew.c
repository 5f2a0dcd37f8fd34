/* A crew does each item of a batch once, whatever its size, however batches overlap, and also when no thread can be made. BUILD=tsan looks for what two threads use. */
#include "os/crew.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/clock.h"
#include "test/tap.h"

#ifdef __SANITIZE_THREAD__
enum { OWN_THREADS = 2 };	/* the sanitizer has one */
#else
enum { OWN_THREADS = 1 };
#endif
enum { ITEMS = 1000, ROUNDS = 50, WAIT_MS = 60000 };

struct item {
	unsigned n, times, hand;
	uint64_t answer;
	bool helper, signals;
};

/* Some computing, so that threads get their share. */
static void work(void *p, unsigned hand)
{
	struct item *const it = p;
	sigset_t blocked;
	uint64_t x = it->n;

	for (unsigned i = 0; i < 200; i++)
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
	it->answer = x;
	it->times++;
	it->hand = hand;
	it->helper = crew_inside();
	(void)pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	it->signals = !sigismember(&blocked, SIGTERM);
}

static struct item *items_new(size_t n)
{
	struct item *const v = calloc(n + 1, sizeof(*v));

	if (v == NULL)
		exit(94);
	for (size_t i = 0; i < n; i++)
		v[i].n = (unsigned)i;
	return v;
}

static bool each_once(const struct item *v, size_t n, unsigned size)
{
	struct item want;

	for (size_t i = 0; i < n; i++) {
		want = (struct item){ .n = (unsigned)i };
		work(&want, 0);
		if (v[i].times != 1 || v[i].answer != want.answer || v[i].hand >= size || v[i].helper != (v[i].hand > 0) || v[i].signals == v[i].helper)
			return false;
	}
	return v[n].times == 0;
}

static void test_sizes(void)
{
	static const size_t counts[] = { 0, 1, 2, 3, 7, 64, ITEMS };

	for (unsigned size = 1; size <= CREW_MAX; size++) {
		struct crew *c = crew_new(size, CREW_IDLE_MS);
		bool right = true;

		tap_is_int(crew_size(c), size, "a crew of %u", size);
		for (unsigned round = 0; round < ROUNDS; round++) {
			for (size_t k = 0; k < ARRAY_LEN(counts); k++) {
				struct item *const v = items_new(counts[k]);
				struct crew_batch b = { .fn = work, .items = v, .size = sizeof(*v), .n = counts[k] };
				crew_begin(c, &b);
				crew_finish(c, &b);
				right &= each_once(v, counts[k], size);
				free(v);
			}
		}
		tap_ok(right, "does each item of a batch once");
		crew_free(&c);
	}
}

static void test_overlap(void)
{
	struct crew *c = crew_new(CREW_MAX, CREW_IDLE_MS);
	bool right = true;

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct crew_batch b[5];
		for (size_t k = 0; k < ARRAY_LEN(b); k++) {
			b[k] = (struct crew_batch){ .fn = work, .items = items_new(40 * k), .size = sizeof(struct item), .n = 40 * k };
			crew_begin(c, &b[k]);
		}
		for (size_t k = 0; k < ARRAY_LEN(b); k++) {	/* not in the order in which they began */
			const size_t i = (k + round) % ARRAY_LEN(b);
			crew_finish(c, &b[i]);
			right &= each_once(b[i].items, b[i].n, CREW_MAX);
			free(b[i].items);
		}
	}
	tap_ok(right, "batches that overlap: each item once");
	crew_free(&c);
}

/* A loop that does an item now and then, and gives the rest to the end at any of them. */
static void test_help(void)
{
	struct crew *c = crew_new(CREW_MAX, CREW_IDLE_MS), *alone = crew_new(1, CREW_IDLE_MS);
	bool right = true;
	size_t done = 0;

	for (size_t some = 0; some < 20; some++) {
		struct item *const v = items_new(16);
		struct crew_batch b = { .fn = work, .items = v, .size = sizeof(*v), .n = 16 };
		crew_begin(c, &b);
		for (size_t i = 0; i < some && crew_help(c, &b); i++)
			;
		crew_finish(c, &b);
		right &= !crew_help(c, &b) && each_once(v, 16, CREW_MAX);
		free(v);
	}
	tap_ok(right, "help with any number of items: each item once");
	struct item *const v = items_new(16);
	struct crew_batch b = { .fn = work, .items = v, .size = sizeof(*v), .n = 16 };
	crew_begin(alone, &b);
	while (crew_help(alone, &b))
		done++;
	crew_finish(alone, &b);
	tap_ok(done == 16 && each_once(v, 16, 1), "who is alone helps with each");
	free(v);
	crew_free(&c);
	crew_free(&alone);
}

/* --- others take part --- */

static atomic_uint present;

static void meet(void *p, unsigned hand)
{
	(void)p;
	(void)hand;
	atomic_fetch_add(&present, 1);
	for (const uint64_t end = clock_mono_ms() + WAIT_MS; atomic_load(&present) < CREW_MAX && clock_mono_ms() < end;)
		(void)usleep(1000);
}

static atomic_bool let_go;

/* Ends when it is let. */
static void linger(void *p, unsigned hand)
{
	(void)p;
	(void)hand;
	atomic_fetch_add(&present, 1);
	for (const uint64_t end = clock_mono_ms() + WAIT_MS; !atomic_load(&let_go) && clock_mono_ms() < end;)
		(void)usleep(1000);
}

/* A loop that does not wait for one who does not end. */
static void test_wait(void)
{
	struct crew *c = crew_new(2, CREW_IDLE_MS);
	char v[1];
	struct crew_batch b = { .fn = linger, .items = v, .size = 1, .n = 1 };

	crew_begin(c, &b);
	for (const uint64_t end = clock_mono_ms() + WAIT_MS; atomic_load(&present) == 0 && clock_mono_ms() < end;)
		(void)usleep(1000);
	tap_ok(!crew_help(c, &b) && !crew_wait(c, &b, 1), "what another has begun is not done yet");
	atomic_store(&let_go, true);
	tap_ok(crew_wait(c, &b, WAIT_MS), "it is, when it is let go");
	crew_finish(c, &b);
	tap_ok(crew_wait(c, &b, 0), "and stays so");
	atomic_store(&present, 0);
	crew_free(&c);
}

/* As many items as hands, none of which ends before all have begun. */
static void test_together(void)
{
	struct crew *c = crew_new(CREW_MAX, CREW_IDLE_MS);
	char v[CREW_MAX];
	struct crew_batch b = { .fn = meet, .items = v, .size = 1, .n = CREW_MAX };

	crew_begin(c, &b);
	crew_finish(c, &b);
	tap_is_int(atomic_load(&present), CREW_MAX, "as many work at once as the crew has hands");
	crew_free(&c);
}

/* On a thread: ends when the loop's has one of these behind it. */
static void await_the_loop(void *p, unsigned hand)
{
	bool *const met = p;

	if (hand == 0)
		atomic_store(&let_go, true);
	else
		linger(NULL, hand);
	*met = atomic_load(&let_go);
}

/* Who must wait for one batch does something of the next. */
static void test_alike(void)
{
	struct crew *c = crew_new(2, CREW_IDLE_MS);
	bool met[2] = { false, false };
	struct crew_batch b[2];

	atomic_store(&let_go, false);
	atomic_store(&present, 0);
	for (size_t i = 0; i < 2; i++) {
		b[i] = (struct crew_batch){ .fn = await_the_loop, .items = &met[i], .size = sizeof(met[i]), .n = 1 };
		crew_begin(c, &b[i]);
		for (const uint64_t end = clock_mono_ms() + WAIT_MS; atomic_load(&present) == 0 && clock_mono_ms() < end;)
			(void)usleep(1000);
	}
	crew_finish(c, &b[0]);
	tap_ok(met[0], "while another is at the last item of a batch, the next one goes on");
	crew_finish(c, &b[1]);
	tap_ok(met[1], "which is then done");
	atomic_store(&present, 0);
	crew_free(&c);
}

/* On a thread: goes on for a while after the loop's has begun one. */
static void outlast_the_loop(void *p, unsigned hand)
{
	unsigned *const by_loop = p;

	if (hand == 0) {
		++*by_loop;
		atomic_store(&let_go, true);
		return;
	}
	linger(NULL, hand);
	(void)usleep(50000);
}

/* But only a little: the loop has others to serve. */
static void test_alike_a_little(void)
{
	enum { LATER = 100, LITTLE = 4 };
	struct crew *c = crew_new(2, CREW_IDLE_MS);
	unsigned first = 0, later[LATER] = { 0 }, done = 0;
	struct crew_batch a = { .fn = outlast_the_loop, .items = &first, .size = sizeof(first), .n = 1 };
	struct crew_batch b = { .fn = outlast_the_loop, .items = later, .size = sizeof(later[0]), .n = LATER };

	atomic_store(&let_go, false);
	atomic_store(&present, 0);
	crew_begin(c, &a);
	for (const uint64_t end = clock_mono_ms() + WAIT_MS; atomic_load(&present) == 0 && clock_mono_ms() < end;)
		(void)usleep(1000);
	crew_begin(c, &b);
	crew_finish(c, &a);
	for (size_t i = 0; i < LATER; i++)
		done += later[i];
	tap_ok(done > 0 && done <= LITTLE, "of the next one no more than a little is done while another is waited for (%u)", done);
	crew_finish(c, &b);
	atomic_store(&present, 0);
	crew_free(&c);
}

static unsigned threads_now(void)
{
	DIR *const d = opendir("/proc/self/task");
	unsigned n = 0;

	for (struct dirent *de; d && (de = readdir(d)) != NULL;)
		n += de->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static bool come_to(unsigned threads)
{
	for (const uint64_t end = clock_mono_ms() + WAIT_MS; threads_now() != threads; (void)usleep(1000))
		if (clock_mono_ms() > end)
			return false;
	return true;
}

static void test_threads(unsigned before)
{
	struct crew *c = crew_new(3, 50);
	struct item *v = items_new(ITEMS);
	struct crew_batch b = { .fn = work, .items = v, .size = sizeof(*v), .n = ITEMS };

	tap_ok(come_to(before), "no thread is made before there is work");
	crew_begin(c, &b);
	crew_finish(c, &b);
	tap_ok(come_to(before), "without work the threads end");
	free(v);
	v = b.items = items_new(ITEMS);
	crew_begin(c, &b);
	crew_finish(c, &b);
	tap_ok(each_once(v, ITEMS, 3), "and are made again");
	free(v);
	crew_free(&c);
	tap_ok(come_to(before), "none is left of a crew that was freed");
}

/* Where no thread can be made (not for root: the limit is not his). */
static void test_none(void)
{
	const pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		const struct rlimit none = { 0, 0 };
		if (getuid() == 0 && setuid(65534) < 0)
			_exit(2);
		if (setrlimit(RLIMIT_NPROC, &none) < 0)
			_exit(3);
		struct crew *c = crew_new(CREW_MAX, CREW_IDLE_MS);
		struct item *const v = items_new(ITEMS);
		struct crew_batch b = { .fn = work, .items = v, .size = sizeof(*v), .n = ITEMS };
		crew_begin(c, &b);
		crew_finish(c, &b);
		bool alone = each_once(v, ITEMS, 1);	/* all by hand 0 */
		crew_free(&c);
		free(v);
		_exit(alone ? 0 : 1);
	}
	tap_ok(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0, "where no thread can be made the loop's does all (%x)", status);
}

int main(void)
{
	test_none();	/* before there is a thread */
	test_sizes();
	test_overlap();
	test_help();
	test_wait();
	test_together();
	test_alike();
	test_alike_a_little();
	test_threads(OWN_THREADS);
	return tap_done();
}
