/* queued's root part: reads the configuration, makes the spool and the listeners, which it keeps, and supervises the
 * group: queue, resolve, spawn, dns, policy, sts, remote, connector. They
 * talk over socket pairs that are made anew for each start of the group. It reads nothing from anybody.
 */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "conf/daemon.h"
#include "deliver/dns/dns.h"
#include "deliver/local/deliver_priv.h"
#include "deliver/policy/policy.h"
#include "deliver/queue/queued.h"
#include "deliver/remote/remote.h"
#include "deliver/resolve/resolve.h"
#include "deliver/local/spawn.h"
#include "deliver/sts/sts.h"
#include "log/log.h"
#include "map/accounts.h"
#include "map/lookup.h"
#include "os/confine.h"
#include "os/os.h"

/* All that the children get. Their descriptors are filled in before each start. */
struct parts {
	struct queued_env queue;
	struct resolve_env resolve;
	struct spawn_env spawn, programs;
	struct remote_env remote;
	struct dns_env dns;
	struct policy_env services;
	struct sts_env sts;
	struct connector_env link, unix_link;	/* queued's, remote's */
	struct conf *conf;
	const struct daemon_options *options;
	struct stat chain;		/* smtp_tls_cert_file as the group has it */
	uint64_t *generation;		/* a page shared with the children */
};

static int load(const char *file, struct conf **out);
static void fill(struct parts *p, const struct daemon_options *o);
static int write_policies(const struct parts *p, struct err *e);

static void run_resolve(void *ctx)
{
	struct resolve_env *env = ctx;
	const int keep[] = { 0, 1, 2, env->fd, log_fd() };

	close_all_but(keep, ARRAY_LEN(keep));
	proc_title("resolve", "resolve");
	resolve_run(env);
	_exit(EX_SOFTWARE);
}

static void run_remote(void *ctx)
{
	struct remote_env *env = ctx;
	const int keep[] = { 0, 1, 2, env->queue_fd, env->dns_fd, env->link_fd, log_fd() };

	close_all_but(keep, ARRAY_LEN(keep));
	proc_title("remote", "remote");
	remote_run(env);
}

/* --- the group's socket pairs --- */

static void pair(int *queue_end, int *other_end)
{
	int fds[2];
	struct err e = { 0 };

	if (sock_pair(SOCK_SEQPACKET, fds, &e) < 0) {
		log_error("%s", e.text);
		exit(EX_OSERR);
	}
	*queue_end = fds[0];
	*other_end = fds[1];
}

enum { SERVICE_TRIES = 200, SERVICE_PAUSE_US = 50000 };

/* spawn, where it is a service of its own. Without it no mail can be delivered: this service is started again until it is there. */
static void ask_service(const struct parts *p, const char *door, int *fd_out)
{
	char path[1100];
	struct err e = { 0 };

	snprintf(path, sizeof(path), "%s/%s", p->conf->run_directory, door);
	for (int i = 0; i < SERVICE_TRIES; i++) {
		err_clear(&e);
		*fd_out = sock_unix_connect(path, SOCK_SEQPACKET, &e);
		if (*fd_out >= 0)
			return;
		(void)usleep(SERVICE_PAUSE_US);
	}
	log_error("%s", e.text);
	exit(EX_OSERR);
}

static void before_start(void *ctx)
{
	struct parts *p = ctx;

	pair(&p->queue.resolve_fd, &p->resolve.fd);
	if (p->options->separate) {
		ask_service(p, SPAWN_DOOR_AGENTS, &p->queue.spawn_fd);
		ask_service(p, SPAWN_DOOR_PROGRAMS, &p->queue.programs_fd);
	} else {
		pair(&p->queue.spawn_fd, &p->spawn.queue_fd);
		pair(&p->queue.programs_fd, &p->programs.queue_fd);
	}
	pair(&p->queue.remote_fd, &p->remote.queue_fd);
	pair(&p->queue.link_fd, &p->link.link_fd);
	pair(&p->remote.link_fd, &p->unix_link.link_fd);
	pair(&p->queue.dns_fd, &p->dns.fds[0]);
	pair(&p->remote.dns_fd, &p->dns.fds[1]);
	pair(&p->services.dns_fd, &p->dns.fds[2]);
	pair(&p->queue.policy_fd, &p->services.queue_fd);
	pair(&p->sts.dns_fd, &p->dns.fds[3]);
	pair(&p->queue.sts_fd, &p->sts.queue_fd);
}

