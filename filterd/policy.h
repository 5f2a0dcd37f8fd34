/* What is done with each class of message, by where it comes from: the actions of the configuration, changed by the policy of its origin. */
#ifndef FILTERD_POLICY_H
#define FILTERD_POLICY_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "conf/conf.h"

enum class {
#define CLASS(name, word, action, code, enhanced, alert, told) CLASS_##name,
#include "classes.def"
#undef CLASS
	CLASSES
};

enum action {
#define ACTION(name, keeps, doc) ACTION_##name,
#include "actions.def"
#undef ACTION
	ACTIONS
};
extern const char *const action_names[ACTIONS];
bool action_keeps(enum action a);	/* from its recipients */

enum origin { ORIGIN_INBOUND, ORIGIN_MYNETS, ORIGIN_AUTHENTICATED, ORIGINS };
enum { STAGES_MAX = 32 };

struct policy {
	enum action actions[CLASSES];
	bool off[STAGES_MAX];		/* stages that are not run, by their number in stages.def */
};
/* The policies of all origins. Errors name the parameter. */
int policy_load(const struct conf *conf, struct policy out[ORIGINS], struct err *e) MUST_CHECK;

#endif
