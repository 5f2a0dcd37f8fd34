/* The monitor's life: confine, start the helpers, load the limits, serve; reload on SIGHUP, save and go on SIGTERM. Sessions are not ended
 * when it goes: a restart of authd interrupts nobody who is logged in. */
#include "authd/monitor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "log/log.h"
#include "os/confine.h"
#include "os/os.h"

enum { TICK_MS = 3000, SNAPSHOT_MS = 10000, CONF_FILE_MAX = 4 << 20 };

/* --- parameters in the form that is used --- */

static int networks_make(struct conf_list l, struct networks *out, struct err *e)
{
	struct networks n = { xzalloc((l.n + 1) * sizeof(struct cidr)), l.n };

	for (size_t i = 0; i < l.n; i++)
		if (cidr_parse(str_c(l.v[i]), &n.v[i], e) < 0) {
			free(n.v);
			return -1;
		}
	free(out->v);
	*out = n;
	return 0;
}

static void limits_apply(struct monitor *m)
{
	struct throttle_limits l = throttle_defaults;
	struct err e = { 0 };

	l.address_max = (uint32_t)m->conf->auth_fail_address_max;
	l.network_max = (uint32_t)m->conf->auth_fail_network_max;
	l.pair_max = (uint32_t)m->conf->auth_fail_account_network_max;
	l.account_max = (uint32_t)m->conf->auth_fail_account_max;
	if (m->throttle)
		throttle_limits_set(m->throttle, &l);
	else
		m->throttle = throttle_new(&l);
	if (networks_make(m->conf->auth_throttle_exempt, &m->exempt, &e) < 0)
		log_error("auth_throttle_exempt: %s", e.text);
	if (networks_make(m->conf->webmail_hosts, &m->webmail, &e) < 0)
		log_error("webmail_hosts: %s", e.text);
	if (networks_make(m->conf->smtpd_upstream_proxy_hosts, &m->proxies, &e) < 0)
		log_error("smtpd_upstream_proxy_hosts: %s", e.text);
	if (networks_make(m->conf->smtpd_authorized_xclient_hosts, &m->xclients, &e) < 0)
		log_error("smtpd_authorized_xclient_hosts: %s", e.text);
}

/* --- the limits survive a restart --- */

static void snapshot_path(const struct monitor *m, char out[1100])
{
	snprintf(out, 1100, "%s/auth-limits", m->conf->state_directory);
}

static void snapshot_load(struct monitor *m)
{
	char path[1100];
	struct buf b;
	struct err e = { 0 };

	snapshot_path(m, path);
	buf_init(&b, THROTTLE_SNAPSHOT_MAX);
	if (file_read(path, THROTTLE_SNAPSHOT_MAX, &b, &e) < 0) {
		if (e.code != ERR_NOENT)
			log_error("%s", e.text);
	} else if (throttle_load(m->throttle, buf_view(&b), &e) < 0) {
		log_error("%s: %s; the limits start from zero", path, e.text);
	}
	buf_fini(&b);
}

static int snapshot_write(struct monitor *m, struct err *e)
{
	char path[1100];
	struct buf b;

	snapshot_path(m, path);
	buf_init(&b, THROTTLE_SNAPSHOT_MAX);
	throttle_save(m->throttle, (uint32_t)clock_wall(), &b);
	int rc = buf_check(&b, "limits", e);
	if (rc == 0)
		rc = file_replace(path, buf_view(&b), 0600, (uid_t)-1, (gid_t)-1, e);
	buf_fini(&b);
	return rc;
}

/* Written by a fork, so that no login waits for the disk. */
static void on_snapshot(void *ctx)
{
	struct monitor *m = ctx;
	struct err e = { 0 };

	timer_again(m->snapshot_timer, SNAPSHOT_MS);
	if (m->snapshot_pid || !throttle_dirty(m->throttle))
		return;
	const pid_t pid = fork();
	if (pid == 0) {
		if (snapshot_write(m, &e) < 0)
			log_error("login limits: %s", e.text);
		_exit(0);
	}
	if (pid > 0) {
		m->snapshot_pid = pid;
		throttle_clean(m->throttle);
	}
}

/* --- signals --- */

static void on_child(void *ctx, int signo)
{
	struct monitor *m = ctx;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == m->snapshot_pid)
			m->snapshot_pid = 0;
		else if (!helpers_reaped(m, pid, status) && !accounts_reaped(m, pid))
			(void)sessions_reaped(m, pid, status);
	}
}

static void on_term(void *ctx, int signo)
{
	struct monitor *m = ctx;

	loop_stop(m->loop);
}

int monitor_conf_keep(struct monitor *m, struct err *e)
{
	struct buf b;

	snprintf(m->active_conf, sizeof m->active_conf, "%s/authd.conf", m->conf->run_directory);
	buf_init(&b, CONF_FILE_MAX);
	int rc = file_read(m->conf_file, CONF_FILE_MAX, &b, e);
	if (rc == 0)
		rc = file_replace(m->active_conf, buf_view(&b), 0644, (uid_t)-1, (gid_t)-1, e);
	buf_fini(&b);
	return rc;
}

static void on_hup(void *ctx, int signo)
{
	struct monitor *m = ctx;
	struct conf *fresh = NULL;
	struct buf problems;
	struct err e = { 0 };

	buf_init(&problems, 65536);
	if (conf_load(m->conf_file, &fresh, &problems, &e) < 0) {
		struct str rest = buf_view(&problems), one;

		while (str_token(&rest, "\n", &one))
			log_error("%.*s", STR_ARG(one));
		log_error("reload: %s; the old configuration stays", e.text);
	} else {
		/* Connections hold no pointers into the old one; it is freed. */
		conf_free(&m->conf);
		m->conf = fresh;
		if (monitor_conf_keep(m, &e) < 0)
			log_error("copy of the configuration: %s", e.text);
		limits_apply(m);
		log_info("configuration loaded again");
	}
	buf_fini(&problems);
	cache_flush(m->cache);
	helpers_reload(m);
	accounts_reloaded(m);
}

static void on_tick(void *ctx)
{
	struct monitor *m = ctx;

	timer_again(m->tick, TICK_MS);
	accounts_tick(m);
}

int monitor_run(struct monitor *m)
{
	const struct confine c = { .role = CONFINE_AUTH_MONITOR, .unconfined = m->unconfined };
	struct err e = { 0 };

	proc_title("authd", "authd: monitor");
	if (confine_enter(&c, &e) < 0) {
		log_error("%s", e.text);
		return 77;
	}
	m->loop = loop_new();
	loop_signal(m->loop, SIGCHLD, on_child, m);
	loop_signal(m->loop, SIGTERM, on_term, m);
	loop_signal(m->loop, SIGINT, on_term, m);
	loop_signal(m->loop, SIGHUP, on_hup, m);
	m->cache = cache_new();
	limits_apply(m);
	snapshot_load(m);
	workers_init(m);
	attempts_init(m);
	sessions_init(m);
	shares_load(m);
	uses_load(m);
	queue_peer_init(m);
	helpers_init(m);
	accounts_init(m);
	conns_init(m);
	control_init(m);
	m->tick = loop_timer(m->loop, TICK_MS, on_tick, m);
	m->snapshot_timer = loop_timer(m->loop, SNAPSHOT_MS, on_snapshot, m);
	loop_run(m->loop);
	if (throttle_dirty(m->throttle) && snapshot_write(m, &e) < 0)
		log_error("login limits: %s", e.text);
	shares_save(m);
	if (uses_save(m, &e) < 0)
		log_error("%s", e.text);
	helpers_end(m);
	cache_free(&m->cache);
	return 0;
}
