/* The doors (door.h) as filterd starts them: their listeners, and who forks them. Started by root each kind of door has a template that became the door's user
 * before the monitor became its own, and forks doors at the monitor's word; else the monitor, whose user they share, forks them itself.
 */
#ifndef FILTERD_DOORS_H
#define FILTERD_DOORS_H

#include "base/attr.h"
#include "base/err.h"
#include "door.h"
#include "os/os.h"

enum { DOORS_MAX = 2 };

struct doors {
	const struct conf *conf;	/* the start's */
	bool unconfined;
	struct door_set sets[DOORS_MAX];	/* those that listen on nothing are not started */
	int templates[DOORS_MAX];	/* sockets to them; -1: none */
	size_t n;
};

void doors_init(struct doors *d, const struct conf *conf, bool unconfined);
/* A socket from systemd: "milter", "spamd", "spamd-tell". -1: it is called otherwise, or there are too many. */
int doors_given(struct doors *d, const struct listen_fd *fd) MUST_CHECK;
/* What the configuration names, its UNIX sockets for the group of the door's user; passed_only: the service manager has bound it. */
int doors_listen(struct doors *d, bool passed_only, struct err *e) MUST_CHECK;
/* Are the users of those doors there that the configuration names listeners of? */
int doors_users_check(const struct conf *conf, struct err *e) MUST_CHECK;
/* As root, before it is given up; for others nothing. */
int doors_fork_templates(struct doors *d, struct err *e) MUST_CHECK;
/* For struct monitor_hooks; ctx: struct doors. */
int doors_start(void *ctx, size_t which, const struct conf *conf);
bool doors_may_teach(void *ctx, size_t which);

/* As fork: 0 in the child, with *sock_out its end and no signal blocked; in the parent 1 and its end; -1, which the log knows. */
int fork_with_socket(const char *what, int *sock_out);
/* A template waits for the monitor's order to fork: the descriptor that the child is to get. fresh_out (NULL: of no interest): by the configuration as it is now. Ends the
 * process when the monitor has closed its end, or says anything else. */
int fork_wanted(int sock, bool *fresh_out);

#endif
