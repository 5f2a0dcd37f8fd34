/* What tests of the resolver begin with: a directory with accounts, and a resolver of a configuration that goes with them. */
#ifndef RESOLVE_TEST_SCENE_H
#define RESOLVE_TEST_SCENE_H

#include "deliver/resolve/resolve.h"

void scene_begin(void);		/* once, before all others */
void scene_end(void);
const char *scene_dir(void);
const char *scene_path(const char *name);	/* of a file there; valid until the next call */
void scene_put(const char *name, const char *text);
/* extra: lines of configuration. Returns owned, as is *conf. */
struct resolver *scene_resolver(const char *extra, struct conf **conf);

#endif
