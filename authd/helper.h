/* What authd's helper programs have in common: they are started by the monitor with their channel as descriptor 3 (and one more, 4, for
 * those that listen), read the configuration as root, confine themselves, and serve. Each links what the monitor must never load. */
#ifndef AUTHD_HELPER_H
#define AUTHD_HELPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "conf/conf.h"
#include "os/confine.h"

enum { HELPER_CHANNEL = 3, HELPER_LISTENER = 4, HELPER_LISTENER2 = 5 };

struct helper {
	struct conf *conf;
	bool unconfined;
	uint8_t tag_key[32];	/* after helper_setup() */
};

/* Options -c FILE -n -v; exits with 64 or 78 when that is wrong or descriptor 3 is no channel. title: "sasl" … */
void helper_init(struct helper *h, int argc, char **argv, const char *title);
/* Become user, empty root unless paths are given; exits with 77 when the walls do not stand. */
void helper_confine(const struct helper *h, enum confine_role role, const char *user, const struct confine_path *paths, size_t n_paths);
/* Wait for SETUP (the tag key), answer READY. Exits quietly when the monitor has gone. */
void helper_setup(struct helper *h);
/* The tag of a login: same name and password, same tag, for the life of the monitor. */
void helper_tag(const struct helper *h, struct str given, struct str password, uint8_t tag_out[32]);
/* A password on its way to the check worker: it lies in a socket that nobody writes to any more, and travels as a descriptor. The packet begins with
 * 'P', so that an end of the socket is not an empty password. Put: *fd_out is the caller's, to be sent with CREDS. Take: at most max bytes; what does
 * not lie there is not waited for. */
int helper_password_put(struct str password, int *fd_out, struct err *e) MUST_CHECK;
int helper_password_take(int fd, char *out, size_t max, size_t *n_out, struct err *e) MUST_CHECK;

/* --- zygotes --- */
/* In the worker; owns channel; must not return. */
typedef void zygote_worker_fn(const struct helper *h, int channel);
/* Fork a worker for each FORK; kill those that outlive their time; exit when the monitor has gone. */
void zygote_run(const struct helper *h, zygote_worker_fn *worker) __attribute__((noreturn));

#endif
