/* What smtpd, imapd and pop3d have in common: the root parent that accepts (and reads no client byte), the unprivileged template that
 * forks a front per connection (front_mode = isolated; again.c says when it serves more) or the event-driven front that serves many (shared), inetd mode, socket activation,
 * reload, drain. A daemon's main.c is a struct front_service and a call of front_main().
 *
 * Per connection the parent makes socket pairs to authd, the key worker and (smtp) queued, registers them (lib/ipc/reg.def) with the accepted
 * peer's address, and hands descriptors and facts to the template. If a needed daemon is missing, the client gets service->busy_line and is closed.
 */
#ifndef FRONT_FRONT_H
#define FRONT_FRONT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/conf.h"
#include "io/conn.h"
#include "io/loop.h"
#include "io/tls.h"

struct ipc_chan;

/* One accepted connection, as the front gets it. */
struct front_conn {
	uint64_t conn;			/* its name everywhere */
	int fd;				/* the client's socket; owned by the session code */
	int auth_fd, key_fd, queue_fd;	/* channels (SEQPACKET); -1 when the service has none; owned by the session code, but key_fd by the frame */
	struct ipc_chan *queue;		/* instead of queue_fd, and owned as that: it has served another connection of this client, and NEXT comes first; NULL: none */
	int again_fd;			/* the frame's: where further connections come from; -1: none do */
	char client[64], server[64];	/* numeric */
	uint16_t client_port, server_port;
	char profile[32], listener[32];	/* listener: the name of its line, whose overrides hold (conf_for); "" for the lists' */
	bool stress;			/* taken while there were many */
	bool client_known;		/* false: inetd without privilege: no mynetworks, no AUTH */
	bool implicit_tls;		/* profile submissions, imaps, pop3s */
};

/* What is the same for all connections of the process. */
struct front_env {
	struct loop *loop;
	const struct conf *conf;
	struct tls_ctx *tls;		/* NULL: none configured */
	void *service_ctx;
};

struct front_client_limits {
	uint64_t at_once;
	uint64_t per_window, window_ms;	/* new connections; 0: any number */
	struct conf_list exceptions;	/* networks */
};

struct front_service {
	const char *name;		/* "smtp" "imap" "pop3" */
	const char *program;		/* "smtpd" … */
	const char *log_program;	/* ident part: "smtpd"; imapd and pop3d log as "dovecot" */
	const char *alpn;
	const char *limited_line;	/* said to a client that has too many connections; NULL: busy_line */
	/* Limits of one client by the values of its listener; NULL: client_connection_count_limit is the only one. */
	void (*client_limits)(const struct conf *c, struct front_client_limits *out);
	const char *busy_line;		/* "421 4.3.2 … try again later\r\n" */
	bool uses_queue, uses_auth;
	/* Can a client of this profile log in, by the values of its listener? Where not, authd does not hear of it. NULL: yes. */
	bool (*may_log_in)(const struct conf *c, const char *profile);
	/* Its connections seldom log in or use TLS: authd and the key worker hear of them at first use, and one process serves several of a client's,
	 * one after another. NULL: none. */
	const char *seldom_profile;
	/* Which listeners, user and so on: picked from the configuration. */
	struct conf_list (*listeners)(const struct conf *c);
	const char *(*user)(const struct conf *c);
	/* Once per template, before confinement: open tables, precompute. 0 or -1. */
	int (*prepare)(struct front_env *env, struct err *e);
	/* Start serving fc in env->loop; calls front_done() when the connection is over. Must not block. Handles the greeting, also after the
	 * implicit TLS handshake, which it starts with conn_starttls_server() when fc->implicit_tls. */
	void (*session)(struct front_env *env, const struct front_conn *fc);
};

/* Options: -c FILE, -f (foreground), -s (sockets are passed, none is bound), -v, -i (inetd: connection on fd 0), -n (no sandbox, said aloud), -t (test configuration),
 * --help, --version. Returns the exit status. */
int front_main(int argc, char **argv, const struct front_service *s);
/* The session is over (its descriptors are closed). Isolated: the process exits after the loop's round, or waits for its client to come again. */
void front_done(struct front_env *env, const struct front_conn *fc);
/* What the session has left of its channels, just before front_done(): sound, unread and with nothing outstanding, or -1. Takes them: its client's next
 * connection gets them, or they are closed. Without a queue channel there is no next one (NULL); an auth channel that was used is not left. */
void front_keep(struct front_env *env, int auth_fd, struct ipc_chan *queue);
/* This process serves no other connection: it has seen a secret, or its client speaks for others. */
void front_last(struct front_env *env);
/* To be called before each step of a TLS handshake in shared mode (selects the connection's key channel); conn events do it through this hook. */
void front_select_key(const struct front_conn *fc);
/* After login: give up all that a relay does not need. */
void front_narrow(struct front_env *env);

#endif
