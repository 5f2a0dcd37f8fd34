/* The template: loads signatures and patterns under the monitor's confinement, proves them with the canary, then forks workers that share its memory.
 * A new generation of signatures is a new template; this one ends when the monitor closes its socket. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/num.h"
#include "clamav.h"
#include "authres/sigcheck.h"
#include "confinement.h"
#include "doors.h"
#include "ipc/filter.h"
#include "log/log.h"
#include "map/pcre.h"
#include "os/os.h"
#include "spam/spam.h"
#include "worker.h"

enum { TMP_DEPTH_MAX = 64 };

static void say_broken(int sock, const struct err *why)
{
	struct ipc_filter_BROKEN m = { .text = str_c(why->text) };
	struct err e = { 0 };
	if (ipc_send_fd(sock, &ipc_filter, IPC_filter_BROKEN, &m, 0, -1, &e) < 0)
		log_error("template: %s", e.text);
	log_error("template: %s", why->text);
	_exit(1);
}

static void rules_text(const struct spam *s, char *out, size_t size)
{
	const struct spam_learned l = spam_learned(s);
	snprintf(out, size, "%zu rules from %s%s, %zu spam and %zu ham learned", spam_rule_count(s), spam_rules_from(s), spam_mistakes(s) > 0 ? ", with mistakes" : "",
		 l.spam, l.ham);
}

static void ready_text(const struct filter_rules *r, bool shipped, char *out, size_t size)
{
	if (r->spam != NULL)
		rules_text(r->spam, out, size);
	else
		snprintf(out, size, "libclamav %s, %llu signatures%s", clamav_version(), (unsigned long long)(r->clamav == NULL ? 0 : clamav_signatures(r->clamav)),
			 r->clamav == NULL ? " (filter_virus_check = no)" : shipped ? " (only the shipped test signatures)" : "");
}

static void say_ready(int sock, const struct filter_rules *rules)
{
	bool shipped = rules->clamav != NULL && clamav_shipped(rules->clamav);
	uint64_t n = rules->clamav == NULL ? 0 : clamav_signatures(rules->clamav);
	char text[300];
	ready_text(rules, shipped, text, sizeof(text));
	struct ipc_filter_READY m = { .signatures = n, .shipped = shipped, .text = str_c(text),
		.learns = rules->spam != NULL && spam_learns(rules->spam) };
	struct err e = { 0 };
	if (ipc_send_fd(sock, &ipc_filter, IPC_filter_READY, &m, 0, -1, &e) < 0)
		_exit(1);
}

/* --- a directory of its own for each worker --- */

static void remove_tree(int at, const char *name, unsigned depth)
{
	if (unlinkat(at, name, 0) == 0 || depth > TMP_DEPTH_MAX)
		return;
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (d == NULL) {
		close_fd(&fd);
		return;
	}
	for (struct dirent *f; (f = readdir(d)) != NULL;)
		if (strcmp(f->d_name, ".") != 0 && strcmp(f->d_name, "..") != 0)
			remove_tree(fd, f->d_name, depth + 1);
	closedir(d);
	if (unlinkat(at, name, AT_REMOVEDIR) < 0)
		log_warning("template: cannot remove %s: %s", name, strerror(errno));
}

/* What workers that were killed have left. */
static void remove_leftovers(const char *tmp)
{
	DIR *d = opendir(tmp);
	if (d == NULL)
		return;
	for (struct dirent *f; (f = readdir(d)) != NULL;) {
		uint64_t pid;
		if (num_parse(str_c(f->d_name), 1, INT32_MAX, &pid) == 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH)
			remove_tree(dirfd(d), f->d_name, 0);
	}
	closedir(d);
}

static int own_tmp(const struct filter_rules *rules, const char *tmp, struct err *e)
{
	char path[1100];
	snprintf(path, sizeof(path), "%s/%ld", tmp, (long)getpid());
	if (mkdir(path, 0700) < 0)
		return err_set(e, ERR_TEMP, errno, "%s", path);
	return rules->clamav == NULL ? 0 : clamav_use_tmp(rules->clamav, path, e);
}

static void fork_worker(const struct filter_rules *rules, const struct filter_dirs *dirs, bool unconfined, int control, int sock)
{
	remove_leftovers(dirs->tmp);
	pid_t pid = fork();
	if (pid < 0)
		log_error("template: fork: %s", strerror(errno));
	if (pid != 0)
		return;
	close(control);
	signal(SIGCHLD, SIG_DFL);
#ifndef __SANITIZE_ADDRESS__	/* its shadow is larger */
	struct rlimit mem = { (rlim_t)WORKER_MEMORY_MAX_MB << 20, (rlim_t)WORKER_MEMORY_MAX_MB << 20 };
	if (setrlimit(RLIMIT_DATA, &mem) < 0)
		log_warning("worker: setrlimit: %s", strerror(errno));
#endif
	proc_title("filterd", rules->spam != NULL ? "filterd: scoring worker" : "filterd: worker");
	str_hash_reseed();
	struct err e = { 0 };
	if (own_tmp(rules, dirs->tmp, &e) < 0 || filter_confine(CONFINE_SCAN, NULL, rules->conf, dirs, unconfined, &e) < 0) {
		log_error("worker: %s", e.text);
		_exit(1);
	}
	worker_run(rules, sock);
}

void template_run(enum stage_kind kind, const struct conf *conf, const struct filter_dirs *dirs, int sock, bool unconfined)
{
	proc_title("filterd", kind == STAGE_SCORE ? "filterd: scoring template" : "filterd: template");
	signal(SIGCHLD, SIG_IGN);	/* workers report through their sockets */
	signal(SIGHUP, SIG_IGN);
	struct filter_rules rules;
	struct err e = { 0 };
	if (filter_rules_load(conf, 1u << kind, true, dirs->share, dirs->tmp, &rules, &e) < 0 || (kind == STAGE_SCORE && pcre_seal(&e) < 0))
		say_broken(sock, &e);
	if (kind == STAGE_SCAN && conf->sender_authentication && rules.psl == NULL)
		log_warning("no public suffix list at \"%s\": the organisation of a domain is its last two labels, wrong for co.uk and its like (public_suffix_list)",
			    conf->public_suffix_list);
	sigcheck_start();
	say_ready(sock, &rules);
	for (;;) {
		int fd = fork_wanted(sock, NULL);
		fork_worker(&rules, dirs, unconfined, sock, fd);
		close_fd(&fd);
	}
}
