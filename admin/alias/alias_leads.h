/* Where the mail of an alias goes, by the code that resolve runs: what of it will not arrive. */
#ifndef ADMIN_ALIAS_LEADS_H
#define ADMIN_ALIAS_LEADS_H

#include "conf/conf.h"

/* Says on standard error what of the mail for name (an alias that was just compiled) is for nobody, and that its domain is none of ours. Says nothing
 * where that cannot be known, as before authd's first start. */
void alias_leads_tell(const struct conf *conf, const char *name);

#endif
