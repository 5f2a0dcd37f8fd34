/* The table of last uses: uses.h says what it is for. */
#include "authd/uses.h"

#include <stdlib.h>
#include <string.h>

#include "authd/apppass.h"
#include "base/arena.h"
#include "base/map.h"
#include "base/num.h"

struct use {
	uint64_t when;
	char client[USES_CLIENT_MAX + 1];
};

struct uses {
	struct map *by_id;	/* -> struct use, owned */
};

struct uses *uses_new(void)
{
	struct uses *u = xzalloc(sizeof *u);

	u->by_id = map_new();
	return u;
}

void uses_free(struct uses **up)
{
	size_t it = 0;
	struct str key;
	void *value;

	if (!*up)
		return;
	while (map_next((*up)->by_id, &it, &key, &value))
		free(value);
	map_free(&(*up)->by_id);
	free(*up);
	*up = NULL;
}

static void oldest_drop(struct uses *u)
{
	struct str key, oldest = { 0 };
	uint64_t when = UINT64_MAX;
	size_t it = 0;
	void *value;

	while (map_next(u->by_id, &it, &key, &value)) {
		if (((const struct use *)value)->when < when) {
			when = ((const struct use *)value)->when;
			oldest = key;
		}
	}
	if (oldest.p)
		free(map_del(u->by_id, oldest));
}

static bool client_valid(struct str client)
{
	for (size_t i = 0; i < client.n; i++)
		if (ch_ctl(client.p[i]) || client.p[i] == ' ')
			return false;
	return client.n <= USES_CLIENT_MAX;
}

bool uses_note(struct uses *u, struct str id, uint64_t when, struct str client)
{
	if (!app_id_valid(id) || !client_valid(client) || when == 0)
		return false;
	struct use *x = map_get(u->by_id, id);
	if (!x) {
		if (map_count(u->by_id) >= USES_MAX)
			oldest_drop(u);
		x = xzalloc(sizeof *x);
		(void)map_set(u->by_id, id, x);
	}
	x->when = when;
	memcpy(x->client, client.n ? client.p : "", client.n);
	x->client[client.n] = 0;
	return true;
}

uint64_t uses_last(const struct uses *u, struct str id, char client_out[USES_CLIENT_MAX + 1])
{
	const struct use *x = map_get(u->by_id, id);

	memcpy(client_out, x ? x->client : "", x ? strlen(x->client) + 1 : 1);
	return x ? x->when : 0;
}

/* --- the file's form --- */

void uses_format(const struct uses *u, struct buf *out)
{
	size_t it = 0;
	struct str id;
	void *value;

	buf_c(out, "1\n");
	while (map_next(u->by_id, &it, &id, &value)) {
		const struct use *x = value;

		buf_str(out, id);
		buf_printf(out, " %llu %s\n", (unsigned long long)x->when, x->client[0] ? x->client : "-");
	}
}

void uses_parse(struct uses *u, struct str file)
{
	if (!str_starts(file, STR("1\n")))
		return;
	file = str_from(file, 2);
	while (file.n) {
		struct str line = str_split(&file, '\n');
		const struct str id = str_split(&line, ' '), time = str_split(&line, ' ');
		uint64_t when;

		if (line.n && num_parse(time, 1, INT64_MAX, &when) == 0)
			(void)uses_note(u, id, when, str_eq(line, STR("-")) ? STR("") : line);
	}
}
