/* What the parts of `postern check` share: a list of findings. */
#ifndef ADMIN_CHECK_H
#define ADMIN_CHECK_H

#include "base/arena.h"
#include "base/attr.h"
#include "conf/conf.h"
#include "admin/postern/postern.h"
#include "ipc/resolve.h"

enum severity { SEV_NOTE, SEV_WARNING, SEV_ERROR };

struct finding {
	struct finding *next;
	enum severity severity;
	const char *place;	/* "FILE:LINE", a file, or "" */
	const char *what;	/* parameter, or "" */
	const char *text;
};

struct check {
	const struct postern *p;
	const struct conf *conf;	/* NULL when it could not be loaded */
	struct arena *a;
	struct finding *findings, **end;
	unsigned counts[3];
};

void found(struct check *c, enum severity s, const char *place, const char *what, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* The same at the line of the file that sets the parameter. */
void found_param(struct check *c, enum severity s, const char *param, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* An error whose text begins with "PARAMETER: ", at that parameter's line. where: a listener that has it by itself, or "". */
void found_error(struct check *c, const char *where, const struct err *e);

/* --- check_conf.c: what one parameter says against another --- */
void check_values(struct check *c);
/* --- check_delivery.c: aliases, local delivery, rewriting --- */
void check_delivery(struct check *c);
/* What key of an alias map leads to, as resolve says. */
void check_alias_targets(struct check *c, const char *param, const char *spec, struct str key, const struct ipc_resolve_RESULT *r);
/* --- check_maps.c: sources, compiled maps, recipients --- */
void check_maps(struct check *c);
/* --- check_system.c: users, permissions --- */
void check_system(struct check *c);
void check_secret(struct check *c, const char *param, const char *path);	/* a file of root's that nobody else reads or writes */
/* --- check_disk.c: whether the disks keep what was synced --- */
void check_disks(struct check *c);
/* --- check_certs.c: certificates and their keys --- */
void check_certificates(struct check *c);
/* --- check_ports.c: who else listens where we shall --- */
void check_ports(struct check *c);
/* --- check_dns.c: what the world sees of our domains, where the suite runs --- */
void check_dns(struct check *c);
/* --- check_dkim.c: signing keys --- */
void check_dkim(struct check *c);
/* --- check_filter.c: what filterd reads, as it says --- */
void check_filter(struct check *c);

#endif
