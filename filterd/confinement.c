/* See confinement.h. */
#include "confinement.h"

#include <stdio.h>
#include <unistd.h>

#include "authres/dkim_table.h"
#include "dmarcdata.h"
#include "grey.h"
#include "learndata.h"

int filter_confine(enum confine_role role, const char *user, const struct conf *conf, const struct filter_dirs *dirs, bool unconfined,
		   struct err *e)
{
	const bool monitor = role == CONFINE_FILTER;
	char keys[1200], dmarc[1200], learned[1200], queue[1200], known[1200];
	snprintf(queue, sizeof(queue), "%s/" LEARN_QUEUE_DIR, conf->state_directory);
	snprintf(known, sizeof(known), "%s/" GREY_DIR, conf->state_directory);
	snprintf(learned, sizeof(learned), "%s/filter", conf->state_directory);
	snprintf(dmarc, sizeof(dmarc), "%s/" DMARC_DATA_DIR, conf->state_directory);
	snprintf(keys, sizeof(keys), "%s/" DKIM_TABLE_DIR, conf->state_directory);
	const struct confine_path paths[] = {
		{ keys, false, false },
		{ monitor ? dmarc : "", true, false },	/* not the workers' */
		{ monitor ? queue : "", true, false },
		{ monitor ? known : "", true, false },
		{ monitor ? conf->conf_dir : "", false, false },	/* read again at SIGHUP */
		{ learned, false, false },
		{ "/usr", false, false },
		{ monitor ? "/proc" : "/usr", false, false },	/* the map of a template's own memory, pcre_seal() */
		{ "/lib", false, false },
		{ "/lib64", false, false },
		{ "/etc", false, false },
		{ dirs->share, false, false },
		{ conf->virus_database_directory, false, false },
		{ dirs->tmp, true, false },
		{ conf->filter_banned_names[0] != '\0' ? conf->filter_banned_names : dirs->share, false, false },
		{ conf->filter_recipient_policies[0] != '\0' ? conf->filter_recipient_policies : dirs->share, false, false },
		{ conf->whitelist_senders[0] != '\0' ? conf->whitelist_senders : dirs->share, false, false },
		{ conf->blacklist_senders[0] != '\0' ? conf->blacklist_senders : dirs->share, false, false },
		{ conf->public_suffix_list[0] != '\0' ? conf->public_suffix_list : dirs->share, false, false },
		{ "/var/lib/spamassassin", false, false },
		{ conf->spam_rules_directory, false, false },
		{ conf->spam_site_directory, false, false },
	};
	struct confine_path there[ARRAY_LEN(paths)];
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (paths[i].path[0] == '/' && access(paths[i].path, F_OK) == 0)
			there[n++] = paths[i];
	const struct confine c = { .role = role, .user = user, .paths = there, .n_paths = n, .unconfined = unconfined };
	return confine_enter(&c, e);
}
