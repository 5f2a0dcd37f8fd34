/* imap-session: started by authd as the mail user, with the channel to authd on descriptor 3; argv: USER -c CONF [-n] [-v]. Opens the user's
 * mail tree, gives up everything else, and serves the connections that authd hands over until 5 s after the last one has ended. */
#include <iconv.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/enc.h"
#include "log/log.h"
#include "map/accounts.h"
#include "os/confine.h"
#include "os/os.h"
#include "caps.h"
#include "link.h"
#include "listing.h"

enum { CHANNEL = 3 };

struct options {
	const char *user, *conf;
	bool unconfined, verbose;
};

static int usage(void)
{
	fprintf(stderr, "usage: imap-session USER -c FILE [-n] [-v]\nStarted by authd; not for use by hand.\n");
	return 64;
}

static int options_get(int argc, char **argv, struct options *o)
{
	o->conf = conf_default_file();
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-c") == 0 && i + 1 < argc)
			o->conf = argv[++i];
		else if (strcmp(argv[i], "-n") == 0)
			o->unconfined = true;
		else if (strcmp(argv[i], "-v") == 0)
			o->verbose = true;
		else if (argv[i][0] == '-' || o->user)
			return -1;
		else
			o->user = argv[i];
	}
	return o->user ? 0 : -1;
}

/* --- the channel to authd --- */

static void refuse(struct user *u, const struct ipc_sess_ATTACH *m, uint32_t id, const struct err *why)
{
	struct ipc_sess_REFUSED r = { .conn = m->conn, .code = why->code, .text = str_sub(str_c(why->text), 0, 200) };
	struct err e = { 0 };

	if (ipc_send(u->chan, IPC_sess_REFUSED, &r, id, -1, &e) < 0)
		log_as("dovecot", LOG_LV_WARNING, "imap(%s): %s", u->name, e.text);
}

static void on_attach(struct user *u, const struct ipc_sess_ATTACH *m, uint32_t id, int fd)
{
	struct ipc_sess_ATTACHED ok = { .conn = m->conn };
	struct err e = { 0 };

	if (fd < 0)
		return;
	if (client_attach(u, fd, m, &e) < 0) {
		close(fd);
		refuse(u, m, id, &e);
		return;
	}
	timer_del(&u->linger);
	if (ipc_send(u->chan, IPC_sess_ATTACHED, &ok, id, -1, &e) < 0)
		log_as("dovecot", LOG_LV_WARNING, "imap(%s): %s", u->name, e.text);
}

static void stop(void *ctx)
{
	struct user *u = ctx;

	loop_stop(u->loop);
}

static void on_end(struct user *u, struct str reason)
{
	char text[256];
	struct buf b;

	buf_init(&b, 512);
	text_neutral(&b, reason, 200, true);
	snprintf(text, sizeof(text), "%s", b.n ? b.p : "Session ended.");
	buf_fini(&b);
	list_each_safe(it, &u->clients)
		client_end(list_of(it, struct client, node), text, text);
	timer_del(&u->linger);
	conn_when_finished(u->loop, stop, u);
}

static void on_guest_fail(struct user *u, uint32_t id, const struct ipc_sess_GUEST_FAIL *m)
{
	link_opened(u, id, -1, m->code > ERR_NONE && m->code < ERR_MAX_ ? (enum err_code)m->code : ERR_TEMP);
}

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct user *u = ctx;

	(void)ch;
	if (type == IPC_sess_GUEST_LINK)
		link_opened(u, id, fd, ERR_NONE);
	else if (type == IPC_sess_GUEST_FAIL)
		on_guest_fail(u, id, msg);
	else if (type == IPC_sess_SHARERS)
		listing_sharers(u, id, &((const struct ipc_sess_SHARERS *)msg)->owners);
	else if (type == IPC_sess_ATTACH)
		on_attach(u, msg, id, fd);
	else if (type == IPC_sess_END)
		on_end(u, ((const struct ipc_sess_END *)msg)->reason);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct user *u = ctx;

	/* authd has gone or restarted: the connections that are here are served to their end. */
	(void)ch;
	log_debug("imap(%s): authd: %s", u->name, why->text);
	ipc_chan_free(&u->chan);
	listing_sharers(u, 0, NULL);
	if (u->n_clients == 0)
		conn_when_finished(u->loop, stop, u);
}

/* --- the end --- */

