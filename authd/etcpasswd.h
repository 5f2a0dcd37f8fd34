/* What /etc/passwd itself says, against what the unprivileged gatherer reports: a gatherer that was taken over must not give one user another's uid, or
 * a system group such as disk or shadow. Read with libc's file parser, no name service. */
#ifndef AUTHD_ETCPASSWD_H
#define AUTHD_ETCPASSWD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct etcpasswd;

/* ERR_TEMP: it cannot be read. */
int etcpasswd_read(const char *path, struct etcpasswd **out, struct err *e) MUST_CHECK;
void etcpasswd_free(struct etcpasswd **p);
bool etcpasswd_has(const struct etcpasswd *p, struct str name);	/* folded to lower case */
/* NULL, or why the account is not believed. A name that is in the file must be as there; others (from name services) may not have a uid that
 * is there, nor a group below min_id other than "users" (100). name: folded to lower case. */
const char *etcpasswd_denies(const struct etcpasswd *p, struct str name, uid_t uid, gid_t gid, struct str home, uint64_t min_id);

#endif
