/* The capability list. Owns: which row holds when. */
#include "caps.h"

static const struct {
	const char *name;
	unsigned when;
} rows[] = {
#define EXT(name, when, source) { name, when },
#include "extensions.def"
#undef EXT
};

void caps_put(struct buf *out, unsigned now, const struct conf *conf, bool mechs)
{
	const char *sep = "";

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!(rows[i].when & now))
			continue;
		buf_printf(out, "%s%s", sep, rows[i].name);
		if (rows[i].when & CAP_SIZE)
			buf_u64(out, conf->message_size_limit);
		sep = " ";
	}
	for (size_t i = 0; mechs && i < conf->auth_mechanisms.n; i++)
		buf_printf(out, " AUTH=%s", conf->auth_mechanisms.v[i]);
}
