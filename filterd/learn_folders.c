/* The folders that learn_spam_folders and learn_ham_folders name, for --folders (learn.h): "/a/directory", which its owner reads, or "USER:FOLDER", which that
 * user reads. */
#include <string.h>

#include "learn.h"
#include "map/accounts.h"

/* "Work/Missed" is the directory .Work.Missed (Maildir++). Names with more than plain letters are stored encoded: those are given as a directory. */
static const char *folder_dir(struct learn_options *o, const struct account *acct, struct str folder)
{
	if (str_case_eq(folder, STR("INBOX")))
		return arena_strdup(o->a, acct->maildir);
	char *dir = arena_printf(o->a, "%s/.%.*s", acct->maildir, STR_ARG(folder));
	bool part = false;	/* a level has begun */
	for (char *p = dir + strlen(acct->maildir) + 2; *p != '\0'; p++) {
		if (*p == '/' ? !part : !(ch_alnum(*p) || *p == '-' || *p == '_'))
			return NULL;
		part = *p != '/';
		if (!part)
			*p = '.';
	}
	return part ? dir : NULL;
}

static int one(struct learn_options *o, const struct conf *conf, const char *name, enum bayes_class as, struct err *e)
{
	struct account acct;
	struct learn_dir d = { .path = name, .as = as };
	struct str folder = str_c(name);
	if (name[0] == '/') {
		learn_dir_add(o, &d);
		return 0;
	}
	const struct str user = str_split(&folder, ':');
	if (folder.n == 0 || account_load(conf->state_directory, user, 1, &acct, e) < 0)
		return e->code == ERR_NOENT || folder.n == 0 ? err_set(e, ERR_CONF, 0, "\"%s\" is no directory and no USER:FOLDER of a mail user", name) : -1;
	if ((d.path = folder_dir(o, &acct, folder)) == NULL)
		return err_set(e, ERR_CONF, 0, "\"%s\": give a folder of such a name as a directory", name);
	d.uid = acct.uid;
	d.gid = acct.gid;
	learn_dir_add(o, &d);
	return 0;
}

int learn_folders(struct learn_options *o, const struct conf *conf, struct err *e)
{
	const struct {
		const char *name;
		const struct conf_list *list;
		enum bayes_class as;
	} rows[] = { { "learn_spam_folders", &conf->learn_spam_folders, BAYES_SPAM }, { "learn_ham_folders", &conf->learn_ham_folders, BAYES_HAM } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t k = 0; k < rows[i].list->n; k++)
			if (one(o, conf, rows[i].list->v[k], rows[i].as, e) < 0)
				return err_wrap(e, "%s", rows[i].name);
	return 0;
}
