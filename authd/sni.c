/* Certificates beside that of tls_cert_file: the monitor reads the tables of tls_server_sni_maps and the files that they and tls_alt_cert_files name, as root, and
 * hands them to the key worker unread, as with the first pair. One that is broken is told, and left out: the others serve. */
#include <stdio.h>

#include "authd/monitor.h"
#include "base/arena.h"
#include "log/log.h"
#include "map/snimap.h"

static struct {
	struct arena *a;	/* of map */
	struct snimap map;	/* what was sent last: an answer's id is an index of it */
	uint64_t generation;	/* 0: there never was one */
} sni;

static const char *what(const struct conf *c)
{
	if (c->tls_alt_cert_files.n == 0)
		return "tls_server_sni_maps";
	return c->tls_server_sni_maps.n > 0 ? "tls_alt_cert_files and tls_server_sni_maps" : "tls_alt_cert_files";
}

static void pair_failed(struct monitor *m, size_t i, struct str why)
{
	char text[2 * SNIMAP_PATH_MAX + 400];

	if (i < sni.map.n_pairs)
		(void)snprintf(text, sizeof(text), "%s: %s, %s: %.*s", i < sni.map.n_alt ? "tls_alt_cert_files" : "tls_server_sni_maps",
			       sni.map.pairs[i].key, sni.map.pairs[i].chain, STR_ARG(why));
	else
		(void)snprintf(text, sizeof(text), "tls_server_sni_maps: %.*s", STR_ARG(why));
	helpers_sni_failed(m, text);
}

static bool tables_read(struct monitor *m)
{
	struct err e = { 0 };

	if (sni.a)
		arena_free(&sni.a);
	sni.a = arena_new(0);
	if (snimap_conf(m->conf, sni.a, &sni.map, &e) == 0)
		return true;
	pair_failed(m, SIZE_MAX, str_c(e.text));
	return false;
}

void sni_load(struct monitor *m)
{
	struct ipc_chan *ch = helpers_chan(m, HELPER_KEY);
	struct err e = { 0 };

	if (ch == NULL || (sni.generation == 0 && m->conf->tls_server_sni_maps.n == 0 && m->conf->tls_alt_cert_files.n == 0))
		return;
	sni.generation++;
	struct ipc_helper_KEYS_DONE done = { .generation = sni.generation, .missing = !tables_read(m) };
	for (size_t i = 0; i < sni.map.n_pairs; i++) {
		struct ipc_helper_KEYS keys = { .generation = sni.generation };

		if (helpers_keys_put(m, &keys, sni.map.pairs[i].key, sni.map.pairs[i].chain, (uint32_t)i, &e) < 0) {
			pair_failed(m, i, str_c(e.text));
			done.missing = 1;
		}
	}
	if (ipc_send(ch, IPC_helper_KEYS_DONE, &done, 0, -1, &e) < 0)
		log_error("%s", e.text);
}

void sni_result(struct monitor *m, uint32_t id, const struct ipc_helper_KEYS_RESULT *r)
{
	if (!r->ok)
		pair_failed(m, id, r->text);
	else if (sni.map.n_pairs > 0)
		log_info("TLS keys of %llu of %zu certificates of %s loaded", (unsigned long long)r->count, sni.map.n_pairs, what(m->conf));
}
