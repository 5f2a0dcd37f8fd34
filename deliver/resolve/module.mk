RESOLVE := $(addprefix $(D)/,resolve.c resolve_answer.c expand.c route.c rewrite.c own.c aliases.c srs_key.c)
RESOLVE_WHY := $(RESOLVE) $(D)/resolve_access.c $(D)/resolve_parts.c
RESOLVE_RUN := $(RESOLVE_WHY) $(D)/resolve_run.c
$(call unittest,test_own,test_own.c own.c,conf os log base test)
$(call unittest,test_aliases,test_aliases.c aliases.c,base test)
$(call unittest,test_resolve,test_resolve.c test_scene.c $(RESOLVE_WHY),smtp map mail conf os log base test)
$(call unittest,test_rewrite,test_rewrite.c test_scene.c $(RESOLVE_WHY),smtp map mail conf os log base test)
$(call fuzzer,fuzz_aliases,fuzz_aliases.c aliases.c,base)
$(call fuzzer,fuzz_resolve,fuzz_resolve.c $(RESOLVE),smtp map conf os log base)
