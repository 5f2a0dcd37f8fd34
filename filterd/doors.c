/* See doors.h. A template reads nothing but the monitor's word and the configuration, so there is nothing by which a client could reach it. */
#include "doors.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log/log.h"
#include "os/confine.h"
#include "reload.h"

void doors_init(struct doors *d, const struct conf *conf, bool unconfined)
{
	*d = (struct doors){ .conf = conf, .unconfined = unconfined, .templates = { -1, -1 } };
}

/* --- listeners --- */

static struct door_set *set_of(struct doors *d, const struct door_protocol *protocol)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->sets[i].protocol == protocol)
			return &d->sets[i];
	d->sets[d->n].protocol = protocol;
	return &d->sets[d->n++];
}

int doors_given(struct doors *d, const struct listen_fd *fd)
{
	static const struct {
		const char *name;
		const struct door_protocol *protocol;
		bool teach;
	} known[] = { { "milter", &milter_door, false }, { "spamd", &spamd_door, false }, { "spamd-tell", &spamd_door, true } };
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strcmp(fd->name, known[i].name) != 0)
			continue;
		struct door_set *set = set_of(d, known[i].protocol);
		if (set->n == DOOR_LISTENERS_MAX)
			return -1;
		set->teach[set->n] = known[i].teach;
		set->fds[set->n++] = fd->fd;
		return 0;
	}
	return -1;
}

/* A door without a listener is none. */
static void forget_empty(struct doors *d)
{
	size_t kept = 0;
	for (size_t i = 0; i < d->n; i++)
		if (d->sets[i].n > 0)
			d->sets[kept++] = d->sets[i];
	d->n = kept;
}

/* What was passed by a name of its own ("spamd-tell") and is not configured stays what it is called. */
static void allow_tell(struct doors *d)
{
	const struct conf_list tell = d->conf->filter_spamd_tell_listeners, all = d->conf->filter_spamd_listeners;
	struct door_set *set = all.n == 0 ? NULL : set_of(d, &spamd_door);
	for (size_t i = 0; i < all.n; i++)
		for (size_t k = 0; k < set->n; k++)
			if (door_is_at(set->fds[k], all.v[i]))
				set->teach[k] = conf_list_has(tell, all.v[i]);
}

static void say_missing(const char *param, const char *where)
{
	log_error("%s: the service manager has passed no socket of %s; systemctl daemon-reload, then systemctl restart postern.target", param, where);
}

static const char *user_of(const struct conf *conf, const struct door_protocol *p)
{
	return p == &milter_door ? conf->user_milter : conf->user_spamd;
}

static int listen_for_group(struct conf_list where, const char *user, struct door_set *set, struct err *e)
{
	uid_t uid;
	gid_t gid;
	return confine_user(user, &uid, &gid, e) < 0 ? -1 : door_listen(where, gid, set, e);
}

int doors_users_check(const struct conf *conf, struct err *e)
{
	uid_t uid;
	gid_t gid;
	if (conf->filter_milter_listeners.n > 0 && confine_user(conf->user_milter, &uid, &gid, e) < 0)
		return -1;
	return conf->filter_spamd_listeners.n > 0 ? confine_user(conf->user_spamd, &uid, &gid, e) : 0;
}

int doors_listen(struct doors *d, bool passed_only, struct err *e)
{
	const struct {
		const struct door_protocol *protocol;
		const char *name;
		const struct conf_list *list;
	} rows[] = { { &milter_door, "filter_milter_listeners", &d->conf->filter_milter_listeners }, { &spamd_door, "filter_spamd_listeners", &d->conf->filter_spamd_listeners } };
	_Static_assert(ARRAY_LEN(rows) <= DOORS_MAX, "a set for each");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (passed_only)
			door_passed(*rows[i].list, set_of(d, rows[i].protocol), say_missing, rows[i].name);
		else if (rows[i].list->n > 0 && listen_for_group(*rows[i].list, user_of(d->conf, rows[i].protocol), set_of(d, rows[i].protocol), e) < 0)
			return err_wrap(e, "%s", rows[i].name);
	}
	allow_tell(d);
	forget_empty(d);
	return 0;
}

/* A door that was taken over has no more than its listeners have. */
bool doors_may_teach(void *ctx, size_t which)
{
	const struct doors *d = ctx;
	for (size_t i = 0; i < d->sets[which].n; i++)
		if (d->sets[which].teach[i])
			return true;
	return false;
}

/* --- processes --- */

int fork_with_socket(const char *what, int *sock_out)
{
	int pair[2];
	struct err e = { 0 };
	if (sock_pair(SOCK_SEQPACKET, pair, &e) < 0) {
		log_error("%s: %s", what, e.text);
		return -1;
	}
	pid_t pid = fork();
	if (pid < 0) {
		log_error("%s: fork: %s", what, strerror(errno));
		close(pair[0]);
		close(pair[1]);
		return -1;
	}
	close(pair[pid > 0 ? 1 : 0]);
	*sock_out = pair[pid > 0 ? 0 : 1];
	if (pid > 0)
		return 1;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	return 0;
}

int fork_wanted(int sock, bool *fresh_out)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	uint16_t type;
	uint32_t id;
	void *msg;
	int fd = -1;
	if (ipc_recv_fd(sock, &ipc_filter, -1, a, &type, &id, &msg, &fd, &e) < 0 || type != IPC_filter_FORK || fd < 0)
		_exit(0);
	if (fresh_out != NULL)
		*fresh_out = ((const struct ipc_filter_FORK *)msg)->fresh;
	arena_free(&a);
	return fd;
}

