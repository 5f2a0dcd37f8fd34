/* What filterd's processes may reach: libraries and converters, the signatures, the lists; and to write, only the temporary directory. */
#ifndef FILTERD_CONFINEMENT_H
#define FILTERD_CONFINEMENT_H

#include "base/attr.h"
#include "base/err.h"
#include "conf/conf.h"
#include "os/confine.h"
#include "worker.h"

/* role: CONFINE_FILTER (monitor and template; user is who to become) or CONFINE_SCAN (worker; user NULL). */
int filter_confine(enum confine_role role, const char *user, const struct conf *conf, const struct filter_dirs *dirs, bool unconfined,
		   struct err *e) MUST_CHECK;

#endif
