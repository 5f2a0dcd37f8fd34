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

bool caps_offered(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->imap_discard_capabilities.n; i++)
		if (str_case_eq(str_c(conf->imap_discard_capabilities.v[i]), str_c(name)))
			return false;
	return true;
}

static bool is_known(const char *name)
{
	for (size_t k = 0; k < ARRAY_LEN(rows); k++)
		if (str_case_eq(str_c(name), str_c(rows[k].name)))
			return true;
	return false;
}

const char *caps_unknown(const struct conf *conf, size_t *at)
{
	while (*at < conf->imap_discard_capabilities.n) {
		const char *const name = conf->imap_discard_capabilities.v[(*at)++];

		if (!is_known(name))
			return name;
	}
	return NULL;
}

void caps_put(struct buf *out, unsigned now, const struct conf *conf, bool mechs)
{
	const char *sep = "";

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!(rows[i].when & now) || !caps_offered(conf, rows[i].name))
			continue;
		buf_printf(out, "%s%s", sep, rows[i].name);
		if (rows[i].when & CAP_SIZE)
			buf_u64(out, conf->message_size_limit);
		sep = " ";
	}
	for (size_t i = 0; mechs && i < conf->auth_mechanisms.n; i++)
		buf_printf(out, " AUTH=%s", conf->auth_mechanisms.v[i]);
}
