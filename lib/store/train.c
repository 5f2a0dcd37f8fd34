/* See train.h. */
#include "store/train.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/os.h"
#include "store/store_priv.h"
#include "store/trainqueue.h"

/* --- folders and their uses --- */

/* The use of a folder, "" none; valid as long as a. Where the tree says its uses, nothing is listed: this is asked at every COPY. */
static int use_of(struct store *s, struct arena *a, struct str name, struct str *use_out, struct err *e)
{
	struct store_folder *list = NULL;
	struct special *said;
	bool exists;

	*use_out = (struct str){ 0 };
	if (root_special_read(s, a, &said, &exists, e) < 0 || (!exists && store_list(s, a, &list, e) < 0))
		return -1;
	for (; said; said = said->next)
		if (str_eq(said->name, name))
			*use_out = said->use;
	for (; list; list = list->next)
		if (str_eq(list->name, name))
			*use_out = list->special_use;
	return 0;
}

int train_of_move(struct store *s, struct str from, struct str to, enum train_as *out, struct err *e)
{
	struct arena *a = arena_new(0);
	struct str was, is;
	int r = use_of(s, a, from, &was, e);

	*out = TRAIN_NOTHING;
	if (r == 0)
		r = use_of(s, a, to, &is, e);
	if (r == 0) {
		const bool was_junk = str_case_eq(was, STR("\\Junk")), is_junk = str_case_eq(is, STR("\\Junk"));
		if (is_junk && !was_junk)
			*out = TRAIN_SPAM;
		else if (was_junk && !is_junk && !str_case_eq(is, STR("\\Trash")))
			*out = TRAIN_HAM;
	}
	arena_free(&a);
	return r;
}

int train_in_junk(struct store *s, struct str folder, bool *out, struct err *e)
{
	struct arena *a = arena_new(0);
	struct str use;
	const int r = use_of(s, a, folder, &use, e);

	*out = r == 0 && str_case_eq(use, STR("\\Junk"));
	arena_free(&a);
	return r;
}

/* --- the queue --- */

#define DAY_US UINT64_C(86400000000)

struct adding {
	int dir;
	bool spam;
	struct train_entry have[TRAIN_QUEUE_MAX];
	size_t n, queued;
	uint64_t bytes, stamp;
};

static void forget(struct adding *q, size_t i)
{
	char name[TRAIN_NAME_SIZE];

	train_name_format(&q->have[i], name);
	(void)unlinkat(q->dir, name, 0);
	q->bytes -= q->have[i].bytes;
	memmove(&q->have[i], &q->have[i + 1], (--q->n - i) * sizeof(q->have[0]));
}

static int queue_begin(struct adding *q, int rootfd, struct err *e)
{
	q->stamp = clock_wall_us();
	if ((q->dir = train_queue_open(rootfd, true, e)) < 0 || train_queue_read(q->dir, q->have, ARRAY_LEN(q->have), &q->n, e) < 0)
		return -1;
	for (size_t i = 0; i < q->n; i++)
		q->bytes += q->have[i].bytes;
	while (q->n > 0 && q->have[0].stamp < q->stamp - TRAIN_AGE_MAX_DAYS * DAY_US)
		forget(q, 0);
	/* Order is all that a stamp is for: it goes on where the clock was set back. */
	if (q->n > 0 && q->have[q->n - 1].stamp >= q->stamp)
		q->stamp = q->have[q->n - 1].stamp + 1;
	return 0;
}

/* True: this has been said already. What was said to the contrary is taken back. */
static bool said(struct adding *q, uint64_t inode)
{
	for (size_t i = 0; i < q->n; i++) {
		if (q->have[i].inode != inode)
			continue;
		if (q->have[i].spam == q->spam)
			return true;
		forget(q, i);
		return false;
	}
	return false;
}

static int add(struct adding *q, struct mbox_view *v, uint32_t seq, struct err *e)
{
	struct train_entry t = { .spam = q->spam };
	struct err quiet = { 0 };
	char name[TRAIN_NAME_SIZE];
	struct stat st;
	CLEANUP_FD int fd = -1;

	if (message_open(v, seq, &fd, &st, &quiet) < 0 || st.st_size <= 0 || st.st_size > TRAIN_MESSAGE_MAX)
		return 0;
	t.inode = st.st_ino;
	t.bytes = (uint64_t)st.st_size;
	if (said(q, t.inode) || q->n == TRAIN_QUEUE_MAX || q->bytes + t.bytes > TRAIN_BYTES_MAX)
		return 0;
	t.stamp = q->stamp++;
	train_name_format(&t, name);
	const struct rec *const r = state_rec(&v->m->st, view_pos(v, seq));
	if (message_link(v->m, r, q->dir, name) < 0)
		return errno == ENOENT ? 0 : err_set(e, errno == ENOSPC || errno == EDQUOT ? ERR_QUOTA : ERR_TEMP, errno, TRAIN_DIR);
	q->have[q->n++] = t;
	q->bytes += t.bytes;
	q->queued++;
	return 0;
}

int mbox_train(struct mbox_view *v, const uint32_t *seqs, size_t n, bool spam, size_t *queued_out, struct err *e)
{
	struct adding q = { .dir = -1, .spam = spam };
	int r = queue_begin(&q, v->m->s->rootfd, e);

	for (size_t i = 0; r == 0 && i < n && q.n < TRAIN_QUEUE_MAX; i++)
		r = add(&q, v, seqs[i], e);
	if (r == 0 && q.queued > 0 && fsync(q.dir) < 0)
		r = err_set(e, ERR_TEMP, errno, TRAIN_DIR);
	close_fd(&q.dir);
	*queued_out = q.queued;
	return r;
}
