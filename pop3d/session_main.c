/* pop3-session USER -c FILE [-n] [-v]: started by authd as the user, in the mail tree, with the channel to authd on descriptor 3. Reads the configuration, opens
 * the tree, confines itself to it, then serves what authd hands over. It ends a few seconds after its last connection; a connection that authd hands over
 * at that very moment finds the channel closed and goes to a fresh process. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "ipc/ipc.h"
#include "log/log.h"
#include "map/accounts.h"
#include "os/confine.h"
#include "os/os.h"
#include "session.h"

enum { CHANNEL = 3, EXIT_USAGE = 64, EXIT_TEMP = 75, EXIT_CONF = 78 };

struct options {
	const char *conf_file;
	bool verbose, unconfined;
};

static int options_get(int argc, char **argv, struct options *o)
{
	*o = (struct options){ .conf_file = conf_default_file() };
	for (int c; (c = getopt(argc, argv, "c:nv")) != -1;) {
		if (c == 'c')
			o->conf_file = optarg;
		else if (c == 'n')
			o->unconfined = true;
		else if (c == 'v')
			o->verbose = true;
		else
			return -1;
	}
	return optind + 1 == argc ? 0 : -1;
}

static void log_start(const struct conf *conf, bool verbose)
{
	char path[4096];
	struct err e = { 0 };

	snprintf(path, sizeof(path), "%s/log/sock", conf->run_directory);
	log_verbose(verbose);
	if (log_open(conf->syslog_name, "pop3d", path, &e) < 0 && log_open(conf->syslog_name, "pop3d", NULL, &e) < 0)
		log_error("%s", e.text);
}

static int tree_open(struct user *u, struct err *e)
{
	char root[4096];
	struct account a;

	if (getcwd(root, sizeof(root)) == NULL)
		return err_set(e, ERR_TEMP, errno, "mail tree");
	if (account_load(u->conf->state_directory, str_c(u->name), 1, &a, e) < 0 || store_open(root, true, &u->store, e) < 0)
		return -1;
	store_quota_limits(u->store, &(struct quota){ a.quota_bytes, a.quota_count });
	store_defaults(u->store, u->conf->default_folders.v, u->conf->default_folders.n);
	return 0;
}

static int confine(bool unconfined, struct err *e)
{
	char root[4096];

	if (getcwd(root, sizeof(root)) == NULL)
		return err_set(e, ERR_TEMP, errno, "mail tree");
	const struct confine_path path = { .path = root, .write = true };
	const struct confine c = { .role = CONFINE_SESSION_POP3, .paths = &path, .n_paths = 1, .unconfined = unconfined };
	return confine_enter(&c, e);
}

/* --- authd --- */

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct user *const u = ctx;

	if (type == IPC_sess_ATTACH) {
		client_attach(u, fd, msg);
		return;
	}
	close_fd(&fd);
	if (type == IPC_sess_END) {
		list_each_safe(it, &u->clients)
			client_goodbye(list_of(it, struct client, node), "The session is ended.");
		ipc_chan_free(&u->chan);
		loop_stop(u->loop);
	}
}

/* authd has gone: those who are here are served to their end. */
static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct user *const u = ctx;

	log_debug("pop3(%s): authd: %s", u->name, why->text);
	ipc_chan_free(&u->chan);
	if (u->n_clients == 0)
		loop_stop(u->loop);
}

static void on_term(void *ctx, int signo)
{
	struct user *const u = ctx;

	list_each_safe(it, &u->clients)
		client_goodbye(list_of(it, struct client, node), "The server is shutting down.");
	loop_stop(u->loop);
}

static void stop_now(void *ctx)
{
	loop_stop(((struct user *)ctx)->loop);
}

static void on_linger(void *ctx)
{
	struct user *const u = ctx;

	if (u->n_clients == 0)
		loop_stop(u->loop);
}

static int serve(struct user *u)
{
	static const uint16_t allowed[] = { IPC_sess_ATTACH, IPC_sess_END };

	list_init(&u->clients);
	u->loop = loop_new();
	loop_trim_when_idle(u->loop, 1000);
	loop_signal(u->loop, SIGTERM, on_term, u);
	u->chan = ipc_chan_new(u->loop, CHANNEL, &ipc_sess, on_message, on_closed, u);
	ipc_chan_allow(u->chan, (struct ipc_allow){ allowed, ARRAY_LEN(allowed) });
	u->linger = loop_timer(u->loop, LINGER_MS, on_linger, u);
	loop_run(u->loop);
	/* Good-byes may still be on their way. */
	ipc_chan_free(&u->chan);
	conn_when_finished(u->loop, stop_now, u);
	loop_run(u->loop);
	timer_del(&u->linger);
	store_close(&u->store);
	return 0;
}

int main(int argc, char **argv)
{
	struct user u = { 0 };
	struct options o;
	struct conf *conf;
	struct err e = { 0 };

	proc_init(argc, argv);
	if (options_get(argc, argv, &o) < 0) {
		(void)fprintf(stderr, "usage: pop3-session USER [-c FILE] [-nv] (started by authd)\n");
		return EXIT_USAGE;
	}
	u.name = argv[optind];
	if (geteuid() == 0) {
		(void)fprintf(stderr, "pop3-session serves a user, never root\n");
		return EXIT_CONF;
	}
	if (conf_load(o.conf_file, &conf, NULL, &e) < 0) {
		log_error("pop3(%s): %s", u.name, e.text);
		return EXIT_CONF;
	}
	u.conf = conf;
	log_start(conf, o.verbose);
	proc_title("pop3d", "pop3d: session %s", u.name);
	if (tree_open(&u, &e) < 0 || confine(o.unconfined, &e) < 0) {
		log_error("pop3(%s): %s", u.name, e.text);
		return EXIT_TEMP;
	}
	return serve(&u);
}
