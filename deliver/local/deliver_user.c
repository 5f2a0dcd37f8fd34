/* deliver, once it is the user: confines itself to the user's mail tree, then serves copies one after another in two phases (lib/ipc/deliver.def): COPY is
 * written and synced in tmp and answered READY; COMMIT makes it visible and is answered DONE; ABORT, a closed channel or our death leave
 * nothing that a reader sees. The message is never changed: Return-Path, X-Original-To and Delivered-To are put before it and header edits applied on the way.
 * It ends when nothing comes for a while, or after a number of messages or seconds, so that .forward and account data are looked at again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/num.h"
#include "deliver/local/deliver_priv.h"
#include "ipc/deliver.h"
#include "mail/edit.h"
#include "mail/head.h"
#include "os/confine.h"
#include "os/os.h"
#include "store/acl.h"
#include "store/maildir.h"

enum {
	IDLE_MS = 3000,			/* queued closes idle agents after about a second */
	VERDICT_MS = 180000,		/* from READY to COMMIT or ABORT */
	LIFE_MS = 10000,		/* then the agent ends after the message in hand */
	MESSAGES_MAX = 1000,
	HEAD_FIRST = 16384,		/* bytes of message that are read first */
	HEAD_MAX = 1 << 20,		/* a longer header section is copied as it is */
	EDITS_MAX = 300,
	FOLDER_NAME_MAX = 200,
	LIFE_GRACE_S = 60,
	PROC_MAGIC = 0x9fa0,
};

struct agent {
	const struct account *acct;
	struct arena *arena;		/* of one message */
	int root;			/* INBOX */
	struct sources sources;		/* forward files, alias */
	struct err broken;		/* the mail tree cannot be used: every copy fails with this */
	uint64_t started_ms;
	unsigned served;
	bool last;			/* this message is the last one */
};

struct copy {
	const struct ipc_deliver_COPY *m;
	int fd;
	uint64_t size;
	struct str text;		/* the whole message, where so much of it was read that it is; else empty */
	struct str head;		/* as in the message, without the empty line */
	uint64_t body;			/* offset behind the header section (the empty line) */
	struct maildir_copy *out;
	struct plan plan;
	struct outcome done;		/* of the last command or file */
	int folder;			/* descriptor; -1: INBOX */
	bool local, forwarded, there;	/* a copy is written; recipients were replaced; it was there already */
};

/* --- answers --- */

static int say(uint16_t type, const void *msg, uint32_t id)
{
	struct err e = { 0 };

	return ipc_send_fd(DELIVER_CHANNEL, &ipc_deliver, type, msg, id, -1, &e);
}

static int say_failed(struct agent *ag, uint32_t id, const struct err *why)
{
	const bool full = why->code == ERR_TOOBIG;	/* of a full mailbox, quota_full_action = reject */
	const bool permanent = why->code == ERR_DENIED || why->code == ERR_EXISTS || full;
	struct ipc_deliver_FAILED m = {
		.permanent = permanent,
		.enhanced = why->code == ERR_EXISTS ? STR("5.4.6") : full ? STR("5.2.2") : permanent ? STR("5.7.1") : why->code == ERR_QUOTA ? STR("4.2.2") : STR("4.3.0"),
		.text = str_c(why->text),
		.last = ag->last,
	};

	return say(IPC_deliver_FAILED, &m, id);
}

static int say_done(struct agent *ag, uint32_t id, const char *text)
{
	struct ipc_deliver_DONE m = { .text = str_c(text), .last = ag->last };

	return say(IPC_deliver_DONE, &m, id);
}

/* --- the message --- */

/* Only a regular file that nobody can write through this descriptor, and no file of the kernel's. */
static int check_source(struct copy *c, struct err *e)
{
	struct stat st;
	struct statfs fs;
	const int flags = fcntl(c->fd, F_GETFL);

	if (flags < 0 || (flags & O_ACCMODE) != O_RDONLY || fstat(c->fd, &st) < 0 || !S_ISREG(st.st_mode) || fstatfs(c->fd, &fs) < 0 ||
	    (unsigned long)fs.f_type == PROC_MAGIC)
		return err_set(e, ERR_TEMP, 0, "the message is no read-only file");
	c->size = c->m->size;
	return (uint64_t)st.st_size < c->size ? err_set(e, ERR_TEMP, 0, "the message is shorter than said") : 0;
}

