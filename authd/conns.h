/* What conns.c (connections, their phases, sessions) and login.c (the exchange that makes one logged in) share. */
#ifndef AUTHD_CONNS_H
#define AUTHD_CONNS_H

#include "authd/monitor.h"
#include "base/list.h"
#include "base/map.h"
#include "ipc/auth.h"

/* What a client hears that could not be answered. */
#define TEXT_TEMP "temporary authentication failure"

enum phase {
	PH_IDLE,	/* not logged in; no exchange */
	PH_WORKING,	/* a worker has the client's last step */
	PH_CHALLENGE,	/* the client is asked */
	PH_GRANT,	/* right; queued is being told */
	PH_USER,	/* logged in */
	PH_ATTACH,	/* the session process is being given the connection */
	PH_OVER,
	PHASES
};

struct conn {
	struct list node;
	struct monitor *m;
	struct ipc_chan *ch;
	enum phase phase;
	char service[17], profile[33], client[65], server[65];
	struct facts facts;
	uint8_t peer[16];		/* registered; facts.from may become the client it acts for */
	bool client_known;
	unsigned attempts;
	uint32_t request;		/* id of the front's last request: answers carry it */
	char mech[65];
	uint64_t started;
	/* the exchange */
	struct worker *sasl;		/* PLAIN, LOGIN */
	struct worker_owner owner;	/* user "": it serves once */
	bool is_scram, want_first, want_last;
	bool revoked;			/* since the login began, the user's password or rights have changed */
	char given[513];
	struct attempt *attempt;
	struct account account;
	struct queue_tell *tell;
	struct attach *attach;
};

struct registrar {
	struct list node;
	struct monitor *m;
	struct ipc_chan *ch;
	char service[17];
};

struct conns {
	struct list all, registrars;
	struct map *by_id;		/* conn name -> struct conn, so that a name is used once */
	size_t n, n_registrars, n_sasl;
};

/* --- conns.c --- */
void conn_phase(struct conn *c, enum phase p);	/* and what may come in it */
void conn_send(struct conn *c, uint16_t type, const void *msg);	/* to the front: the answer to its last request */
void conn_free(struct conn *c);

/* --- login.c --- */
void login_start(struct conn *c, const struct ipc_auth_START *m);
void login_step(struct conn *c, struct str data);
void login_drop(struct conn *c);	/* whatever of it is under way */
void conn_fail(struct conn *c, enum err_code code, const char *text, uint64_t delay_ms);	/* it has ended, and says so to the front */

#endif
