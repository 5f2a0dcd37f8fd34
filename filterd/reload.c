/* See reload.h. */
#include "reload.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log/log.h"
#include "os/os.h"
#include "suspects.h"

enum { PROBLEMS_MAX = 65536, PROBLEM_LINES_MAX = 20 };

/* Warnings were told by the start, and by those who may list the machine's interfaces. */
static void say_problems(struct str all)
{
	for (unsigned n = 0; n < PROBLEM_LINES_MAX && all.p != NULL; n++) {
		const struct str line = str_trim(str_split(&all, '\n'));
		if (line.n > 0 && str_find(line, STR(": warning: ")) < 0)
			log_error("%.*s", STR_ARG(line));
	}
}

/* What is named for the first time may lie where these processes can look no more. A directory that cannot be read must not pass for an empty one: its
 * signatures would be missing. */
static int within_reach(const struct conf *c, struct err *e)
{
	const struct {
		const char *name, *path;
	} rows[] = {
		{ "filter_banned_names", c->filter_banned_names },
		{ "virus_database_directory", c->virus_database_directory },
		{ "filter_recipient_policies", c->filter_recipient_policies },
		{ "whitelist_senders", c->whitelist_senders },
		{ "blacklist_senders", c->blacklist_senders },
		{ "public_suffix_list", c->public_suffix_list },
		{ "spam_rules_directory", c->spam_rules_directory },
		{ "spam_site_directory", c->spam_site_directory },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int fd = rows[i].path[0] == '/' ? open(rows[i].path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
		if (rows[i].path[0] == '/' && fd < 0 && errno == EACCES)
			return err_set(e, ERR_CONF, EACCES, "%s = %s is out of reach before a restart", rows[i].name, rows[i].path);
		close_fd(&fd);
	}
	return 0;
}

/* conf_load() asks this of root's files for root alone, and root is what we are no more. */
static int trusted(const char *file, struct err *e)
{
	struct stat st;
	if (stat(file, &st) < 0)
		return err_set(e, ERR_CONF, errno, "%s", file);
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return err_set(e, ERR_CONF, 0, "%s: others than root may write it", file);
	return 0;
}

int reload_check(const struct conf *c, struct err *e)
{
	const char *const stray = conf_list_stray(c->filter_spamd_tell_listeners, c->filter_spamd_listeners);
	if (stray != NULL)
		return err_set(e, ERR_CONF, 0, "filter_spamd_tell_listeners: %s is none of filter_spamd_listeners", stray);
	return suspects_check(c, e);
}

int reload_read(const char *file, struct conf **out, struct err *e)
{
	struct buf problems;
	buf_init(&problems, PROBLEMS_MAX);
	int r = trusted(file, e);
	if (r == 0)
		r = conf_load(file, out, &problems, e);
	say_problems(buf_view(&problems));
	buf_fini(&problems);
	return r;
}

int reload_conf(const char *file, struct conf **out)
{
	struct conf *fresh = NULL;
	struct err e = { 0 };
	if (reload_read(file, &fresh, &e) == 0 && reload_check(fresh, &e) == 0 && within_reach(fresh, &e) == 0) {
		*out = fresh;
		return 0;
	}
	log_error("reload: %s; the old configuration stays", e.text);
	conf_free(&fresh);
	return -1;
}