/* Read the header section: c->head and c->body. A section without end within HEAD_MAX: none, all is body. */
static int read_head(struct agent *ag, struct copy *c, struct err *e)
{
	for (uint64_t want = HEAD_FIRST;; want *= 8) {
		const size_t n = (size_t)(c->size < want ? c->size : want);
		char *p = arena_alloc(ag->arena, n + 1);
		size_t head_n, body;
		if (n > 0 && pread_all(c->fd, p, n, 0, e) < 0)
			return -1;
		if (n == c->size)
			c->text = str_n(p, n);
		if (mail_head_find(str_n(p, n), n == c->size, &head_n, &body) == 0) {
			c->head = str_n(p, head_n);
			c->body = head_n;	/* the empty line is copied with the body */
			return 0;
		}
		if (want >= HEAD_MAX || n == c->size) {
			c->head = STR("");
			c->body = 0;
			return 0;
		}
	}
}

static bool was_here(const struct copy *c, struct str fields)
{
	struct mail_field f;

	while (mail_field_next(&fields, &f) == 0)
		if (str_case_eq(f.name, STR("Delivered-To")) && str_case_eq(str_trim(f.value), c->m->recipient))
			return true;
	return false;
}

/* A message that was delivered to this address before is looping. Forwarded copies carry the field as an edit. */
static int check_loop(const struct copy *c, struct err *e)
{
	bool loop = was_here(c, c->head);

	for (size_t i = 0; i < c->m->edits.n; i++)
		if (c->m->edits.v[i].n > 0 && c->m->edits.v[i].p[0] == '+')
			loop |= was_here(c, str_from(c->m->edits.v[i], 1));
	return loop ? err_set(e, ERR_EXISTS, 0, "mail forwarding loop for %.*s", STR_ARG(c->m->recipient)) : 0;
}

static int build_head(const struct copy *c, struct buf *out, struct err *e)
{
	struct str edits[EDITS_MAX + 1];
	size_t n = 0;

	buf_c(out, "Return-Path: <");
	text_neutral(out, c->m->sender, 1024, false);
	buf_c(out, ">\n");
	if (c->m->original.n > 0 && !str_eq(c->m->original, c->m->recipient)) {
		buf_c(out, "X-Original-To: ");
		text_neutral(out, c->m->original, 1024, false);
		buf_c(out, "\n");
	}
	buf_c(out, "Delivered-To: ");
	text_neutral(out, c->m->recipient, 1024, false);
	buf_c(out, "\n");
	if (c->m->edits.n > EDITS_MAX)
		return err_set(e, ERR_LIMIT, 0, "%zu header edits", c->m->edits.n);
	edits[n++] = STR("-Return-Path#0");
	for (size_t i = 0; i < c->m->edits.n; i++)
		edits[n++] = c->m->edits.v[i];
	return mail_edit_apply(c->head, edits, n, out, e) < 0 ? -1 : buf_check(out, "header", e);
}

/* --- where to --- */

static bool folder_name(struct str ext, char out[FOLDER_NAME_MAX + 2])
{
	if (ext.n == 0 || ext.n > FOLDER_NAME_MAX || ext.p[0] == '.' || ext.p[ext.n - 1] == '.')
		return false;
	out[0] = '.';
	for (size_t i = 0; i < ext.n; i++) {
		const char c = ext.p[i];
		if (!ch_alnum(c) && c != '-' && c != '_' && !(c == '.' && ext.p[i - 1] != '.'))
			return false;
		out[i + 1] = c;
	}
	out[ext.n + 1] = '\0';
	return true;
}

/* user+ext: the folder of that name when there is one, also with a capital; a forced folder is made. Else INBOX. */
static int choose_folder(struct agent *ag, struct copy *c, struct err *e)
{
	char name[FOLDER_NAME_MAX + 2];
	struct err ignored = { 0 };

	if (c->m->folder.n > 0)
		return folder_name(c->m->folder, name) ? maildir_open_at(ag->root, name, true, &c->folder, e) : err_set(e, ERR_TEMP, 0, "folder name");
	if (!folder_name(c->m->extension, name))
		return 0;
	if (maildir_open_at(ag->root, name, false, &c->folder, &ignored) < 0) {
		name[1] = ch_up(name[1]);
		if (maildir_open_at(ag->root, name, false, &c->folder, &ignored) < 0)
			c->folder = -1;
	}
	return 0;
}

