/* The other daemons, as plain calls. Each sends one request and puts the session into its waiting mode; the answer comes as a call of the
 * function given. When the daemon has gone, the session ends with 421 (queued) or the answer is 454 (authd). */
#ifndef SMTPD_PEERS_H
#define SMTPD_PEERS_H

#include "ipc/queue.h"
#include "smtpd/session.h"

/* m with a recipient: then is told what becomes of that. */
void peers_mail(struct session *s, const struct ipc_queue_MAIL *m, void (*then)(struct session *, const struct ipc_queue_REPLY *));
void peers_rcpt(struct session *s, const struct ipc_queue_RCPT *m, void (*then)(struct session *, const struct ipc_queue_REPLY *));
/* then: refused. data_open() on success. */
void peers_data(struct session *s, void (*then)(struct session *, const struct ipc_queue_REPLY *));
void peers_data_end(struct session *s, const struct ipc_queue_DATA_END *m, void (*then)(struct session *, const struct ipc_queue_REPLY *));
void peers_etrn(struct session *s, struct str domain, void (*then)(struct session *, const struct ipc_queue_REPLY *));
void peers_proxied(struct session *s, uint16_t client_port, uint16_t server_port);	/* fc.client is another now; no answer */
struct smtp_xattrs;
void peers_xclient(struct session *s, const struct smtp_xattrs *x, void (*then)(struct session *, const struct ipc_queue_REPLY *));
void peers_xforward(struct session *s, const struct smtp_xattrs *x, void (*then)(struct session *, const struct ipc_queue_REPLY *));
/* Counted or remembered by queued: "tls" "greet" "greeted". */
struct tls_cert_facts;
void peers_ccert(struct session *s, const struct tls_cert_facts *f);
void peers_event(struct session *s, struct str what, void (*then)(struct session *, const struct ipc_queue_REPLY *));
void peers_reset(struct session *s, const char *malformed);	/* malformed: what its content held that none may; NULL: nothing is known of that */
/* -1: authd cannot be reached. Answers: auth_challenge(), auth_done(), auth_failed(). */
int peers_auth_start(struct session *s, struct str mech, struct str initial) MUST_CHECK;
int peers_auth_step(struct session *s, struct str data) MUST_CHECK;
void peers_auth_cancel(struct session *s);
void peers_close(struct session *s);

/* cmd_data.c: the descriptor to write the message to (taken). */
void data_open(struct session *s, int fd, uint64_t size_max);

#endif
