/* See keys.h. */
#include "keys.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "ipc/key.h"
#include "log/log.h"
#include "os/os.h"

struct keys {
	struct loop *loop;
	const struct conf *conf;
	struct ipc_chan *chan;
	struct list asks;
	bool told;	/* that the key worker cannot be reached */
};

static void answer(struct keys_ask *a, struct str signature, struct str trouble)
{
	const struct ipc_filter_SIGNATURE m = { .signature = signature, .trouble = str_sub(trouble, 0, 200) };
	struct err e = { 0 };
	keys_forget(a);
	if (ipc_send(a->to, IPC_filter_SIGNATURE, &m, a->id, -1, &e) < 0)
		log_warning("worker: %s", e.text);
}

static void on_answer(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct keys *k = ctx;
	(void)ch;
	close_fd(&fd);
	list_each_safe(it, &k->asks) {
		struct keys_ask *a = list_of(it, struct keys_ask, node);
		if (a->key_id != id)
			continue;
		if (type == IPC_key_SIGNED)
			answer(a, ((const struct ipc_key_SIGNED *)msg)->signature, (struct str){ 0 });
		else
			answer(a, (struct str){ 0 }, ((const struct ipc_key_REFUSED *)msg)->text);
		return;
	}
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct keys *k = ctx;
	(void)ch;
	log_warning("the key worker: %s", why->text);
	ipc_chan_free(&k->chan);
	list_each_safe(it, &k->asks)
		answer(list_of(it, struct keys_ask, node), (struct str){ 0 }, STR("the key worker has gone"));
}

static int open_chan(struct keys *k, struct err *e)
{
	static const uint16_t may[] = { IPC_key_SIGNED, IPC_key_REFUSED };
	char path[1100];
	if (k->chan)
		return 0;
	snprintf(path, sizeof(path), "%s/key/register", k->conf->run_directory);
	const int fd = sock_unix_connect(path, SOCK_SEQPACKET, e);
	if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		if (!k->told)
			log_warning("authd's key worker: %s: nothing can be signed", e->text);
		k->told = true;
		if (fd >= 0)
			close_fd(&(int){ fd });
		return -1;
	}
	k->told = false;
	k->chan = ipc_chan_new(k->loop, fd, &ipc_key, on_answer, on_closed, k);
	ipc_chan_allow(k->chan, (struct ipc_allow){ may, ARRAY_LEN(may) });
	return 0;
}

struct keys *keys_new(struct loop *l, const struct conf *conf)
{
	struct keys *k = xzalloc(sizeof(*k));
	k->loop = l;
	k->conf = conf;
	list_init(&k->asks);
	return k;
}

void keys_ask(struct keys *k, struct keys_ask *a, struct ipc_chan *to, uint32_t id, const struct ipc_filter_SIGN *m)
{
	const struct ipc_key_DKIM q = { .domain = m->domain, .selector = m->selector, .hash = m->hash };
	struct err e = { 0 };
	keys_forget(a);
	a->to = to;
	a->id = id;
	a->waiting = true;
	list_append(&k->asks, &a->node);
	if (open_chan(k, &e) < 0) {
		answer(a, (struct str){ 0 }, STR("the key worker cannot be reached"));
		return;
	}
	a->key_id = ipc_next_id(k->chan);
	if (ipc_send(k->chan, IPC_key_DKIM, &q, a->key_id, -1, &e) < 0)
		answer(a, (struct str){ 0 }, str_c(e.text));
}

void keys_forget(struct keys_ask *a)
{
	if (a->waiting)
		list_del(&a->node);
	a->waiting = false;
}
