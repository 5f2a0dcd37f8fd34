/* Connections to other people's services, as the configuration names them: inet:host:port, unix:/path. Names of hosts are asked of dns; every address is tried.
 *
 *	struct dial_target t; dial_parse(STR("inet:127.0.0.1:10023"), &t, &e);
 *	d = dial(loop, dns, &t, 30000, on_dialled, ctx);	on_dialled(ctx, fd, NULL) or (ctx, -1, why)
 */
#ifndef DELIVER_DIAL_H
#define DELIVER_DIAL_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "dns/client.h"

struct dial_target {
	char host[256];		/* empty: unix */
	uint16_t port;
	char path[108];
};

struct dial;
typedef void dialled_fn(void *ctx, int fd, const char *why);	/* fd is the callee's */

int dial_parse(struct str text, struct dial_target *out, struct err *e) MUST_CHECK;
struct dial *dial(struct loop *l, struct dns_client *dns, const struct dial_target *t, uint64_t ms, dialled_fn *fn, void *ctx);	/* calls from the loop */
void dial_cancel(struct dial **d);	/* accepts NULL */

/* A service with its own settings: "{ inet:host:port, name = value, … }", or a target alone. */
struct service_setting {
	struct str name, value;
};
enum { SERVICE_SETTINGS_MAX = 16 };
struct service_text {
	struct str target;
	struct service_setting v[SERVICE_SETTINGS_MAX];
	size_t n;
};
int service_parse(struct str text, struct service_text *out, struct err *e) MUST_CHECK;	/* borrows text */

#endif
