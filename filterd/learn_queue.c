/* The feeder's part for --queued (learn.h): what users' sessions found them to say of messages (store/trainqueue.h). Each queue is read, and later dropped, by a
 * process that is the user. Of each user no more is taken in a day than learn_user_max: what is learned is everybody's, so nobody's share of it may
 * be large. How much was taken is root's to know, and a child that does not say it, as its user can see to, has taken all: in state_directory/learn.shares,
 * "DAY" and a line "NAME COUNT" for each. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/num.h"
#include "learn.h"
#include "map/accounts.h"
#include "os/os.h"
#include "store/trainqueue.h"

enum { USERS_MAX = 1000000, SHARES_MAX = USERS_MAX * 64, DAY_SECONDS = 86400 };

struct taken {
	char *name, *maildir;
	uid_t uid;
	gid_t gid;
	uint64_t upto, count;
};
struct learn_queue {
	const struct conf *conf;
	int chan;
	char shares[1200];
	uint64_t day, until_ms;
	struct map *used;	/* name -> struct taken, of today */
	struct arena *a;
	struct taken *v;	/* of this run */
	size_t n, cap;
};

/* --- shares --- */

static struct taken *share_of(struct learn_queue *q, struct str name)
{
	struct taken *t = map_get(q->used, name);
	if (t == NULL) {
		t = ARENA_NEW(q->a, struct taken);
		*t = (struct taken){ .name = arena_cstr(q->a, name) };
		(void)map_set(q->used, str_c(t->name), t);
	}
	return t;
}

/* Of another day, or no file: nothing was taken. */
static int shares_read(struct learn_queue *q, struct err *e)
{
	struct buf b;
	uint64_t n;
	buf_init(&b, SHARES_MAX + 1);
	int k = file_read(q->shares, SHARES_MAX, &b, e);
	if (k < 0 && e->code == ERR_NOENT) {
		err_clear(e);
		k = 0;
	}
	struct str rest = buf_view(&b);
	if (k == 0 && num_parse(str_split(&rest, '\n'), 0, UINT64_MAX, &n) == 0 && n == q->day) {
		while (rest.n > 0) {
			struct str line = str_split(&rest, '\n');
			const struct str name = str_split(&line, ' ');
			if (num_parse(line, 0, UINT32_MAX, &n) == 0)
				share_of(q, name)->count = n;
		}
	}
	buf_fini(&b);
	return k;
}

static int shares_write(struct learn_queue *q, struct err *e)
{
	struct str name;
	struct buf b;
	void *t;
	for (size_t i = 0; i < q->n; i++)
		share_of(q, str_c(q->v[i].name))->count += q->v[i].count;
	buf_init(&b, SHARES_MAX);
	buf_printf(&b, "%llu\n", (unsigned long long)q->day);
	for (size_t it = 0; map_next(q->used, &it, &name, &t);)
		buf_printf(&b, "%.*s %llu\n", STR_ARG(name), (unsigned long long)((const struct taken *)t)->count);
	int k = buf_check(&b, "the users' shares", e);
	if (k == 0)
		k = file_replace(q->shares, buf_view(&b), 0600, (uid_t)-1, (gid_t)-1, e);
	buf_fini(&b);
	return k;
}

/* --- one user --- */