/* The child's end: it keeps its listeners and this socket. */
static void run_door(const struct doors *d, const struct door_set *set, const struct conf *conf, int sock) __attribute__((noreturn));
static void run_door(const struct doors *d, const struct door_set *set, const struct conf *conf, int sock)
{
	const struct confine c = { .role = CONFINE_DOOR, .unconfined = d->unconfined };
	int keep[5 + DOOR_LISTENERS_MAX] = { 0, 1, 2, sock, log_fd() };
	struct err e = { 0 };
	size_t n = 5;
	for (size_t i = 0; i < set->n; i++)
		keep[n++] = set->fds[i];
	close_all_but(keep, n);
	proc_title("filterd-door", "filterd: %s", door_name(set->protocol));
	if (confine_enter(&c, &e) < 0) {
		log_error("%s: %s", door_name(set->protocol), e.text);
		_exit(1);
	}
	door_run(conf, set, sock);
}

/* --- a template --- */

/* A file that has mistakes by now leaves what was in force. */
static void refresh(struct conf **mine, const struct conf *first)
{
	struct conf *fresh = NULL;
	struct err e = { 0 };
	if (reload_read(first->conf_file, &fresh, &e) < 0) {
		log_error("a listener goes on by the old configuration: %s", e.text);
		return;
	}
	conf_free(mine);
	*mine = fresh;
}

static void fork_door(const struct doors *d, const struct door_set *set, const struct conf *conf, int control, int sock)
{
	const pid_t pid = fork();
	if (pid < 0)
		log_error("%s: fork: %s", door_name(set->protocol), strerror(errno));
	if (pid != 0)
		return;
	close(control);
	signal(SIGCHLD, SIG_DFL);
	run_door(d, set, conf, sock);
}

static void run_template(const struct doors *d, const struct door_set *set, const char *user, int sock) __attribute__((noreturn));
static void run_template(const struct doors *d, const struct door_set *set, const char *user, int sock)
{
	const struct confine_path paths[] = { { d->conf->conf_dir, false, false }, { "/etc", false, false } };
	const struct confine c = { .role = CONFINE_DOORS, .user = user, .paths = paths, .n_paths = ARRAY_LEN(paths), .unconfined = d->unconfined };
	struct conf *mine = NULL;	/* NULL: the start's */
	struct err e = { 0 };
	int keep[5 + DOOR_LISTENERS_MAX] = { 0, 1, 2, sock, log_fd() };
	size_t n = 5;
	for (size_t i = 0; i < set->n; i++)
		keep[n++] = set->fds[i];
	close_all_but(keep, n);
	proc_title("filterd-doors", "filterd: %s template", door_name(set->protocol));
	if (confine_enter(&c, &e) < 0) {
		log_error("%s: %s", door_name(set->protocol), e.text);
		_exit(1);
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);	/* the monitor sees a door's end by its socket */
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);	/* of a terminal: the monitor's end is ours */
	for (;;) {
		bool fresh;
		int fd = fork_wanted(sock, &fresh);
		if (fresh)
			refresh(&mine, d->conf);
		fork_door(d, set, mine != NULL ? mine : d->conf, sock, fd);
		close_fd(&fd);
	}
}

int doors_fork_templates(struct doors *d, struct err *e)
{
	for (size_t i = 0; i < d->n && geteuid() == 0; i++) {
		const struct door_set *set = &d->sets[i];
		const char *user = user_of(d->conf, set->protocol);
		uid_t uid;
		gid_t gid;
		int sock = -1;
		if (confine_user(user, &uid, &gid, e) < 0)
			return -1;
		const int r = fork_with_socket(door_name(set->protocol), &sock);
		if (r < 0)
			return err_set(e, ERR_TEMP, 0, "%s: no process can be made", door_name(set->protocol));
		if (r == 0)
			run_template(d, set, user, sock);
		d->templates[i] = sock;
	}
	return 0;
}

/* The monitor tries again; where the template has ended it ends (monitor.c). */
static int ask_template(const struct doors *d, size_t which, bool fresh)
{
	const struct ipc_filter_FORK m = { .fresh = fresh };
	int pair[2];
	struct err e = { 0 };
	if (sock_pair(SOCK_SEQPACKET, pair, &e) < 0) {
		log_error("%s: %s", door_name(d->sets[which].protocol), e.text);
		return -1;
	}
	const int r = ipc_send_fd(d->templates[which], &ipc_filter, IPC_filter_FORK, &m, 0, pair[1], &e);
	close(pair[1]);
	if (r == 0)
		return pair[0];
	close(pair[0]);
	log_error("%s: its template: %s", door_name(d->sets[which].protocol), e.text);
	return -1;
}

int doors_start(void *ctx, size_t which, const struct conf *conf)
{
	const struct doors *d = ctx;
	const struct door_set *set = &d->sets[which];
	int sock = -1;
	if (d->templates[which] >= 0)
		return ask_template(d, which, conf != d->conf);
	const int r = fork_with_socket(door_name(set->protocol), &sock);
	if (r == 0)
		run_door(d, set, conf, sock);
	return sock;
}
