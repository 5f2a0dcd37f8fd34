/* What is done with each class of message: the actions of the configuration, changed by the policy of the message's origin, and for some recipients by a section
 * of filter_recipient_policies. */
#ifndef FILTERD_POLICY_H
#define FILTERD_POLICY_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "conf/conf.h"

struct addrlist;
struct banned;

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

enum stage {
#define STAGE(name, fn, kind, doc) STAGE_##name,
#include "stages.def"
#undef STAGE
	STAGES
};

enum origin { ORIGIN_INBOUND, ORIGIN_MYNETS, ORIGIN_AUTHENTICATED, ORIGINS };

enum { POLICIES_MAX = 4096, POLICY_FILE_MAX = 16 << 20 };	/* sections; bytes of the file */

struct levels { double tag, tag2, kill; };

struct policy {
	const char *section;		/* NULL: of all who have none */
	enum action actions[CLASSES];
	bool off[STAGES];		/* stages whose findings do not count */
	struct levels levels;
	const char *subject_tag, *redirect;
	struct addrlist *white, *black;	/* a section's own senders; NULL: none */
	struct banned *banned;		/* its rules about attachments, before those of the site; NULL: none */
};

struct policies;
/* Errors name the parameter, or file and line. Returns owned; borrows conf. */
int policies_load(const struct conf *conf, struct policies **out, struct err *e) MUST_CHECK;
void policies_free(struct policies **p);
/* A recipient's: of the section that names the address, else the one that names what it was before aliases (n 0: the same), else that of all. The most exact
 * key decides (addrlist.h). delimiters: between user and extension. */
const struct policy *policy_of(const struct policies *p, enum origin o, struct str address, struct str before, const char *delimiters);
bool policies_differ(const struct policies *p);	/* by recipient */
const struct policy *policy_of_all(const struct policies *p, enum origin o);

#endif
