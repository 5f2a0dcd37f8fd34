/* filterd: checks messages before they are accepted. The root part binds the socket, mounts the private temporary space and becomes user_filter;
 * from then on monitor.c serves, template.c loads, worker.c scans. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "authres/dkim_table.h"
#include "base/buf.h"
#include "conf/conf.h"
#include "conf/daemon.h"
#include "confinement.h"
#include "dmarcdata.h"
#include "doors.h"
#include "grey.h"
#include "learndata.h"
#include "log/log.h"
#include "monitor.h"
#include "os/os.h"
#include "reload.h"

struct start {
	struct conf *conf;
	struct filter_dirs dirs;
	bool unconfined;
	int listener;
	struct doors doors;
};

/* A file system of our own for unpacking, seen by nobody else. Where the kernel does not allow it a plain directory serves, and the log says so. */
static void tmp_mount(const struct filter_dirs *d, const struct conf *conf, uid_t uid, gid_t gid)
{
	const struct memfs m = { .bytes = conf->message_size_limit * 4 * (conf->filter_workers + 1), .files = 20000 * conf->filter_workers, .uid = uid, .gid = gid };
	struct err e = { 0 };

	if (memfs_private(d->tmp, &m, &e) < 0)
		log_warning("no private temporary space (%s): %s is a plain directory", e.text, d->tmp);
}

static int places(struct start *s, struct err *e)
{
	const struct conf *c = s->conf;
	snprintf(s->dirs.share, sizeof(s->dirs.share), "%s", c->share_directory);
	snprintf(s->dirs.tmp, sizeof(s->dirs.tmp), "%s/filter-tmp", c->state_directory);
	if (access(s->dirs.share, R_OK | X_OK) < 0)
		return err_set(e, ERR_CONF, errno, "share_directory %s", s->dirs.share);
	return 0;
}

