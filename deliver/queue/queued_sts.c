/* Questions to sts (deliver/sts): which policy does a next hop's domain have? */
#include <stdlib.h>

#include "deliver/queue/queued.h"
#include "ipc/sts.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/addr.h"

struct sts_question {
	sts_fn *fn;
	void *ctx;
};

static void end(struct queued *q, uint32_t id, const struct ipc_sts_POLICY *m)
{
	struct sts_question *x = map_del(q->sts_asks, str_n(&id, sizeof(id)));

	if (x == NULL)
		return;
	const struct sts_question copy = *x;
	free(x);
	copy.fn(copy.ctx, m);
}

static void on_policy(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	close_fd(&fd);
	end(ctx, id, msg);
}

static void on_sts_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct queued *q = ctx;
	struct str key;
	uint32_t id;
	size_t it = 0;
	void *v;

	log_warning("sts: %s", why->text);
	ipc_chan_free(&q->sts);		/* the group starts again */
	while (map_next(q->sts_asks, &it, &key, &v)) {
		memcpy(&id, key.p, sizeof(id));
		end(q, id, NULL);
		it = 0;
	}
}

bool sts_wanted(const struct queued *q, const char *transport, struct str nexthop)
{
	const char *level = q->conf->smtp_tls_security_level;
	const bool open = strcmp(level, "may") == 0 || strcmp(level, "encrypt") == 0 || strcmp(level, "dane") == 0;

	return q->conf->smtp_mta_sts && open && strcmp(transport, "smtp") == 0 && smtp_domain_valid(nexthop) && str_chr(nexthop, '.') > 0;
}

void sts_ask(struct queued *q, struct str domain, sts_fn *fn, void *ctx)
{
	const struct ipc_sts_QUERY m = { .domain = domain };
	struct sts_question *x;
	struct err e = { 0 };

	if (q->sts == NULL) {
		fn(ctx, NULL);
		return;
	}
	const uint32_t id = ipc_next_id(q->sts);
	x = xzalloc(sizeof(*x));
	*x = (struct sts_question){ fn, ctx };
	(void)map_set(q->sts_asks, str_n(&id, sizeof(id)), x);
	if (ipc_send(q->sts, IPC_sts_QUERY, &m, id, -1, &e) < 0) {
		log_error("sts: %s", e.text);
		end(q, id, NULL);
	}
}

void sts_start(struct queued *q, int fd)
{
	static const uint16_t types[] = { IPC_sts_POLICY };

	q->sts_asks = map_new();
	q->sts = ipc_chan_new(q->loop, fd, &ipc_sts, on_policy, on_sts_closed, q);
	ipc_chan_waiting_max(q->sts, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(q->sts, (struct ipc_allow){ types, ARRAY_LEN(types) });
}
