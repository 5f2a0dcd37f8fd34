/* mail_location: a Maildir's path with the parts of an account's name in it, as Dovecot writes them: %u, %n, %d, %h; L or U before the letter for another
 * case, and [offset.]width for a piece (%1n: the first character, %2.1n: the third). Pure. What is not understood is an error: a path that means something
 * else to the server before us would show users an empty mailbox. */
#include "conf/conf_priv.h"

#include "base/num.h"

enum { PIECE_MAX = 255 };

static int number(struct str *s, uint64_t *out)
{
	return num_take(s, PIECE_MAX, out);
}

bool conf_percent_text(struct str *in, struct str *text_out)
{
	const ptrdiff_t at = str_chr(*in, '%');

	if (at == 0 && !(in->n > 1 && in->p[1] == '%')) {
		*in = str_from(*in, 1);
		return false;
	}
	*text_out = at == 0 ? str_sub(*in, 0, 1) : at < 0 ? *in : str_sub(*in, 0, (size_t)at);
	*in = str_from(*in, at == 0 ? 2 : text_out->n);
	return true;
}

/* Behind a '%'. */
static int variable(struct str *in, struct conf_place_part *p)
{
	uint64_t v;

	p->width = SIZE_MAX;
	if (in->n > 0 && ch_digit(in->p[0])) {
		if (number(in, &v) < 0)
			return -1;
		p->width = (size_t)v;
		if (in->n > 0 && in->p[0] == '.') {
			p->offset = p->width;
			*in = str_from(*in, 1);
			if (number(in, &v) < 0)
				return -1;
			p->width = (size_t)v;
		}
		if (p->width == 0)
			return -1;
	}
	if (in->n > 1 && (in->p[0] == 'L' || in->p[0] == 'U')) {
		p->letters = in->p[0];
		*in = str_from(*in, 1);
	}
	if (in->n == 0 || in->p[0] == '\0' || !strchr("undh", in->p[0]))
		return -1;
	p->var = in->p[0];
	*in = str_from(*in, 1);
	return 0;
}

int conf_place_next(struct str *in, struct conf_place_part *out)
{
	*out = (struct conf_place_part){ 0 };
	return conf_percent_text(in, &out->text) ? 0 : variable(in, out);
}

struct str conf_place_start(struct str location, bool *below_home_out)
{
	if (str_starts(location, STR("maildir:")))
		location = str_from(location, 8);
	*below_home_out = str_starts(location, STR("~/"));
	return str_from(location, *below_home_out);
}

const char *conf_place_wrong(struct str location)
{
	struct conf_place_part p;
	bool below_home;
	struct str in = conf_place_start(location, &below_home);

	if (str_ends(in, STR(":LAYOUT=fs")))
		return "folders of that layout are copied to this one: give the path alone, and run \"postern import maildir --layout fs --user USER PATH\" for each user";
	if (str_chr(in, ':') >= 0)
		return "one Maildir's path is wanted, without another format or options behind a \":\"";
	if (in.n > 0 && in.p[0] != '/' && !str_starts(in, STR("%h/")))
		return "the path must begin with /, ~/ or %h/";
	while (in.n > 0)
		if (conf_place_next(&in, &p) < 0)
			return "after % is allowed: u n d h, before it L or U, before that [offset.]width; %% for itself";
	return NULL;
}