static void after_start(void *ctx)
{
	struct parts *p = ctx;
	int *const fds[] = {
		&p->queue.resolve_fd, &p->queue.spawn_fd, &p->queue.programs_fd, &p->queue.remote_fd, &p->queue.link_fd, &p->queue.dns_fd,
		&p->resolve.fd, &p->spawn.queue_fd, &p->programs.queue_fd, &p->remote.queue_fd, &p->remote.dns_fd, &p->link.link_fd, &p->dns.fds[0], &p->dns.fds[1], &p->dns.fds[2],
		&p->queue.policy_fd, &p->services.queue_fd, &p->services.dns_fd,
		&p->queue.sts_fd, &p->remote.link_fd, &p->unix_link.link_fd, &p->sts.queue_fd, &p->sts.dns_fd, &p->dns.fds[3],
	};

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close_fd(fds[i]);
}

/* --- reload --- */

static void print_conf(const struct conf *c, struct buf *out)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	buf_init(out, 4 << 20);
	if (f == NULL)
		return;
	conf_print(c, false, f);
	fclose(f);
	buf_mem(out, text, n);
	free(text);
}

static bool differ(const struct conf *a, const struct conf *b)
{
	struct buf x, y;

	print_conf(a, &x);
	print_conf(b, &y);
	const bool r = !str_eq(buf_view(&x), buf_view(&y));
	buf_fini(&x);
	buf_fini(&y);
	return r;
}

/* A renewed certificate has the name of the old one. */
static bool chain_changed(struct parts *p, const struct conf *c)
{
	struct stat st;

	if (!*c->smtp_tls_cert_file || stat(c->smtp_tls_cert_file, &st) < 0)
		return false;
	const bool r = st.st_ino != p->chain.st_ino || st.st_mtim.tv_sec != p->chain.st_mtim.tv_sec || st.st_mtim.tv_nsec != p->chain.st_mtim.tv_nsec;
	p->chain = st;
	return r;
}

/* SIGHUP: a good new configuration takes the place of the old one; a bad one changes nothing. */
static void hup(void *ctx)
{
	struct parts *p = ctx;
	struct conf *fresh = NULL;

	struct err e = { 0 };

	if (load(p->conf->conf_file, &fresh) < 0) {
		log_error("the new configuration has mistakes (\"queued -t\" tells them): the old one stays");
		return;
	}
	if (!chain_changed(p, fresh) && !differ(p->conf, fresh)) {
		conf_free(&fresh);
		return;
	}
	conf_free(&p->conf);
	p->conf = fresh;
	fill(p, p->options);
	if (write_policies(p, &e) < 0)
		log_error("%s: local delivery goes by the configuration before", e.text);
	++*p->generation;
}

/* --- start --- */

static int listen_one(const char *run, const char *name, mode_t mode, int *fd_out, struct err *e)
{
	char path[1100];

	snprintf(path, sizeof(path), "%s/%s", run, name);
	*fd_out = sock_unix_listen(path, SOCK_SEQPACKET, mode, 0, 0, e);
	return *fd_out < 0 ? -1 : 0;
}

/* Everybody may reach dns' socket; the process looks who it is. */
static int listen_all(struct parts *p, struct err *e)
{
	const char *run = p->conf->run_directory;
	char path[1100];

	snprintf(path, sizeof(path), "%s/dns", run);
	if (dir_make(path, 0755, 0, 0, e) < 0)
		return -1;
	return listen_one(run, "queue/register", 0600, &p->queue.register_fd, e) < 0 || listen_one(run, "queue/auth", 0600, &p->queue.auth_fd, e) < 0 ||
			       listen_one(run, "queue/control", 0600, &p->queue.control_fd, e) < 0 || listen_one(run, "dns/sock", 0666, &p->dns.listen_fd, e) < 0
		       ? -1
		       : 0;
}