/* The public folders are open to mail where their lists say so to anyone (p of RFC 4314), and only there: INBOX is no place to fall back to. */
static int check_public(struct agent *ag, struct copy *c, struct err *e)
{
	struct acl_entry *list;
	int r;

	if (strcmp(ag->acct->name, "_postern_public") != 0)
		return 0;
	struct arena *a = arena_new(0);
	if (c->folder < 0 && c->m->extension.n > 0)
		r = err_set(e, ERR_DENIED, 0, "there is no such public folder");
	else if ((r = acl_read_at(c->folder >= 0 ? c->folder : ag->root, a, &list, e)) == 0 && !(acl_rights_of(list, STR("")) & ACL_P))
		r = err_set(e, ERR_DENIED, 0, "this public folder takes no mail");
	arena_free(&a);
	return r;
}

/* In the file name: queue id and recipient, so that a repeated attempt is recognised. */
static void copy_id(const struct copy *c, char out[MAILDIR_ID_MAX + 1])
{
	snprintf(out, MAILDIR_ID_MAX + 1, "%.*s-%08x", (int)(c->m->qid.n > 32 ? 32 : c->m->qid.n), c->m->qid.p,
		 crc32c(0, c->m->recipient.p, c->m->recipient.n));
}

static int check_room(struct agent *ag, uint64_t size, bool reject, struct err *e)
{
	const struct quota limits = account_quota(ag->acct);

	if (quota_check(ag->root, &limits, &(struct quota){ size, 1 }, e) == 0)
		return 0;
	if (e->code == ERR_QUOTA && reject)
		e->code = ERR_TOOBIG;
	return -1;
}

/* From its empty line on. */
static int write_body(const struct copy *c, struct err *e)
{
	if (c->text.n > 0)
		return maildir_copy_write(c->out, str_from(c->text, c->body), e);
	return maildir_copy_range(c->out, c->fd, c->body, c->size - c->body, UINT64_MAX, e);
}

static int write_copy(struct agent *ag, struct copy *c, struct err *e)
{
	char id[MAILDIR_ID_MAX + 1];
	struct buf head;
	int r = -1;

	if (check_loop(c, e) < 0 || choose_folder(ag, c, e) < 0 || check_public(ag, c, e) < 0)
		return -1;
	const int dir = c->folder >= 0 ? c->folder : ag->root;
	maildir_sync_directories(c->m->sync_dirs != 0);
	copy_id(c, id);
	if (c->m->attempt > 1 && (maildir_recover(dir, e) < 0 || maildir_find_id(dir, id, &c->there, e) < 0))
		return -1;
	if (c->there)
		return 0;
	if (check_room(ag, c->size, c->m->quota_reject != 0, e) < 0)
		return -1;
	buf_init(&head, HEAD_MAX * 2);
	if (build_head(c, &head, e) == 0 && maildir_copy_begin(dir, id, &c->out, e) == 0 && maildir_copy_write(c->out, buf_view(&head), e) == 0 &&
	    write_body(c, e) == 0)
		r = maildir_copy_sync(c->out, e);
	buf_fini(&head);
	return r;
}

/* --- one message, two phases --- */

/* The message as commands and files get it: with an mbox separator. */
static int program_content(struct agent *ag, const struct copy *c, struct buf *head, struct content *out, struct err *e)
{
	const time_t now = time(NULL);
	char stamp[40];
	struct tm tm;

	(void)ag;
	if (localtime_r(&now, &tm) == NULL || strftime(stamp, sizeof(stamp), "%a %b %e %H:%M:%S %Y", &tm) == 0)
		return err_set(e, ERR_BUG, 0, "time");
	buf_c(head, "From ");
	text_neutral(head, c->m->sender.n > 0 ? c->m->sender : STR("MAILER-DAEMON"), 320, false);
	buf_printf(head, "  %s\n", stamp);
	if (build_head(c, head, e) < 0)
		return -1;
	*out = (struct content){ .head = buf_view(head), .fd = c->fd, .body = c->body, .end = c->size };
	return 0;
}

/* Commands and files come first: what fails there leaves nothing else done. 0; 1: failed as c->done says; -1. */
static int run_programs(struct agent *ag, struct copy *c, struct err *e)
{
	struct content content;
	struct buf head;
	int r;

	if (c->plan.n_programs == 0)
		return 0;
	buf_init(&head, HEAD_MAX * 2);
	r = check_loop(c, e) < 0 ? -1 : program_content(ag, c, &head, &content, e);
	for (size_t i = 0; r == 0 && i < c->plan.n_programs; i++)
		r = program_deliver(&ag->sources, c->m, &c->plan.programs[i], &content, &c->done) < 0;
	buf_fini(&head);
	return r;
}

