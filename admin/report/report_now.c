/* What waits and lies there now: the queue, asked of queued; mailboxes, each read by a child that has become its user. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/report/report.h"
#include "base/clock.h"
#include "ipc/ask.h"
#include "map/accounts.h"
#include "os/confine.h"
#include "os/os.h"
#include "store/store.h"

static void on_message(void *ctx, const struct ipc_control_LINE *l)
{
	struct report *r = ctx;
	const uint64_t arrived = control_number(l, "arrival_time"), now = (uint64_t)clock_wall();
	size_t i = 0;

	if (control_value(l, "queue_id").n == 0)
		return;		/* a recipient's row */
	r->queue++;
	r->queue_bytes += control_number(l, "message_size");
	while (now - (arrived < now ? arrived : now) >= report_ages[i].below_s)
		i++;
	r->waiting[i]++;
}

void report_queue(struct report *r, const struct conf *conf)
{
	struct err ignored = { 0 };

	r->queue_known = control_ask(conf->run_directory, "queue/control", "list", NULL, 0, on_message, r, NULL, &ignored) == 0;
}

/* --- mailboxes --- */

struct size {
	uint64_t messages, bytes;
};

static void measure(const struct account *acct, int fd, bool unconfined)
{
	const struct confine_path path = { .path = acct->maildir, .write = true };
	const struct confine c = { .role = CONFINE_IMPORT, .paths = &path, .n_paths = 1, .unconfined = unconfined };
	struct arena *a = arena_new(0);
	struct size sum = { 0 };
	struct store_folder *f;
	struct err e = { 0 };
	struct store *s;

	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (access(acct->maildir, F_OK) < 0 || setgroups(0, NULL) < 0 || setresgid(acct->gid, acct->gid, acct->gid) < 0 ||
	    setresuid(acct->uid, acct->uid, acct->uid) < 0 || setuid(0) == 0 || chdir("/") < 0 || confine_enter(&c, &e) < 0 ||
	    store_open(acct->maildir, false, &s, &e) < 0 || store_list(s, a, &f, &e) < 0)
		_exit(1);
	for (; f; f = f->next) {
		struct mbox_status st;
		if (!f->exists || store_status(s, f->name, &st, &e) < 0)
			continue;
		sum.messages += st.messages;
		sum.bytes += st.size;
	}
	_exit(write_all(fd, &sum, sizeof(sum), &e) < 0);
}

static bool ask_child(const struct account *acct, bool unconfined, struct size *out)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	(void)fflush(NULL);
	const pid_t pid = fork();

	if (pid == 0)
		measure(acct, fds[1], unconfined);
	close(fds[1]);
	const bool whole = pid > 0 && read(fds[0], out, sizeof(*out)) == sizeof(*out);

	close(fds[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return whole;
}

struct walk {
	struct report *r;
	const struct conf *conf;
	bool unconfined;
};

static int on_account(void *ctx, struct str key, struct str value)
{
	const struct walk *w = ctx;
	struct report *r = w->r;
	struct account acct;
	struct size size;
	struct err e = { 0 };

	if (!account_name_valid(key) || r->n_mailboxes == REPORT_MAILBOXES_MAX || account_parse(key, value, &acct, &e) < 0 ||
	    acct.uid < (uid_t)w->conf->auth_min_uid || !ask_child(&acct, w->unconfined, &size))
		return 0;
	r->mailboxes[r->n_mailboxes++] = (struct report_name){ arena_str(r->a, key), size.messages, size.bytes };
	return 0;
}

static int by_bytes(const void *a, const void *b)
{
	const struct report_name *x = a, *y = b;

	return x->bytes != y->bytes ? (x->bytes < y->bytes ? 1 : -1) : str_cmp(x->name, y->name);
}

void report_mailboxes(struct report *r, const struct conf *conf, bool unconfined)
{
	struct walk w = { r, conf, unconfined };
	struct err ignored = { 0 };
	struct cdbfile *c;
	char path[4096];

	r->mailboxes = ARENA_ARRAY(r->a, struct report_name, REPORT_MAILBOXES_MAX);
	(void)snprintf(path, sizeof(path), "%s/accounts.cdb", conf->state_directory);
	if (geteuid() != 0 || accounts_open(path, false, &c, &ignored) < 0)
		return;
	(void)!cdbfile_each(c, on_account, &w, &ignored);
	cdbfile_close(&c);
	if (r->n_mailboxes)
		qsort(r->mailboxes, r->n_mailboxes, sizeof(*r->mailboxes), by_bytes);
}