static int listen_scan(struct start *s, gid_t queue_gid, struct err *e)
{
	struct listen_fd fds[1 + 2 * DOOR_LISTENERS_MAX];
	size_t n = 0;
	if (listen_fds(fds, ARRAY_LEN(fds), &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(fds[i].name, "scan") == 0)
			s->listener = fds[i].fd;
		else if (doors_given(&s->doors, &fds[i]) < 0)
			return err_set(e, ERR_CONF, 0, "a socket called \"%s\" was passed, and there is no use for it", fds[i].name);
	}
	if (s->listener >= 0)
		return 0;
	char path[1100];
	snprintf(path, sizeof(path), "%s/filter", s->conf->run_directory);
	if (dir_make(path, 0755, 0, 0, e) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/filter/scan", s->conf->run_directory);
	/* root's, so that the next start may ask whether anybody serves it: it has no rights over others' files. */
	s->listener = sock_unix_listen(path, SOCK_SEQPACKET, 0660, 0, queue_gid, e);
	return s->listener < 0 ? -1 : 0;
}

static int start_template(void *ctx, enum stage_kind kind, const struct conf *conf)
{
	struct start *s = ctx;
	int sock = -1;
	const int r = fork_with_socket("template", &sock);
	if (r != 0)
		return sock;
	const int keep[] = { 0, 1, 2, sock, log_fd() };
	close_all_but(keep, ARRAY_LEN(keep));
	template_run(kind, conf, &s->dirs, sock, s->unconfined);
}

static void ready(void *ctx)
{
	(void)ctx;
	proc_ready();
}

static int users_check(const struct conf *c, struct err *e)
{
	uid_t uid;
	gid_t gid;
	return confine_user(c->user_filter, &uid, &gid, e) < 0 || confine_user(c->user_queue, &uid, &gid, e) < 0 ? -1 : doors_users_check(c, e);
}

/* As filterd will: its user, and what that is let reach. */
static int test_load(struct start *s, struct err *e)
{
	struct filter_rules rules;

	snprintf(s->dirs.tmp, sizeof(s->dirs.tmp), "/tmp");
	if (geteuid() == 0 && filter_confine(CONFINE_FILTER, s->conf->user_filter, s->conf, &s->dirs, s->unconfined, e) < 0)
		return -1;
	if (filter_rules_load(s->conf, ~0u, false, s->dirs.share, s->dirs.tmp, &rules, e) < 0)
		return -1;
	filter_rules_free(&rules);
	return 0;
}

static int test_rules(struct start *s, bool signatures)
{
	struct err e = { 0 };

	s->conf->filter_virus_check = s->conf->filter_virus_check && signatures;
	if (reload_check(s->conf, &e) < 0 || users_check(s->conf, &e) < 0 || places(s, &e) < 0 || test_load(s, &e) < 0) {
		fprintf(stderr, "filterd: %s\n", e.text);
		return 1;
	}
	puts(signatures ? "filterd: configuration, lists and signatures are good" : "filterd: configuration and lists are good");
	return 0;
}

/* There to be read later, when the first key is made: what workers may reach is fixed at their start. */
static int make_key_table_dir(const struct conf *c, struct err *e)
{
	char path[1200];
	snprintf(path, sizeof(path), "%s/" DKIM_TABLE_DIR, c->state_directory);
	return dir_make(path, 0755, 0, 0, e);
}

static int make_dmarc_dir(const struct conf *c, uid_t uid, gid_t gid, struct err *e)
{
	char path[1200];
	snprintf(path, sizeof(path), "%s/" DMARC_DATA_DIR, c->state_directory);
	return dir_make(path, 0700, uid, gid, e);
}

/* In a directory that is the user's root has no right of its own, where the service manager left it none over others' files. */
static int dir_make_as(const char *path, mode_t mode, uid_t uid, gid_t gid, struct err *e)
{
	const bool root = geteuid() == 0;
	if (root && (setegid(gid) < 0 || seteuid(uid) < 0))
		return err_set(e, ERR_TEMP, errno, "%s: cannot act as its owner", path);
	const int r = dir_make(path, mode, uid, gid, e);
	if (root && (seteuid(0) < 0 || setegid(0) < 0))
		abort();
	return r;
}

/* Where postern-learn writes, and scoring workers read; who is known to the monitor; and where that writes, and postern-learn takes. */
static int make_learned_dir(const struct conf *c, uid_t uid, gid_t gid, struct err *e)
{
	char path[1200];
	snprintf(path, sizeof(path), "%s/filter", c->state_directory);
	if (dir_make(path, 0750, uid, gid, e) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/" GREY_DIR, c->state_directory);
	if (dir_make_as(path, 0700, uid, gid, e) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/" LEARN_QUEUE_DIR, c->state_directory);
	return dir_make_as(path, 0700, uid, gid, e);
}

static int start(const struct daemon_options *o, struct start *s, struct err *e)
{
	const struct conf *c = s->conf;
	char log_sock[1100], pidfile[1100];
	uid_t uid, queue_uid;
	gid_t gid, queue_gid;
	snprintf(log_sock, sizeof(log_sock), "%s/log/sock", c->run_directory);
	log_verbose(o->verbose);
	if (log_open(c->syslog_name, "filterd", log_sock, e) < 0 || reload_check(c, e) < 0 || places(s, e) < 0 ||
	    confine_user(c->user_filter, &uid, &gid, e) < 0 ||
	    confine_user(c->user_queue, &queue_uid, &queue_gid, e) < 0 || listen_scan(s, queue_gid, e) < 0 || doors_listen(&s->doors, o->separate, e) < 0 ||
	    dir_make(s->dirs.tmp, 0700, uid, gid, e) < 0 || make_key_table_dir(c, e) < 0 || make_dmarc_dir(c, uid, gid, e) < 0 ||
	    make_learned_dir(c, uid, gid, e) < 0)
		return -1;
	if (!o->foreground && proc_daemonize(e) < 0)
		return -1;
	snprintf(pidfile, sizeof(pidfile), "%s/filterd.pid", c->run_directory);
	if (pidfile_write(pidfile, e) < 0)
		return -1;
	if (doors_fork_templates(&s->doors, e) < 0)
		return -1;
	tmp_mount(&s->dirs, c, uid, gid);
	if (filter_confine(CONFINE_FILTER, c->user_filter, c, &s->dirs, s->unconfined, e) < 0)
		return -1;
	proc_title("filterd", "filterd: monitor");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);	/* templates report through their sockets */
	const struct monitor_hooks hooks = { .start_template = start_template, .ready = ready, .start_door = doors_start, .may_teach = doors_may_teach,
		.n_doors = s->doors.n, .door_templates = s->doors.templates, .ctx = s, .doors_ctx = &s->doors };
	return monitor_run(c, s->listener, queue_uid, &hooks, e);
}

int main(int argc, char **argv)
{
	static const struct daemon_usage usage = {
		.program = "filterd", .separate = "the service manager has bound filter_milter_listeners and filter_spamd_listeners: bind none",
		.test = "test the configuration, signatures and lists, then exit",
		.test_quick = "the same, but for the signatures, which take seconds and a gigabyte",
	};
	struct daemon_options o;
	struct start s = { .listener = -1 };
	proc_init(argc, argv);
	const int done = daemon_options_get(argc, argv, &usage, &o);
	if (done >= 0)
		return done;
	if (conf_load_told("filterd", o.conf_file, o.test || o.test_quick, &s.conf) < 0)
		return 1;
	s.unconfined = o.unconfined;
	doors_init(&s.doors, s.conf, o.unconfined);
	if (o.test || o.test_quick)
		return test_rules(&s, !o.test_quick);
	struct err e = { 0 };
	if (start(&o, &s, &e) < 0) {
		log_error("filterd: %s", e.text);
		fprintf(stderr, "filterd: %s\n", e.text);
		return 1;
	}
	log_info("ends");
	return 0;
}