/* Something that this agent, or this moment, must not do: queued asks again otherwise. */
static bool not_here(const struct agent *ag, const struct copy *c)
{
	return (c->plan.n_programs > 0 && !c->m->programs) || (c->plan.commands && !ag->sources.policy.run);
}

static int say_forward(const struct copy *c, uint32_t id, bool runner, struct err *e)
{
	struct ipc_deliver_FORWARD m = { .recipients = { c->plan.addresses, runner ? 0 : c->plan.n_addresses }, .keep = !runner && c->plan.keep, .runner = runner };

	return say(IPC_deliver_FORWARD, &m, id) < 0 ? err_set(e, ERR_CLOSED, 0, "queued has gone") : 0;
}

static int forward(struct copy *c, uint32_t id, struct err *e)
{
	c->local = c->plan.keep;
	if (c->plan.n_addresses == 0)
		return 0;
	/* A forwarded message carries our Delivered-To: one that comes back is noticed before it goes out again. */
	if (check_loop(c, e) < 0)
		return -1;
	c->forwarded = true;
	return say_forward(c, id, false, e);
}

static int say_outcome(struct agent *ag, uint32_t id, const struct outcome *o)
{
	struct ipc_deliver_FAILED m = { .permanent = o->permanent, .enhanced = str_c(o->enhanced), .text = str_c(o->text), .last = ag->last };

	return say(IPC_deliver_FAILED, &m, id);
}

/* COMMIT or ABORT of this message. 1: commit, 0: abort, -1: queued is gone or talks nonsense. */
static int await_verdict(struct agent *ag, uint32_t id)
{
	struct err e = { 0 };
	uint16_t type;
	uint32_t got;
	void *msg;
	int fd = -1;

	if (ipc_recv_fd(DELIVER_CHANNEL, &ipc_deliver, VERDICT_MS, ag->arena, &type, &got, &msg, &fd, &e) < 0)
		return -1;
	close_fd(&fd);
	if (got != id || (type != IPC_deliver_COMMIT && type != IPC_deliver_ABORT))
		return -1;
	return type == IPC_deliver_COMMIT;
}