static int make_places(struct parts *p, struct err *e)
{
	const struct conf *c = p->conf;
	char path[1100];
	uid_t uid;
	gid_t gid;

	if (srs_key_make(c, e) < 0)
		return -1;
	sts_directory(c, path, sizeof(path));
	if (confine_user(c->user_sts, &uid, &gid, e) < 0 || dir_make(path, 0770, geteuid(), gid, e) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/queue", c->run_directory);
	if (confine_user(c->user_queue, &uid, &gid, e) < 0 || dir_make(c->run_directory, 0755, 0, 0, e) < 0 || dir_make(path, 0700, 0, 0, e) < 0 ||
	    spool_make(c->queue_directory, uid, gid, e) < 0)
		return -1;
	return listen_all(p, e);
}

static int check_conf(const struct conf *c, struct err *e)
{
	struct arena *a = arena_new(0);
	struct restrict_set *set;
	const struct conf *own;
	const char *name;
	size_t it = 0;
	int r = 0;

	while (r == 0 && conf_variant_next(c, &it, &name, &own)) {
		r = restrict_compile(own, a, &set, e);
		if (r < 0 && *name)
			(void)err_wrap(e, "listener.%s", name);
	}

	arena_free(&a);
	return r;
}

static int load(const char *file, struct conf **out)
{
	struct err e = { 0 };

	if (conf_load_told("queued", file, true, out) < 0)
		return -1;
	const int r = check_conf(*out, &e);
	if (r < 0)
		fprintf(stderr, "queued: %s\n", e.text);
	return r;
}

/* --- what deliver is allowed: files that root alone writes, so that who starts it has no say in it --- */

/* Compiled alias maps: the agent looks there itself for what it is asked to run. */
static void put_maps(struct buf *b, struct conf_list l)
{
	for (size_t i = 0; i < l.n; i++)
		if (strncmp(l.v[i], "cdb:/", 5) == 0 || strncmp(l.v[i], "hash:/", 6) == 0)
			buf_printf(b, "map=%s.cdb\n", strchr(l.v[i], '/'));
}

static void put_words(struct buf *b, const char *name, struct conf_list l)
{
	for (size_t i = 0; i < l.n; i++)
		buf_printf(b, "%s=%s\n", name, l.v[i]);
}

static void put_policy(const struct conf *c, struct buf *b)
{
	struct err e = { 0 };
	uid_t uid = 0;
	gid_t gid = 0;

	if (confine_user(c->default_privs, &uid, &gid, &e) < 0)
		log_error("default_privs: %s: no command or file of an alias is delivered to", e.text);
	buf_printf(b, DELIVER_POLICY_MARK "min_uid=%llu\nprivs=%u:%u\nlimit=%llu\ndelimiter=%s\n", (unsigned long long)c->auth_min_uid, (unsigned)uid, (unsigned)gid,
		   (unsigned long long)c->command_time_limit, c->recipient_delimiter);
	put_maps(b, c->alias_maps);
	put_words(b, "commands", c->allow_mail_to_commands);
	put_words(b, "files", c->allow_mail_to_files);
	put_words(b, "forward", c->forward_path);
	if (c->mailbox_command[0])
		buf_printf(b, "mailbox_command=%s\n", c->mailbox_command);
}

/* --- mailbox_command_maps: written out here, so that no agent opens a table --- */

static int put_command(void *ctx, struct str key, struct str value, unsigned line)
{
	if (account_name_valid(key) && !memchr(value.p, '\n', value.n) && value.n > 0)
		buf_printf(ctx, "command_of=%.*s %.*s\n", STR_ARG(key), STR_ARG(value));
	return 0;
}

/* Who can write the table could run commands as any user. */
static int is_roots(const struct lookup *l, struct err *e)
{
	const char *const file = lookup_file(l);
	struct stat st;

	if (file == NULL)
		return 0;
	if (stat(file, &st) < 0)
		return err_set(e, ERR_CONF, errno, "%s", file);
	return st.st_uid == 0 && !(st.st_mode & 022) ? 0 : err_set(e, ERR_CONF, 0, "%s: others than root may write it", file);
}

static int put_commands(const struct conf *c, struct buf *b, struct err *e)
{
	for (size_t i = 0; i < c->mailbox_command_maps.n; i++) {
		struct lookup *l = NULL;
		int r = lookup_open(c->mailbox_command_maps.v[i], &l, e);

		if (r == 0 && lookup_trouble(l)) {
			*e = *lookup_trouble(l);
			r = -1;
		}
		if (r == 0)
			r = is_roots(l, e);
		if (r == 0)
			r = lookup_each(l, put_command, b, e);
		if (l)
			lookup_close(&l);
		if (r < 0)
			return err_wrap(e, "mailbox_command_maps");
	}
	return 0;
}

static int write_policies(const struct parts *p, struct err *e)
{
	struct buf b;
	int r;

	buf_init(&b, DELIVER_POLICY_MAX);
	put_policy(p->conf, &b);
	r = put_commands(p->conf, &b, e) < 0 || buf_check(&b, "policy for deliver", e) < 0 ? -1 : file_replace(p->spawn.policy, buf_view(&b), 0600, 0, 0, e);
	buf_c(&b, "run=1\n");
	if (r == 0)
		r = buf_check(&b, "policy for deliver", e) < 0 ? -1 : file_replace(p->programs.policy, buf_view(&b), 0600, 0, 0, e);
	buf_fini(&b);
	return r;
}

static void fill(struct parts *p, const struct daemon_options *o)
{
	const struct conf *c = p->conf;

	p->queue.conf = p->resolve.conf = p->remote.conf = p->link.conf = p->dns.conf = p->services.conf = p->sts.conf = p->unix_link.conf = c;
	p->queue.unconfined = p->resolve.unconfined = p->remote.unconfined =
		p->link.unconfined = p->dns.unconfined = p->services.unconfined = p->sts.unconfined = p->unix_link.unconfined = o->unconfined;
	p->unix_link.for_remote = true;
	spawn_env_init(&p->spawn, c, false, o->unconfined);
	spawn_env_init(&p->programs, c, true, o->unconfined);
}

static int start(struct parts *p, const struct daemon_options *o, struct err *e)
{
	char path[1100];

	if (dir_make(p->conf->run_directory, 0755, 0, 0, e) < 0 || write_policies(p, e) < 0)
		return -1;
	if (!o->foreground && proc_daemonize(e) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/queued.pid", p->conf->run_directory);
	if (pidfile_write(path, e) < 0)
		return -1;
	log_verbose(o->verbose);
	snprintf(path, sizeof(path), "%s/log/sock", p->conf->run_directory);
	if (log_open(p->conf->syslog_name, "master", path, e) < 0) {
		log_warning("%s; lines go to stderr", e->text);
		err_clear(e);
		if (log_open(p->conf->syslog_name, "master", NULL, e) < 0)
			return -1;
	}
	return spawn_check_agent(p->conf, o->unconfined, e) < 0 || make_places(p, e) < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	static struct parts p;
	static const struct daemon_usage usage = { .program = "queued", .separate = "spawn is a service of its own" };
	struct daemon_options o;
	struct err e = { 0 };

	proc_init(argc, argv);
	const int done = daemon_options_get(argc, argv, &usage, &o);
	if (done >= 0)
		return done;
	if (load(o.conf_file, &p.conf) < 0)
		return EX_CONFIG;
	if (o.test)
		return 0;
	if (geteuid() != 0) {
		fprintf(stderr, "queued must be started as root: its parts become other users\n");
		return EX_NOPERM;
	}
	proc_title("queued", "queued: parent");
	p.options = &o;
	p.generation = mmap(NULL, sizeof(*p.generation), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p.generation == MAP_FAILED) {
		perror("queued: mmap");
		return EX_OSERR;
	}
	p.queue.generation = p.generation;
	fill(&p, &o);
	(void)chain_changed(&p, p.conf);
	if (start(&p, &o, &e) < 0) {
		fprintf(stderr, "queued: %s\n", e.text);
		log_error("%s", e.text);
		return EX_OSERR;
	}
	if (o.unconfined)
		log_warning("started without sandbox (-n)");
	struct super_child children[] = {
		{ .name = "resolve", .run = run_resolve, .ctx = &p.resolve, .with_group = true },
		{ .name = "policy", .run = policy_run, .ctx = &p.services, .with_group = true },
		{ .name = "sts", .run = sts_run, .ctx = &p.sts, .with_group = true },
		{ .name = "dns", .run = dns_run, .ctx = &p.dns, .with_group = true },
		{ .name = "remote", .run = run_remote, .ctx = &p.remote, .with_group = true },
		{ .name = "connector", .run = connector_run, .ctx = &p.link, .with_group = true },
		{ .name = "unix-connector", .run = connector_run, .ctx = &p.unix_link, .with_group = true },
		{ .name = "queue", .run = queued_run, .ctx = &p.queue, .with_group = true, .leads = true },
		/* Last: not there when spawn is a service. */
		{ .name = "spawn", .run = spawn_run, .ctx = &p.spawn, .with_group = true },
		{ .name = "programs", .run = spawn_run, .ctx = &p.programs, .with_group = true },
	};
	const size_t n = ARRAY_LEN(children) - (o.separate ? 2 : 0);
	struct super s = { .children = children, .n = n, .before_start = before_start, .after_start = after_start, .hup = hup, .ctx = &p };
	if (super_run(&s, &e) < 0) {
		log_error("%s", e.text);
		return EX_OSERR;
	}
	return 0;
}
