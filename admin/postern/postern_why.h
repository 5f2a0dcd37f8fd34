/* The restrictions' part of postern why. */
#ifndef ADMIN_POSTERN_WHY_H
#define ADMIN_POSTERN_WHY_H

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "conf/conf.h"
#include "deliver/resolve/resolve.h"
#include "deliver/restrict/restrict.h"

enum { WHY_NOTES_MAX = 200 };

struct why_client {
	struct str client, helo, sender, login;	/* client empty: restrictions are not asked for; login: as whom it has logged in */
};
struct why_judgement {
	struct restrict_answer answer;
	struct str notes[WHY_NOTES_MAX];
	size_t n_notes;
};

/* Strings live in a. -1: ERR_INPUT, ERR_CONF. */
int why_judge(const struct conf *c, struct resolver *r, const struct why_client *who, struct str recipient, struct str class, struct arena *a, struct why_judgement *out,
	      struct err *e) MUST_CHECK;
void why_print_judgement(const struct why_client *who, const struct why_judgement *j);
void why_json_judgement(const struct why_judgement *j);

#endif