/* As the user. -1: there is none. */
static int queue_open(const struct taken *t)
{
	struct err e = { 0 };
	learn_time(LEARN_USER_SECONDS);
	if (learn_become(t->uid, t->gid, &e) < 0)
		return -1;
	CLEANUP_FD int root = open(t->maildir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return root < 0 ? -1 : train_queue_open(root, false, &e);
}

static void child_feed(const struct taken *t, size_t max, int chan, int answer)
{
	static struct train_entry v[TRAIN_QUEUE_MAX];
	struct err e = { 0 };
	uint64_t told[2] = { 0, 0 };	/* how many, up to which stamp */
	uint64_t bytes = 0;	/* whoever plants files there is not bound by what sessions are */
	size_t n = 0;
	const int dir = queue_open(t);
	if (dir >= 0 && train_queue_read(dir, v, ARRAY_LEN(v), &n, &e) < 0)
		n = 0;
	for (size_t i = 0; i < n && told[0] < max && bytes < TRAIN_BYTES_MAX; i++) {
		char name[TRAIN_NAME_SIZE];
		train_name_format(&v[i], name);
		const int k = learn_send(chan, dir, name, v[i].spam ? BAYES_SPAM : BAYES_HAM, &bytes, &e);
		if (k < 0)
			_exit(1);
		told[0] += k == 0;
		told[1] = v[i].stamp;
	}
	_exit(write(answer, told, sizeof(told)) != sizeof(told));
}

/* Root hears two numbers from a process that is the user, who may end it before it says them. The learner has what it sent by then. */
static int feed_user(struct learn_queue *q, struct taken *t, size_t max, struct err *e)
{
	uint64_t told[2] = { 0, 0 };
	int pair[2];
	if (pipe2(pair, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_set(e, ERR_TEMP, errno, "pipe");
	const pid_t pid = fork();
	if (pid == 0)
		child_feed(t, max, q->chan, pair[1]);
	close(pair[1]);
	const bool ended = pid > 0 && learn_child_wait(pid, LEARN_USER_PATIENCE) == 0;
	const bool said = ended && read(pair[0], told, sizeof(told)) == sizeof(told);
	close(pair[0]);
	if (pid < 0)
		return err_set(e, ERR_TEMP, 0, "%s: there is no process to read the queue", t->name);
	t->count = said && told[0] < max ? told[0] : max;
	t->upto = said ? told[1] : 0;
	return said ? 0 : err_set(e, ERR_TEMP, 0, "%s: the queue could not be read to its end: nothing more is learned of this user today", t->name);
}

static void remember(struct learn_queue *q, const struct account *acct, const struct taken *t)
{
	if (q->n == q->cap) {
		q->cap = q->cap * 2 + 64;
		q->v = xrealloc(q->v, q->cap * sizeof(*q->v));
	}
	q->v[q->n] = *t;
	q->v[q->n].name = arena_strdup(q->a, acct->name);
	q->v[q->n++].maildir = arena_strdup(q->a, acct->maildir);
}

static int on_account(void *ctx, struct str key, struct str value)
{
	struct learn_queue *q = ctx;
	struct account acct;
	struct err e = { 0 };
	if (!account_name_valid(key) || account_parse(key, value, &acct, &e) < 0 || (geteuid() != 0 && geteuid() != acct.uid))
		return 0;
	struct taken t = { .name = acct.name, .maildir = acct.maildir, .uid = acct.uid, .gid = acct.gid };
	const struct taken *used = map_get(q->used, key);
	const uint64_t had = used == NULL ? 0 : used->count;
	if (had >= q->conf->learn_user_max || acct.uid == 0 || clock_mono_ms() > q->until_ms)
		return 0;
	if (feed_user(q, &t, (size_t)(q->conf->learn_user_max - had), &e) < 0)
		fprintf(stderr, "postern-learn: %s\n", e.text);
	if (t.upto > 0 || t.count > 0)
		remember(q, &acct, &t);
	return 0;
}

int learn_queue_feed(const struct conf *conf, int chan, struct learn_queue **out, size_t *n_out, struct err *e)
{
	struct learn_queue *q = xzalloc(sizeof(*q));
	struct cdbfile *accounts = NULL;
	char path[1200];
	*out = q;
	*q = (struct learn_queue){ .conf = conf, .chan = chan, .day = (uint64_t)clock_wall() / DAY_SECONDS,
		.until_ms = clock_mono_ms() + LEARN_QUEUES_SECONDS * 1000ULL, .used = map_new(), .a = arena_new(0) };
	snprintf(q->shares, sizeof(q->shares), "%s/learn.shares", conf->state_directory);
	snprintf(path, sizeof(path), "%s/accounts.cdb", conf->state_directory);
	if (shares_read(q, e) < 0 || accounts_open(path, false, &accounts, e) < 0)
		return -1;
	const int k = cdbfile_each(accounts, on_account, q, e);
	cdbfile_close(&accounts);
	*n_out = q->n;
	return k;
}

/* --- the end --- */

static void drop_one(const struct taken *t)
{
	const pid_t pid = fork();
	if (pid == 0) {
		struct err e = { 0 };
		const int dir = queue_open(t);
		_exit(dir < 0 || train_queue_drop(dir, t->upto, &e) < 0);
	}
	if (pid < 0 || learn_child_wait(pid, LEARN_DROP_PATIENCE) < 0)
		fprintf(stderr, "postern-learn: %s: what was learned stays in the queue\n", t->name);
}

int learn_queue_done(struct learn_queue **qp, struct err *e)
{
	struct learn_queue *q = *qp;
	const int k = shares_write(q, e);
	for (size_t i = 0; k == 0 && i < q->n; i++)
		if (q->v[i].upto > 0)
			drop_one(&q->v[i]);
	map_free(&q->used);
	arena_free(&q->a);
	free(q->v);
	free(q);
	*qp = NULL;
	return k;
}