/* COPY said commit: only an ABORT that is already there, or a channel that is gone, keeps the copy from being made visible. */
static int own_verdict(void)
{
	char b;
	const ssize_t k = recv(DELIVER_CHANNEL, &b, 1, MSG_PEEK | MSG_DONTWAIT);

	return k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static int finish(struct agent *ag, struct copy *c, uint32_t id)
{
	struct err e = { 0 };
	const bool all_done = !c->local && !c->forwarded;	/* commands and files cannot be taken back */
	const int verdict = all_done || (c->m->commit && !c->forwarded && own_verdict()) ? 1 : await_verdict(ag, id);
	uint64_t written = c->out ? maildir_copy_size(c->out) : 0;

	if (verdict < 0)
		return -1;
	if (verdict == 0) {
		maildir_copy_abort(&c->out);
		return say_done(ag, id, "removed");
	}
	if (c->out && maildir_copy_commit(&c->out, NULL, &e) < 0)
		return say_failed(ag, id, &e);
	if (written > 0) {
		const struct quota limits = account_quota(ag->acct);
		quota_add(ag->root, &limits, (int64_t)written, 1);
		quota_warn(ag->root, ag->acct, c->m->quota_warnings, c->m->hostname);
	}
	if (!c->local && !c->forwarded && c->plan.n_programs > 0)
		return say_done(ag, id, c->done.text);
	return say_done(ag, id, !c->local ? "forwarded" : c->there ? "delivered to maildir before" : "delivered to maildir");
}

static int serve_room(struct agent *ag, const struct ipc_deliver_ROOM *m, uint32_t id)
{
	struct ipc_deliver_READY ready = { 0 };
	struct err e = ag->broken;

	/* Whose mail goes elsewhere may have a full mailbox. */
	if (e.code != ERR_NONE || (ag->sources.forwards == NULL && check_room(ag, m->size, m->quota_reject != 0, &e) < 0))
		return say_failed(ag, id, &e);
	return say(IPC_deliver_READY, &ready, id);
}

/* Nothing is done here; queued's ABORT is awaited. */
static int decline(struct agent *ag, const struct copy *c, uint32_t id)
{
	struct err e = { 0 };

	if (say_forward(c, id, c->m->programs != 0, &e) < 0 || await_verdict(ag, id) < 0)
		return -1;
	return say_done(ag, id, "removed");
}

static int serve_one(struct agent *ag, const struct ipc_deliver_COPY *m, uint32_t id, int fd)
{
	struct copy c = { .m = m, .fd = fd, .folder = -1 };
	struct ipc_deliver_READY ready = { 0 };
	struct err e = ag->broken;
	int r = 0;

	const bool planned = e.code == ERR_NONE && check_source(&c, &e) == 0 && read_head(ag, &c, &e) == 0 && plan_make(&ag->sources, m, ag->arena, &c.plan, &e) == 0;
	if (planned && not_here(ag, &c))
		return decline(ag, &c, id);
	if (planned && (r = run_programs(ag, &c, &e)) > 0)
		return say_outcome(ag, id, &c.done);
	if (!planned || r < 0 || forward(&c, id, &e) < 0 || (c.local && write_copy(ag, &c, &e) < 0)) {
		maildir_copy_abort(&c.out);
		r = e.code == ERR_CLOSED ? -1 : say_failed(ag, id, &e);
	} else {
		const bool announce = c.local && (c.forwarded || !m->commit);
		r = announce && say(IPC_deliver_READY, &ready, id) < 0 ? -1 : finish(ag, &c, id);
	}
	maildir_copy_abort(&c.out);
	close_fd(&c.folder);
	return r;
}

/* --- start --- */

/* Nothing but the mail tree and the directories of the files that are written to; without a mail tree, nothing at all. An agent that executes commands is as free as
 * they are: all that it could do, they could. */
static int confine(const struct agent *ag, struct err *e)
{
	struct confine_path paths[DIRECTORIES_MAX + 1];
	struct confine c = { .role = CONFINE_DELIVER, .paths = paths };

	if (ag->sources.policy.run)
		return 0;
	if (ag->root >= 0)
		paths[c.n_paths++] = (struct confine_path){ .path = ag->acct->maildir, .write = true };
	for (size_t i = 0; i < ag->sources.n_directories; i++)
		paths[c.n_paths++] = (struct confine_path){ .path = arena_cstr(ag->sources.arena, ag->sources.directories[i]), .write = true };
	return confine_enter(&c, e);
}

static bool tired(const struct agent *ag)
{
	return ag->served >= MESSAGES_MAX || clock_mono_ms() - ag->started_ms > LIFE_MS;
}

static int serve(struct agent *ag)
{
	struct err e = { 0 };
	uint16_t type;
	uint32_t id;
	void *msg;
	int fd;

	while (!ag->last) {
		arena_reset(ag->arena);
		fd = -1;
		if (ipc_recv_fd(DELIVER_CHANNEL, &ipc_deliver, IPC_PATIENCE, ag->arena, &type, &id, &msg, &fd, &e) < 0)
			return 0;	/* closed, or idle */
		ag->served++;
		ag->last = tired(ag) || ag->broken.code != ERR_NONE;	/* trouble is looked at afresh */
		int r = -1;
		if (type == IPC_deliver_COPY && fd >= 0)
			r = serve_one(ag, msg, id, fd);
		else if (type == IPC_deliver_ROOM && fd < 0)
			r = serve_room(ag, msg, id);
		close_fd(&fd);
		if (r < 0)
			return EX_TEMPFAIL;
	}
	return 0;
}

/* A command may take longer than the life that everything else has. */
static void extend_life(const struct policy *p)
{
	const struct itimerval life = { .it_value.tv_sec = (time_t)p->limit_s + LIFE_GRACE_S };

	if (p->run)
		(void)setitimer(ITIMER_REAL, &life, NULL);
}

int deliver_serve(const struct account *acct, const char *policy, struct str alias)
{
	static struct agent ag;
	struct err e = { 0 };

	ag.acct = acct;
	ag.arena = arena_new(0);
	ag.root = -1;
	ag.started_ms = clock_mono_ms();
	ag.sources = (struct sources){ .arena = arena_new(0), .acct = acct, .alias = alias };
	policy_parse(str_c(policy), &ag.sources.policy);
	extend_life(&ag.sources.policy);
	sources_read(&ag.sources);
	if (alias.n == 0)
		(void)!maildir_open(acct->maildir, true, &ag.root, &ag.broken);
	if (confine(&ag, &e) < 0)
		return EX_TEMPFAIL;
	if (ipc_patience(DELIVER_CHANNEL, IDLE_MS, &e) < 0)
		return EX_TEMPFAIL;
	if (ag.root >= 0)
		(void)!maildir_recover(ag.root, &ag.broken);
	if (ag.broken.code == ERR_NOENT)
		ag.broken.code = ERR_TEMP;
	return serve(&ag);
}
