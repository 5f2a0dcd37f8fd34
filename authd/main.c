/* authd: who is who. This process keeps the listeners and restarts the monitor; monitor.h maps the rest. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "authd/monitor.h"
#include "conf/daemon.h"
#include "log/log.h"
#include "os/confine.h"
#include "os/os.h"

enum { EXIT_NOPERM = 77, EXIT_CONFIG = 78 };

static struct monitor monitor;

static void run_monitor(void *ctx)
{
	_exit(monitor_run(ctx));
}

static gid_t group_of(const char *name)
{
	FILE *f = fopen("/etc/group", "re");
	gid_t gid = 0;

	for (const struct group *g; f && (g = fgetgrent(f));)
		if (strcmp(g->gr_name, name) == 0)
			gid = g->gr_gid;
	if (f)
		fclose(f);
	return gid;
}

/* gid: of the directory and the socket. */
static int listen_one(const char *run, const char *dir, mode_t dir_mode, gid_t gid, const char *name, mode_t mode, int *fd_out, struct err *e)
{
	char path[1100];

	snprintf(path, sizeof path, "%s/%s", run, dir);
	if (dir_make(path, dir_mode, 0, gid, e) < 0)
		return -1;
	snprintf(path, sizeof path, "%s/%s/%s", run, dir, name);
	*fd_out = sock_unix_listen(path, SOCK_SEQPACKET, mode, 0, gid, e);
	return *fd_out < 0 ? -1 : 0;
}

/* The saslauthd socket lies where saslauthd_socket says: its directory decides who may reach it. */
static int listen_mux(const struct conf *c, int *fd_out, struct err *e)
{
	char dir[1100];
	const gid_t gid = group_of(c->saslauthd_group);
	char *slash;

	snprintf(dir, sizeof dir, "%s", c->saslauthd_socket);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return err_set(e, ERR_CONF, 0, "saslauthd_socket: %s is no absolute path in a directory of its own", c->saslauthd_socket);
	*slash = 0;
	if (dir_make(dir, gid ? 0710 : 0700, 0, gid, e) < 0)
		return -1;
	*fd_out = sock_unix_listen(c->saslauthd_socket, SOCK_STREAM, 0777, 0, 0, e);
	return *fd_out < 0 ? -1 : 0;
}

static int listen_all(struct monitor *m, struct err *e)
{
	const char *run = m->conf->run_directory;
	char path[1100];
	uid_t filter_uid, remote_uid;
	gid_t filter_gid, remote_gid;

	snprintf(path, sizeof path, "%s/empty", run);
	if (dir_make(run, 0755, 0, 0, e) < 0 || dir_make(path, 0555, 0, 0, e) < 0 || dir_make(m->conf->state_directory, 0755, 0, 0, e) < 0 ||
	    dir_make(m->conf->virtual_mail_directory, 0755, 0, 0, e) < 0 ||
	    confine_user(m->conf->user_filter, &filter_uid, &filter_gid, e) < 0 || confine_user(m->conf->user_remote, &remote_uid, &remote_gid, e) < 0)
		return -1;
	if (listen_one(run, "auth", 0700, 0, "register", 0600, &m->listen[LISTEN_REGISTER], e) < 0 ||
	    listen_one(run, "auth", 0700, 0, "control", 0600, &m->listen[LISTEN_CONTROL], e) < 0 ||
	    listen_one(run, "key", 0710, filter_gid, "register", 0660, &m->listen[LISTEN_KEY], e) < 0 ||
	    listen_one(run, "sign", 0710, remote_gid, "client", 0660, &m->listen[LISTEN_SIGN], e) < 0)
		return -1;
	return listen_mux(m->conf, &m->listen[LISTEN_MUX], e);
}

static int start(const struct daemon_options *o, struct err *e)
{
	char path[1100];

	snprintf(path, sizeof path, "%s/authd.pid", monitor.conf->run_directory);
	if (dir_make(monitor.conf->run_directory, 0755, 0, 0, e) < 0)
		return -1;
	if (!o->foreground && proc_daemonize(e) < 0)
		return -1;
	if (pidfile_write(path, e) < 0)
		return -1;
	log_verbose(o->verbose);
	snprintf(path, sizeof path, "%s/log/sock", monitor.conf->run_directory);
	if (log_open(monitor.conf->syslog_name, "authd", path, e) < 0)
		log_warning("%s; lines go to stderr", e->text);
	return listen_all(&monitor, e) < 0 || monitor_conf_keep(&monitor, e) < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	static const struct daemon_usage usage = { .program = "authd" };
	struct daemon_options o;
	struct err e = { 0 };

	proc_init(argc, argv);
	const int done = daemon_options_get(argc, argv, &usage, &o);
	if (done >= 0)
		return done;
	if (conf_load_told("authd", o.conf_file, true, &monitor.conf) < 0)
		return EXIT_CONFIG;
	if (o.test)
		return 0;
	if (geteuid() != 0) {
		fprintf(stderr, "authd must be started as root: it becomes other users\n");
		return EXIT_NOPERM;
	}
	monitor.unconfined = o.unconfined;
	monitor.verbose = o.verbose;
	monitor.conf_file = monitor.conf->conf_file;
	monitor.conf_file = strdup(monitor.conf_file);	/* outlives reloads */
	proc_title("authd", "authd: supervisor");
	if (start(&o, &e) < 0) {
		fprintf(stderr, "authd: %s\n", e.text);
		log_error("%s", e.text);
		return 1;
	}
	if (monitor.unconfined)
		log_warning("started without sandbox (-n)");
	struct super_child children[] = { { .name = "authd monitor", .run = run_monitor, .ctx = &monitor } };
	struct super s = { .children = children, .n = 1 };
	if (super_run(&s, &e) < 0) {
		log_error("%s", e.text);
		return 1;
	}
	return 0;
}
