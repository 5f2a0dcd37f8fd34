/* filterd's event loop (monitor.h): who asks for verdicts, and signals. */
#include "monitor_priv.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dmarcdata.h"
#include "log/log.h"
#include "os/os.h"
#include "suspects.h"

/* --- clients --- */

static void door_start(struct door *d);

static void on_client(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	const struct client *c = ctx;
	struct ipc_filter_SCAN *scan = msg;
	(void)ch;
	if (type == IPC_filter_LISTS) {
		job_take_lists(ctx, id, msg);
		return;
	}
	scan->found = (struct ipc_strs){ NULL, 0 };	/* what was found is for us to say */
	scan->report = STR("");
	if (c->door != NULL) {	/* it reads what strangers send: nothing is signed for it */
		scan->sign = 0;
		scan->edits = (struct ipc_strs){ NULL, 0 };
	}
	if (c->door == NULL || !c->m->hooks->may_teach || !c->m->hooks->may_teach(c->m->hooks->doors_ctx, c->door->which))
		scan->teach = 0;
	job_take(ctx, id, scan, fd);
}

static void on_door_restart(void *ctx)
{
	door_start(ctx);
}

static void client_end(struct client *c)
{
	list_del(&c->node);
	--*(c->draining ? &c->m->n_draining : &c->m->n_clients);
	ipc_chan_free(&c->chan);
	if (c->jobs == 0)
		loop_free_later(c->m->loop, c);
}

static void on_client_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct client *c = ctx;
	if (c->door != NULL && !c->draining) {
		log_warning("a listener process ended: starting it again");
		timer_del(&c->door->restart);
		c->door->restart = loop_timer(c->m->loop, RESTART_MS, on_door_restart, c->door);
	}
	if (why->code != ERR_CLOSED)
		log_warning("client: %s", why->text);
	(void)ch;
	client_end(c);
}

static void client_new(struct monitor *m, int fd, struct door *door)
{
	static const uint16_t may[] = { IPC_filter_SCAN, IPC_filter_LISTS };
	struct client *c = xzalloc(sizeof(*c));
	c->m = m;
	c->door = door;
	c->chan = ipc_chan_new(m->loop, fd, &ipc_filter, on_client, on_client_closed, c);
	ipc_chan_allow(c->chan, (struct ipc_allow){ may, ARRAY_LEN(may) });
	list_append(&m->clients, &c->node);
	m->n_clients++;
}

static void door_start(struct door *d)
{
	struct monitor *m = d->m;
	const int fd = m->hooks->start_door(m->hooks->doors_ctx, d->which, m->conf);
	timer_del(&d->restart);
	if (fd >= 0)
		client_new(m, fd, d);
	else
		d->restart = loop_timer(m->loop, RESTART_MS, on_door_restart, d);
}

/* Its clients are cut off: so many reloads within the life of a connection are no way to work. */
static void end_oldest_draining(struct monitor *m)
{
	list_each(it, &m->clients) {
		struct client *c = list_of(it, struct client, node);
		if (!c->draining)
			continue;
		log_warning("a listener process that was replaced still has connections: it ends now");
		client_end(c);
		return;
	}
}

/* A new process accepts on the same sockets; the old one ends with its last connection, so that nobody is cut off. */
void doors_renew(struct monitor *m)
{
	while (m->n_draining > MONITOR_DRAINING_MAX - MONITOR_DOORS_MAX)
		end_oldest_draining(m);
	const struct ipc_filter_DRAIN drain = { 0 };
	list_each(it, &m->clients) {
		struct client *c = list_of(it, struct client, node);
		struct err e = { 0 };
		if (c->door == NULL || c->draining)
			continue;
		c->draining = true;
		m->n_clients--;
		m->n_draining++;
		if (ipc_send(c->chan, IPC_filter_DRAIN, &drain, 0, -1, &e) < 0)
			log_warning("a listener process: %s", e.text);
	}
	for (size_t i = 0; i < m->hooks->n_doors && i < MONITOR_DOORS_MAX; i++)
		door_start(&m->doors[i]);
}

static void on_accept(void *ctx, unsigned events)
{
	struct monitor *m = ctx;
	(void)events;
	int fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			log_error("accept: %s", strerror(errno));
		return;
	}
	struct peer_cred cred;
	struct err e = { 0 };
	if (sock_peer_cred(fd, &cred, &e) < 0 || (cred.uid != 0 && cred.uid != m->queue_uid) || m->n_clients >= MONITOR_CLIENTS_MAX) {
		log_warning("a client was refused (uid %u)", (unsigned)cred.uid);
		close(fd);
		return;
	}
	client_new(m, fd, NULL);
}

static void on_signal(void *ctx, int signo)
{
	struct monitor *m = ctx;
	if (signo == SIGTERM || signo == SIGINT) {
		loop_stop(m->loop);
	} else if (signo == SIGHUP) {
		generation_reload(m);
	}
}

/* A template says nothing. Without it nobody could start a door as that user any more: filterd's supervisor starts all anew. */
static void on_door_template(void *ctx, unsigned events)
{
	struct monitor *m = ctx;
	(void)events;
	m->door_template_ended = true;
	loop_stop(m->loop);
}

static void doors_begin(struct monitor *m)
{
	for (size_t i = 0; i < m->hooks->n_doors && i < MONITOR_DOORS_MAX; i++) {
		m->doors[i] = (struct door){ .m = m, .which = i };
		if (m->hooks->door_templates != NULL && m->hooks->door_templates[i] >= 0)
			m->doors[i].of_template = loop_watch(m->loop, m->hooks->door_templates[i], LOOP_READ, on_door_template, m);
		door_start(&m->doors[i]);
	}
}

int monitor_run(const struct conf *conf, int listener, uid_t queue_uid, const struct monitor_hooks *hooks, struct err *e)
{
	struct monitor m = { .loop = loop_new(), .first = conf, .conf = conf, .hooks = hooks, .listener = listener, .queue_uid = queue_uid };
	list_init(&m.clients);
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++)
		list_init(&m.waiting[k]);
	list_init(&m.workers);
	m.relay = relay_new(m.loop, conf);
	suspects_set(&m.suspects, conf);
	m.keys = keys_new(m.loop, conf);
	m.dmarc = dmarc_data_new(m.loop, conf);
	const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		loop_signal(m.loop, signals[i], on_signal, &m);
	loop_watchdog(m.loop);
	struct watch *w = loop_watch(m.loop, listener, LOOP_READ, on_accept, &m);
	m.watch = loop_timer(m.loop, WATCH_SIGNATURES_MS, generation_watch, &m);
	templates_start(&m);
	doors_begin(&m);
	loop_run(m.loop);
	watch_del(&w);
	for (size_t i = 0; i < MONITOR_DOORS_MAX; i++)
		watch_del(&m.doors[i].of_template);
	return m.door_template_ended ? err_set(e, ERR_TEMP, 0, "a listener's template has ended: filterd ends, to be started anew") : 0;
}
