/* What the parts of `postern status` share. */
#ifndef ADMIN_STATUS_H
#define ADMIN_STATUS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"

enum { STATUS_ROLES_MAX = 64, STATUS_SESSIONS_MAX = 150 };

/* Processes of one role: "smtpd: front" is one row, whoever it serves. */
struct status_role {
	char name[64], user[33];
	pid_t pid;			/* the eldest */
	unsigned n;
	uint64_t up_s, bytes;		/* of the eldest; of all: memory, what is shared counted in parts */
	bool root;
};

struct status_session {
	const char *user, *service;
	uint64_t pid, connections;
};

struct status {
	struct status_role roles[STATUS_ROLES_MAX];
	size_t n_roles, processes;
	uint64_t up_s;			/* of the eldest process; 0: none */
	bool queue_up, auth_up;		/* they answered */
	uint64_t messages, transactions, smtp_connections, agents;
	uint64_t accounts, mail_connections, n_sessions, logins_ok, logins_cached, logins_failed, logins_refused;
	struct status_session sessions[STATUS_SESSIONS_MAX];
	size_t shown_sessions;
	bool counted;
	uint64_t total[64], minute[64];
	int64_t counting_since;
	uint64_t taken_ms;
};

/* status_processes.c: those whose program stands in dir. */
void status_processes(struct status *s, const char *dir);
/* status_print.c: before is the same a moment ago (rates are of the time between), or NULL. */
void status_print(const struct status *s, const struct status *before);
void status_print_json(const struct status *s);

#endif