static void on_linger(void *ctx)
{
	struct user *u = ctx;
	struct pollfd p = { .fd = CHANNEL, .events = POLLIN };

	/* An ATTACH that is already here is served; one that comes later finds the channel closed, and authd starts another process. */
	if (u->n_clients || (u->chan && poll(&p, 1, 0) > 0 && (p.revents & POLLIN))) {
		timer_again(u->linger, 100);
		return;
	}
	if (folders_busy(u)) {		/* what the next process will have of this one */
		timer_again(u->linger, 100);
		return;
	}
	ipc_chan_free(&u->chan);
	loop_stop(u->loop);
}

void user_idle(struct user *u)
{
	if (u->n_clients || u->linger)
		return;
	u->linger = loop_timer(u->loop, u->chan ? LINGER_MS : 100, on_linger, u);
}

/* --- start --- */

static int find_account(const struct user *u, struct account *a, struct err *e)
{
	if (account_load(u->conf->state_directory, str_c(u->name), 1, a, e) < 0)
		return -1;
	if (a->uid != getuid())
		return err_set(e, ERR_DENIED, 0, "running as uid %u, but the account has %u", (unsigned)getuid(), (unsigned)a->uid);
	return 0;
}

/* glibc loads one module per charset; afterwards that is not possible any more. */
static void load_charsets(void)
{
	static const char *const names[] = {
		"ISO-8859-1", "ISO-8859-2", "ISO-8859-15", "WINDOWS-1250", "WINDOWS-1251", "WINDOWS-1252", "KOI8-R",
		"GB18030", "BIG5", "SHIFT_JIS", "ISO-2022-JP", "EUC-KR",
	};

	/* Kept open for the life of the process, so that the modules stay. */
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		(void)!iconv_open("UTF-8", names[i]);
}

static int confine(const struct options *o, const struct account *a, struct err *e)
{
	const struct confine_path paths[] = { { .path = a->maildir, .write = true } };
	const struct confine c = { .role = CONFINE_SESSION_IMAP, .paths = paths, .n_paths = ARRAY_LEN(paths), .unconfined = o->unconfined };

	return confine_enter(&c, e);
}

static int start(struct user *u, const struct options *o, struct err *e)
{
	struct buf problems;
	struct account a;
	struct conf *conf;
	char sock[1200];

	buf_init(&problems, 65536);
	const int r = conf_load(o->conf, &conf, &problems, e);

	buf_fini(&problems);
	if (r < 0)
		return -1;
	u->conf = conf;
	snprintf(sock, sizeof(sock), "%s/log/sock", conf->run_directory);
	if (log_open(conf->syslog_name, "imap-session", sock, e) < 0)
		return -1;
	if (find_account(u, &a, e) < 0 || store_open(a.maildir, true, &u->store, e) < 0)
		return -1;
	store_quota_limits(u->store, &(struct quota){ a.quota_bytes, a.quota_count });
	store_defaults(u->store, conf->default_folders.v, conf->default_folders.n);
	load_charsets();
	return confine(o, &a, e);
}

static void on_term(void *ctx, int signo)
{
	(void)signo;
	on_end(ctx, STR("Server is shutting down."));
}

/* Nobody waits where there is one connection. */
static void on_held(void *ctx, uint64_t us)
{
	const struct user *u = ctx;

	if (u->n_clients > 1)
		log_info("imap(%s): connections=%u waited_ms=%llu for=\"%s\"", u->name, u->n_clients, (unsigned long long)us / 1000, u->working ? u->working : "");
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct user u = { 0 };
	struct err e = { 0 };

	if (options_get(argc, argv, &o) < 0)
		return usage();
	u.name = xstrdup(o.user);
	o.conf = xstrdup(o.conf);
	proc_init(argc, argv);
	log_verbose(o.verbose);
	list_init(&u.clients);
	list_init(&u.folders);
	buf_init(&u.out, CLIENT_OUT_MAX);
	proc_title("imapd", "imapd: session %s", u.name);
	if (start(&u, &o, &e) < 0) {
		log_error("imap(%s): %s", u.name, e.text);
		return 71;
	}
	u.loop = loop_new();
	loop_trim_when_idle(u.loop, 1000);
	loop_tell_held(u.loop, HELD_US, on_held, &u);
	loop_signal(u.loop, SIGTERM, on_term, &u);
	u.chan = ipc_chan_new(u.loop, CHANNEL, &ipc_sess, on_message, on_closed, &u);
	if (shares_any(&u))
		shares_tell(&u);
	purge_later(&u);
	user_idle(&u);
	loop_run(u.loop);
	if (u.purge)
		(void)store_purge(u.store, UINT_MAX);
	store_close(&u.store);
	return 0;
}
